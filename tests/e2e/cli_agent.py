# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""An agent of its own for the tests of commands: it answers what a test says and
remembers what it was asked; and how commands are run."""

import contextlib
import http.server
import json
import os
import socketserver
import subprocess
import threading

import pytest

import muster


class Turns:
    """Answers one by one, the last one for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def next(self):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Agent:
    """answers: {"METHOD /path?query": answer}; an answer is JSON to be, text, or
    (status, text), or (status, text, headers), or a function of the handler that
    gives one of these, or Turns of them."""

    def __init__(self, answers, context=None, unix=None):
        self.answers = answers
        self.asked = []  # "METHOD /path?query"
        self.requests = []  # (that, headers, body)
        self.closing = threading.Event()
        agent = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                key = f"{self.command} {self.path}"
                agent.requests.append((key, self.headers,
                                       self.rfile.read(length)))
                agent.asked.append(key)
                found = agent.answers.get(key, (404, ""))
                if isinstance(found, Turns):
                    found = found.next()
                if callable(found):
                    found = found(self)
                if found is None:
                    return
                if not isinstance(found, tuple):
                    found = (200, found)
                status, body, *headers = found
                if not isinstance(body, str):
                    body = json.dumps(body)
                self.send_response(status)
                for name, value in (headers[0] if headers else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_PUT = do_DELETE = answer

            def log_message(self, *args):
                pass

            def address_string(self):
                return "peer"

        class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.http = (Unix(unix, Handler) if unix else
                     http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        self.http.daemon_threads = True
        if context:
            self.http.socket = context.wrap_socket(self.http.socket,
                                                   server_side=True)
        self.address = (f"unix://{unix}" if unix else
                        f"127.0.0.1:{self.http.server_address[1]}")
        threading.Thread(target=self.http.serve_forever, args=[0.01],
                         daemon=True).start()

    def close(self):
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def agent():
    with contextlib.ExitStack() as stack:
        def make(answers, **kw):
            a = Agent(answers, **kw)
            stack.callback(a.close)
            return a
        yield make


def environment(agent=None, **more):
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("CONSUL_", "MUSTER_"))}
    if agent:
        env["CONSUL_HTTP_ADDR"] = agent.address
    return {**env, **more}


def run(*words, agent=None, env=None, **kw):
    return subprocess.run([muster.BINARY, *words], capture_output=True,
                          text=True, timeout=60,
                          env=environment(agent, **(env or {})), **kw)


def done(*words, agent, **kw):
    out = run(*words, agent=agent, **kw)
    assert (out.returncode, out.stderr) == (0, ""), out.stderr
    return out.stdout


def start(*words, agent):
    return subprocess.Popen([muster.BINARY, *words], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True,
                            env=environment(agent, SHELL="/bin/sh"))


@contextlib.contextmanager
def running(*words, agent):
    p = start(*words, agent=agent)
    try:
        yield p
    finally:
        if p.poll() is None:
            p.kill()
        p.wait()
        p.stdout.close()
        p.stderr.close()


def member(name, status=1, **tags):
    return {"Name": name, "Addr": "10.0.0.1", "Port": 8301, "Status": status,
            "Tags": {"role": "consul", "build": "1.8.7:abc", "dc": "dc1",
                     "vsn": "2", **tags}}
