# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""etcd's quota: writes go on where history alone would fill it, and an alarm is
answered by room and taken back by whoever holds the duty."""

import http.client
import json
import re
import socket

import pytest

import clusters
import etcd
from muster import until

pytestmark = pytest.mark.skipif(not etcd.INSTALLED, reason=etcd.WHY)

QUOTA = 48 << 20  # one client fills it in about ten seconds
VALUE = 4096


def metric(server, name):
    answer = server.get("/v1/agent/metrics?format=prometheus")
    found = re.search(rf"^muster_{name} (\S+)$", answer.text, re.M)
    assert found, f"no metric {name}"
    return float(found.group(1))


def write(server, i):
    answer = server.put("/v1/catalog/register", {
        "Node": "churn", "Address": "10.0.0.1",
        "Service": {"Service": "churn", "Meta": {
            f"m{k}": f"{i:08}" * 64 for k in range(VALUE // 512)}}})
    assert answer.status == 200, answer.text


def test_writes_go_on_though_their_history_would_fill_the_quota(make_server):
    cluster = etcd.Etcd(1, ["--quota-backend-bytes", str(QUOTA)])
    try:
        cluster.start()
        s = make_server("-store", cluster.url).start()
        until(lambda: metric(s, "store_etcd_quota") == QUOTA, "the quota")
        for i in range(QUOTA * 3 // 2 // VALUE):
            write(s, i)
        assert metric(s, "store_etcd_alarms") == 0
        assert metric(s, "store_compactions_early") > 0
        until(lambda: metric(s, "store_defragmentations") > 0,
              "a defragmentation")
        status = cluster.members[0].status()
        assert int(status["dbSize"]) < QUOTA
        assert "history is dropped before its time" in s.log()
        assert "a member of etcd is defragmented" in s.log()
    finally:
        cluster.close()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def own_etcd(server, path, body):
    c = UnixConnection(server.folder / "data/etcd/client:0")
    c.request("POST", f"/v3/{path}", json.dumps(body))
    answer = c.getresponse()
    text = answer.read()
    assert answer.status == 200, text
    return json.loads(text)


@pytest.fixture(scope="module")
def three():
    c = clusters.Cluster(3)
    try:
        yield c.start()
    finally:
        c.close()


def test_an_alarm_is_taken_back_by_who_looks_after_it(three):
    a = three.servers[0]
    until(lambda: any("looks after etcd's room" in s.log()
                      for s in three.servers), "a holder of the duty")
    quota = until(lambda: metric(a, "store_etcd_quota"), "the quota")
    assert quota == 4 << 30
    # Anybody may be asked for another server's member.
    ids = [int(own_etcd(s, "maintenance/status", {})["header"]["member_id"])
           for s in three.servers]
    assert len(set(ids)) == 3
    for number in ids[:2]:
        own_etcd(a, "maintenance/alarm", {
            "action": "ACTIVATE", "memberID": str(number), "alarm": "NOSPACE"})
    answer = a.put("/v1/catalog/register", {"Node": "n1", "Address": "1.2.3.4"})
    if answer.status != 200:  # else it was over before
        assert answer.status == 500 and "store_quota" in answer.text
    until(lambda: "alarms" not in own_etcd(a, "maintenance/alarm",
                                           {"action": "GET"}), "no alarm")
    for s in three.servers:
        s.register("n2", s.name)
    logs = "".join(s.log() for s in three.servers)
    assert "etcd takes writes again" in logs
    assert "all history is dropped to make room" in logs


def test_a_server_defragments_its_own_member_for_another(three):
    for s in three.servers:
        until(lambda s=s: len(s.peers()) == 3, "three peers")
        c = http.client.HTTPConnection(s.address, s.other_ports[0], timeout=60)
        c.request("PUT", "/v1/peer/defragment")
        answer = c.getresponse()
        assert answer.status == 200, answer.read()
        assert s.put("/v1/peer/defragment").status == 404  # not for users
        s.register("n3", s.name)
