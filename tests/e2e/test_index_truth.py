# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Watchers are told the truth: every change of their answer, and nothing else.

Random changes, watchers on every blocking route of the catalog, two on each so that
several serving threads take part. In the first half one change is made at a time: who
is answered must have got another answer. In the second half changes come without
pause from several writers. In another test the server is killed and started again
under them: it replays its log, and watchers go on with the index they hold. An answer is what a long poll waits for: its body, on
/v1/health/service without the Output and ModifyIndex of checks.

MUSTER_TRUTH_SEED chooses the changes, MUSTER_TRUTH_STEPS their number,
MUSTER_TRUTH_RESTARTS how often the server is killed.
"""

import http.client
import json
import os
import random
import socket
import threading

from muster import parked, until

SEED = int(os.environ.get("MUSTER_TRUTH_SEED", "1"))
STEPS = int(os.environ.get("MUSTER_TRUTH_STEPS", "250"))
RESTARTS = int(os.environ.get("MUSTER_TRUTH_RESTARTS", "4"))
WRITERS = 4

NODES = ["n0", "n1", "N2"]
SERVICES = ["a", "b", "C"]
STATUSES = ["passing", "warning", "critical"]

PATHS = [
    "/v1/catalog/nodes", "/v1/catalog/nodes?node-meta=rack:1",
    "/v1/catalog/services", "/v1/catalog/services?node-meta=rack:1",
    "/v1/catalog/service/a", "/v1/catalog/service/a?tag=t1",
    "/v1/catalog/service/c", "/v1/catalog/service/b?node-meta=rack:1",
    "/v1/catalog/node/n0", "/v1/catalog/node/n2",
    "/v1/catalog/node-services/n1",
    "/v1/health/service/a", "/v1/health/service/a?passing",
    "/v1/health/service/b?passing&tag=t1",
    "/v1/health/service/b?node-meta=rack:1", "/v1/health/service/c",
    "/v1/health/service/never",
    "/v1/health/checks/a", "/v1/health/checks/b?node-meta=rack:1",
    "/v1/health/node/n0", "/v1/health/node/n2",
    "/v1/health/state/any", "/v1/health/state/passing",
    "/v1/health/state/critical", "/v1/health/state/warning?node-meta=rack:1",
]


def significant(path, body):
    """What a watcher of this path waits for."""
    rows = json.loads(body)
    if path.startswith("/v1/health/service/"):
        for row in rows:
            for check in row["Checks"]:
                del check["Output"], check["ModifyIndex"]
    return json.dumps(rows)


class Watcher(threading.Thread):
    """Asks with the index it holds, again and again."""

    def __init__(self, world, path):
        super().__init__(daemon=True)
        self.world, self.path = world, path
        self.connection = world.server.connect(timeout=120)
        self.index, self.held = 0, None
        self.answers = self.repeated = 0

    def run(self):
        mark = "&" if "?" in self.path else "?"
        while not self.world.over:
            asked, single = self.index, self.world.single
            try:
                self.connection.request(
                    "GET", f"{self.path}{mark}index={asked}&wait=200s")
                answer = self.connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as e:
                if self.world.over:
                    return
                if not self.world.restarts:
                    self.fault(f"no answer: {e!r}")
                    return
                self.connection.close()
                self.world.wait_back()
                continue
            if answer.status == 500 and self.world.restarts:
                continue  # no leader yet
            if not self.world.over:
                self.take(answer, body, asked, single and self.world.single)

    def fault(self, text):
        self.world.faults.append(f"{self.path}: {text}")

    def take(self, answer, body, asked, single):
        if answer.status != 200:
            self.fault(f"{answer.status} {body[:200]}")
            return
        index = int(answer.headers["X-Consul-Index"])
        now = significant(self.path, body)
        if self.world.said.setdefault((self.path, index), now) != now:
            self.fault(f"index {index} stands for two answers")
        if index <= asked:
            self.fault(f"answered with {index}, asked with {asked}")
        if now == self.held:
            self.repeated += 1
            # Between an answer and the next question something may have moved
            # the index and not the answer; but not if nobody wrote.
            if single:
                self.fault(f"woken from {asked} to {index} by nothing")
        self.answers += 1
        self.index = index
        self.held = now


class World:
    def __init__(self, server, restarts=False):
        self.server, self.restarts = server, restarts
        self.back = threading.Event()
        self.back.set()
        self.said = {}  # (path, index) -> answer
        self.over, self.single = False, True
        self.faults = []
        self.watchers = [Watcher(self, p) for p in PATHS for _ in range(2)]

    def restart(self):
        self.back.clear()
        self.server.kill()
        self.server.start()
        self.back.set()

    def wait_back(self):
        assert self.back.wait(60)

    def put(self, connection, path, body):
        a = self.server.put(path, body, connection=connection)
        assert a.status == 200 or "Missing service" in a.text, (body, a.text)

    def behind(self):
        """Paths of watchers that do not hold what is true now."""
        fresh = {p: significant(p, self.server.get(p).body) for p in PATHS}
        return [w.path for w in self.watchers if w.held != fresh[w.path]]

    def settle(self, what):
        """Until all hold the truth and wait for more of it."""
        def settled():
            assert not self.faults, f"seed {SEED}, {what}: {self.faults[:5]}"
            return not self.behind() and parked(self.server) == len(self.watchers)
        try:
            until(settled, "all watchers know")
        except AssertionError as e:
            raise AssertionError(f"seed {SEED}, {what}: {e} {self.behind()}") from e

    def end(self):
        self.over = True
        for w in self.watchers:
            if w.connection.sock:
                w.connection.sock.shutdown(socket.SHUT_RDWR)
        for w in self.watchers:
            w.join(30)
            assert not w.is_alive()


def change(rng):
    """A request that changes something, or not."""
    node, service = rng.choice(NODES), rng.choice(SERVICES)
    if rng.random() < 0.1:
        node = node.swapcase()  # the same node, written otherwise
    instance = f"{service}{rng.randrange(2)}"
    kind = rng.randrange(12)
    base = {"Node": node, "Address": "10.0.0.1", "SkipNodeUpdate": True}
    if kind < 3:
        return "register", {**base, "Service": {
            "ID": instance, "Service": service, "Port": rng.randrange(3),
            "Tags": rng.choice([["t1"], ["t1", "t2"], []])}}
    if kind == 3:  # an ID under another name
        return "register", {**base, "Service": {
            "ID": instance, "Service": rng.choice(SERVICES), "Tags": ["t1"]}}
    if kind < 7:
        return "register", {**base, "Check": {
            "CheckID": f"check-{instance}", "Name": "c", "ServiceID": instance,
            "Status": rng.choice(STATUSES), "Output": str(rng.randrange(3))}}
    if kind == 7:
        return "register", {**base, "Check": {
            "CheckID": "whole-node", "Name": "c", "Status": rng.choice(STATUSES),
            "Output": str(rng.randrange(3))}}
    if kind == 8:
        return "register", {
            "Node": node, "Address": f"10.0.0.{rng.randrange(1, 3)}",
            "NodeMeta": {"rack": str(rng.randrange(2))}}
    if kind == 9:
        return "deregister", {"Node": node, "ServiceID": instance}
    if kind == 10:
        return "deregister", {"Node": node, "CheckID": rng.choice(
            [f"check-{instance}", "whole-node"])}
    if rng.random() < 0.5:
        return "deregister", {"Node": node}
    return "register", {**base, "Service": {  # all in one
        "ID": instance, "Service": service, "Port": rng.randrange(3)},
        "Checks": [{"CheckID": f"check-{instance}", "Name": "c",
                    "ServiceID": instance, "Status": rng.choice(STATUSES)},
                   {"CheckID": "whole-node", "Name": "c",
                    "Status": rng.choice(STATUSES)}]}


def write_many(world, seed):
    rng = random.Random(seed)
    c = world.server.connect()
    try:
        for _ in range(STEPS):
            action, body = change(rng)
            world.put(c, f"/v1/catalog/{action}", body)
    except Exception as e:  # shown by settle()
        world.faults.append(f"writer: {e!r}")
    finally:
        c.close()


def test_watchers_learn_every_change_and_wake_for_nothing_else(server):
    world = World(server)
    for w in world.watchers:
        w.start()
    world.settle("at first")
    rng = random.Random(SEED)
    c = server.connect()
    for step in range(STEPS):
        action, body = change(rng)
        world.put(c, f"/v1/catalog/{action}", body)
        world.settle(f"step {step}, {action} {body}")
    c.close()
    alone = sum(w.answers for w in world.watchers)

    world.single = False
    threads = [threading.Thread(target=write_many, args=(world, SEED * 100 + n))
               for n in range(WRITERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    world.settle("after the burst")
    world.end()
    assert not world.faults, world.faults[:5]
    answers = sum(w.answers for w in world.watchers)
    repeated = sum(w.repeated for w in world.watchers)
    print(f"seed {SEED}: {alone} answers to {STEPS} changes, "
          f"{answers - alone} to {WRITERS * STEPS} at once, {repeated} repeated")
    assert all(w.answers > 3 for w in world.watchers
               if "never" not in w.path), "every path saw changes"


def test_a_restart_neither_lowers_an_index_nor_gives_it_to_another_answer(make_server):
    server = make_server().start()
    world = World(server, restarts=True)
    world.single = False  # one answer more for each watcher, as the floor rises
    for w in world.watchers:
        w.start()
    rng = random.Random(SEED)
    changes = STEPS // (RESTARTS + 1)
    for life in range(RESTARTS + 1):
        c = server.connect()
        for _ in range(changes):
            action, body = change(rng)
            world.put(c, f"/v1/catalog/{action}", body)
        c.close()
        world.settle(f"life {life}")
        before = sum(w.answers for w in world.watchers)
        if life < RESTARTS:
            world.restart()
            world.settle(f"after restart {life + 1}")
            more = sum(w.answers for w in world.watchers) - before
            assert more <= len(world.watchers), "one answer each at most"
    world.end()
    assert not world.faults, world.faults[:5]
