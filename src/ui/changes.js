// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0
import {h, moment, nodeLink, serviceLink} from "./dom.js";
import {changes as all, follow} from "./live.js";

function worst(entry) {
  const order = ["passing", "warning", "critical"];
  return (entry?.Checks ?? []).reduce((w, c) => order.indexOf(c.Status) > order.indexOf(w) ? c.Status : w, "passing");
}

function item(c) {
  const kind = c.kind === "put" ? worst(c.Entry) : "remove";
  const text = c.kind === "put" ? ` is ${kind === "passing" ? "passing" : kind}` : ` left: ${c.Why}`;
  return h("li", {"data-kind": kind}, moment(c.when), c.Service === undefined ? null : serviceLink(c.Service), ` ${c.ServiceID} on `, nodeLink(c.Node), text);
}

export function changes(main) {
  const list = h("ol", {class: "line", "aria-label": "Changes, newest first"});
  const none = h("p", {class: "empty"}, "Nothing has changed since this page was opened.");
  main.replaceChildren(h("h1", null, "Changes as they happen"), none, list);
  return follow(async () => {
    none.hidden = all.length > 0;
    list.replaceChildren(...all.map(item));
  }, 250);
}
