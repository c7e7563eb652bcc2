# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""libmuster's way to its servers: HTTPS, names, certificates, tokens, sockets, and
the environment that says so."""

import base64
import http.server
import os
import pathlib
import shutil
import ssl
import threading

import pytest

import check_peers
import muster
from libmuster import Client, address, register
from muster import until

pytestmark = pytest.mark.skipif(not shutil.which("openssl"),
                                reason="no openssl command (apt: openssl)")


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return check_peers.Certificates(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    return check_peers.Certificates(tmp_path_factory.mktemp("strangers"))


class Stub(http.server.ThreadingHTTPServer):
    """A registry of one instance that remembers who asked, and by which name."""

    daemon_threads = True

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.server.asked.append(dict(self.headers))
            body = (b'[{"Node":{"Node":"n","Address":"127.0.0.1"},"Service":'
                    b'{"ID":"x","Port":7777},"Checks":[]}]')
            self.send_response(200)
            self.send_header("X-Consul-Index", "5")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    def __init__(self, certs=None):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.asked, self.names = [], []
        if certs:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certs.cert, certs.key)
            context.sni_callback = lambda _, name, __: self.names.append(name)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # a client that does not trust it hangs up

    def header(self, name):
        return {h.get(name) for h in self.asked}

    def __exit__(self, *args):
        self.shutdown()
        super().__exit__(*args)


@pytest.fixture(scope="module")
def https(tmp_path_factory, certs):
    """A muster that anybody may ask by HTTPS; and its port."""
    port = muster.free_port()
    s = muster.Server(tmp_path_factory.mktemp("https"), dev=True, config={
        "ports": {"https": port}, "cert_file": certs.cert,
        "key_file": certs.key}).start()
    register(s, 2)
    yield s, port
    assert s.stop() == 1


def finds(c, n="2"):
    c.ok("wait 10000")
    until(lambda: c.status()["instances"] == n, f"{n} instances")


def refuses(c, *words):
    until(lambda: int(c.status()["failures"]) > 0, "a refusal")
    status = c.status()
    assert status["source"] == "0" and status["connected"] == "0"
    assert any(w in status["error"] for w in words), status["error"]


def test_an_authority_is_believed_and_no_other(https, certs, strangers, make_client):
    server, port = https
    where = f"https://localhost:{port}"
    finds(make_client(where, ca_file=certs.ca))
    refuses(make_client(where, ca_file=strangers.ca), "certificate")
    refuses(make_client(where), "certificate")  # the system's do not know it
    finds(make_client(where, ca_file=strangers.ca, tls_skip_verify=1))


def test_authorities_may_stand_in_a_folder(https, certs, strangers, make_client,
                                           tmp_path):
    where = f"https://localhost:{https[1]}"
    for name, ca in (("one.pem", strangers.ca), ("two", certs.ca)):
        shutil.copy(ca, tmp_path / name)
    finds(make_client(where, ca_path=tmp_path))
    (tmp_path / "two").unlink()
    refuses(make_client(where, ca_path=tmp_path), "certificate")


def test_a_stream_by_https_follows_changes(https, certs, make_client):
    server, port = https
    c = make_client(f"https://localhost:{port}", ca_file=certs.ca)
    finds(c)
    register(server, 1, first=3)
    until(lambda: c.status()["instances"] == "3", "three")
    answer = server.put("/v1/catalog/deregister",
                        {"Node": "n3", "ServiceID": "web-3"})
    assert answer.status == 200
    until(lambda: c.status()["instances"] == "2", "two")
    assert c.status()["failures"] == "0"


def test_a_client_shows_its_certificate(certs, strangers, make_client, make_server):
    port = muster.free_port()
    server = make_server(dev=True, config={
        "ports": {"https": port}, "cert_file": certs.cert, "ca_file": certs.ca,
        "key_file": certs.key, "verify_incoming_https": True}).start()
    register(server, 2)
    where = f"https://localhost:{port}"
    refuses(make_client(where, ca_file=certs.ca), "certificate", "alert", "SSL", "EOF")
    refuses(make_client(where, ca_file=certs.ca, cert_file=strangers.client_cert,
                        key_file=strangers.client_key), "certificate", "alert",
            "SSL", "EOF")
    c = make_client(where, ca_file=certs.ca, cert_file=certs.client_cert,
                    key_file=certs.client_key)
    finds(c)
    # Registrations go the same way.
    c.ok("register web web-9 9009 5000 1")
    c.ok("registered 10000")
    until(lambda: c.status()["instances"] == "3", "itself")


def test_the_server_is_asked_for_by_name(certs, make_client):
    def names(host, **settings):
        with Stub(certs) as stub:
            c = make_client(f"https://{host}:{stub.server_port}", ca_file=certs.ca,
                            **settings)
            finds(c, "1")
            c.ok("close")
            return set(stub.names)

    assert names("localhost") == {"localhost"}
    assert names("localhost", tls_server_name="web.example.org") == {
        "web.example.org"}
    # By address there is no name to ask for; the address must be in it.
    assert names("127.0.0.1") <= {None}
    # A certificate that is not of that name is none.
    with Stub(certs) as stub:
        refuses(make_client(f"https://localhost:{stub.server_port}", ca_file=certs.ca,
                            tls_server_name="db.example.org"),
                "db.example.org", "match", "certificate")


def test_a_token_can_be_changed_live(make_client):
    with Stub() as stub:
        c = make_client(f"127.0.0.1:{stub.server_port}", token="first")
        finds(c, "1")
        assert stub.header("X-Consul-Token") == {"first"}
        c.ok("token second")
        stub.asked.clear()
        until(lambda: "second" in stub.header("X-Consul-Token"), "the new token")
        c.ok("token")
        until(lambda: stub.asked[-1].get("X-Consul-Token") is None, "no token")
        assert c.shares(4) == {7777: 4}  # the list stayed


def test_a_unix_socket_is_a_server(make_server, make_client, tmp_path):
    path = tmp_path / "socket"
    server = make_server(dev=True, config={
        "addresses": {"http": f"127.0.0.1 unix://{path}"}}).start()
    register(server, 2)
    c = make_client(f"unix://{path}")
    finds(c)
    c.ok("register web web-9 9009 5000 1")
    c.ok("registered 10000")
    until(lambda: c.status()["instances"] == "3", "itself")
    assert c.status()["failures"] == "0"


def test_a_program_may_end_without_closing(https, certs):
    """OpenSSL takes itself down at the end: the handle's thread must not be in it."""
    for i in range(25):
        c = Client()
        if i % 2:
            c.ok(f"set ca_file {certs.ca}")
        c.ok(f"open https://localhost:{https[1]} - 1000 thread")
        for name in ("web", "db", "cache", "mail"):
            c.ok(f"watch {name} p2c")
        c.end()


# --- The environment ---------------------------------------------------------

def test_the_environment_says_where_and_how(https, certs, make_client):
    port = https[1]
    env = {"CONSUL_HTTP_ADDR": f"localhost:{port}", "CONSUL_HTTP_SSL": "true",
           "CONSUL_CACERT": certs.ca}
    finds(make_client("-", env=env))
    del env["CONSUL_CACERT"]
    refuses(make_client("-", env=env), "certificate")
    finds(make_client("-", env={**env, "CONSUL_HTTP_SSL_VERIFY": "false"}))
    folder = str(pathlib.Path(certs.ca).parent / "authorities")
    os.makedirs(folder, exist_ok=True)
    shutil.copy(certs.ca, folder)
    finds(make_client("-", env={**env, "CONSUL_CAPATH": folder}))
    # Options win.
    refuses(make_client("127.0.0.1:1", env=env), "refused")


def test_the_environment_says_who(certs, make_client, tmp_path):
    secret = tmp_path / "token"
    secret.write_text("from-a-file\n")
    env = {"CONSUL_CACERT": certs.ca, "CONSUL_HTTP_TOKEN": "from-env",
           "CONSUL_HTTP_TOKEN_FILE": str(secret), "CONSUL_HTTP_AUTH": "me:secret",
           "CONSUL_TLS_SERVER_NAME": "web.example.org"}

    def asked(more=None, **settings):
        with Stub(certs) as stub:
            at = {"CONSUL_HTTP_ADDR": f"https://127.0.0.1:{stub.server_port}"}
            c = make_client("-", env={**env, **at, **(more or {})}, **settings)
            finds(c, "1")
            c.ok("close")
            assert set(stub.names) == {"web.example.org"}
            basic = base64.b64encode(b"me:secret").decode()
            assert stub.header("Authorization") == {f"Basic {basic}"}
            return stub.header("X-Consul-Token")

    assert asked() == {"from-env"}
    assert asked({"CONSUL_HTTP_TOKEN": ""}) == {"from-a-file"}
    assert asked(token="given") == {"given"}


def test_a_token_file_that_is_not_there_is_told():
    c = Client({"CONSUL_HTTP_TOKEN_FILE": "/nowhere/token"})
    answer = c.ask("open 127.0.0.1:1 - 0 thread")
    assert answer.startswith("error") and "/nowhere/token" in answer
    c.end()


def test_the_list_of_one_server_is_the_list_of_the_next(https, certs, make_client):
    """Plain and HTTPS servers may stand in one list."""
    server, port = https
    c = make_client(f"https://localhost:{muster.free_port()},{address(server)},"
                    f"https://localhost:{port}", ca_file=certs.ca)
    finds(c)
    assert int(c.status()["failures"]) == 1
