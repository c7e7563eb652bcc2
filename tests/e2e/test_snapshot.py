# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Snapshots: saved, inspected, restored, carried between SQLite and etcd."""

import base64
import gzip
import hashlib
import io
import json
import random
import subprocess
import tarfile

import pytest

import etcd
import muster

needs_etcd = pytest.mark.skipif(not etcd.INSTALLED, reason=etcd.WHY)


def cli(s, *words):
    return subprocess.run(
        [muster.BINARY, "snapshot", *words], capture_output=True, text=True,
        env={"MUSTER_HTTP_ADDR": f"127.0.0.1:{s.port}" if s else "127.0.0.1:1"})


def fill(s, n=20):
    for i in range(n):
        s.register(f"n{i}", "web", port=80 + i,
                   checks=[{"Node": f"n{i}", "CheckID": "c", "Name": "c",
                            "ServiceID": "web", "Status": "passing"}])


def everything(s):
    """What the catalog holds but for the servers themselves, without indexes
    and the times that belong to them."""
    def plain(v):
        if isinstance(v, list):
            return [plain(x) for x in v]
        if isinstance(v, dict):
            return {k: plain(x) for k, x in v.items()
                    if k not in ("CreateIndex", "ModifyIndex", "ReadySince")}
        return v
    answer = s.get("/v1/health/service/web")
    assert answer.status == 200
    return sorted((plain(e) for e in answer.json),
                  key=lambda e: e["Node"]["Node"])


def test_the_layout_is_consuls(make_server):
    s = make_server().start()
    fill(s)
    answer = s.get("/v1/snapshot")
    assert answer.status == 200
    tar = tarfile.open(fileobj=io.BytesIO(answer.body), mode="r:gz")
    files = {m.name: tar.extractfile(m).read() for m in tar}
    assert list(files) == ["meta.json", "state.bin", "SHA256SUMS"]
    meta = json.loads(files["meta.json"])
    assert meta["Size"] == len(files["state.bin"])
    assert meta["Version"] == 1 and meta["Index"] == answer.index
    want = "".join(f"{hashlib.sha256(files[n]).hexdigest()}  {n}\n"
                   for n in ("meta.json", "state.bin"))
    assert files["SHA256SUMS"].decode() == want
    # From memory, not from the store: the same rows, in another order.
    stale = tarfile.open(fileobj=io.BytesIO(s.get("/v1/snapshot?stale").body),
                         mode="r:gz")
    there = json.loads(stale.extractfile("meta.json").read())
    assert (there["Size"], there["Index"]) == (meta["Size"], meta["Index"])


def test_what_was_saved_comes_back_under_a_higher_index(make_server, tmp_path):
    s = make_server().start()
    fill(s)
    before, index = everything(s), s.get("/v1/health/service/web").index
    file = tmp_path / "backup.snap"
    out = cli(s, "save", str(file))
    assert out.returncode == 0, out.stderr
    assert out.stdout.startswith("Saved and verified snapshot to index ")

    s.register("later", "web")
    s.put("/v1/catalog/deregister", {"Node": "n3"})
    poll = muster.Poll(s, "/v1/health/service/web",
                       s.get("/v1/health/service/web").index)
    out = cli(s, "restore", str(file))
    assert (out.returncode, out.stdout) == (0, "Restored snapshot\n"), out.stderr
    assert everything(s) == before
    after = s.get("/v1/health/service/web")
    assert after.index > index and after.index >> 40 == 1
    assert poll.result().index >> 40 == 1, "a watcher was not told"
    # The server itself stands in the catalog, whatever the file said.
    muster.until(lambda: len(s.get("/v1/health/service/consul").json) == 1,
                 "the own node")
    s.stop()
    s.start()
    assert everything(s) == before
    assert s.get("/v1/health/service/web").index >= after.index


def test_inspect_tells_what_is_in_a_file(make_server, tmp_path):
    s = make_server().start()
    fill(s)
    file = tmp_path / "backup.snap"
    assert cli(s, "save", str(file)).returncode == 0
    out = cli(None, "inspect", str(file))
    assert out.returncode == 0, out.stderr
    lines = dict(line.split(None, 1) for line in out.stdout.splitlines() if line)
    assert lines["Version"] == "1" and lines["Term"] == "2"
    assert int(lines["Index"]) > 0 and int(lines["Records"]) >= 60


@pytest.mark.parametrize("damage", ["cut", "flip", "sum", "other"])
def test_a_broken_file_changes_nothing(make_server, tmp_path, damage):
    s = make_server().start()
    fill(s, 5)
    body = s.get("/v1/snapshot").body
    raw = bytearray(gzip.decompress(body))
    if damage == "cut":
        broken = body[:-20]
    elif damage == "flip":
        raw[2000] ^= 1  # in state.bin
        broken = gzip.compress(raw)
    elif damage == "sum":
        at = raw.rindex(b"state.bin\n") - 10
        raw[at] = ord("0") if raw[at] != ord("0") else ord("1")
        broken = gzip.compress(raw)
    else:
        broken = b"hello"
    before, index = everything(s), s.get("/v1/health/service/web").index
    answer = s.put("/v1/snapshot", bytes(broken))
    assert answer.status == 400
    assert answer.text.startswith("failed to restore from snapshot: ")
    assert everything(s) == before
    assert s.get("/v1/health/service/web").index == index
    file = tmp_path / "broken.snap"
    file.write_bytes(broken)
    out = cli(s, "restore", str(file))
    assert out.returncode == 1 and str(file) in out.stderr
    assert cli(None, "inspect", str(file)).returncode == 1


def test_a_large_catalog_fits(make_server):
    s = make_server().start()
    c = s.connect()
    noise = random.Random(7)  # or it would be compressed to nothing
    for i in range(3000):
        text = base64.b64encode(noise.randbytes(375)).decode()
        s.put("/v1/catalog/register", {
            "Node": f"node-{i}", "Address": "10.0.0.1",
            "NodeMeta": {"k": text},
            "Service": {"Service": "web", "Port": 80}}, connection=c)
    body = s.get("/v1/snapshot").body
    assert len(body) > 1 << 20, "not over the limit of ordinary bodies"
    assert s.put("/v1/snapshot", body).status == 200
    assert len(s.get("/v1/catalog/service/web").json) == 3000


@needs_etcd
def test_one_server_becomes_three_and_goes_back(make_server, tmp_path):
    one = make_server(name="one").start()
    fill(one)
    before = everything(one)
    file = str(tmp_path / "move.snap")
    assert cli(one, "save", file).returncode == 0
    index = one.get("/v1/health/service/web").index
    one.stop()
    store = etcd.Etcd(3).start()
    try:
        three = [make_server("-store", store.url, name=f"s{i}").start()
                 for i in range(3)]
        out = cli(three[1], "restore", file)
        assert out.returncode == 0, out.stderr
        for s in three:
            assert everything(s) == before
            assert s.get("/v1/health/service/web").index > index
        three[2].register("new", "web")
        after = everything(three[0])
        assert cli(three[0], "save", file).returncode == 0
        index = three[0].get("/v1/health/service/web").index
    finally:
        for s in three:
            s.stop()
        store.close()
    one.start()
    assert cli(one, "restore", file).returncode == 0
    assert everything(one) == after
    assert one.get("/v1/health/service/web").index > index
