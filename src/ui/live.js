// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0
// One event stream of all changes drives the page. It is read with fetch, not with
// EventSource, because the beats between events, which carry the age of the data,
// are comments that EventSource does not show.

import {ago, getJson} from "./dom.js";

const BEAT_MS = 15000; // the server's; without anything for longer, something is wrong
const KEPT_CHANGES = 300;
const ACK_MS = 1000; // what was applied is told together
const RETRY_MS = 500, RETRY_MAX_MS = 10000;

const listeners = new Set();
export const changes = []; // newest first
let stream = null; // ends the connection
let subscriber = null, acked = null;
let lastId = null, lastByte = 0, lastChange = 0, age = 0, state = "connecting", inSnapshot = false;

/** f(names): names of services that changed; null: anything may have. */
export function onChange(f) {
  listeners.add(f);
  return () => listeners.delete(f);
}

function tell(names) {
  for (const f of listeners) f(names);
}

function show() {
  const silent = Date.now() - lastByte;
  const box = document.getElementById("live");
  let text;
  if (state === "live" && silent <= BEAT_MS * 1.5) {
    text = lastChange ? `live, last change ${ago(Date.now() - lastChange)} ago` : "live";
    if (age > 1000) text += `, data ${ago(age)} old`;
  } else {
    text = lastByte ? `not connected, data ${ago(silent + age)} old` : "connecting";
  }
  box.dataset.state = text.startsWith("live") ? "live" : lastByte ? "lost" : "connecting";
  const shown = document.getElementById("live-text");
  if (shown.textContent !== text) shown.textContent = text;
}

function take(event) {
  const data = event.data ? JSON.parse(event.data) : {};
  if (event.event === "snapshot") {
    // The server cannot tell what was missed: everything may be another.
    inSnapshot = data.Phase === "begin";
    if (!inSnapshot) tell(null);
  } else if ((event.event === "put" || event.event === "remove") && !inSnapshot) {
    const name = data.Entry?.Service?.Service ?? data.Service;
    lastChange = Date.now();
    changes.unshift({kind: event.event, when: new Date(), ...data, Service: name});
    changes.length = Math.min(changes.length, KEPT_CHANGES);
    tell(name === undefined ? null : new Set([name]));
  }
  if (event.event === "subscriber") subscriber = data.Subscriber;
  if (event.id) lastId = event.id;
}

// Who drains an instance waits for every subscriber, and this page is one.
function acknowledge() {
  if (state !== "live" || !subscriber || lastId === null || lastId === acked) return;
  acked = lastId;
  fetch("/v1/muster/ack", {method: "PUT", body: JSON.stringify([{Subscriber: subscriber, Index: Number(lastId)}])})
    .catch(() => { acked = null; }); // the connection is gone; the next one tells again
}

// A page that was closed holds nothing: nobody need wait for it. The browser may keep it,
// with its connection; if it is shown again it connects anew.
function bye() {
  stream?.abort();
  if (!subscriber) return;
  fetch("/v1/muster/ack", {method: "PUT", keepalive: true, body: JSON.stringify([{Subscriber: subscriber, Index: 0, Gone: true}])})
    .catch(() => {});
  subscriber = null;
}

function comment(text) {
  const beat = /age=(\d+)ms/.exec(text);
  if (beat) age = Number(beat[1]);
}

// https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
async function read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", event = {};
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    lastByte = Date.now();
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (event.event || event.data) take(event);
        event = {};
      } else if (line[0] === ":") {
        comment(line);
      } else {
        const at = line.indexOf(":");
        event[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, "");
      }
    }
    show();
  }
}

async function once() {
  if (lastId === null) lastId = String((await getJson("/v1/muster/services?limit=0")).index);
  stream = new AbortController();
  const answer = await fetch("/v1/muster/stream?all&subscriber=web-page", {
    headers: {Accept: "text/event-stream", "Last-Event-ID": lastId,
      ...(subscriber && {"X-Muster-Subscriber-Id": subscriber})}, // what that one held, this one answers for
    cache: "no-store", signal: stream.signal});
  if (!answer.ok) throw new Error(String(answer.status));
  lastByte = Date.now();
  state = "live";
  tell(null); // what happened while nobody listened
  await read(answer.body);
}

export async function run() {
  setInterval(show, 1000);
  setInterval(acknowledge, ACK_MS);
  addEventListener("pagehide", bye);
  let wait = RETRY_MS;
  for (;;) {
    try {
      await once();
    } catch {
      // Shown as "not connected"; tried again below.
    }
    wait = state === "live" ? RETRY_MS : Math.min(wait * 2, RETRY_MAX_MS);
    state = "lost";
    acked = null;
    inSnapshot = false;
    show();
    await new Promise(go => setTimeout(go, wait * (0.5 + Math.random())));
  }
}

/** Calls f now and after changes that concern it, at most each every_ms; where what it shows
 *  moves without a change (who watches), also each also_ms. */
export function follow(f, every_ms, concerns, also_ms) {
  let timer = null, busy = false, again = false, stopped = false;
  const go = async () => {
    timer = null;
    if (busy) { again = true; return; }
    busy = true;
    try { await f(); } finally {
      busy = false;
      if (again && !stopped) { again = false; soon(); }
    }
  };
  const soon = () => { timer ??= setTimeout(go, every_ms); };
  const off = onChange(names => { if (!names || !concerns || concerns(names)) soon(); });
  const beat = also_ms ? setInterval(soon, also_ms) : null;
  go();
  return () => { stopped = true; off(); clearTimeout(timer); clearInterval(beat); };
}
