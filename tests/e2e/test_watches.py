# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Watches of the configuration: programs and HTTP requests at each change."""

import contextlib
import http.server
import json
import os
import signal
import threading

import pytest

import muster


def a_script(folder, text, name="handler"):
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def a_recorder(folder, name="handler", more=""):
    """A script that appends one line for each of its runs: index, then what
    it was told. Whole lines: it renames nothing, but writes at once."""
    out = folder / (name + ".out")
    script = a_script(folder, f'''told=$(cat)
printf '%s\\t%s\\n' "$CONSUL_INDEX" "$told" >> {out}
{more}''', name)
    return script, out


def runs(out):
    """[(index, told)]; a shell may write a long line piece by piece."""
    if not out.exists():
        return []
    whole = out.read_text().rpartition("\n")[0]
    rows = [line.split("\t", 1) for line in whole.splitlines()]
    return [(int(i), json.loads(told)) for i, told in rows]


def start(make_server, *watches, **more):
    return make_server(config={"watches": list(watches), **more}).start()


def register(s, name="web", id=None, **more):
    answer = s.put("/v1/agent/service/register",
                   {"Name": name, "ID": id or name, **more})
    assert answer.status == 200, answer.text


def names(told):
    return sorted(row["Service"]["ID"] for row in told)


def test_a_program_is_told_what_clients_read_and_only_when_it_changes(
        make_server, tmp_path):
    script, out = a_recorder(tmp_path)
    s = start(make_server, {"type": "service", "service": "web",
                            "args": [script]})
    muster.until(lambda: runs(out) == [(runs(out)[0][0], [])] if runs(out)
                 else False, "the first run")
    register(s, Port=80, Check={"TTL": "10m", "Status": "passing"})
    muster.until(lambda: len(runs(out)) == 2, "the second run")
    index, told = runs(out)[1]
    answer = s.get("/v1/health/service/web")
    assert told == answer.json and index == answer.index

    # Nothing of its own answer: other services, output, the same once more.
    register(s, "other")
    register(s, Port=80, Check={"TTL": "10m", "Status": "passing"})
    s.put("/v1/agent/check/pass/service:web?note=words")
    register(s, Port=81, Check={"TTL": "10m", "Status": "passing"})
    muster.until(lambda: len(runs(out)) == 3, "the third run")
    assert runs(out)[2][1][0]["Service"]["Port"] == 81
    s.put("/v1/agent/service/deregister/web")
    muster.until(lambda: len(runs(out)) == 4, "the last run")
    assert runs(out)[3][1] == []


@pytest.mark.parametrize("watch, path, change", [
    ({"type": "services"}, "/v1/catalog/services",
     lambda s: register(s, Tags=["x"])),
    ({"type": "nodes"}, "/v1/catalog/nodes",
     lambda s: s.put("/v1/catalog/register",
                     {"Node": "n", "Address": "10.0.0.1"})),
    ({"type": "service", "service": "web", "tag": "x", "passingonly": True},
     "/v1/health/service/web?passing&tag=x",
     lambda s: register(s, Tags=["x"])),
    ({"type": "service", "service": "web", "tag": ["x", "y"]},
     "/v1/health/service/web?tag=x&tag=y",
     lambda s: register(s, Tags=["x", "y"])),
    ({"type": "checks"}, "/v1/health/state/any",
     lambda s: register(s, Check={"TTL": "10m"})),
    ({"type": "checks", "state": "critical"}, "/v1/health/state/critical",
     lambda s: register(s, Check={"TTL": "10m"})),
    ({"type": "checks", "service": "web"}, "/v1/health/checks/web",
     lambda s: register(s, Check={"TTL": "10m"})),
])
def test_each_type_is_a_read_of_the_api(make_server, tmp_path, watch, path,
                                        change):
    script, out = a_recorder(tmp_path)
    s = start(make_server, {**watch, "args": [script]})
    muster.until(lambda: runs(out), "the first run")
    change(s)
    wanted = s.get(path).json
    muster.until(lambda: runs(out)[-1][1] == wanted, f"to be told of {wanted}")
    assert len(runs(out)) >= 2


def events(out):
    """The names of the events of each run."""
    return [[e["Name"] for e in told] for _, told in runs(out)]


def test_each_user_event_is_told_once(make_server, tmp_path):
    every, all_out = a_recorder(tmp_path, "every")
    some, deploys = a_recorder(tmp_path, "deploys")
    s = start(make_server, {"type": "event", "args": [every]},
              {"type": "event", "name": "deploy", "args": [some]})
    muster.until(lambda: events(all_out) == [[]] == events(deploys),
                 "the first runs")
    fired = s.put("/v1/event/fire/deploy", b"v1").json
    muster.until(lambda: events(all_out) == [[], ["deploy"]] == events(deploys),
                 "the event")
    index, told = runs(deploys)[1]
    assert told[0]["ID"] == fired["ID"] and told[0]["Payload"] == "djE="
    assert index == s.get("/v1/event/list").index
    s.put("/v1/event/fire/other")
    muster.until(lambda: events(all_out) == [[], ["deploy"], ["other"]],
                 "the other event")
    s.put("/v1/event/fire/deploy")
    muster.until(lambda: events(deploys) == [[], ["deploy"], ["deploy"]],
                 "the last event")


def test_no_event_is_lost_while_a_handler_runs_or_fails(make_server, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script, out = a_recorder(
        tmp_path, more=f"[ -e {tmp_path}/open ] || cat {gate}\n"
        f"[ $(wc -l < {tmp_path}/handler.out) -ne 2 ]")  # the second one fails
    s = start(make_server, {"type": "event", "args": [script]})
    muster.until(lambda: events(out) == [[]], "the first run")
    for name in ("a", "b", "c"):
        s.put(f"/v1/event/fire/{name}")
    (tmp_path / "open").write_text("")
    gate.write_text("")  # lets the first run end
    muster.until(lambda: events(out)[1:2] == [["a", "b", "c"]], "all three")
    s.put("/v1/event/fire/d")
    muster.until(lambda: len(events(out)) == 3, "the run that is repeated")
    assert events(out)[2] == ["a", "b", "c", "d"]
    s.put("/v1/event/fire/e")
    muster.until(lambda: events(out)[3:] == [["e"]], "what follows")


def test_a_service_of_the_agent(make_server, tmp_path):
    script, out = a_recorder(tmp_path)
    s = start(make_server, {"type": "agent_service", "service_id": "web",
                            "args": [script]},
              service={"name": "web", "port": 1})
    muster.until(lambda: runs(out), "the first run")
    assert runs(out)[0][1]["Port"] == 1
    register(s, Port=2)
    muster.until(lambda: len(runs(out)) == 2, "the second run")
    assert runs(out)[1][1]["Port"] == 2


def test_one_run_at_a_time_and_the_newest_state_wins(make_server, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script, out = a_recorder(tmp_path, more=f"read go < {gate}")
    s = start(make_server, {"type": "service", "service": "web",
                            "args": [script]})
    muster.until(lambda: len(runs(out)) == 1, "the first run")
    for port in range(1, 20):
        register(s, Port=port)
    assert len(runs(out)) == 1
    gate.write_text("go\n")
    muster.until(lambda: len(runs(out)) == 2, "the second run")
    assert runs(out)[1][1][0]["Service"]["Port"] == 19
    gate.write_text("go\n")


def test_a_failed_run_is_repeated(make_server, tmp_path):
    fine = tmp_path / "fine"
    script, out = a_recorder(tmp_path,
                             more=f"test -e {fine} || {{ echo oh no; exit 7; }}")
    s = start(make_server, {"type": "nodes", "args": [script]})
    muster.until(lambda: "exit status 7" in s.log(), "the failure in the log")
    assert "oh no" in s.log()
    fine.touch()
    muster.until(lambda: len(runs(out)) >= 2, "another attempt")
    assert runs(out)[0] == runs(out)[-1]


def test_a_program_that_is_not_there(make_server):
    s = start(make_server, {"type": "nodes", "args": ["/nowhere/handler"]})
    muster.until(lambda: "/nowhere/handler: no such file" in s.log(),
                 "the failure in the log")


def test_time_over_kills_the_whole_group(make_server, tmp_path):
    pid = tmp_path / "pid"
    script = a_script(tmp_path, f"tail -f /dev/null & echo $! > {pid}; wait")
    s = start(make_server, {"type": "nodes", "args": [script],
                            "timeout": "300ms"})
    muster.until(lambda: "timed out (300ms): killed" in s.log(), "the timeout")

    def gone():
        with contextlib.suppress(ProcessLookupError):
            with open(f"/proc/{pid.read_text().strip()}/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0] == "Z"
        return True
    muster.until(lambda: not os.path.exists(
        f"/proc/{pid.read_text().strip()}") or gone(), "the child's end")


def test_a_large_answer_goes_to_a_program_that_reads_nothing(make_server,
                                                             tmp_path):
    out = tmp_path / "out"
    deaf = a_script(tmp_path, f"echo deaf >> {out}", "deaf")
    recorder, told = a_recorder(tmp_path, "told")
    s = make_server(config={}).start()
    for i in range(600):
        s.register(f"n-{i}", "web", meta_tags := f"web-{i}",
                   Tags=["t" * 100, meta_tags])
    s.stop()
    s.config = {"watches": [
        {"type": "service", "service": "web", "args": [deaf]},
        {"type": "service", "service": "web", "args": [recorder]}]}
    s.start()
    muster.until(lambda: runs(told), "the reader's run")
    assert len(runs(told)[0][1]) == 600
    muster.until(out.exists, "the deaf one's run")
    assert "trying again" not in s.log()


def test_a_reload_changes_handlers(make_server, tmp_path):
    first, first_out = a_recorder(tmp_path, "first")
    second, second_out = a_recorder(tmp_path, "second")
    kept, kept_out = a_recorder(tmp_path, "kept")

    def web(script):
        return {"type": "service", "service": "web", "args": [script]}

    s = start(make_server, web(first), web(kept))
    muster.until(lambda: runs(first_out) and runs(kept_out), "the first runs")
    (s.folder / "config.json").write_text(json.dumps(
        {"watches": [web(kept), web(second)]}))
    s.process.send_signal(signal.SIGHUP)
    muster.until(lambda: len(runs(second_out)) == 1, "the new handler")
    register(s)
    muster.until(lambda: len(runs(second_out)) == 2, "the change")
    muster.until(lambda: len(runs(kept_out)) == 2, "the kept one's change")
    assert len(runs(first_out)) == 1
    (s.folder / "config.json").write_text("{}")
    s.process.send_signal(signal.SIGHUP)
    muster.until(lambda: s.log().count("config: reloaded") == 2, "the reload")


class Hook:
    """An HTTP server that keeps what it is sent."""

    def __init__(self):
        hook = self
        self.seen = []
        self.status = 200

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.seen.append((self.path, self.headers, json.loads(body)))
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/hook"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def test_an_http_handler(make_server):
    hook = Hook()
    s = start(make_server, {
        "type": "service", "service": "web", "handler_type": "http",
        "http_handler_config": {
            "path": hook.url, "method": "PUT", "timeout": "5s",
            "header": {"X-Foo": ["bar", "baz"]}, "tls_skip_verify": True}})
    muster.until(lambda: len(hook.seen) == 1, "the first request")
    path, headers, told = hook.seen[0]
    assert (path, told) == ("/hook", [])
    assert headers["Content-Type"] == "application/json"
    assert headers.get_all("X-Foo") == ["bar", "baz"]
    hook.status = 503
    register(s)
    answer = s.get("/v1/health/service/web")
    muster.until(lambda: "503" in s.log(), "the refusal")
    hook.status = 200
    n = len(hook.seen)
    muster.until(lambda: len(hook.seen) > n, "another attempt")
    assert hook.seen[-1][2] == answer.json
    assert int(hook.seen[-1][1]["X-Consul-Index"]) == answer.index
    hook.http.shutdown()
    hook.http.server_close()


@pytest.mark.parametrize("watch, word", [
    ({}, "Watch type must be specified"),
    ({"type": "key", "key": "a"}, "key-value"),
    ({"type": "connect_roots"}, "service mesh"),
    ({"type": "nodes", "name": "a"}, "Invalid parameters: [name]"),
    ({"type": "nonsense"}, "Unsupported watch type"),
    ({"type": "service"}, "Must specify a single service to watch"),
    ({"type": "nodes", "service": "a"}, "Invalid parameters: [service]"),
    ({"type": "nodes", "nope": 1}, "Invalid parameters"),
    ({"type": "nodes"}, "a handler is missing"),
    ({"type": "nodes", "args": ["a"], "handler": "b"}, "only one of"),
    ({"type": "nodes", "http_handler_config": {"path": "ftp://x"}}, "http://"),
    ({"type": "nodes", "args": ["a"], "datacenter": "dc2"}, "dc2"),
    ({"type": "nodes", "args": ["a"], "timeout": "0s"}, "timeout"),
])
def test_what_is_wrong_is_named(make_server, watch, word):
    s = make_server(config={"watches": [watch]}).spawn()
    assert s.process.wait(muster.LIMIT) == 1
    assert word in s.log() and "config.json:1:" in s.log(), s.log()


def test_the_end_does_not_wait_for_handlers(make_server, tmp_path):
    pid = tmp_path / "pid"
    script = a_script(tmp_path, f"echo $$ > {pid}; exec tail -f /dev/null")
    s = start(make_server, {"type": "nodes", "args": [script]})
    muster.until(lambda: pid.exists() and pid.read_text(), "the handler")
    assert s.stop() == 1
    muster.until(lambda: not os.path.exists(f"/proc/{pid.read_text().strip()}"),
                 "the handler's end")
