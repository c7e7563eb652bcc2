# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""A 200 to a write means that it survives kill -9.

Writers register instances without pause, the server is killed at a random moment
and started again: every acknowledged registration must be there. MUSTER_KILL_ROUNDS
sets the number of rounds (default 5), MUSTER_KILL_SEED the moments.
"""

import http.client
import json
import os
import random
import threading

import muster

ROUNDS = int(os.environ.get("MUSTER_KILL_ROUNDS", "5"))
SEED = int(os.environ.get("MUSTER_KILL_SEED", "1"))
WRITERS = 8


class Writer(threading.Thread):
    """Registers one instance after the other until the server is gone."""

    def __init__(self, server, name, acknowledged):
        super().__init__(daemon=True)
        self.server, self.name_, self.acknowledged = server, name, acknowledged
        self.refused = []

    def run(self):
        c = self.server.connect()
        n = 0
        while True:
            n += 1
            instance = f"{self.name_}-{n}"
            body = json.dumps({
                "Node": f"node-{self.name_}", "Address": "10.1.0.1",
                "Service": {"ID": instance, "Service": "durable", "Port": n},
                "Check": {"CheckID": f"c-{instance}", "Name": "c",
                          "ServiceID": instance, "Status": "passing"}})
            try:
                c.request("PUT", "/v1/catalog/register", body)
                r = c.getresponse()
                text = r.read()
            except (OSError, http.client.HTTPException):
                return  # killed: this one was not acknowledged
            if r.status == 200:
                self.acknowledged.append((instance, n))
            else:
                self.refused.append((r.status, text))


def test_every_acknowledged_registration_survives_kill_9(make_server):
    rng = random.Random(SEED)
    server = make_server().start()
    acknowledged = []
    for round_ in range(ROUNDS):
        writers = [Writer(server, f"r{round_}w{i}", acknowledged)
                   for i in range(WRITERS)]
        floor = len(acknowledged)
        for w in writers:
            w.start()
        # At a random number of writes, which is a random moment of the disk's.
        want = floor + rng.randint(1, 400)
        muster.until(lambda: len(acknowledged) >= want, "the writers write")
        server.kill()
        for w in writers:
            w.join(30)
            assert not w.is_alive() and not w.refused, w.refused
        server.start()
        there = {e["Service"]["ID"]: (e["Service"]["Port"], len(e["Checks"]))
                 for e in server.get("/v1/health/service/durable?passing").json}
        lost = [i for i, port in acknowledged if there.get(i) != (port, 1)]
        assert not lost, f"round {round_}, seed {SEED}: lost {lost[:5]}"
        print(f"round {round_}: {len(acknowledged)} acknowledged, 0 lost")
    assert len(acknowledged) >= ROUNDS


def test_an_index_never_falls_over_a_restart(make_server):
    server = make_server().start()
    server.register("n", "s", "s1")
    server.put("/v1/catalog/deregister", {"Node": "n", "ServiceID": "s1"})
    before = server.get("/v1/health/service/s")
    server.kill()
    server.start()
    after = server.get("/v1/health/service/s")
    assert after.index >= before.index and after.json == []
    # A watcher that held the old index is answered, or waits, but never lower.
    again = server.get(f"/v1/health/service/s?index={before.index}&wait=100ms")
    assert again.index >= before.index


def test_two_servers_on_one_directory_are_refused(make_server):
    first = make_server().start()
    second = make_server()
    second.folder = first.folder
    second.log_path = first.folder / "log2"
    second.spawn()
    assert second.process.wait(muster.LIMIT) == 1
    assert "another process" in second.log() or "in use" in second.log()
    assert first.get("/v1/status/leader").status == 200
