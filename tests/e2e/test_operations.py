# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""docs/operations.md as it stands: its commands are run, its alerts exist, and what
they and the dashboard ask for is in real scrapes."""

import http.server
import json
import os
import pathlib
import re
import subprocess
import threading
import urllib.request

import pytest

import etcd
import muster
from muster import until

DOC = (muster.ROOT / "docs" / "operations.md").read_text()
ALERTS = (muster.ROOT / "packaging/monitoring/alerts.yml").read_text()
DASHBOARD = json.loads(
    (muster.ROOT / "packaging/monitoring/grafana.json").read_text())

needs_etcd = pytest.mark.skipif(not etcd.INSTALLED, reason=etcd.WHY)


def procedure(name):
    """The commands below <!-- test: name -->."""
    found = re.search(rf"^<!-- test: {name} -->\n((?:    .*\n)+)", DOC, re.M)
    assert found, f"docs/operations.md has no procedure {name}"
    return re.sub(r"^    ", "", found.group(1), flags=re.M)


class Host:
    """Where somebody types: a shell with muster, and systemctl for one server."""

    def __init__(self, server, folder):
        self.server = server
        self.folder = folder
        self.asked = []
        self.wrong = ""
        self.paths = {}  # what stands in the text -> where it is here
        host = self

        class Systemd(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                try:
                    host.systemctl(self.path.strip("/"))
                    self.send_response(200)
                except (AssertionError, OSError) as e:  # do() shows it
                    host.wrong += f"systemctl{self.path}: {e!r}\n"
                    self.send_response(500)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Systemd)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        (folder / "bin").mkdir(exist_ok=True)
        self.program("muster", f'exec "{muster.BINARY}" "$@"')
        port = self.http.server_address[1]
        self.program("systemctl", f'[ "$2" = muster ] && exec curl -sf '
                                  f'"http://127.0.0.1:{port}/$1"')

    def program(self, name, text):
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def systemctl(self, what):
        self.asked.append(what)
        if what in ("stop", "restart"):
            self.server.stop()
        if what in ("start", "restart"):
            self.server.start()
        if what == "reload":
            self.server.reload()

    def do(self, name, **more):
        text = procedure(name)
        for there, here in self.paths.items():
            text = text.replace(there, str(here))
        env = dict(os.environ, **more, CONSUL_HTTP_ADDR=f"127.0.0.1:{self.server.port}",
                   PATH=f"{self.folder}/bin:{os.environ['PATH']}")
        out = subprocess.run(["bash", "-euo", "pipefail", "-c", text],
                             cwd=self.folder, env=env, capture_output=True,
                             text=True, timeout=120)
        assert out.returncode == 0, (
            f"{name}:\n{out.stdout}{out.stderr}{self.wrong}"
            f"--- its log\n{self.server.log()[-3000:]}")
        return out.stdout

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def host(tmp_path):
    made = []

    def make(server):
        folder = tmp_path / f"host-{len(made)}"
        folder.mkdir()
        made.append(Host(server, folder))
        return made[-1]
    yield make
    for h in made:
        h.close()


def names(server):
    return set(server.get("/v1/catalog/services").json)


def test_backing_up_and_restoring(make_server, host):
    s = make_server().start()
    h = host(s)
    s.register("n1", "kept")
    h.do("look")
    assert "n1" not in h.do("look")  # nothing of it is critical
    h.do("backup")
    s.register("n1", "later")
    assert s.put("/v1/catalog/deregister",
                 {"Node": "n1", "ServiceID": "kept"}).status == 200
    assert "kept" in h.do("restore")
    assert names(s) == {"consul", "kept"}


@needs_etcd
def test_upgrading_one_server_after_the_other_loses_no_request(make_server, host):
    e = etcd.Etcd(3).start()
    try:
        servers = [make_server("-store", e.url, name=f"server-{i}").start()
                   for i in range(3)]
        failed, done, stop = [], [0], threading.Event()

        def client():
            """On whatever server answers, as clients do."""
            while not stop.is_set():
                done[0] += 1
                for s in servers:
                    try:
                        a = s.put("/v1/catalog/register", {
                            "Node": "n1", "Address": "10.0.0.1",
                            "Service": {"Service": "busy", "Port": done[0]}})
                    except (OSError, muster.http.client.HTTPException):
                        continue
                    if a.status == 200:
                        break
                else:
                    failed.append(done[0])
        t = threading.Thread(target=client)
        t.start()
        for s in servers:
            before = s.process.pid
            h = host(s)
            assert "server-2" in h.do("upgrade")
            assert h.asked == ["restart"] and s.process.pid != before
        stop.set()
        t.join()
        assert done[0] > 3 and not failed
        port, = [x["ServicePort"] for x in
                 servers[0].get("/v1/catalog/service/busy").json]
        assert port == done[0]
    finally:
        e.close()


@needs_etcd
def test_going_from_one_server_to_three(make_server, host):
    one = make_server().start()
    h = host(one)
    one.register("n1", "web", port=7)
    assert one.put("/v1/agent/service/register", {"Name": "own"}).status == 200
    node_id = one.get("/v1/agent/self").json["Config"]["NodeID"]
    index = one.get("/v1/catalog/services").index
    h.do("to-three-save")
    assert one.process.poll() is not None
    e = etcd.Etcd(3).start()
    try:
        one.extra += ["-store", e.url]
        three = [one, *(make_server("-store", e.url, name=f"server-{i}")
                        for i in (1, 2))]
        for s in three:
            s.start()
        assert "web" in h.do("to-three-restore")
        for s in three:
            until(lambda s=s: names(s) == {"consul", "own", "web"}, "the catalog")
            assert s.get("/v1/catalog/services").index > index
        assert one.get("/v1/agent/self").json["Config"]["NodeID"] == node_id
    finally:
        e.close()


# --- Alerts ----------------------------------------------------------------------

FUNCTIONS = {"rate", "increase", "resets", "changes", "max", "min",
             "histogram_quantile", "on", "ignoring", "group_left", "without", "by"}


def alerts():
    """name -> expression; the file's shape is looked at on the way."""
    found = dict(re.findall(r"^      - alert: (\w+)\n        expr: (.+)\n", ALERTS,
                            re.M))
    assert len(found) == ALERTS.count("- alert:") == ALERTS.count("expr:")
    assert len(found) == ALERTS.count("severity:")
    return found


def panels():
    return [(p["title"], t["expr"]) for p in DASHBOARD["panels"]
            for t in p["targets"]]


def metrics_of(expression):
    """Metrics asked for. Labels and text are taken out first."""
    text = re.sub(r"\{[^}]*\}|\[\d+[smhd]\]", "", expression)
    text = re.sub(r"\b(ignoring|without|by|on)\s*\([^)]*\)", "", text)
    for a, b in ("()", "{}", "[]"):
        assert expression.count(a) == expression.count(b), expression
    called = set(re.findall(r"\b([a-z_]+)\s*\(", text))
    assert called <= FUNCTIONS, called - FUNCTIONS
    return set(re.findall(r"\b[a-z][a-z0-9_]+\b", text)) - FUNCTIONS


def scraped(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return set(re.findall(r"^([a-z_0-9]+)[ {]", text, re.M))


def test_each_alert_says_what_to_do_and_each_word_is_about_an_alert():
    told = re.findall(r"^### (\w+)\n(\S.{40,})", DOC, re.M)
    assert sorted(n for n, _ in told) == sorted(alerts())


@needs_etcd
def test_what_alerts_and_dashboard_ask_for_exists(make_server):
    e = etcd.Etcd(1).start()
    try:
        s = make_server("-store", e.url).start()
        have = scraped(f"http://127.0.0.1:{s.port}/v1/agent/metrics"
                       "?format=prometheus")
        have |= scraped(e.members[0].client + "/metrics") | {"up"}
        asked = {n: metrics_of(x) for n, x in alerts().items()}
        asked.update((n, metrics_of(x)) for n, x in panels())
        missing = {n: m - have for n, m in asked.items() if m - have}
        assert not missing
        assert all(asked.values())
        names_of = {m for group in asked.values() for m in group}
        assert len(names_of) > 20
        for label in ('job="muster"',):
            assert label in ALERTS
    finally:
        e.close()


@needs_etcd
def test_the_metrics_that_wake_people_tell_the_truth(make_server):
    e = etcd.Etcd(1).start()
    try:
        s = make_server("-store", e.url).start()

        def value(name):
            text = s.get("/v1/agent/metrics?format=prometheus").text
            return float(re.search(rf"^{name} (\S+)", text, re.M).group(1))
        until(lambda: value("muster_store_up") == 1, "the store is up")
        assert value("muster_store_contact_ms") < 5000
        e.members[0].kill()
        threading.Thread(target=lambda: s.put("/v1/catalog/register", {
            "Node": "n1", "Address": "10.0.0.1"})).start()
        until(lambda: value("muster_store_up") == 0, "writes fail")
        until(lambda: value("muster_store_contact_ms") > 5000, "MusterNoStore")
        e.members[0].spawn()
        until(lambda: value("muster_store_up") == 1, "the store is up")
        until(lambda: value("muster_store_contact_ms") < 5000, "contact")
    finally:
        e.close()


def test_the_dashboard_can_be_imported():
    ids = [p["id"] for p in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) and DASHBOARD["schemaVersion"] >= 30
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    for p in DASHBOARD["panels"]:
        assert p["targets"] and p["gridPos"]["w"] + p["gridPos"]["x"] <= 24
