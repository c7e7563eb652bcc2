# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Where the log goes: standard output, files that are begun anew, syslog."""

import contextlib
import json
import os
import re
import socket

import pytest

from muster import LIMIT, until


def files(folder):
    return sorted(p for p in folder.iterdir() if p.name != "other")


def text(folder):
    return "".join(p.read_text() for p in files(folder))


def test_lines_go_to_a_file_and_to_standard_output(make_server, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    s = make_server(config={"log_file": f"{logs}/"}).start()
    until(lambda: "server: ready" in text(logs), "the line")
    assert [re.sub(r"\d{19}", "TIME", p.name) for p in files(logs)] == ["muster-TIME.log"]
    lines = text(logs).splitlines()
    assert all(line in s.log() for line in lines)
    assert oct(files(logs)[0].stat().st_mode & 0o777) in ("0o640", "0o600")
    s.stop()
    assert text(logs).endswith("server: stopped\n")


def test_files_are_begun_anew_and_the_oldest_removed(make_server, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "other").write_text("stays")
    s = make_server("-log-file", f"{logs}/a.txt", "-log-rotate-bytes", "300",
                    "-log-rotate-max-files", "3", "-log-json").start()
    for i in range(30):
        s.put("/v1/agent/reload")
    until(lambda: len(files(logs)) == 4, "three old files and the newest")
    assert (logs / "other").exists()
    for p in files(logs):
        assert re.fullmatch(r"a-\d{19}\.txt", p.name)
        for line in p.read_text().splitlines():
            assert json.loads(line)["@module"]
    assert all(p.stat().st_size >= 300 for p in files(logs)[:-1])


@pytest.mark.parametrize("config, says", [
    ({"log_file": "/nonexistent/x"}, "log_file /nonexistent/x-"),
    ({"log_rotate_bytes": "1"}, "log_rotate_bytes: found a string"),
    ({"log_rotate_duration": "soon"}, "log_rotate_duration"),
    ({"enable_syslog": True, "syslog_facility": "LOUD"},
     'invalid syslog facility: "LOUD"')])
def test_what_is_wrong_stops_the_start(make_server, config, says):
    s = make_server(config=config).spawn()
    assert s.process.wait(LIMIT) == 1
    assert says in s.log(), s.log()


def test_lines_go_to_syslog(make_server):
    if os.path.lexists("/dev/log"):
        pytest.skip("/dev/log is the machine's own")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        try:
            daemon.bind("/dev/log")
        except PermissionError:
            pytest.skip("/dev/log cannot be made: not root")
        try:
            daemon.settimeout(20)
            s = make_server(config={"enable_syslog": True, "log_level": "debug",
                                    "syslog_facility": "local3"}).start()
            seen = b""
            while b"server: ready" not in seen:
                seen = daemon.recv(10000)
            # notice of local3: 19 * 8 + 5
            assert re.fullmatch(rb"<157>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d "
                                rb"muster\[%d\]: server: ready: node=node-a "
                                rb"datacenter=dc1" % s.process.pid, seen), seen
            # Nobody reads: it goes on, and counts what is lost.
            for _ in range(300):
                assert s.put("/v1/agent/reload").status == 200
            counters = {c["Name"]: c["Count"] for c in
                        s.get("/v1/agent/metrics").json["Counters"]}
            assert counters["consul.log.lost"] > 0
        finally:
            with contextlib.suppress(OSError):
                os.unlink("/dev/log")
    s = make_server(config={"enable_syslog": True}).spawn()
    assert s.process.wait(LIMIT) == 1
    assert "enable_syslog: /dev/log: No such file" in s.log()
