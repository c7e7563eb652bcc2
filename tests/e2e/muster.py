# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Starts the real binary on loopback and talks to it with the standard library.

Nothing here sleeps for a fixed time: every wait is for a condition, with a limit
after which the test fails and shows the log.
"""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("MUSTER", str(ROOT / "build" / "muster"))
LIMIT = 60.0  # seconds for anything that must happen


# Ports for listeners: below those that the kernel gives to outgoing connections,
# and in blocks of which each test process has its own. Several run at once, and
# who was given a port has not bound it yet.
PORTS = range(10000, 32700)
BLOCK = 100


class Blocks:
    """A block is taken by an abstract socket of its name, as long as we live."""

    def __init__(self):
        self.locks, self.ports = [], iter(())

    def take(self):
        count = len(PORTS) // BLOCK
        for n in range(count):
            k = (os.getpid() * 7 + n) % count
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                lock.bind(f"\0muster-test-ports-{k}")
            except OSError:
                lock.close()
                continue
            self.locks.append(lock)
            return iter(PORTS[k * BLOCK:(k + 1) * BLOCK])
        raise AssertionError("no block of ports is free on this machine")

    def next(self):
        for port in self.ports:
            if unused(port):
                return port
        self.ports = self.take()
        return self.next()


def unused(port):
    """By TCP and UDP, on any address."""
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as s:
                s.bind(("", port))
    except OSError:
        return False
    return True


_blocks = Blocks()


def free_ports(n):
    """n ports that nobody listens on, and that nobody else is given."""
    return [_blocks.next() for _ in range(n)]


def free_port():
    return free_ports(1)[0]


def until(condition, what="the condition", limit=LIMIT):
    """Returns the first true value of condition(), polled; fails after limit."""
    deadline = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: did not happen in {limit:.0f} s")
        time.sleep(0.01)


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self.raw_headers = response.getheaders()
        self.body = body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def index(self):
        return int(self.headers["x-consul-index"])


class Server:
    """One muster agent -server (or -dev) process."""

    def __init__(self, folder, *extra, dev=False, config=None, name="node-a"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, *self.other_ports = free_ports(4)
        self.extra = list(extra)
        self.dev = dev
        self.name = name
        self.config = config
        self.process = None
        self.log_path = self.folder / "log"

    def command(self):
        words = [BINARY, "agent", "-bind", "127.0.0.1", "-node", self.name,
                 "-http-port", str(self.port), "-dns-port", "-1",
                 "-serf-lan-port", str(self.other_ports[0]),
                 "-serf-wan-port", str(self.other_ports[1]),
                 "-server-port", str(self.other_ports[2])]
        if self.dev:
            words.append("-dev")
        else:
            words += ["-server", "-bootstrap-expect", "1",
                      "-data-dir", str(self.folder / "data")]
        if self.config is not None:
            path = self.folder / "config.json"
            path.write_text(json.dumps(self.config))
            words += ["-config-file", str(path)]
        return words + self.extra

    def spawn(self):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.command(), stdout=log,
                                        stderr=subprocess.STDOUT)
        log.close()
        return self

    def start(self):
        self.spawn()
        self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the server ended with {self.process.returncode}:\n"
                    + self.log())
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = self.get("/v1/status/leader")
                return answer.status == 200 and answer.json != ""
            return False
        until(ready, "a leader")

    def log(self):
        return self.log_path.read_text(errors="replace")

    def stop(self, sig=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                return self.process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("the server did not stop:\n"
                                     + self.log())
        return self.process.returncode if self.process else None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def connect(self, timeout=LIMIT):
        return http.client.HTTPConnection("127.0.0.1", self.port,
                                          timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=LIMIT,
                connection=None):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        own = connection is None
        c = connection or self.connect(timeout)
        try:
            c.request(method, path, body=body, headers=headers or {})
            r = c.getresponse()
            return Answer(r, r.read())
        finally:
            if own:
                c.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def put(self, path, body=None, **kw):
        return self.request("PUT", path, body=body, **kw)

    def rss_kb(self, field="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise AssertionError(field)

    def metric(self, name):
        """A gauge's value, or a counter's."""
        all_ = self.get("/v1/agent/metrics").json
        for row in all_["Gauges"] + all_["Counters"]:
            if row["Name"] == "consul." + name:
                return row.get("Value", row.get("Count"))
        raise AssertionError(f"no metric {name}")

    def register(self, node, service, instance=None, port=80, checks=None,
                 **more):
        body = {"Node": node, "Address": "10.0.0.1",
                "Service": {"ID": instance or service, "Service": service,
                            "Port": port, **more}}
        if checks:
            body["Checks"] = checks
        answer = self.put("/v1/catalog/register", body)
        assert (answer.status, answer.text) == (200, "true"), answer.text
        return answer


class Poll:
    """A long poll in a thread of its own."""

    def __init__(self, server, path, index, wait="30s"):
        mark = "&" if "?" in path else "?"
        self.path = f"{path}{mark}index={index}&wait={wait}"
        self.server = server
        self.answer = None
        self.error = None
        self.at = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.answer = self.server.get(self.path, timeout=120)
        except Exception as e:  # shown by result()
            self.error = e
        self.at = time.monotonic()

    def result(self, limit=LIMIT):
        self.thread.join(limit)
        assert not self.thread.is_alive(), f"{self.path}: not answered"
        if self.error:
            raise self.error
        return self.answer

    @property
    def waiting(self):
        return self.thread.is_alive()


def parked(server):
    """How many long polls the server holds."""
    for gauge in server.get("/v1/agent/metrics").json["Gauges"]:
        if gauge["Name"] == "consul.http.parked":
            return gauge["Value"]
    raise AssertionError("no gauge consul.http.parked")


class Provider:
    """A little HTTP server whose /health answers what it is told."""

    def __init__(self):
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
        provider = self
        self.status = 200
        self.body = b"fine"
        self.probes = 0
        self.headers = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                provider.probes += 1
                provider.headers.append(dict(self.headers))
                self.send_response(provider.status)
                self.send_header("Content-Length", str(len(provider.body)))
                self.end_headers()
                self.wfile.write(provider.body)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/health"

    def close(self):
        self.http.shutdown()
        self.http.server_close()


def quote(text):
    return urllib.parse.quote(text, safe="")
