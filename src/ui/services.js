// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0
import {badge, bar, getJson, h, serviceLink, tags, tiles} from "./dom.js";
import {findForm, longList} from "./list.js";
import {follow} from "./live.js";

const STATES = [["", "any"], ["critical", "critical"], ["warning", "warning"], ["held", "held by the guard"],
  ["damped", "damped"], ["empty", "nobody answers"], ["passing", "passing"]];

const COLUMNS = [["Service"], ["Health"], ["Answered", "number"], ["Instances", "number narrow-hide"],
  ["State"], ["Tags", "narrow-hide"]];

function states(s) {
  const list = [];
  if (s.Instances > 0 && s.Answered === 0) list.push(badge("empty", "nobody answers"), " ");
  if (s.Held > 0) list.push(badge("held", `${s.Held} held`), " ");
  if (s.Damped > 0) list.push(badge("damped", `${s.Damped} damped`), " ");
  if (s.Critical > 0) list.push(badge("critical", `${s.Critical} critical`), " ");
  if (s.Warning > 0) list.push(badge("warning", `${s.Warning} warning`), " ");
  if (list.length === 0) list.push(badge("passing", "all pass"));
  return list;
}

const row = s => h("tr", {"data-service": s.Name},
  h("td", null, serviceLink(s.Name)), h("td", null, bar(s)),
  h("td", {class: "number"}, s.Answered), h("td", {class: "number narrow-hide"}, s.Instances),
  h("td", null, states(s)), h("td", {class: "narrow-hide"}, tags(s.Tags)));

const summary = data => tiles([[data.Total, "services"], [data.Sum.Instances, "instances"],
  [data.Sum.Answered, "in the answers"], [data.Sum.Critical, "critical"], [data.Sum.Held, "held by the guard"],
  [data.Sum.Damped, "damped"]]);

export function services(main) {
  const top = h("div");
  let list;
  const form = findForm([["search", "Name contains"], ["tag", "Tag"], ["node", "On node"],
    ["state", "State", STATES], ["sort", "Order", [["", "by name"], ["trouble", "worst first"]]]], () => list.again());
  main.replaceChildren(h("h1", null, "Services"), top, form);
  list = longList(main, {path: "/v1/muster/services", key: "Services", columns: COLUMNS, row, label: "Services",
    fields: () => form.values(), summary: data => top.replaceChildren(summary(data))});
  return list.stop;
}

/** "It hurts here": what is wrong, worst first; in the best case that nothing is. */
export function overview(main) {
  const top = h("div"), box = h("div");
  main.replaceChildren(h("h1", null, "It hurts here"), top, box);
  return follow(async () => {
    const {data} = await getJson("/v1/muster/services?sort=trouble&limit=50");
    const bad = data.Services.filter(s => s.Critical + s.Warning + s.Held + s.Damped > 0 || (s.Instances > 0 && s.Answered === 0));
    top.replaceChildren(summary(data));
    box.replaceChildren(bad.length === 0
      ? h("p", {class: "empty"}, data.Total ? "Nothing hurts: every instance passes." : "Nothing is registered yet.")
      : h("div", {class: "scroll"}, h("table", {"aria-label": "Services with trouble, worst first"},
        h("thead", null, h("tr", null, COLUMNS.map(([text, kind]) => h("th", {scope: "col", class: kind}, text)))),
        h("tbody", null, bad.map(row)))));
  }, 500);
}
