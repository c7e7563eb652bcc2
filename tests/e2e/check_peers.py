# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""What checks are pointed at: real programs where there are any.

nginx (with and without TLS and HTTP/2), a gRPC server of the package grpcio, a
UDP echo, and servers that behave badly. Each says in skip_reason() why it
cannot be had.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import threading

from muster import free_ports, until

NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")


class Certificates:
    """An authority, and certificates that it signed."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca, _ = self._make("ca", "-x509", "-days", "2",
                                "-subj", "/CN=test authority")
        self.cert, self.key = self.signed("server", "DNS:localhost,"
                                          "DNS:web.example.org,IP:127.0.0.1")
        self.client_cert, self.client_key = self.signed("client", "DNS:client")

    def _openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, cwd=self.folder,
                       capture_output=True)

    def _make(self, name, *words):
        self._openssl("req", "-newkey", "ec", "-pkeyopt",
                      "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                      f"{name}.key", "-out", f"{name}.pem", *words)
        return str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key")

    def signed(self, name, names, days=2):
        self._make(name, "-subj", f"/CN={name}")
        (self.folder / "ext").write_text(f"subjectAltName={names}\n")
        self._openssl("x509", "-req", "-in", f"{name}.pem", "-CA", "ca.pem",
                      "-CAkey", "ca.key", "-CAcreateserial", "-days", str(days),
                      "-extfile", "ext", "-out", f"{name}.crt")
        return str(self.folder / f"{name}.crt"), str(self.folder / f"{name}.key")


def nginx_skip_reason():
    if not NGINX:
        return "no nginx (apt: nginx-light)"
    if not shutil.which("openssl"):
        return "no openssl command (apt: openssl)"
    return None


class Nginx:
    """nginx 1.22 or newer: plain, h2c, TLS with HTTP/2, TLS without, and TLS that
    wants a client's certificate."""

    CONFIG = """
daemon off; master_process off; worker_processes 1; error_log {folder}/error;
pid {folder}/pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder};
    fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    ssl_certificate {certs.cert}; ssl_certificate_key {certs.key};
    server {{ listen 127.0.0.1:{plain}; {routes} }}
    server {{ listen 127.0.0.1:{h2c} http2; {routes} }}
    server {{ listen 127.0.0.1:{tls} ssl http2; {routes} }}
    server {{ listen 127.0.0.1:{tls1} ssl; {routes} }}
    server {{ listen 127.0.0.1:{mutual} ssl http2;
              ssl_client_certificate {certs.ca}; ssl_verify_client on;
              {routes} }}
}}
"""
    ROUTES = """
        location /ok { return 200 "method $request_method host $host length $content_length header $http_x_probe"; }
        location /busy { return 429 "busy"; }
        location /bad { return 503 "no"; }
        location /moved { return 302 /ok; }
"""

    def __init__(self, folder, certs):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        names = ["plain", "h2c", "tls", "tls1", "mutual"]
        ports = dict(zip(names, free_ports(len(names))))
        self.__dict__.update(ports)
        config = self.folder / "nginx.conf"
        config.write_text(self.CONFIG.format(
            folder=self.folder, certs=certs, routes=self.ROUTES, **ports))
        self.process = subprocess.Popen([NGINX, "-c", str(config), "-p",
                                         str(self.folder)],
                                        stderr=subprocess.DEVNULL)
        until(self._listens, "nginx")

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError((self.folder / "error").read_text())
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.mutual), 5).close()
            return True
        return False

    def close(self):
        self.process.terminate()
        self.process.wait()


def grpc_skip_reason():
    try:
        import grpc  # noqa: F401
    except ImportError:
        return "no grpc module (apt: python3-grpcio; pip: grpcio)"
    return None


class GrpcServer:
    """A server of the package grpcio. Its health service is that of
    grpcio-health-checking; where only grpcio is installed, the same messages as
    bytes."""

    def __init__(self, certs, health=True):
        import grpc
        from concurrent import futures

        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        self.statuses = {"": 1, "serving": 1, "sick": 2, "unknown": 0}
        if health:
            self._add_health(grpc)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        credentials = grpc.ssl_server_credentials(
            [(pathlib.Path(certs.key).read_bytes(),
              pathlib.Path(certs.cert).read_bytes())])
        self.tls_port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.server.start()

    def _add_health(self, grpc):
        try:
            from grpc_health.v1 import health, health_pb2_grpc
        except ImportError:
            self.kind = "grpcio with messages as bytes"
            self.server.add_generic_rpc_handlers([
                grpc.method_handlers_generic_handler(
                    "grpc.health.v1.Health",
                    {"Check": grpc.unary_unary_rpc_method_handler(
                        self._check)})])
            return
        self.kind = "grpcio-health-checking"
        self.servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.servicer, self.server)
        for name, status in self.statuses.items():
            self.servicer.set(name, status)

    def _check(self, request, context):
        import grpc
        name = request[2:].decode()
        if name not in self.statuses:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            return b""
        return bytes([8, self.statuses[name]])

    def close(self):
        self.server.stop(None).wait()


class DockerStandIn:
    """Stands in for the Docker daemon: a socket that speaks the part of its HTTP
    API that execs need, written after the description of Engine API 1.41 (head
    of the start answer, 8-byte frames, error bodies); no dockerd was at hand to
    record from. It is not Docker: commands run here, in no container. Containers: "web" and "deaf", which never answers."""

    def __init__(self, path):
        self.path = str(path)
        self.requests = []
        self.exits = {}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(16)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(c,),
                                 daemon=True).start()

    @staticmethod
    def _json(status, value):
        body = json.dumps(value).encode() + b"\n"
        return (f"HTTP/1.1 {status}\r\nApi-Version: 1.41\r\n"
                "Content-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode() + body

    @staticmethod
    def _frame(kind, data):
        return bytes([kind, 0, 0, 0]) + len(data).to_bytes(4, "big") + data

    def _serve(self, c):
        with c, contextlib.suppress(OSError), c.makefile("rb") as f:
            method, target, _ = f.readline().decode().split()
            length = 0
            for line in iter(f.readline, b"\r\n"):
                name, _, value = line.decode().partition(":")
                if name.lower() == "content-length":
                    length = int(value)
            body = json.loads(f.read(length)) if length else None
            self.requests.append((method, target, body))
            self._answer(c, method, target.split("/")[1:], body)

    def _answer(self, c, method, parts, body):
        if parts[0] == "containers" and parts[1] not in ("web", "deaf"):
            c.sendall(self._json("404 Not Found", {
                "message": f"No such container: {parts[1]}"}))
        elif parts[0] == "containers":
            key = f"{len(self.exits):064x}"
            self.exits[key] = [body["Cmd"], None]
            if parts[1] == "deaf":
                c.recv(1)
            c.sendall(self._json("201 Created", {"Id": key}))
        elif parts[2] == "start":
            ran = subprocess.run(self.exits[parts[1]][0], capture_output=True,
                                 check=False)
            self.exits[parts[1]][1] = ran.returncode
            c.sendall(b"HTTP/1.1 200 OK\r\n"
                      b"Content-Type: application/vnd.docker.raw-stream\r\n"
                      b"Api-Version: 1.41\r\n\r\n")
            for kind, data in ((1, ran.stdout), (2, ran.stderr)):
                if data:
                    c.sendall(self._frame(kind, data))
        else:
            c.sendall(self._json("200 OK", {
                "ID": parts[1], "Running": False, "Pid": 0,
                "ExitCode": self.exits[parts[1]][1],
                "ProcessConfig": {"tty": False}}))

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class UdpEcho:
    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.heard = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                data, who = self.socket.recvfrom(2048)
                if not who:  # shut down
                    return
                self.heard.append(data)
                self.socket.sendto(data, who)

    def close(self):
        # Wakes the thread; closing alone would not.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Rude:
    """Takes connections and does one rude thing to each."""

    def __init__(self, act):
        self.act = act
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(c,),
                                 daemon=True).start()

    def _serve(self, c):
        with c, contextlib.suppress(OSError):
            self.act(c)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def hang(c):
    while c.recv(4096):
        pass


def close_unanswered(c):
    c.recv(4096)


def reset_unanswered(c):
    c.recv(4096)
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def ssh_banner_and_reset(c):
    """As a server does that closes with requests of ours unread: what it said
    has come, and so has the reset."""
    c.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    reset_unanswered(c)


def ssh_banner(c):
    c.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    c.recv(4096)


def endless(c):
    c.recv(4096)
    c.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    block = b"0123456789abcdef" * 1024
    while True:
        c.sendall(block)


def endless_header(c):
    c.recv(4096)
    c.sendall(b"HTTP/1.1 200 OK\r\n")
    line = b"X-More: " + b"y" * 1000 + b"\r\n"
    while True:
        c.sendall(line)


def close_early(c):
    c.recv(4096)
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
