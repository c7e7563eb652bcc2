# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""More writes than the store takes: told to come again, and in when they do."""

import contextlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess

import pytest

from muster import Server, until

pytestmark = pytest.mark.skipif(
    not (shutil.which("strace") and shutil.which("taskset")),
    reason="a slow disk needs strace, one thread taskset")

CLIENTS = 900  # at most; open files
MANY = 300     # 256 are let in at once by each thread (server/admit.h)


class OneThread(Server):
    def command(self):
        cpu = min(os.sched_getaffinity(0))
        return ["taskset", "-c", str(cpu), *super().command()]


@contextlib.contextmanager
def slow_disk(server, ms):
    """Each sync takes so much longer; longer than anybody waits for his turn."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null",
         "-e", "trace=fdatasync,fsync",
         "-e", f"inject=fdatasync,fsync:delay_exit={ms * 1000}",
         "-p", str(server.process.pid)], stderr=subprocess.PIPE, text=True)

    def traced():
        if tracer.poll() is not None:
            pytest.skip("strace may not trace here: " + tracer.stderr.read())
        tasks = pathlib.Path(f"/proc/{server.process.pid}/task")
        return all(re.search(r"^TracerPid:\s+[1-9]", (t / "status").read_text(),
                             re.M) for t in tasks.iterdir())
    try:
        until(traced, "a slow disk")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(60)


class Storm:
    """Any number of registrations at once, each on a connection of its own."""

    def __init__(self, server, name):
        self.server = server
        self.name = name
        self.poll = select.poll()
        self.open = {}
        self.answers = []

    def more(self, n):
        for _ in range(n):
            s = socket.create_connection(("127.0.0.1", self.server.port), 60)
            i = len(self.open) + len(self.answers)
            body = json.dumps({"Node": f"{self.name}-{i}",
                               "Address": "10.0.0.1"})
            s.sendall(("PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\n"
                       "Connection: close\r\n"
                       f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
            self.poll.register(s, select.POLLIN)
            self.open[s.fileno()] = [s, b""]

    def read(self):
        for fd, _ in self.poll.poll(100):
            s, got = self.open[fd]
            piece = s.recv(65536)
            if piece:
                self.open[fd][1] = got + piece
                continue
            self.poll.unregister(fd)
            del self.open[fd]
            s.close()
            self.answers.append(got.decode())

    def with_status(self, status):
        return [a for a in self.answers if a.startswith(f"HTTP/1.1 {status} ")]


def shed(server):
    answer = server.get("/v1/agent/metrics?format=prometheus")
    return int(re.search(r"^muster_store_shed (\d+)$", answer.text,
                         re.M).group(1))


def test_a_storm_is_told_to_come_again_and_is_in_then(tmp_path):
    s = OneThread(tmp_path).start()
    try:
        storm = Storm(s, "storm")
        with slow_disk(s, 3000):
            def one_too_many():
                if len(storm.open) + len(storm.answers) < CLIENTS:
                    storm.more(MANY)
                storm.read()
                return storm.with_status(429)
            answer = until(one_too_many, "a write that is too many")[0]
        seconds = re.search(r"^Retry-After: (\d+)\r$", answer, re.M | re.I)
        assert seconds and 1 <= int(seconds.group(1)) <= 60, answer
        until(lambda: storm.read() or not storm.open, "all answers")
        refused, taken = storm.with_status(429), storm.with_status(200)
        assert len(refused) + len(taken) == len(storm.answers)
        assert shed(s) == len(refused) > 0 and taken
        # Who comes again is in: nothing was lost, and none came in twice.
        again = Storm(s, "again")
        again.more(len(refused))
        until(lambda: again.read() or not again.open, "all answers")
        assert len(again.with_status(200)) == len(refused), again.answers
        names = {n["Node"] for n in s.get("/v1/catalog/nodes").json}
        assert len(names) == 1 + len(taken) + len(refused)
    finally:
        s.stop()
