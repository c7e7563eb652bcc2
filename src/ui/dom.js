// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0
// Elements from data. Text is only ever set as text: names, tags and outputs
// come from anywhere, and nothing here parses them as HTML.

/** h("td", {class: "x"}, "text", element, [more]): undefined and null are left out. */
export function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "on") for (const [type, f] of Object.entries(value)) element.addEventListener(type, f);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === undefined || child === null || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export const badge = (kind, text) => h("span", {class: `badge ${known(kind)}`}, text ?? kind);

function known(kind) {
  return ["passing", "warning", "critical", "held", "damped", "empty"].includes(kind) ? kind : "other";
}

export const tags = list => (list ?? []).map(tag => h("span", {class: "tag"}, tag));

export const serviceLink = name => h("a", {class: "name", href: `#/service/${encodeURIComponent(name)}`}, name);
export const nodeLink = name => h("a", {class: "name", href: `#/node/${encodeURIComponent(name)}`}, name);

/** Shares of passing, warning, critical and held of a whole. */
export function bar(counts) {
  const all = counts.Instances || 1;
  const held = Math.min(counts.Held, counts.Critical);
  const parts = [["passing", counts.Passing], ["warning", counts.Warning],
    ["held", held], ["critical", counts.Critical - held]];
  const bars = parts.filter(([, n]) => n > 0).map(([kind, n]) => {
    const i = h("i", {class: kind});
    i.style.width = `${100 * n / all}%`; // by the object model: no inline style in markup
    return i;
  });
  const label = parts.filter(([, n]) => n > 0).map(([kind, n]) => `${n} ${kind}`).join(", ") || "nothing";
  return h("span", {class: "bar", role: "img", "aria-label": label, title: label}, bars);
}

export function pairs(object) {
  const entries = Object.entries(object ?? {});
  if (entries.length === 0) return null;
  return h("dl", {class: "pairs"}, entries.map(([key, value]) => [h("dt", null, key), h("dd", null, value)]));
}

export function tiles(list) {
  return h("ul", {class: "tiles"}, list.map(([value, text]) =>
    h("li", null, h("b", null, value), h("span", null, text))));
}

/** Time of day, with the date for people who look at it: from RFC 3339 or a Date. */
export function moment(when) {
  const date = when instanceof Date ? when : new Date(when);
  if (Number.isNaN(date.getTime())) return h("time", null, "unknown");
  return h("time", {datetime: date.toISOString(), title: date.toLocaleString()},
    date.toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", second: "2-digit"}));
}

export function ago(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return `${Math.round(s / 3600)} h`;
}

export async function getJson(path) {
  const answer = await fetch(path, {headers: {Accept: "application/json"}});
  if (!answer.ok) throw new Error(`${answer.status}: ${(await answer.text()).slice(0, 300)}`);
  return {data: await answer.json(), index: Number(answer.headers.get("X-Consul-Index"))};
}

/** The same, but null where the server has no such route or thing. */
export async function getIfThere(path) {
  try {
    return (await getJson(path)).data;
  } catch (e) {
    if (/^(404|501|410)/.test(e.message)) return null;
    throw e;
  }
}
