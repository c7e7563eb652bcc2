# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""The same requests to muster and to a real Consul 1.8.7: what differs without
standing in meant.py is a failure.

Another seed or more steps: SEED=7 STEPS=5000 pytest tests/differential -k random"""

import os
import socket

import cases
import compare
import filter_cases
import meant
import muster
import peers
import pytest
import sequence
import wakes
from ask import AGENT_READS, get, put, service

STEPS = int(os.environ.get("STEPS", "300"))
SEEDS = [int(s) for s in os.environ.get("SEED", "1 2 3 4").split()]
WAKE_S = 0.6  # how long a poll waits that nothing wakes
SURE_S = 5.0  # the same, when the machine may have been too busy


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    both = peers.start_both(tmp_path_factory.mktemp("differential"))
    yield both
    peers.stop_both(both)


@pytest.fixture(scope="module")
def both(pair):
    return compare.Comparison(*pair)


def assert_same(found):
    assert not found, f"{len(found)} differ:\n" + "\n".join(found[:20])


@pytest.mark.parametrize("section", [*cases.SECTIONS, filter_cases.filters],
                         ids=lambda s: s.__name__)
def test_the_same_requests_get_the_same_answers(both, section):
    assert_same(both.run_section(section()))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_requests_get_the_same_answers(both, seed):
    trace = []

    def steps():
        for request in sequence.Sequence(seed, STEPS):
            trace.append(str(request))
            yield request

    found = both.run_section(steps())
    writes = [line for line in trace if line.startswith("PUT")]
    assert not found, (f"seed {seed}, {len(writes)} writes:\n"
                       + "\n".join(writes[-40:]) + "\n" + "\n".join(found[:10]))


def settled(peer, want):
    checks = peer.get("/v1/agent/checks").json
    # Critical is also what a check is before it has run.
    return {i: c["Status"] for i, c in checks.items()} == want and \
        all(checks[i]["Output"] for i in ("slow", "refused", "tcp-refused"))


def test_checks_that_run_say_the_same(both):
    """Statuses and output texts: people search for these."""
    provider = {code: muster.Provider() for code in (200, 429, 500)}
    for code, p in provider.items():
        p.status = code
    provider[500].body = b"x" * 5000
    silent = socket.create_server(("127.0.0.1", 0))
    slow = f"http://127.0.0.1:{silent.getsockname()[1]}/"
    closed = f"127.0.0.1:{muster.free_port()}"
    often = {"Interval": "1s"}
    probes = {
        "ok": ("passing", {"HTTP": provider[200].url, **often}),
        "busy": ("warning", {"HTTP": provider[429].url, **often}),
        "broken": ("critical", {"HTTP": provider[500].url, **often}),
        "short": ("critical", {"HTTP": provider[500].url, "OutputMaxSize": 10,
                               **often}),
        "refused": ("critical", {"HTTP": f"http://{closed}/", **often}),
        "slow": ("critical", {"HTTP": slow, "Timeout": "200ms", **often}),
        "tcp": ("passing", {"TCP": f"127.0.0.1:{provider[200].port}", **often}),
        "tcp-refused": ("critical", {"TCP": closed, **often}),
        "late": ("critical", {"TTL": "1s", "Status": "passing"}),
        "told": ("warning", {"TTL": "1h", "Status": "warning"}),
        "up": ("passing", {"AliasService": "single"}),
        "down": ("critical", {"AliasService": "ill"}),
        "nothing": ("critical", {"AliasService": "nope"}),
    }
    steps = [service("single", Check={"CheckID": "single", "TTL": "1h",
                                      "Status": "passing"}),
             service("ill", Check={"CheckID": "ill", "TTL": "1h"}),
             put("/v1/agent/check/fail/ill?note=fever"),
             service("probed", Checks=[{"CheckID": i, **c}
                                       for i, (_, c) in probes.items()])]
    want = {i: status for i, (status, _) in probes.items()}
    want.update(single="passing", ill="critical")
    try:
        assert_same(both.run_section(steps))
        for peer in (both.ours, both.theirs):
            muster.until(lambda p=peer: settled(p, want), "all checks have run")
        found = []
        for request in (*AGENT_READS, get("/v1/health/service/single")):
            found += both.run(request)[1]
        assert_same(found)
    finally:
        for p in provider.values():
            p.close()
        silent.close()


@pytest.mark.parametrize("change", wakes.CHANGES)
def test_a_change_wakes_the_same_polls(pair, change):
    if wakes.differences(*pair, change, WAKE_S):
        assert_same(wakes.differences(*pair, change, SURE_S))


def test_every_meant_difference_was_met(both, request):
    asked = {item.name.split("[")[0] for item in request.session.items}
    if test_the_same_requests_get_the_same_answers.__name__ not in asked or \
            both.requests < 1500:
        pytest.skip("not all requests were sent")
    unmet = [r.name for r in meant.RULES if r.always and r.name not in both.met]
    assert not unmet, f"no longer true, take them out of meant.py: {unmet}"
