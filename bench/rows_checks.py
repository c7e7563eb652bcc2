# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of bench/run about running checks."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from harness import (CONSUL, NGINX, Peer, REAL_CONSUL, free_port, request,
                     row, skip)


CHECKS = 10_000


@contextlib.contextmanager
def check_target():
    """nginx that answers every request with a short text."""
    folder, port = tempfile.mkdtemp(prefix="bench-target-"), free_port()
    config = pathlib.Path(folder, "nginx.conf")
    config.write_text(f"""
daemon off; master_process off; worker_processes 1; error_log {folder}/error;
pid {folder}/pid; worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{ access_log off; server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 "fine"; }} }} }}
""")
    process = subprocess.Popen([NGINX, "-c", str(config), "-p", folder],
                               stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def cpu_seconds(pid):
    rest = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    user, system = rest.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def passing(port):
    _, body, _ = request(port, "GET", "/v1/agent/checks")
    return sum(c["Status"] == "passing" for c in json.loads(body).values())


def check_cpu(kind, definition, seconds=20):
    """Share of one core that CHECKS checks at 10 s take, once all pass."""
    folder = tempfile.mkdtemp(prefix="bench-checks-")
    for first in range(0, CHECKS, 2000):
        pathlib.Path(folder, f"{first}.json").write_text(json.dumps({"checks": [
            {"id": f"check-{i}", "name": "check", "interval": "10s",
             **definition} for i in range(first, first + 2000)]}))
    p = Peer(kind, config=folder).start()
    end = time.monotonic() + 120
    while passing(p.port) < CHECKS:
        if time.monotonic() > end:
            sys.exit(f"bench: {kind}: not all {CHECKS} checks pass in 120 s")
        time.sleep(1)
    time.sleep(10)  # sleep: what follows the last change of state
    before, began = cpu_seconds(p.process.pid), time.monotonic()
    time.sleep(seconds)
    used = cpu_seconds(p.process.pid) - before
    took = time.monotonic() - began
    p.stop()
    shutil.rmtree(folder)
    return 100 * used / took


def row_checks():
    if not NGINX:
        skip("checks", "no nginx (tools/deps bench)")
        return
    kinds = ["muster"] + (["consul"] if CONSUL and REAL_CONSUL else [])
    with check_target() as port:
        for name, definition in (
                ("HTTP", {"http": f"http://127.0.0.1:{port}/"}),
                ("TCP", {"tcp": f"127.0.0.1:{port}"})):
            row(f"{CHECKS:,} {name} checks at 10 s: CPU", "% core",
                {k: [check_cpu(k, definition)] for k in kinds}, "<= 10")
