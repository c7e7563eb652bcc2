# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Limits against reflection. Loopback has none, so each test runs in a network
namespace of its own, where 10.99.0.1 is an address of this host."""

import os
import re
import shutil
import subprocess
import sys
import textwrap

import muster
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ADDRESS = "10.99.0.1"

PREAMBLE = f"""
import sys
sys.path.insert(0, {HERE!r})
import json, pathlib, subprocess
import dns_client as dns, muster
from test_dns import DnsServer, put

ADDRESS = {ADDRESS!r}

def start(folder, **dns_config):
    s = DnsServer(pathlib.Path(folder), dev=True, config={{
        "addresses": {{"dns": ADDRESS + " 127.0.0.1"}}, "dns_config": dns_config}})
    s.start()
    put(s, "n1", "10.0.0.1", "web")
    return s
"""


def inside(tmp_path, script, *args):
    """Runs it where ADDRESS is; what it prints."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-rn", "true"],
                                     capture_output=True).returncode:
        pytest.skip("no network namespaces here (unshare -rn)")
    path = tmp_path / "inside.py"
    path.write_text(PREAMBLE + textwrap.dedent(script))
    ip = shutil.which("ip", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not ip:
        pytest.skip("no ip (Debian package iproute2)")
    done = subprocess.run(
        [unshare, "-rn", "sh", "-c",
         f'{ip} link set lo up && {ip} address add {ADDRESS}/24 dev lo && '
         'exec "$0" "$@"', sys.executable, str(path), str(tmp_path), *args],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_over_the_limit_udp_says_tc_and_tcp_answers(tmp_path):
    inside(tmp_path, """
        s = start(sys.argv[1], rrl_rate=1, rrl_slip=1)
        try:
            told = [s.ask("web.service.consul", host=ADDRESS) for _ in range(200)]
            assert told[0].values() == ["10.0.0.1"] and not told[0].tc
            slipped = [m for m in told if m.tc]
            assert slipped and not any(m.answer for m in slipped)
            assert s.ask("web.service.consul", host=ADDRESS, tcp=True).answer
            assert s.metric("dns.limited") == s.metric("dns.slipped") == \\
                len(slipped)
            for _ in range(200): # loopback: nobody can forge that from outside
                assert s.ask("web.service.consul").answer
            # Who brings our cookie back is where it says it is.
            m = s.ask("web.service.consul", host=ADDRESS, edns=1232,
                      options=bytes([0, 10, 0, 8]) + b"a client")
            assert m.opt[1][:12] == bytes([0, 10, 0, 24]) + b"a client"
            for _ in range(200):
                m = s.ask("web.service.consul", host=ADDRESS, edns=1232,
                          options=m.opt[1])
                assert m.answer and not m.tc
            # A reload lets the address off.
            pathlib.Path(sys.argv[1], "config.json").write_text(json.dumps({
                "addresses": {"dns": ADDRESS + " 127.0.0.1"},
                "dns_config": {"rrl_rate": 1, "rrl_exempt": [ADDRESS]}}))
            assert s.put("/v1/agent/reload").status == 200
            for _ in range(200):
                assert s.ask("web.service.consul", host=ADDRESS).answer
        finally:
            s.stop()
    """)


def test_slip_0_is_silence(tmp_path):
    inside(tmp_path, """
        s = start(sys.argv[1], rrl_rate=1, rrl_slip=0)
        try:
            s.ask("web.service.consul", host=ADDRESS)
            muster.until(lambda: dns.send_udp(
                s.dns, dns.query("web.service.consul"), ADDRESS, 0.2) is None,
                "silence")
            assert s.metric("dns.limited") > 0 == s.metric("dns.slipped")
        finally:
            s.stop()
    """)


def test_a_forwarder_over_the_limit_goes_on_by_tcp(tmp_path):
    """unbound takes TC for what it is: nobody behind it sees the limit."""
    unbound = shutil.which("unbound", path=os.environ["PATH"] + ":/usr/sbin")
    if not unbound:
        pytest.skip("no unbound (Debian package unbound)")
    inside(tmp_path, """
        from test_dns_consumers import answers, running, unbound_conf
        s = start(sys.argv[1], rrl_rate=1, rrl_slip=1)
        port = muster.free_port()
        conf = pathlib.Path(sys.argv[1], "unbound.conf")
        text = unbound_conf(port, s, sys.argv[1])
        conf.write_text(text.replace(f"127.0.0.1@{s.dns}", f"{ADDRESS}@{s.dns}")
                        .replace("server:", f"server:\\n"
                                 f"  outgoing-interface: {ADDRESS}", 1))
        try:
            with running(sys.argv[2], "-d", "-c", str(conf)):
                muster.until(answers(port), "unbound to answer")
                for _ in range(100):
                    m = dns.ask(port, "web.service.consul")
                    assert (m.rcode, m.values()) == ("NOERROR", ["10.0.0.1"])
            assert s.metric("dns.slipped") > 0 < s.metric("dns.tcp")
        finally:
            s.stop()
    """, unbound)


FORWARDER_RATE = 50_000


def test_a_forwarder_at_50000_queries_a_second(tmp_path):
    """One address that asks for a whole cluster: not limited if it is exempt, told
    to come over TCP if it is not."""
    dnsperf = shutil.which("dnsperf")
    if not dnsperf:
        pytest.skip("no dnsperf (Debian package dnsperf)")
    out = inside(tmp_path, """
        questions = pathlib.Path(sys.argv[1], "questions")
        questions.write_text("web.service.consul A\\n")
        s = start(sys.argv[1], rrl_rate=100, rrl_slip=1, rrl_exempt=[ADDRESS])

        def load():
            limited = s.metric("dns.limited")
            out = subprocess.run(
                [sys.argv[2], "-s", ADDRESS, "-p", str(s.dns), "-d", questions,
                 "-Q", sys.argv[3], "-l", "2", "-q", "1000", "-c", "4"],
                capture_output=True, text=True, check=True).stdout
            print(out, "limited", s.metric("dns.limited") - limited)
        try:
            load()
            pathlib.Path(sys.argv[1], "config.json").write_text(json.dumps({
                "addresses": {"dns": ADDRESS + " 127.0.0.1"},
                "dns_config": {"rrl_rate": 100, "rrl_slip": 1}}))
            assert s.put("/v1/agent/reload").status == 200
            load()
        finally:
            s.stop()
    """, dnsperf, str(FORWARDER_RATE))
    rates = [float(r) for r in re.findall(r"Queries per second:\s+([\d.]+)", out)]
    limited = [int(n) for n in re.findall(r"limited (\d+)", out)]
    done = [int(n) for n in re.findall(r"Queries completed:\s+(\d+)", out)]
    assert len(rates) == len(limited) == len(done) == 2
    print(f"# {rates[0]:,.0f} queries/s as an exempt forwarder")
    assert limited[0] == 0
    # A second's worth at once, then 100 a second; TC is an answer to dnsperf.
    assert limited[1] > done[1] * 9 // 10
