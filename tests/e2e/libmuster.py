# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""A program that uses libmuster (client_driver.c), and instances for it."""

import os
import pathlib
import subprocess
import threading

import muster

BUILD = pathlib.Path(muster.BINARY).parent
DRIVER = BUILD / "tests" / "client_driver"

EINVAL, ENONE, EVOID, EFORK, EBUSY, ECLOSED, ETIMEOUT, EREFUSED = (
    -2, -4, -5, -6, -7, -8, -9, -10)
DISK, REGISTRY = "1", "2"


class Client:
    """A program that uses libmuster, at the other end of a pipe."""

    def __init__(self, env=None):
        self.process = subprocess.Popen(
            [DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            env=None if env is None else {**os.environ, **env})
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def ok(self, command):
        answer = self.ask(command)
        assert answer.startswith("ok"), f"{command}: {answer}"
        return answer[3:]

    def error(self, command):
        word, number, text = self.ask(command).split(" ", 2)
        assert word == "error" and text
        return int(number)

    def status(self):
        words, _, error = self.ok("status").partition(" error=")
        fields = dict(w.split("=") for w in words.split())
        return fields | {"error": error}

    def datacenters(self):
        """What muster_each_datacenter tells, by name."""
        told = {}
        for one in self.ok("datacenters").split():
            name, _, fields = one.partition(":")
            told[name] = {k: float(v) for k, v in
                          (f.split("=") for f in fields.split(","))}
        return told

    def shares(self, n, keys=1):
        return {int(p): int(k) for p, k in
                (w.split("=") for w in self.ok(f"run {n} {keys}").split())}

    def end(self):
        self.process.stdin.close()
        code = self.process.wait(muster.LIMIT)
        self.reader.join(muster.LIMIT)
        assert code == 0, "".join(self.lines)


def register(server, n, status="passing", first=1):
    for i in range(first, first + n):
        answer = server.put("/v1/catalog/register", {
            "Node": f"n{i}", "Address": "10.0.0.1",
            "Service": {"ID": f"web-{i}", "Service": "web", "Port": 9000 + i,
                        "Address": "127.0.0.1",
                        "Weights": {"Passing": i, "Warning": 1}},
            "Checks": [{"CheckID": f"c{i}", "Name": f"c{i}", "Status": status,
                        "ServiceID": f"web-{i}", "Node": f"n{i}"}]})
        assert answer.status == 200, answer.text


def deregister(server, i):
    body = {"Node": f"n{i}", "ServiceID": f"web-{i}"}
    assert server.put("/v1/catalog/deregister", body).status == 200


def address(server):
    return f"127.0.0.1:{server.port}"
