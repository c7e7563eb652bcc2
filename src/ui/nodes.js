// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0
import {badge, bar, getJson, h, nodeLink, pairs, serviceLink, tags} from "./dom.js";
import {findForm, longList} from "./list.js";
import {follow} from "./live.js";

const COLUMNS = [["Node"], ["Address"], ["Itself"], ["Its checks"], ["Services", "number"]];
const STATES = [["", "any"], ["critical", "with a critical check"], ["warning", "with a warning"], ["held", "with a held check"]];

const row = n => h("tr", {"data-node": n.Name}, h("td", null, nodeLink(n.Name)), h("td", null, n.Address),
  h("td", null, badge(n.Status)), h("td", null, bar(n.Checks)), h("td", {class: "number"}, n.Services));

export function nodes(main) {
  let list;
  const form = findForm([["search", "Name or address contains"], ["state", "State", STATES],
    ["sort", "Order", [["", "by name"], ["trouble", "worst first"]]]], () => list.again());
  main.replaceChildren(h("h1", null, "Nodes"), form);
  list = longList(main, {path: "/v1/muster/nodes", key: "Nodes", columns: COLUMNS, row, label: "Nodes",
    fields: () => form.values()});
  return list.stop;
}

export function check(c) {
  return h("li", null, badge(c.Status), " ", c.Name || c.CheckID, c.Type ? ` (${c.Type})` : "",
    c.Notes ? h("p", {class: "quiet"}, c.Notes) : null, c.Output ? h("pre", null, c.Output) : null);
}

export function node(main, name) {
  const box = h("div");
  main.replaceChildren(h("h1", null, "Node ", name), box);
  return follow(async () => {
    const at = encodeURIComponent(name);
    const [{data: node}, {data: checks}] = await Promise.all(
      [getJson(`/v1/catalog/node/${at}`), getJson(`/v1/health/node/${at}`)]);
    if (!node) {
      box.replaceChildren(h("p", {class: "empty"}, "No node of this name is registered."));
      return;
    }
    const of = id => checks.filter(c => c.ServiceID === id);
    box.replaceChildren(
      pairs({Address: node.Node.Address, ID: node.Node.ID, ...node.Node.TaggedAddresses, ...node.Node.Meta}),
      h("h2", null, "Its own checks"), h("ul", null, of("").map(check)),
      h("h2", null, "Services"), h("ul", null, Object.values(node.Services).map(s => h("li", null,
        serviceLink(s.Service), ` ${s.ID}, port ${s.Port} `, tags(s.Tags), h("ul", null, of(s.ID).map(check))))));
  }, 500);
}
