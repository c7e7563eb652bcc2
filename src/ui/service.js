// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0
// One service: who is in the answers, who is not and why, what happened.

import {badge, getIfThere, getJson, h, moment, nodeLink, pairs, tags, tiles} from "./dom.js";
import {follow} from "./live.js";
import {check} from "./nodes.js";

const HISTORY_ROWS = 60;

function state(i, entry) {
  if (entry?.Draining) return badge("held", i.In ? "draining" : "out, draining");
  if (i.In) return i.Rule === "held" ? badge("held", "in, held") : badge("passing", "in");
  if (i.Rule === "damped") return badge("damped", "out, damped");
  return badge(i.Rule === "warning" ? "warning" : "critical", "out");
}

function why(i, entry) {
  const c = i.Check, parts = [];
  if (c) parts.push(`${c.Name || c.CheckID} is ${c.Status}`);
  if (c?.Cause && c.Cause !== "evidence") parts.push(`by ${c.Cause}`);
  if (c?.Since) parts.push(`since ${new Date(c.Since).toLocaleTimeString()}`);
  if (c?.HeldSince) parts.push(`held since ${new Date(c.HeldSince).toLocaleTimeString()}`);
  if (c?.DampedUntil) parts.push(`damped until ${new Date(c.DampedUntil).toLocaleTimeString()}`);
  if (c?.Penalty) parts.push(`penalty ${c.Penalty}`);
  if (i.In && entry?.ReadySince) parts.push(`ready since ${new Date(entry.ReadySince).toLocaleTimeString()}`);
  return parts.length ? parts.join(", ") : i.Rule;
}

function instance(i, entry, open) {
  const s = entry?.Service ?? {};
  const key = `${i.Node}/${i.ServiceID}`;
  return h("tr", {"data-instance": i.ServiceID, "data-node": i.Node},
    h("td", null, h("details", {"data-key": key, open: open.has(key)}, h("summary", null, i.ServiceID),
      pairs(s.Meta), entry ? h("ul", null, entry.Checks.map(check)) : null)),
    h("td", null, nodeLink(i.Node)), h("td", {class: "narrow-hide"}, `${i.Address}:${i.Port}`),
    h("td", null, state(i, entry)), h("td", null, why(i, entry)),
    h("td", {class: "number narrow-hide"}, s.Weights ? `${s.Weights.Passing} / ${s.Weights.Warning}` : ""),
    h("td", {class: "narrow-hide"}, tags(s.Tags)));
}

const COLUMNS = [["Instance"], ["Node"], ["Address", "narrow-hide"], ["In the answers"], ["Why"],
  ["Weights", "number narrow-hide"], ["Tags", "narrow-hide"]];

function what(c) {
  switch (c.What) {
  case "check": return `${c.CheckName || c.CheckID}: ${c.From || "new"} to ${c.To || "removed"}`;
  default: return [c.What, c.CheckName || c.CheckID || "", c.From || c.To ? `${c.From ?? ""} → ${c.To ?? ""}` : ""].filter(Boolean).join(" ");
  }
}

function history(data) {
  if (!data?.Changes?.length) return h("p", {class: "empty"}, "No change is retained.");
  return h("ol", {class: "line", "aria-label": "History, newest first"}, [...data.Changes].reverse().map(c =>
    h("li", {"data-kind": c.To ?? (c.What === "deregistered" ? "remove" : "put")}, moment(c.Time),
      h("b", null, c.ServiceID || ""), ` on ${c.Node}: ${what(c)}`,
      c.By ? h("span", {class: "quiet"}, ` by ${c.By}`) : null, c.Output ? h("pre", null, c.Output) : null)));
}

function watcher(w) {
  const lag = w.Kind === "stream" && w.Behind ? "behind" : w.LagMs > 0 ? `lag ${w.LagMs} ms` : "up to date";
  return h("tr", null, h("td", null, w.Label || "unnamed"), h("td", {class: "narrow-hide"}, w.Zone || ""), h("td", null, w.Server),
    h("td", null, w.Agent || ""), h("td", {class: "narrow-hide"}, w.Peer),
    h("td", {class: "narrow-hide"}, w.Kind), h("td", null, lag), h("td", {class: "number narrow-hide"}, w.AppliedIndex));
}

/** Who has to hear of a change here, and how far each is. */
function watchers(data) {
  const list = data?.Subscribers ?? [];
  const unproven = data?.Unproven?.length ?? 0;
  return [h("h2", null, "Who watches"),
    list.length === 0 ? h("p", {class: "empty"}, "Nobody tells what it has applied.")
      : h("div", {class: "scroll"}, h("table", {"aria-label": "Subscribers"}, h("thead", null, h("tr", null,
        [["Label"], ["Zone", "narrow-hide"], ["Server"], ["Agent"], ["From", "narrow-hide"], ["By", "narrow-hide"],
          ["How far"], ["Applied", "number narrow-hide"]]
          .map(([text, kind]) => h("th", {scope: "col", class: kind}, text)))), h("tbody", null, list.map(watcher)))),
    unproven ? h("p", {class: "quiet"}, `${unproven} more read it without telling.`) : null];
}

function bucket(n, upTo, most) {
  const i = h("i");
  i.style.width = `${100 * n / most}%`; // by the object model: no inline style in markup
  return h("tr", null, h("th", {scope: "row"}, upTo === undefined ? "longer" : `up to ${upTo} ms`),
    h("td", {class: "share"}, i), h("td", {class: "number"}, n));
}

/** How long its changes took from when they could be seen to when they were applied. */
function lag(data) {
  const of = data?.Services?.[0];
  if (!of) return null;
  const last = of.Buckets.reduce((at, n, i) => (n > 0 ? i : at), 0), most = Math.max(...of.Buckets, 1);
  return [h("h2", null, "How fast changes are applied"),
    h("p", {class: "quiet"}, `${of.Count} so far, ${of.MeanMs.toFixed(1)} ms in the mean, ${of.MaxMs} ms at most.`),
    h("table", {class: "histogram", "aria-label": "Lag"}, h("tbody", null,
      of.Buckets.slice(0, last + 1).map((n, i) => bucket(n, data.BucketsUpToMs[i], most))))];
}

export function service(main, name) {
  const box = h("div");
  const at = encodeURIComponent(name);
  main.replaceChildren(h("h1", null, "Service ", name), box);
  return follow(async () => {
    const [{data: told}, {data: entries}, past, watching, lags] = await Promise.all([
      getJson(`/v1/muster/explain/health/service/${at}?passing`), getJson(`/v1/health/service/${at}?look`),
      getIfThere(`/v1/muster/history/service/${at}?limit=${HISTORY_ROWS}`), getIfThere(`/v1/muster/watchers/${at}`),
      getIfThere(`/v1/muster/lag?service=${at}`)]);
    const open = new Set([...box.querySelectorAll("details[open]")].map(d => d.dataset.key));
    const find = i => entries.find(e => e.Service.ID.toLowerCase() === i.ServiceID.toLowerCase()
      && e.Node.Node.toLowerCase() === i.Node.toLowerCase());
    box.replaceChildren(
      tiles([[told.In, "in the answers"], [told.Out, "left out"], [told.Instances.filter(i => i.Rule === "held").length, "held by the guard"]]),
      told.Instances.length === 0 ? h("p", {class: "empty"}, "Nobody is registered under this name.")
        : h("div", {class: "scroll"}, h("table", {"aria-label": `Instances of ${name}`},
          h("thead", null, h("tr", null, COLUMNS.map(([text, kind]) => h("th", {scope: "col", class: kind}, text)))),
          h("tbody", null, told.Instances.map(i => instance(i, find(i), open))))),
      ...watchers(watching).filter(Boolean), ...(lag(lags) ?? []),
      h("h2", null, "What happened"), history(past));
  }, 400, names => names.has(name), 3000);
}
