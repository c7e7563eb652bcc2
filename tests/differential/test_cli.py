# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Consul's command line and muster's, both asking one real Consul: the same
words on standard output and the same exit code. And Consul's command line asking
muster: it must not see a difference either.

Texts of errors are muster's own (they name the way out), so of a command that
fails only the exit code and that something was said is compared."""

import json
import os
import re
import subprocess

import muster
import peers
import pytest


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    both = peers.start_both(tmp_path_factory.mktemp("cli"))
    for p in both:
        body = {"Name": "web", "ID": "web-1", "Port": 80, "Tags": ["a"],
                "Check": {"TTL": "1h", "Status": "passing"}}
        assert p.put("/v1/agent/service/register", body).status == 200
        p.register("node-b", "db", Tags=["x"])
        muster.until(lambda p=p: p.get("/v1/catalog/service/web").json,
                     "the service in the catalog")
    yield both
    peers.stop_both(both)


def run(program, words, server, folder):
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("CONSUL_", "MUSTER_"))}
    return subprocess.run(
        [program, *words], capture_output=True, text=True, cwd=folder,
        timeout=60, env={**env, "SHELL": "/bin/sh",
                         "CONSUL_HTTP_ADDR": f"127.0.0.1:{server.port}"})


def plain(text):
    """Without what differs from one run to the next, and without padding."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"\d+\.\d{3} ms", "TIME", text)
    lines = (re.sub(r" {2,}", "  ", line).rstrip() for line in text.split("\n"))
    return "\n".join(lines).strip("\n")


def said(value):
    """Without members that say nothing: Consul's command line reads answers
    into its own types and writes empty ones that the agent never sent."""
    if isinstance(value, dict):
        return {k: said(v) for k, v in value.items() if said(v) not in (0, "0s", None, "", [], {})}
    return [said(v) for v in value] if isinstance(value, list) else value


SHOWN = [
    ["members"], ["members", "-wan"], ["members", "-status=alive"],
    ["members", "-status=failed"], ["members", "-status=("],
    ["members", "ignored"], ["members", "-nonsense"],
    ["catalog"], ["catalog", "nonsense"], ["catalog", "datacenters"],
    ["catalog", "services"], ["catalog", "services", "-tags"],
    ["catalog", "services", "-node=node-b"],
    ["catalog", "services", "-node=nobody"],
    ["catalog", "services", "-node-meta=a=b"],
    ["catalog", "services", "-datacenter=nowhere"],
    ["catalog", "nodes"], ["catalog", "nodes", "-detailed"],
    ["catalog", "nodes", "-service=web"], ["catalog", "nodes", "-service=nobody"],
    ["catalog", "nodes", "-stale", "-node-meta", "a=b"],
    ["catalog", "nodes", "extra"],
    ["maint"], ["maint", "-enable", "-disable"], ["maint", "-reason=x"],
    ["maint", "-service=nobody", "-enable"], ["maint", "-service=nobody"],
    ["maint", "-service=web-1", "-enable", "-reason=tea"], ["maint"],
    ["maint", "-service=web-1", "-disable"],
    ["maint", "-enable"], ["maint"], ["maint", "-disable"],
    ["services"], ["services", "nonsense"], ["services", "register"],
    ["services", "register", "-id=x"], ["services", "register", "none.json"],
    ["services", "register", "web.json"], ["services", "register", "two.hcl"],
    ["services", "register", "-name=f", "-port=7", "-tag=a", "-meta=k=v",
     "-tagged-address=lan=1.2.3.4:80"],
    ["services", "register", "-name=f", "web.json"],
    ["services", "register", "-name=f", "-meta=k"],
    ["catalog", "services", "-tags"],
    ["services", "deregister"], ["services", "deregister", "-id=f"],
    ["services", "deregister", "two.hcl"],
    ["services", "deregister", "-id=f", "web.json"],
    ["services", "deregister", "web.json"],
    ["reload"], ["force-leave"], ["force-leave", "nobody"],
    ["force-leave", "a", "b"], ["join"], ["join", "127.0.0.1:1"],
    ["event"], ["event", "-name=d", "payload"], ["event", "-name=d", "a", "b"],
    ["event", "-name=d", "-node=("], ["event", "-name=d", "-tag=x"],
    ["rtt"], ["rtt", "a", "b", "c"], ["rtt", "nobody"],
    ["rtt", "-wan", "node-a"], ["rtt", "-wan", "node-a.dc1"],
    ["rtt", "-wan", "node-a.dc1", "node-a.dc9"],
    ["operator"], ["operator", "raft"], ["operator", "raft", "list-peers"],
    ["operator", "raft", "list-peers", "-stale"],
    ["operator", "raft", "remove-peer"],
    ["operator", "raft", "remove-peer", "-id=x"],
    ["operator", "raft", "remove-peer", "-id=x", "-address=1.2.3.4:1"],
    ["operator", "autopilot", "get-config"],
    ["operator", "autopilot", "set-config", "-max-trailing-logs=300",
     "-cleanup-dead-servers=false", "-last-contact-threshold=300ms"],
    ["operator", "autopilot", "get-config"],
    ["operator", "autopilot", "set-config", "-cleanup-dead-servers=x"],
    ["watch"], ["watch", "-type=nonsense"], ["watch", "-type=service"],
    ["watch", "-type=service", "-service=web", "-passingonly=x"],
    ["watch", "-type=nodes", "cat; exit 3"],
    ["watch", "-type=services", "cat; exit 3"],
    ["watch", "-type=service", "-service=web", "-tag=a", "cat >/dev/null; exit 1"],
    ["watch", "-type=nodes", "-shell=false", "sh", "-c", "head -c 1; exit 3"],
    ["monitor", "-log-level=nonsense"],
    ["members", "-token-file=/nope"], ["nonsense"],
    ["members", "-http-addr=127.0.0.1:1"],
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "web.json").write_text(json.dumps({"service": {
        "name": "filed", "id": "filed-1", "port": 80, "tags": ["t"],
        "check": {"ttl": "1m"}}}))
    (tmp_path / "two.hcl").write_text("""
        services { name = "one" }
        services { name = "two" port = 3 }
    """)
    return tmp_path


def test_muster_says_what_consul_says(pair, folder):
    """All in one test, because later ones see what earlier ones changed."""
    consul, found = pair[1], []
    for words in SHOWN:
        theirs = run(peers.find_consul()[0], words, consul, folder)
        ours = run(muster.BINARY, words, consul, folder)
        if ours.returncode != theirs.returncode:
            found.append(f"{words}: exit code {ours.returncode}, Consul's "
                         f"{theirs.returncode}: {ours.stderr}{theirs.stderr}")
        elif plain(ours.stdout) != plain(theirs.stdout):
            found.append(f"{words}:\n{ours.stdout}\n--- Consul's:\n"
                         f"{theirs.stdout}")
        elif bool(ours.stderr) != bool(theirs.stderr):
            found.append(f"{words}: {ours.stderr!r}, Consul: {theirs.stderr!r}")
    assert not found, "\n\n".join(found)


@pytest.mark.parametrize("words", [
    ["-type=nodes"], ["-type=services"], ["-type=service", "-service=web"],
    ["-type=service", "-service=nobody"], ["-type=checks"],
    ["-type=checks", "-service=web"], ["-type=checks", "-state=passing"],
    ["-type=event", "-name=deploy"], ["-type=key", "-key=a/b"],
    ["-type=keyprefix", "-prefix=a/"], ["-type=key", "-key=none"]], ids=" ".join)
def test_a_watch_prints_the_same(pair, folder, words):
    consul = pair[1]
    assert consul.put("/v1/kv/a/b", "value").status == 200
    assert consul.put("/v1/event/fire/deploy", "payload").status == 200
    muster.until(lambda: consul.get("/v1/event/list?name=deploy").json,
                 "the event")
    theirs = run(peers.find_consul()[0], ["watch", *words], consul, folder)
    ours = run(muster.BINARY, ["watch", *words], consul, folder)
    assert (ours.returncode, theirs.returncode) == (0, 0), ours.stderr
    assert said(json.loads(ours.stdout)) == said(json.loads(theirs.stdout))


# What is on its way in muster's API does not stand here.
AGAINST_MUSTER = [
    ["members"], ["members", "-status=failed"],
    ["catalog", "datacenters"], ["catalog", "services", "-tags"],
    ["catalog", "services", "-node=node-b"],
    ["catalog", "services", "-node=nobody"],
    ["catalog", "nodes"], ["catalog", "nodes", "-service=web"],
    ["maint", "-enable", "-reason=tea"], ["maint"], ["maint", "-disable"],
    ["services", "register", "web.json"], ["catalog", "services", "-tags"],
    ["services", "deregister", "web.json"],
    ["watch", "-type=service", "-service=nobody"],
    ["reload"], ["force-leave", "nobody"], ["join", "127.0.0.1:1"],
    ["rtt", "nobody"], ["operator", "raft", "list-peers"],
    ["operator", "raft", "remove-peer", "-id=x"],
    ["monitor", "-log-level=nonsense"],
]


def test_consuls_command_line_sees_no_difference(pair, folder):
    found = []
    for words in AGAINST_MUSTER:
        ours, theirs = (run(peers.find_consul()[0], words, p, folder)
                        for p in pair)
        texts = []
        for peer, out in zip(pair, (ours, theirs)):
            text = plain(out.stdout)
            for name, port in peer.ports.items():
                text = text.replace(str(port), name)
            texts.append(text)
        if ours.returncode != theirs.returncode or texts[0] != texts[1]:
            found.append(f"{words}: {ours.returncode} {theirs.returncode}\n"
                         f"{texts[0]}{ours.stderr}\n--- Consul's:\n{texts[1]}")
    assert not found, "\n\n".join(found)
