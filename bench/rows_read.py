# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of bench/run about reads: health queries, filters, lists."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.parse

from harness import (CORES, NGINX, OUT, ROUNDS, WRK, free_port, load, peers,
                     request, row, skip, wrk)


class Nginx:
    """nginx with a worker per core, serving the same bytes as a file."""

    def __init__(self, body):
        self.folder = tempfile.mkdtemp(prefix="bench-nginx-")
        os.chmod(self.folder, 0o755)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/body.json"
        pathlib.Path(self.folder, "body.json").write_bytes(body)
        conf = pathlib.Path(self.folder, "nginx.conf")
        conf.write_text(f"""
            daemon off; master_process on; worker_processes {CORES};
            pid {self.folder}/pid; error_log {self.folder}/error.log;
            events {{ worker_connections 1024; }}
            http {{ access_log off; sendfile on; tcp_nopush on;
              keepalive_requests 1000000000; open_file_cache max=100;
              types {{ application/json json; }}
              client_body_temp_path {self.folder}/b; proxy_temp_path {self.folder}/p;
              fastcgi_temp_path {self.folder}/f; uwsgi_temp_path {self.folder}/u;
              scgi_temp_path {self.folder}/s;
              server {{ listen 127.0.0.1:{self.port} reuseport; root {self.folder}; }} }}""")
        self.process = subprocess.Popen([NGINX, "-c", str(conf), "-p", self.folder],
                                        stderr=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(OSError):
                if request(self.port, "GET", "/body.json")[0] == 200:
                    return
            time.sleep(0.01)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def register_hot(port, instances, output):
    """Service "hot": so many instances, each with a check of so many bytes."""
    for i in range(instances):
        body = {"Node": f"hot-{i}", "Address": f"10.2.0.{i % 250}",
                "Service": {"ID": f"hot-{i}", "Service": "hot", "Port": 80,
                            "Tags": ["v1", "eu"], "Meta": {"a": "b"}},
                "Check": {"CheckID": f"hot-{i}", "ServiceID": f"hot-{i}",
                          "Name": "c", "Status": "passing",
                          "Output": "x" * output}}
        assert request(port, "PUT", "/v1/catalog/register", body)[0] == 200


def health(name, instances, extra, output, goal):
    """/v1/health/service?passing with so many instances, and extra others."""
    if not WRK:
        return skip(name, "no wrk (tools/deps bench)")
    path = "/v1/health/service/hot?passing"
    group, nginx = peers(), None
    for p in group:
        if extra:
            load(p.port, 64, extra)
        register_hot(p.port, instances, output)
    sample = request(group[0].port, "GET", path)[1]
    figures = {p.kind: [] for p in group}
    if NGINX:
        nginx = Nginx(sample)
        figures["nginx"] = []
    for _ in range(ROUNDS):
        for p in group:
            figures[p.kind].append(p.wrk(path))
        if nginx:
            figures["nginx"].append(wrk(nginx.url))
    row(f"{name} ({len(sample) // 1000} kB)", "req/s", figures, goal)
    for p in group:
        p.stop()
    if nginx:
        nginx.stop()


def row_health20():
    health("health/service?passing, 20 instances", 20, 0, 900,
           "consul >= 25, nginx >= 0.9")


def row_health100():
    health("the same, 100 instances, 50,000 loaded", 100, 50000, 16,
           "consul >= 40")


def row_filter():
    """?filter over 1,000 instances: half of the names, a regular expression, few
    hits, so that judging rows is what is measured, not writing them."""
    name = "health/service?filter, 1,000 instances"
    if not WRK:
        return skip(name, "no wrk (tools/deps bench)")
    expression = ("Service.Meta.version == 7 and not Checks.Status == critical "
                  "and Node.Node matches `^many-[0-9]*5$`")
    ask = "/v1/health/service/many?filter=" + urllib.parse.quote(expression)
    group = peers()
    for p in group:
        for i in range(1000):
            body = {"Node": f"many-{i}", "Address": f"10.3.{i // 250}.{i % 250}",
                    "Service": {"ID": f"many-{i}", "Service": "many", "Port": 80,
                                "Tags": ["v1"],
                                "Meta": {"version": str(i % 50)}},
                    "Check": {"CheckID": f"many-{i}", "ServiceID": f"many-{i}",
                              "Name": "c", "Status": "passing"}}
            assert request(p.port, "PUT", "/v1/catalog/register", body)[0] == 200
    kept = {p.kind: [] for p in group}
    fresh = {p.kind: [] for p in group}
    for run in range(ROUNDS):
        for p in group:
            kept[p.kind].append(p.wrk(ask))
            fresh[p.kind].append(uncached(p.port, ask, run))
    row(name, "req/s", kept, "consul >= 20")
    row("the same, each filter once", "req/s", fresh, "consul >= 20")
    for p in group:
        p.stop()


def uncached(port, path, run):
    """wrk, with no two requests alike."""
    more = urllib.parse.quote(" or Node.Node == ")
    script = OUT / "uncached.lua"
    script.write_text(f"""
        local threads, n = 0, 0
        function setup(thread)
            threads = threads + 1
            thread:set("id", threads)
        end
        function request()
            n = n + 1
            return wrk.format("GET", "{path}{more}r{run}t" .. id .. "n" .. n)
        end""")
    return wrk(f"http://127.0.0.1:{port}/", script=script)


def row_services():
    name = "catalog/services, 500 over 50,000"
    if not WRK:
        return skip(name, "no wrk (tools/deps bench)")
    group = peers()
    for p in group:
        load(p.port, 64, 50000)
    figures = {p.kind: [] for p in group}
    for _ in range(ROUNDS):
        for p in group:
            figures[p.kind].append(p.wrk("/v1/catalog/services"))
    row(name, "req/s", figures, "consul >= 1000")
    for p in group:
        p.stop()
