# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that go on: watch, monitor, debug. See test_cli.py."""

import json
import re
import signal
import tarfile

import pytest

import muster
from cli_agent import Turns, agent, done, member, run, running


# --- watch --------------------------------------------------------------------

def indexed(body, index):
    return (200, body, {"X-Consul-Index": str(index)})


def test_watch_prints_once_without_a_program(agent):
    a = agent({"GET /v1/health/service/web?tag=a&tag=b&passing=1":
               indexed([1], 7),
               "GET /v1/health/state/any": indexed([2], 7),
               "GET /v1/health/checks/web": indexed([3], 7),
               "GET /v1/event/list?name=d": indexed([4], 7),
               "GET /v1/kv/a%2Fb": indexed([{"Value": "x"}], 7)})
    assert json.loads(done("watch", "-type=service", "-service=web", "-tag=a",
                           "-tag=b", "-passingonly=true", agent=a)) == [1]
    assert json.loads(done("watch", "-type=checks", agent=a)) == [2]
    assert json.loads(done("watch", "-type=checks", "-service=web", agent=a)) == [3]
    assert json.loads(done("watch", "-type=event", "-name=d", agent=a)) == [4]
    assert json.loads(done("watch", "-type=key", "-key=a/b", agent=a)) == {"Value": "x"}
    assert done("watch", "-type=keyprefix", "-prefix=z", agent=a) == "null\n"
    out = run("watch", "-type=nodes", agent=a)
    assert out.returncode == 1 and out.stdout == "" and "404" in out.stderr


def test_watch_runs_its_program_at_each_change(agent, tmp_path):
    """The same answer again, or a new index with the same answer, is none."""
    a = agent({"GET /v1/agent/self": {},
               "GET /v1/catalog/services": indexed({"a": []}, 5),
               "GET /v1/catalog/services?index=5": Turns(
                   indexed({"a": []}, 5), indexed({"a": []}, 6)),
               "GET /v1/catalog/services?index=6": indexed({"b": []}, 7),
               "GET /v1/catalog/services?index=7": indexed({"c": []}, 8)})
    seen = tmp_path / "seen"
    script = f'cat >>{seen}; echo $CONSUL_INDEX >>{seen}; test $CONSUL_INDEX != 8'
    out = run("watch", "-type=services", script, agent=a, env={"SHELL": "/bin/sh"})
    assert out.returncode == 1
    assert out.stderr == "muster watch: Error executing handler: exit status 1\n"
    assert seen.read_text().split() == ['{"a":[]}', "5", '{"b":[]}', "7",
                                        '{"c":[]}', "8"]


def test_watch_gives_its_program_arguments_as_they_are(agent):
    a = agent({"GET /v1/agent/self": {},
               "GET /v1/catalog/nodes": indexed([], 1)})
    out = run("watch", "-type=nodes", "-shell=false", "sh", "-c",
              'echo "<$1>"; exit 4', "-", "a  $HOME b", agent=a)
    assert out.stdout == "<a  $HOME b>\n" and out.returncode == 1
    out = run("watch", "-type=nodes", "-shell=false", "/no/such", agent=a)
    assert "/no/such: No such file" in out.stderr and out.returncode == 1
    out = run("watch", "-type=nodes", "kill -9 $$", agent=a)
    assert "signal: Killed" in out.stderr and out.returncode == 1


def test_watch_tells_only_of_new_events(agent, tmp_path):
    ids = [f"{n:08x}-1111-2222-3333-44445555666{n}" for n in range(3)]

    def index(i):
        digits = i.replace("-", "")
        return int(digits[:16], 16) ^ int(digits[16:], 16)

    def events(n):
        return indexed([{"ID": i} for i in ids[:n]], index(ids[n - 1]))

    a = agent({"GET /v1/agent/self": {}, "GET /v1/event/list": events(1),
               f"GET /v1/event/list?index={index(ids[0])}": events(3)})
    seen = tmp_path / "seen"
    out = run("watch", "-type=event", f"cat >>{seen}; test $(wc -l <{seen}) -lt 2",
              agent=a, env={"SHELL": "/bin/sh"})
    assert out.returncode == 1
    assert [[e["ID"] for e in json.loads(line)]
            for line in seen.read_text().splitlines()] == [[ids[0]], ids[1:]]


def held(agent):
    """An answer that does not come while the agent lives."""
    def wait(handler):
        agent().closing.wait(muster.LIMIT)
    return wait


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_watch_ends_when_told(agent, how):
    a = agent({"GET /v1/agent/self": {},
               "GET /v1/catalog/nodes": indexed([], 1)})
    a.answers["GET /v1/catalog/nodes?index=1"] = held(lambda: a)
    with running("watch", "-type=nodes", "cat", agent=a) as p:
        muster.until(lambda: "GET /v1/catalog/nodes?index=1" in a.asked,
                     "the long poll")
        p.send_signal(how)
        assert p.wait(muster.LIMIT) == 0
        assert p.stdout.read() == "[]\n" and p.stderr.read() == ""


def test_watch_tells_of_errors_and_waits(agent):
    a = agent({"GET /v1/agent/self": {},
               "GET /v1/catalog/nodes": (500, "No cluster leader")})
    with running("watch", "-type=nodes", "cat", agent=a) as p:
        assert "No cluster leader" in p.stderr.readline()
        assert "again in 5 s" in p.stderr.readline()
        p.send_signal(signal.SIGINT)
        assert p.wait(muster.LIMIT) == 0
    out = run("watch", "-type=nodes", "cat", agent=None,
              env={"MUSTER_HTTP_ADDR": f"127.0.0.1:{muster.free_port()}"})
    assert out.returncode == 1 and "cannot reach the agent" in out.stderr


def test_watch_does_not_turn_where_there_is_nothing_to_wait_for(agent):
    a = agent({"GET /v1/agent/self": {}})
    out = run("watch", "-type=key", "-key=x", "cat", agent=a)
    assert out.returncode == 1 and "no X-Consul-Index" in out.stderr
    assert len(a.asked) == 2


# --- monitor, debug -----------------------------------------------------------

def log_lines(agent, then=None):
    """Two lines as chunks; then the agent waits, or ends what `then` says."""
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for line in (b"first\n", b"second\n"):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        handler.wfile.flush()
        if then != "cut":
            agent().closing.wait(muster.LIMIT)
        handler.close_connection = True
    return answer


def test_monitor_shows_lines_as_they_come(agent):
    a = agent({})
    a.answers["GET /v1/agent/monitor?loglevel=debug&logjson"] = \
        log_lines(lambda: a)
    with running("monitor", "-log-level=debug", "-log-json", agent=a) as p:
        assert p.stdout.readline() == "first\n"
        assert p.stdout.readline() == "second\n"
        p.send_signal(signal.SIGINT)
        assert p.wait(muster.LIMIT) == 0


def test_monitor_tells_when_the_agent_goes(agent):
    a = agent({})
    a.answers["GET /v1/agent/monitor?loglevel=info"] = \
        log_lines(lambda: a, then="cut")
    out = run("monitor", agent=a)
    assert out.returncode == 1 and out.stdout == "first\nsecond\n"
    assert "the agent ended the log" in out.stderr
    a.answers["GET /v1/agent/monitor?loglevel=info"] = (403, "Permission denied")
    out = run("monitor", agent=a)
    assert out.returncode == 1 and "403 (Permission denied)" in out.stderr


def debug_agent(agent):
    a = agent({"GET /v1/agent/self": {"Config": {"NodeName": "n"}},
               "GET /v1/agent/host": {"CollectionTime": 1},
               "GET /v1/agent/members": [member("n")],
               "GET /v1/agent/metrics": {"Gauges": []}})
    a.answers["GET /v1/agent/monitor?loglevel=debug"] = log_lines(lambda: a)
    return a


def test_debug_packs_everything(agent, tmp_path):
    a = debug_agent(agent)
    out = done("debug", "-duration=2s", "-interval=1s",
               f"-output={tmp_path}/box", agent=a)
    assert f"Saved: {tmp_path}/box.tar.gz" in out
    with tarfile.open(tmp_path / "box.tar.gz") as tar:
        names = tar.getnames()
        texts = {n: tar.extractfile(n).read().decode() for n in names}
    for name in ("agent", "host", "cluster", "index"):
        json.loads(texts[f"box/{name}.json"])
    logs = [n for n in names if re.fullmatch(r"box/\d+/muster\.log", n)]
    assert logs and all(texts[n] == "first\nsecond\n" for n in logs)
    assert sum(n.endswith("/metrics.json") for n in names) == 2
    assert len(set(names)) == len(names)
    index = json.loads(texts["box/index.json"])
    assert index["ended_early"] is False and "logs" in index["targets"]


def test_debug_ends_early_and_keeps_what_it_has(agent, tmp_path):
    a = debug_agent(agent)
    with running("debug", f"-output={tmp_path}/box", "-archive=false",
                 agent=a) as p:
        muster.until(lambda: "GET /v1/agent/monitor?loglevel=debug" in a.asked,
                     "the log is asked for")
        p.send_signal(signal.SIGINT)
        assert p.wait(muster.LIMIT) == 0
    assert json.loads((tmp_path / "box/index.json").read_text())["ended_early"]
    assert (tmp_path / "box/agent.json").exists()


def test_debug_takes_only_what_is_asked_for_and_nothing_away(agent, tmp_path):
    a = debug_agent(agent)
    words = ["debug", "-duration=1ms", "-capture=metrics",
             f"-output={tmp_path}/box.tar.gz"]
    done(*words, agent=a)
    with tarfile.open(tmp_path / "box.tar.gz") as tar:
        assert [n.rpartition("/")[2] for n in tar.getnames()] == [
            "metrics.json", "index.json"]
    out = run(*words, agent=a)
    assert out.returncode == 1 and "File exists" in out.stderr
    out = run("debug", "-output=/proc/nope/x", agent=a)
    assert out.returncode == 1 and "/proc/nope/x.tar.gz" in out.stderr
