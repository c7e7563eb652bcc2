// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0
// A long table of which only what can be seen is asked for and drawn: the server
// pages, the page scrolls. Rows are ROW_PX high (style.css, .long td).

import {getJson, h} from "./dom.js";
import {follow} from "./live.js";

const ROW_PX = 40, CHUNK = 50, EVERY_MS = 600;

/** fields: the search form, name -> value. Draws into host; returns how to stop. */
export function longList(host, {path, key, columns, row, summary, fields, label}) {
  const chunks = new Map(); // number -> rows
  let matching = 0, drawn = "", generation = 0;
  const body = h("tbody");
  const table = h("table", {"aria-label": label}, h("thead", null, h("tr", null,
    columns.map(([text, kind]) => h("th", {scope: "col", class: kind}, text)))), body);
  const scroll = h("div", {class: "scroll long", tabindex: 0, role: "region", "aria-label": label}, table);
  const count = h("p", {class: "quiet", role: "status"});
  host.append(count, scroll);

  const query = chunk => {
    const p = new URLSearchParams();
    for (const [name, value] of Object.entries(fields())) if (value) p.set(name, value);
    p.set("offset", chunk * CHUNK);
    p.set("limit", CHUNK);
    return `${path}?${p}`;
  };

  const visible = () => {
    const first = Math.max(0, Math.floor(scroll.scrollTop / ROW_PX) - 5);
    const last = Math.ceil((scroll.scrollTop + scroll.clientHeight) / ROW_PX) + 5;
    return [Math.floor(first / CHUNK), Math.floor(Math.max(first, last) / CHUNK)];
  };

  const gap = rows => {
    const cell = h("td", {colspan: columns.length});
    cell.style.height = `${rows * ROW_PX}px`;
    return h("tr", {class: "gap", "aria-hidden": "true"}, cell);
  };

  function draw() {
    const [from, to] = visible();
    const rows = [];
    for (let n = from; n <= to; n++) rows.push(...(chunks.get(n) ?? []));
    const text = JSON.stringify([from, matching, rows]);
    if (text === drawn) return; // nothing that can be seen is another
    drawn = text;
    const focused = document.activeElement?.getAttribute?.("href");
    table.setAttribute("aria-rowcount", matching + 1);
    const after = Math.max(0, matching - from * CHUNK - rows.length);
    body.replaceChildren(gap(from * CHUNK), ...rows.map(row), gap(after));
    if (focused) for (const a of body.querySelectorAll("a")) if (a.getAttribute("href") === focused) a.focus({preventScroll: true});
    count.textContent = `${matching} of them`;
  }

  async function load(all) {
    const mine = generation, [from, to] = visible();
    for (let n = from; n <= to; n++) {
      if (!all && chunks.has(n)) continue;
      const {data} = await getJson(query(n));
      if (mine !== generation) return;
      matching = data.Matching;
      chunks.set(n, data[key]);
      summary?.(data);
    }
    if (all) for (const n of chunks.keys()) if (n < from || n > to) chunks.delete(n);
    draw();
  }

  const fail = e => { count.textContent = `This cannot be shown: ${e.message}`; };
  let pending = false;
  scroll.addEventListener("scroll", () => {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; draw(); load(false).catch(fail); });
  });
  const stop = follow(() => load(true).catch(fail), EVERY_MS);
  return {
    stop,
    again() { generation++; chunks.clear(); scroll.scrollTop = 0; load(true).catch(fail); },
  };
}

/** A search form; changed is called when somebody has typed. */
export function findForm(inputs, changed) {
  let timer;
  const later = () => { clearTimeout(timer); timer = setTimeout(changed, 150); };
  const controls = inputs.map(([name, label, options, value]) => {
    const control = options
      ? h("select", {name, on: {change: later}}, options.map(([v, text]) => h("option", {value: v, selected: v === value}, text)))
      : h("input", {name, type: "search", autocomplete: "off", spellcheck: "false", value, on: {input: later}});
    return h("label", null, label, control);
  });
  const form = h("form", {class: "find", role: "search", on: {submit: e => { e.preventDefault(); changed(); }}}, controls);
  form.values = () => Object.fromEntries(new FormData(form).entries());
  return form;
}
