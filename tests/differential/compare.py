# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Sends a request to both and says in what their answers differ.

What cannot be equal is made equal first, and only that: indexes keep whether
they are 0, equal to the record's CreateIndex, or above it; ports and addresses
of the process itself get names; what Consul sends in random order is sorted.
The order of members counts, because Go's structs have one."""

import copy
import dataclasses
import gzip
import http.client
import json
import re

import ask
import meant
import muster
import peers

HEADERS = ("content-type", "content-encoding", "vary", "allow", "location",
           "connection", "x-cache", "age", "x-consul-effective-consistency",
           "x-consul-index", "x-consul-knownleader", "x-consul-lastcontact",
           "x-consul-contenthash", "x-consul-reason",
           "x-consul-translate-addresses")


@dataclasses.dataclass
class Outcome:
    status: int  # 0: the connection was dropped without an answer
    headers: dict
    body: object  # a JSON value, or text; objects are lists of (name, value)

    @property
    def line(self):
        """One line for the patterns in meant.py."""
        body = self.body if isinstance(self.body, str) else plain_text(self.body)
        return f"{self.status} {body}"


class Object(list):
    """A JSON object: a list of (name, value), in order."""

    def get(self, name):
        return next((v for k, v in self if k == name), None)


def plain_text(value):
    return json.dumps(plain(value))


def plain(value):
    if isinstance(value, Object):
        return {k: plain(v) for k, v in value}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def normal(value, ports):
    """Indexes by their meaning, own ports by their name."""
    if isinstance(value, Object):
        create = value.get("CreateIndex")
        done = Object()
        for k, v in value:
            if k == "CreateIndex":
                v = "0" if v == 0 else "some"
            elif k == "ModifyIndex":
                v = "0" if v == 0 else "as created" if v == create else \
                    "later" if v > create else "before it was created"
            else:
                v = normal(v, ports)
            done.append((k, v))
        return done
    if isinstance(value, list):
        return [normal(v, ports) for v in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return next((f"<{n}>" for n, p in ports.items() if p == value), value)
    if isinstance(value, str):
        return named_ports(value, ports)
    return value


def named_ports(text, ports):
    for name, port in ports.items():
        text = re.sub(rf"(?<!\d){port}(?!\d)", f"<{name}>", text)
    return text


def sort_random(path, body):
    """Consul walks Go maps here, in an order that means nothing."""
    if not isinstance(body, list):
        return body
    if isinstance(body, Object) and path.startswith("/v1/catalog/services"):
        return Object(sorted((k, sorted(v)) for k, v in body))
    if isinstance(body, Object) and path.startswith("/v1/catalog/node/"):
        # A map, which has no order; muster's is that of its other answers.
        body.get("Services").sort(key=lambda member: member[0])
    if path.startswith("/v1/agent/health/service/"):
        entries = [body] if isinstance(body, Object) else body
        for e in entries:
            checks = e.get("Checks") if isinstance(e, Object) else None
            if checks:
                checks.sort(key=lambda c: c.get("CheckID"))
        if entries is body:
            body.sort(key=plain_text)
    if path == "/v1/query" and not isinstance(body, Object):
        body.sort(key=lambda q: q.get("Name"))  # by ID, which is random
    if path.startswith("/v1/query/") and isinstance(body, Object) and \
            is_list(body.get("Nodes")):
        body.get("Nodes").sort(key=name_of)  # shuffled
    if path.startswith("/v1/health/service/") and "passing" in path:
        # 1.8.7 fills the gaps of ?passing with rows of the end.
        body.sort(key=lambda e: (e.get("Node").get("Node").lower(),
                                 e.get("Service").get("ID").lower()))
    return body


UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def remember_id(request, peer, text):
    """Of a query that was made: paths and bodies name it <id of NAME>."""
    made = re.fullmatch(r'\{"ID":"(.*)"\}', text)
    if made:
        name = json.loads(request.body)["Name"]
        peer.query_ids[f"<id of {name}>"] = made[1]


def with_ids(request, peer):
    path, body = request.path, request.body
    for name, uuid in peer.query_ids.items():
        path = path.replace(name, uuid)
        body = body and body.replace(name.encode(), uuid.encode())
    return dataclasses.replace(request, path=path, body=body)


def outcome(request, peer, answer):
    headers = {k: v for k, v in answer.headers.items() if k in HEADERS}
    raw = answer.body
    if headers.get("content-encoding") == "gzip":
        raw = gzip.decompress(raw)
    if "x-consul-index" in headers:
        headers["x-consul-index"] = \
            "0" if int(headers["x-consul-index"]) == 0 else "some"
    text = raw.decode(errors="backslashreplace")
    if request.path.startswith("/v1/query"):
        remember_id(request, peer, text)
        text = UUID.sub("<uuid>", text)
    try:
        body = normal(json.loads(text, object_pairs_hook=Object), peer.ports)
        body = sort_random(request.path, body)
        if "pretty" in request.path:  # the text itself is the point
            body = normal_text(text, peer.ports)
    except ValueError:
        body = named_ports(text, peer.ports)
    return Outcome(answer.status, headers, body)


def normal_text(text, ports):
    text = re.sub(r'("(?:Create|Modify)Index": )[1-9]\d*', r"\1<index>", text)
    return named_ports(text, ports)


def send(request, peer):
    """Over one connection per peer, as clients do."""
    for fresh in (False, True):
        if peer.connection is None:
            peer.connection = peer.connect()
            fresh = True
        try:
            sent = with_ids(request, peer)
            answer = peer.request(sent.method, sent.path, body=sent.body,
                                  headers=sent.headers,
                                  connection=peer.connection)
            if answer.headers.get("connection") == "close":
                drop_connection(peer)
            return outcome(request, peer, answer)
        except (http.client.HTTPException, ConnectionError):
            drop_connection(peer)
            if fresh:  # not an idle connection that was closed meanwhile
                return Outcome(0, {}, "")
    raise AssertionError("not reached")


def drop_connection(peer):
    if peer.connection:
        peer.connection.close()
    peer.connection = None


def sweep(peer):
    """Takes away whatever the section before has left."""
    for check_id in peer.get("/v1/agent/checks").json:
        peer.put("/v1/agent/check/deregister/" + muster.quote(check_id))
    for service_id in peer.get("/v1/agent/services").json:
        peer.put("/v1/agent/service/deregister/" + muster.quote(service_id))
    for node in peer.get("/v1/catalog/nodes").json:
        if node["Node"] != peers.NODE:
            peer.put("/v1/catalog/deregister", {"Node": node["Node"]})
    for query in peer.get("/v1/query").json:
        peer.request("DELETE", "/v1/query/" + query["ID"])
    peer.query_ids.clear()
    assert peer.get("/v1/agent/services").json == {}
    assert list(peer.get("/v1/catalog/services").json) == ["consul"]


def differences(ours, theirs):
    """Lines that name what differs; none if nothing does."""
    found = []
    if ours.status != theirs.status:
        found.append(f"status: muster {ours.status}, consul {theirs.status}")
    for name in HEADERS:
        a, b = ours.headers.get(name), theirs.headers.get(name)
        if a != b:
            found.append(f"{name}: muster {a!r}, consul {b!r}")
    if ours.body != theirs.body:
        walk("body", ours.body, theirs.body, found)
    return found


def walk(where, a, b, found):
    if isinstance(a, Object) and isinstance(b, Object):
        walk_objects(where, a, b, found)
    elif is_list(a) and is_list(b) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            if x != y:
                walk(f"{where}[{name_of(x) or i}]", x, y, found)
    elif is_list(a) and is_list(b) and all(map(name_of, a + b)):
        walk_objects(where, Object((name_of(x), x) for x in a),
                     Object((name_of(x), x) for x in b), found)
    else:
        found.append(f"{where}: muster {show(a)}")
        found.append(f"{' ' * len(where)}  consul {show(b)}")


def walk_objects(where, a, b, found):
    ka, kb = [k for k, _ in a], [k for k, _ in b]
    only_a = [k for k in ka if k not in kb]
    only_b = [k for k in kb if k not in ka]
    if only_a:
        found.append(f"{where}: only muster has {only_a}")
    if only_b:
        found.append(f"{where}: only consul has {only_b}")
    if not only_a and not only_b and ka != kb:
        found.append(f"{where}: order: muster {ka}, consul {kb}")
    for k, v in a:
        if k in kb and v != b.get(k):
            walk(f"{where}.{k}", v, b.get(k), found)


def is_list(value):
    return isinstance(value, list) and not isinstance(value, Object)


def name_of(value):
    """What a row of a list is about: node and ID."""
    if not isinstance(value, Object):
        return ""
    inner = value.get("Service")
    if isinstance(inner, Object):
        node = value.get("Node")
        return f"{node and node.get('Node')} {inner.get('ID')}"
    names = [value.get(n) for n in ("Node", "CheckID", "ServiceID", "ID")]
    return " ".join(str(n) for n in names if n)


def show(value):
    text = repr(value) if isinstance(value, str) else plain_text(value)
    return text if len(text) < 600 else text[:600] + "..."


class Comparison:
    """Counts requests, and which meant differences were met."""

    def __init__(self, ours, theirs):
        self.ours = ours
        self.theirs = theirs
        self.requests = 0
        self.met = {}

    def run(self, request):
        """Sends it to both. Returns whether both took it or both did not, and
        what differs without being meant."""
        self.requests += 1
        a = send(request, self.ours)
        b = send(request, self.theirs)
        agreed = a.status == b.status
        for rule in meant.RULES:
            if not rule.asks(request):
                continue
            before = copy.deepcopy((a, b))
            a, b = rule.settle(request, a, b)
            if (a, b) != before:
                self.met[rule.name] = self.met.get(rule.name, 0) + 1
        return agreed, differences(a, b)

    def run_section(self, section):
        """All of it, on clean servers; a text for each request that differs."""
        found = []

        def one(request):
            agreed, lines = self.run(request)
            if lines:
                found.append("\n    ".join([str(request)[:300], *lines]))
            return agreed

        for peer in (self.ours, self.theirs):
            sweep(peer)
        for item in section:
            if isinstance(item, ask.Tried):
                if one(item.write):
                    for request in item.reads:
                        one(request)
                for request in item.undo:
                    one(request)
            else:
                one(item)
        return found
