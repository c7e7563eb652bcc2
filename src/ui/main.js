// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0
// Which view is shown: the part of the address behind #.

import {h} from "./dom.js";
import {run} from "./live.js";
import {changes} from "./changes.js";
import {node, nodes} from "./nodes.js";
import {service} from "./service.js";
import {overview, services} from "./services.js";

const VIEWS = [
  [/^#?\/?$/, "overview", main => overview(main)],
  [/^#\/services$/, "services", main => services(main)],
  [/^#\/service\/(.+)$/, "services", (main, name) => service(main, name)],
  [/^#\/nodes$/, "nodes", main => nodes(main)],
  [/^#\/node\/(.+)$/, "nodes", (main, name) => node(main, name)],
  [/^#\/changes$/, "changes", main => changes(main)],
];

let stop = () => {};

function show(focus) {
  const main = document.getElementById("main");
  stop();
  stop = () => {};
  for (const [pattern, view, draw] of VIEWS) {
    const match = pattern.exec(location.hash);
    if (!match) continue;
    for (const a of document.querySelectorAll("nav a")) {
      if (a.dataset.view === view) a.setAttribute("aria-current", "page");
      else a.removeAttribute("aria-current");
    }
    let name;
    try { name = match[1] && decodeURIComponent(match[1]); } catch { name = match[1]; }
    stop = draw(main, name);
    document.title = name ? `${name} - muster` : "muster";
    if (focus) main.focus();
    return;
  }
  main.replaceChildren(h("p", {class: "problem"}, "There is no such view."));
}

addEventListener("hashchange", () => show(true));
addEventListener("keydown", e => {
  if (e.key !== "/" || e.ctrlKey || e.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName)) return;
  const search = document.querySelector("input[type=search]");
  if (search) { e.preventDefault(); search.focus(); }
});
addEventListener("unhandledrejection", e => {
  const main = document.getElementById("main");
  main.querySelector(".problem")?.remove();
  main.prepend(h("p", {class: "problem", role: "alert"}, `This cannot be shown now: ${e.reason?.message ?? e.reason}`));
});
show(false);
run();
