# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""A client of event streams that keeps what it is told, as a real one would."""

import json
import re
import socket

from muster import LIMIT


class Event:
    def __init__(self, name, data, id_):
        self.name, self.data, self.id = name, data, id_

    def __repr__(self):
        return f"{self.name}({self.data}, id={self.id})"


class Stream:
    """Reads events one by one; entries and last_id are what a client has then.

    A snapshot takes the place of what was there when it is whole, not before.
    """

    def __init__(self, server, path, last_id=None, headers=(), entries=None,
                 version="1.1", buffer=None, tls=None, port=None):
        self.sets = dict(entries or {})  # subscription -> key -> entry
        self.many = path.startswith("/v1/muster/stream")
        self.last_id = last_id
        self.beats = 0
        self.age_ms = None  # of the data, by the last beat
        self.subscriber = None
        self.callers = None  # what it was told last
        self.snapshots = 0
        self.building = {}  # snapshots under way, the same
        self.ended = False
        self.socket = socket.socket()
        if buffer:  # a reader with little room
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(LIMIT)
        self.socket.connect(("127.0.0.1", port or server.port))
        if tls:  # an ssl.SSLContext
            self.socket = tls.wrap_socket(self.socket,
                                          server_hostname="localhost")
        lines = [f"GET {path} HTTP/{version}", "Host: x",
                 "Accept: text/event-stream", *headers]
        if last_id is not None:
            lines.append(f"Last-Event-ID: {last_id}")
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        for line in iter(self.file.readline, b"\r\n"):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        self.chunked = self.headers.get("transfer-encoding") == "chunked"
        self.text = b""

    def close(self):
        self.file.close()
        self.socket.close()

    def error(self):
        """The body of an answer that is no stream."""
        return self.file.read(int(self.headers["content-length"])).decode()

    def _more(self):
        if not self.chunked:
            line = self.file.readline()
            self.ended = not line
            self.text += line
            return
        size = int(self.file.readline() or b"0", 16)
        self.text += self.file.read(size)
        self.file.readline()
        self.ended = size == 0

    def event(self, limit=LIMIT):
        """The next event, already taken into entries; None: the stream ended."""
        self.socket.settimeout(limit)
        while True:
            while b"\n\n" not in self.text:
                self._more()
                if self.ended:
                    return None
            raw, _, self.text = self.text.partition(b"\n\n")
            event = self._parse(raw.decode())
            if event:
                return event

    def beat(self, limit=LIMIT):
        """The age of the data that the next beat tells, in ms."""
        self.socket.settimeout(limit)
        before = self.beats
        while self.beats == before:
            while b"\n\n" not in self.text:
                self._more()
                assert not self.ended
            raw, _, self.text = self.text.partition(b"\n\n")
            self._parse(raw.decode())
        return self.age_ms

    def _parse(self, raw):
        name, data, id_ = "message", [], None
        for line in raw.split("\n"):
            field, _, value = re.fullmatch(r"([^:]*)(: ?)?(.*)", line).groups()
            if field == "":
                self.beats += 1
                self.age_ms = int(re.search(r"age=(\d+)ms", value)[1])
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                id_ = int(value)
        if not data:
            return None
        event = Event(name, json.loads("\n".join(data)), id_)
        self._apply(event)
        return event

    @property
    def entries(self):
        return {k: e for s in self.sets.values() for k, e in s.items()}

    def _subject(self, data):
        if not self.many:
            return ""
        if "Prefix" in data:
            return "prefix " + data["Prefix"]
        return data.get("Service", "")

    def _apply(self, event):
        subject = self._subject(event.data)
        to = self.building.get(subject, self.sets.setdefault(subject, {}))
        if event.name == "subscriber":
            self.subscriber = event.data["Subscriber"]
        elif event.name == "snapshot" and event.data["Phase"] == "begin":
            self.building[subject] = {}
            self.snapshots += 1
        elif event.name == "snapshot":
            self.sets[subject] = self.building.pop(subject)
            assert len(self.sets[subject]) == event.data["Entries"]
        elif event.name == "put":
            to[event.data["Key"]] = event.data["Entry"]
        elif event.name == "remove":
            to.pop(event.data["Key"], None)
        elif event.name == "callers":
            self.callers = event.data
        else:
            assert event.name == "current", event
        if event.id is not None:
            assert event.id >= (self.last_id or 0) or self.snapshots, event
            self.last_id = event.id

    def until(self, condition, what, most=100000):
        """Reads on until condition() holds; the events read."""
        events = []
        while not condition():
            event = self.event()
            assert event, f"the stream ended before {what}"
            events.append(event)
            assert len(events) < most, f"{what}: not in {most} events"
        return events

    def ready(self):
        """Past the snapshot, or what came instead: the events until then."""
        seen = []

        def done():
            return any(e.name == "current" or e.name == "snapshot"
                       and e.data["Phase"] == "end" for e in seen)
        while not done():
            seen.append(self.event())
            assert seen[-1], "the stream ended at once"
        return seen

    def change(self):
        """The events up to the next one with an id."""
        events = [self.event()]
        while events[-1].id is None:
            events.append(self.event())
        return events


def check(server, node, check_id, status, service_id="", output=""):
    a = server.put("/v1/catalog/register", {
        "Node": node, "Address": "10.0.0.1", "SkipNodeUpdate": True,
        "Check": {"CheckID": check_id, "Name": check_id, "Status": status,
                  "ServiceID": service_id, "Output": output}})
    assert a.text == "true", a.text


def deregister(server, node, **what):
    a = server.put("/v1/catalog/deregister", {"Node": node, **what})
    assert a.text == "true", a.text


def names(events):
    return [e.name for e in events]


def open_ready(server, path, **kw):
    s = Stream(server, path, **kw)
    assert s.status == 200, s.error()
    s.ready()
    return s


def watchers(server, service):
    return server.get(f"/v1/muster/watchers/{service}").json["Subscribers"]
