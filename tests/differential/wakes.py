# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Which change answers which long poll, on both.

A poll that was not woken has lasted its whole wait, whatever the machine's load;
so one that came back before was woken."""

import concurrent.futures
import time

import compare
import meant
import muster
from ask import check, node, put, service

W1, W2 = "10.0.0.1", "10.0.0.2"

WATCHED = [
    "/v1/health/service/web", "/v1/health/service/web?passing",
    "/v1/health/service/web?tag=blue", "/v1/catalog/service/web",
    "/v1/health/checks/web", "/v1/health/service/other",
    "/v1/health/service/absent", "/v1/catalog/service/absent",
    "/v1/catalog/nodes", "/v1/catalog/services",
    "/v1/catalog/services?node-meta=rack:a",
    "/v1/catalog/node/w1", "/v1/catalog/node-services/w1", "/v1/health/node/w1",
    "/v1/health/state/any", "/v1/health/state/critical",
    "/v1/catalog/node/absent",
]


def web_check(status, output=""):
    return {"CheckID": "c1", "Name": "c", "ServiceID": "web-1",
            "Status": status, "Output": output}


def web(port=80, status="passing", output="", name="web"):
    return node("w1", W1, Service={"ID": "web-1", "Service": name, "Port": port,
                                   "Tags": ["blue"]},
                Check=web_check(status, output))


def world():
    return [web(), node("w1", W1, Check={"CheckID": "n1", "Status": "passing"}),
            node("w2", W2, Service={"ID": "web-2", "Service": "web"},
                 Check={"CheckID": "c2", "ServiceID": "web-2", "Name": "c",
                        "Status": "warning"}),
            node("w2", W2, Service={"Service": "other"}),
            service("own", Check={"TTL": "1h"})]


def drop(**what):
    return put("/v1/catalog/deregister", what)


CHANGES = {
    "the same again": [web()],
    "an unrelated service": [node("w2", W2, Service={"Service": "unrelated"})],
    "an unrelated node": [node("w3", "10.0.0.3")],
    "an unrelated agent service": [service("own-2")],
    "one more instance": [node("w2", W2, Service={"ID": "web-3", "Service": "web"})],
    "another port": [web(port=81)],
    "a check turns critical": [web(status="critical")],
    "a check's output": [web(output="new")],
    "a warning turns critical": [
        node("w2", W2, Check={"CheckID": "c2", "ServiceID": "web-2", "Name": "c",
                              "Status": "critical"})],
    "a check of another service": [
        node("w2", W2, Check={"CheckID": "c3", "ServiceID": "other", "Name": "c",
                              "Status": "critical"})],
    "the node's check turns critical": [
        node("w1", W1, Check={"CheckID": "n1", "Status": "critical"})],
    "the node's address": [node("w1", "10.0.0.9")],
    "one instance less": [drop(Node="w2", ServiceID="web-2")],
    "the last instances go": [drop(Node="w2", ServiceID="web-2"),
                              drop(Node="w1", ServiceID="web-1")],
    "a check less": [drop(Node="w1", CheckID="c1")],
    "a node less": [drop(Node="w1")],
    "the same ID under another name": [web(name="renamed")],
    "the absent one comes": [node("w2", W2, Service={"Service": "absent"})],
    "a beat without change": [put("/v1/agent/check/fail/service:own")],
    "a beat that passes": [put("/v1/agent/check/pass/service:own")],
    "an agent's node check": [check("disk", TTL="1h")],
}


class Watch(muster.Poll):
    def __init__(self, peer, path, wait):
        first = peer.get(path)
        self.wait = wait
        self.began = time.monotonic()
        super().__init__(peer, path, first.index, f"{int(wait * 1000)}ms")

    @property
    def woken(self):
        assert self.result().status == 200, self.result().text
        return self.at - self.began < self.wait


def woken_by_both(ours, theirs, change, wait):
    with concurrent.futures.ThreadPoolExecutor(2) as both:
        return list(both.map(lambda p: woken_by(p, change, wait),
                             (ours, theirs)))


def differences(ours, theirs, change, wait):
    """What one side alone wakes, without being meant."""
    sides = {}
    sides["muster"], sides["consul"] = woken_by_both(ours, theirs, change, wait)
    found = []
    for side, other in (("muster", "consul"), ("consul", "muster")):
        meant_paths, _ = meant.WAKES.get((change, side), (set(), ""))
        alone = sides[side] - sides[other]
        found += [f"{change}: only {side} wakes {p}"
                  for p in sorted(alone - meant_paths)]
        found += [f"{change}: {p} is meant to be woken by {side} alone"
                  for p in sorted(meant_paths - alone)]
    return found


def woken_by(peer, change, wait):
    """The paths whose polls the change answers."""
    compare.sweep(peer)
    for request in world():
        assert peer.request(request.method, request.path,
                            body=request.body).status == 200
    watches = {path: Watch(peer, path, wait) for path in WATCHED}
    if peer.kind == "muster":
        muster.until(lambda: muster.parked(peer) == len(watches), "all park")
    for request in CHANGES[change]:
        answer = peer.request(request.method, request.path, body=request.body)
        assert answer.status == 200, answer.text
    return {path for path, w in watches.items() if w.woken}
