# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""A server that keeps its own store on a disk that fills up: it says so, the others
go on, and it comes back by itself once there is room."""

import contextlib
import os
import shutil
import subprocess

import pytest

import clusters
from muster import until

pytestmark = [
    pytest.mark.skipif(not clusters.INSTALLED, reason=clusters.WHY),
    pytest.mark.skipif(os.geteuid() != 0,
                       reason="mounting a small file system needs root"),
]


@contextlib.contextmanager
def small_disk(path, size):
    path.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none",
                       str(path)], capture_output=True).returncode != 0:
        pytest.skip("this root may not mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def three():
    c = clusters.Cluster(3)
    with small_disk(c.servers[2].folder / "data", "300m") as disk:
        try:
            yield c.start(), disk
        finally:
            c.close()
    shutil.rmtree(c.folder, ignore_errors=True)  # what was mounted on


def fill(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    for size in (1 << 20, 4096, 1):
        with contextlib.suppress(OSError):
            while os.write(fd, bytes(size)):
                pass
    os.close(fd)


def health_of(server, name):
    all_of = server.get("/v1/operator/autopilot/health").json["Servers"]
    return next((s for s in all_of if s["Name"] == name), {})


def test_a_full_disk_is_told_and_left_behind(three):
    cluster, disk = three
    well, _, hurt = cluster.servers
    until(lambda: "etcd takes 64 MB at a time" in hurt.log(), "a warning before")
    until(lambda: health_of(well, "s3").get("MusterDiskFree", 0) > 0,
          "what is free, told by another server")

    written = 0

    def another():
        nonlocal written
        written += 1
        until(lambda: well.put("/v1/catalog/register", {
            "Node": f"n{written}", "Address": "10.0.0.1",
            "Service": {"Service": "kept"}}).status == 200, "a write")

    def told(text):
        another()  # etcd ends at a write that it has no room for
        fill(disk / "filler")  # also what etcd makes free when it starts
        return text in hurt.log()

    until(lambda: told("is full ("), "the full disk is told")
    until(lambda: told("etcd ended") and
          health_of(well, "s3").get("MusterDiskFull"), "the others know why")
    assert "muster_disk_low 1" in hurt.get(
        "/v1/agent/metrics?format=prometheus").text
    assert len(hurt.get("/v1/health/service/kept?stale").json) > 0

    until(lambda: told("") and hurt.etcd_pid() is None, "etcd is over")
    os.unlink(disk / "filler")
    until(lambda: "etcd runs again after the disk" in hurt.log(), "etcd is back")

    def recovered():
        told_of = health_of(well, "s3")
        return told_of.get("Healthy") and not told_of.get("MusterDiskFull")
    until(recovered, "it is well again")
    have = {e["Node"] for e in hurt.get("/v1/catalog/service/kept").json}
    assert have == {f"n{i}" for i in range(1, written + 1)}
