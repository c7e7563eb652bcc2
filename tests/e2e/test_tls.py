# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""HTTPS: who may ask, what he gets, what hostile clients get, new certificates."""

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading

import pytest

import check_peers
import muster
from muster import until

pytestmark = pytest.mark.skipif(not shutil.which("openssl"),
                                reason="no openssl command (apt: openssl)")


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return check_peers.Certificates(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Another authority of the same name, and what it signed."""
    return check_peers.Certificates(tmp_path_factory.mktemp("strangers"))


class Tls(muster.Server):
    """A server whose clients here come by HTTPS."""

    def __init__(self, folder, certs, *extra, config=None, **kw):
        self.tls_port = muster.free_port()
        self.context = context(certs)
        super().__init__(folder, *extra, config={
            "ports": {"https": self.tls_port}, "cert_file": certs.cert,
            "key_file": certs.key, "log_level": "debug", **(config or {})}, **kw)

    def connect(self, timeout=muster.LIMIT):
        return http.client.HTTPSConnection("localhost", self.tls_port,
                                           timeout=timeout, context=self.context)

    def plain(self, timeout=muster.LIMIT):
        return http.client.HTTPConnection("127.0.0.1", self.port,
                                          timeout=timeout)

    def allocated_kb(self):
        """0 under a sanitizer, whose heap is its own."""
        answer = self.get("/v1/agent/metrics", connection=self.plain())
        for g in answer.json["Gauges"]:
            if g["Name"].endswith("runtime.alloc_bytes"):
                return g["Value"] // 1024
        raise AssertionError("runtime.alloc_bytes")

    def counter(self, name):
        answer = self.get("/v1/agent/metrics", connection=self.plain())
        for c in answer.json["Counters"]:
            if c["Name"] == f"consul.{name}":
                return c["Count"]
        raise AssertionError(name)


def context(certs, client=None, **limits):
    c = ssl.create_default_context(cafile=certs.ca)
    if client:
        c.load_cert_chain(*client)
    for k, v in limits.items():
        setattr(c, k, v)
    return c


@pytest.fixture
def make_tls(tmp_path, certs):
    made = []

    def make(*extra, **kw):
        s = Tls(tmp_path / f"server{len(made)}", certs, *extra, **kw)
        made.append(s)
        return s

    yield make
    for s in made:
        code = s.stop()
        if s.log_path.exists():
            print(f"--- log of {s.folder.name}\n{s.log()[-4000:]}")
        assert code == 1, f"exit code {code}, want 1"


@pytest.fixture(scope="module")
def server(tmp_path_factory, certs):
    s = Tls(tmp_path_factory.mktemp("server"), certs).start()
    yield s
    assert s.stop() == 1


def handshake(port, ctx, ask=b""):
    """What a client sees: its TLS version, or the error's name."""
    try:
        with socket.create_connection(("127.0.0.1", port), 20) as raw, \
                ctx.wrap_socket(raw, server_hostname="localhost") as s:
            if ask:
                s.sendall(ask)
                if not s.recv(100):
                    return "end"
            return s.version()
    except ssl.SSLError as e:
        return e.reason or str(e)
    except (ConnectionResetError, BrokenPipeError):
        return "reset"


ASK = b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n"


# --- What works as without it ------------------------------------------------

def test_writes_reads_and_long_polls(server):
    server.register("n1", "web", port=1)
    a = server.get("/v1/health/service/web")
    assert a.json[0]["Service"]["Port"] == 1
    poll = muster.Poll(server, "/v1/health/service/web", a.index)
    until(lambda: muster.parked(server) == 1, "the long poll")
    server.register("n1", "web", port=2)
    assert poll.result().json[0]["Service"]["Port"] == 2


def test_one_connection_serves_many_requests(server):
    c = server.connect()
    for i in range(50):
        body = {"Name": f"s{i}", "Port": i + 1}
        assert server.put("/v1/agent/service/register", body,
                          connection=c).status == 200
    assert len(server.get("/v1/agent/services", connection=c).json) >= 50
    assert server.get("/v1/agent/services", connection=c,
                      headers={"Accept-Encoding": "gzip"}
                      ).headers["content-encoding"] == "gzip"
    c.close()


def test_a_large_answer_to_a_slow_reader_is_whole(server):
    for n in range(30):
        checks = [{"CheckID": f"c{k}", "Name": "x", "Status": "passing",
                   "Output": "o" * 2000} for k in range(60)]
        server.register(f"big{n}", "big", checks=checks)
    want = server.get("/v1/health/service/big", connection=server.plain())
    assert len(want.body) > 3 << 20
    with socket.create_connection(("127.0.0.1", server.tls_port), 30) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 10)
        with server.context.wrap_socket(raw, server_hostname="localhost") as s:
            s.sendall(b"GET /v1/health/service/big HTTP/1.0\r\n\r\n")
            got = b""
            while chunk := s.recv(5000):
                got += chunk
    head, body = got.split(b"\r\n\r\n", 1)
    assert (hashlib.sha256(body).hexdigest()
            == hashlib.sha256(want.body).hexdigest())


def test_the_log_is_streamed(server):
    c = server.connect()
    c.request("GET", "/v1/agent/monitor?loglevel=debug")
    r = c.getresponse()
    assert r.status == 200
    handshake(server.tls_port, ssl.create_default_context())
    while b"TLS handshake failed" not in r.readline():
        pass
    c.close()


def test_versions_alpn_and_sessions(server, certs):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = context(certs, maximum_version=version, minimum_version=version)
        assert handshake(server.tls_port, c, ASK) == version.name.replace("_", ".", 1)
    old = context(certs, minimum_version=ssl.TLSVersion.TLSv1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert "VERSION" in handshake(server.tls_port, old)
    c = context(certs)
    c.set_alpn_protocols(["h2", "http/1.1"])
    raw = socket.create_connection(("127.0.0.1", server.tls_port), 20)
    with c.wrap_socket(raw, server_hostname="localhost") as s:
        assert s.selected_alpn_protocol() == "http/1.1"
    c.set_alpn_protocols(["h2"])
    assert "no application protocol" in handshake(server.tls_port, c)
    # A ticket brings the client back without another signature.
    c = context(certs, maximum_version=ssl.TLSVersion.TLSv1_2)
    session = None
    for again in (False, True):
        raw = socket.create_connection(("127.0.0.1", server.tls_port), 20)
        with c.wrap_socket(raw, server_hostname="localhost", session=session) as s:
            assert s.session_reused == again
            session = s.session


def test_curl_and_the_command_line(server, certs, tmp_path):
    if not shutil.which("curl"):
        pytest.skip("no curl (apt: curl)")
    url = f"https://localhost:{server.tls_port}/v1/status/leader"
    out = subprocess.run(["curl", "-s", "--cacert", certs.ca, url],
                         capture_output=True, check=True)
    assert json.loads(out.stdout)
    cas = tmp_path / "cas"
    cas.mkdir()
    shutil.copy(certs.ca, cas / "whatever-name")

    def members(*words, **env):
        return subprocess.run([muster.BINARY, "members", *words],
                              env={**os.environ, **env}, capture_output=True,
                              text=True)

    address = f"localhost:{server.tls_port}"
    for words, env in (
            ([f"-http-addr=https://{address}", f"-ca-file={certs.ca}"], {}),
            ([f"-http-addr=https://{address}", f"-ca-path={cas}"], {}),
            ([f"-http-addr=https://127.0.0.1:{server.tls_port}",
              f"-ca-file={certs.ca}", "-tls-server-name=web.example.org"], {}),
            ([], {"CONSUL_HTTP_ADDR": address, "CONSUL_HTTP_SSL": "true",
                  "CONSUL_CACERT": certs.ca}),
            ([], {"CONSUL_HTTP_ADDR": address, "CONSUL_HTTP_SSL": "true",
                  "CONSUL_CAPATH": str(cas)}),
            ([], {"CONSUL_HTTP_ADDR": f"https://{address}",
                  "CONSUL_HTTP_SSL_VERIFY": "false"})):
        out = members(*words, **env)
        assert out.returncode == 0 and "node-a" in out.stdout, out.stderr
    out = members(f"-http-addr=https://{address}")
    assert out.returncode == 1 and "x509: certificate signed by unknown authority" in out.stderr
    out = members(f"-http-addr=https://{address}", "-ca-path=/nonexistent")
    assert out.returncode == 1 and 'ca_path "/nonexistent": No such file' in out.stderr
    out = members(f"-http-addr=http://{address}")
    assert out.returncode == 1
    assert "Client sent an HTTP request to an HTTPS server." in out.stderr


# --- Who may ask -------------------------------------------------------------

@pytest.mark.parametrize("config", [
    {"verify_incoming": True}, {"verify_incoming_https": True},
    {"tls": {"defaults": {"verify_incoming": True}}},
    {"tls": {"https": {"verify_incoming": True}}},
    {"verify_incoming": False, "tls": {"https": {"verify_incoming": True}}}])
def test_a_certificate_of_the_client_is_required(make_tls, certs, strangers,
                                                 config):
    s = make_tls(config={"ca_file": certs.ca, **config})
    s.context = context(certs, (certs.client_cert, certs.client_key))
    s.start()
    assert s.get("/v1/status/leader").status == 200
    failed = s.counter("http.tls.failed")
    assert handshake(s.tls_port, context(certs), ASK) in (
        "TLSV13_ALERT_CERTIFICATE_REQUIRED", "reset")
    wrong = context(certs, (strangers.client_cert, strangers.client_key))
    assert handshake(s.tls_port, wrong, ASK) in ("TLSV1_ALERT_UNKNOWN_CA", "reset")
    # He who does not trust the server leaves.
    assert handshake(s.tls_port, context(strangers)) == "CERTIFICATE_VERIFY_FAILED"
    until(lambda: s.counter("http.tls.failed") == failed + 3, "three failures")
    log = s.log()
    assert "peer did not return a certificate" in log
    assert 'TLS handshake failed: peer=127.0.0.1:' in log


def test_verification_can_be_off_for_https_alone(make_tls, certs):
    s = make_tls(config={"ca_file": certs.ca, "verify_incoming": True,
                         "tls": {"https": {"verify_incoming": False}}}).start()
    assert s.get("/v1/status/leader").status == 200


def test_a_folder_of_authorities(make_tls, certs, tmp_path):
    cas = tmp_path / "cas"
    cas.mkdir()
    shutil.copy(certs.ca, cas / "any-name.pem")
    s = make_tls(config={"ca_path": str(cas), "verify_incoming": True})
    s.context = context(certs, (certs.client_cert, certs.client_key))
    s.start()
    assert handshake(s.tls_port, context(certs), ASK) in (
        "TLSV13_ALERT_CERTIFICATE_REQUIRED", "reset")


def test_the_oldest_version_and_ciphers(make_tls, certs):
    s = make_tls(config={
        "tls": {"https": {"tls_min_version": "TLSv1_3"}}}).start()
    assert handshake(s.tls_port, context(certs), ASK) == "TLSv1.3"
    c = context(certs, maximum_version=ssl.TLSVersion.TLSv1_2)
    assert "PROTOCOL_VERSION" in handshake(s.tls_port, c)
    s = make_tls(config={
        "tls_min_version": "tls11", "tls_prefer_server_cipher_suites": True,
        "tls_cipher_suites": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}).start()
    c.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    assert "HANDSHAKE_FAILURE" in handshake(s.tls_port, c)
    c.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    assert handshake(s.tls_port, c, ASK) == "TLSv1.2"


def test_on_a_unix_socket(make_tls, certs, tmp_path):
    path = str(tmp_path / "s")
    s = make_tls(config={"addresses": {"https": f"unix://{path}"}})
    s.connect = s.plain
    s.start()
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(20)
    raw.connect(path)
    with context(certs).wrap_socket(raw, server_hostname="localhost") as tls:
        tls.sendall(ASK)
        assert tls.recv(100).startswith(b"HTTP/1.1 200")


# --- What is refused at the start --------------------------------------------

@pytest.mark.parametrize("change, says", [
    ({"cert_file": "/nonexistent"}, 'cert_file "/nonexistent": No such file'),
    ({"key_file": "{ca}"}, 'key_file "'),
    ({"key_file": "{client_key}"}, "key values mismatch"),
    ({"key_file": ""}, "cert_file is set without key_file: both or none"),
    ({"verify_incoming": True}, "verify_incoming is set without ca_file or ca_path"),
    ({"verify_incoming": True, "ca_file": "/nonexistent"},
     'ca_file "/nonexistent": No such file'),
    ({"tls_min_version": "ssl3"}, 'value "ssl3" not supported'),
    ({"tls_cipher_suites": "ROT13"}, 'unsupported cipher "ROT13"')])
def test_what_cannot_be_used_stops_the_start(tmp_path, certs, change, says):
    names = {"ca": certs.ca, "client_key": certs.client_key}
    change = {k: v.format(**names) if isinstance(v, str) else v
              for k, v in change.items()}
    s = Tls(tmp_path / "server", certs, config=change)
    s.spawn()
    assert s.process.wait(muster.LIMIT) == 1
    assert says in s.log(), s.log()


def test_a_port_without_a_certificate_is_not_served(make_server):
    port = muster.free_port()
    s = make_server(config={"ports": {"https": port}}).start()
    assert f"HTTPS is not served: port={port}" in s.log()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


# --- New certificates --------------------------------------------------------

def seen(s):
    """The serial number of the certificate that a new connection sees."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", s.tls_port), 20) as raw, \
            ctx.wrap_socket(raw) as tls:
        return hashlib.sha256(tls.getpeercert(True)).hexdigest()


@pytest.mark.parametrize("by", ["signal", "route"])
def test_a_reload_brings_a_new_certificate(make_tls, certs, strangers, tmp_path,
                                           by):
    cert, key = tmp_path / "cert", tmp_path / "key"
    shutil.copy(certs.cert, cert)
    shutil.copy(certs.key, key)
    s = make_tls(config={"cert_file": str(cert), "key_file": str(key)}).start()

    def reload():
        if by == "signal":
            s.process.send_signal(signal.SIGHUP)
            return None
        return s.put("/v1/agent/reload", connection=s.plain())

    old = s.connect()
    s.get("/v1/status/leader", connection=old)
    first = seen(s)
    # Half of a change: all stays as it was.
    shutil.copy(strangers.cert, cert)
    answer = reload()
    until(lambda: "not reloaded, all stays as it was" in s.log(), "the refusal")
    if answer:
        assert answer.status == 500 and "key values mismatch" in answer.text
    assert seen(s) == first
    shutil.copy(strangers.key, key)
    reload()
    until(lambda: seen(s) != first, "the new certificate")
    # Who was connected stays connected.
    assert s.get("/v1/status/leader", connection=old).status == 200
    s.context = context(strangers)
    assert s.get("/v1/status/leader").status == 200
    old.close()


def test_a_reload_brings_verification(make_tls, certs, tmp_path):
    s = make_tls(config={"ca_file": certs.ca}).start()
    assert handshake(s.tls_port, context(certs), ASK) == "TLSv1.3"
    s.config["verify_incoming"] = True
    s.command()  # writes the file
    assert s.put("/v1/agent/reload", connection=s.plain()).status == 200
    until(lambda: handshake(s.tls_port, context(certs), ASK) != "TLSv1.3",
          "verification")
    mine = context(certs, (certs.client_cert, certs.client_key))
    assert handshake(s.tls_port, mine, ASK) == "TLSv1.3"


# --- Abuse -------------------------------------------------------------------

def rest(s):
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := s.recv(65536):
            got += chunk
    return got


def test_plain_http_is_told_so(server):
    with socket.create_connection(("127.0.0.1", server.tls_port), 20) as s:
        s.sendall(ASK)
        got = rest(s)
    assert got.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert got.endswith(b"Client sent an HTTP request to an HTTPS server.\n")


def test_a_slow_handshake_is_cut(make_tls):
    s = make_tls(config={"limits": {"https_handshake_timeout": "200ms"}}).start()
    for first in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
        with socket.create_connection(("127.0.0.1", s.tls_port), 20) as c:
            c.sendall(first)
            assert rest(c) == b""
    assert "not complete in time" in s.log()
    # Afterwards nobody is in a hurry.
    c = s.connect()
    s.get("/v1/status/leader", connection=c)
    with socket.create_connection(("127.0.0.1", s.tls_port), 20) as other:
        rest(other)
    assert s.get("/v1/status/leader", connection=c).status == 200


def client_hello():
    """A real one."""
    ctx = ssl.create_default_context()
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ctx.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    return out.read()


def test_garbage_and_broken_records(server):
    hello = client_hello()
    failed = server.counter("http.tls.failed")
    sent = [b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 70000,
            b"\x80\x2e\x01\x00\x02" + b"y" * 41, os.urandom(3000).lower(),
            hello[:50], hello[:-1], hello + hello, hello + os.urandom(200),
            bytes([hello[0]]) + hello[1:5] + os.urandom(len(hello) - 5)]
    for data in sent:
        if b"A"[0] <= data[0] <= b"Z"[0]:
            data = b"a" + data[1:]
        with socket.create_connection(("127.0.0.1", server.tls_port), 20) as s:
            with contextlib.suppress(ConnectionError):
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
            assert not rest(s).startswith(b"HTTP")
    until(lambda: server.counter("http.tls.failed") == failed + len(sent),
          "all are counted")
    assert server.get("/v1/status/leader").status == 200


def test_broken_records_after_the_handshake(server):
    raw = socket.create_connection(("127.0.0.1", server.tls_port), 20)
    tls = server.context.wrap_socket(raw, server_hostname="localhost")
    tls.sendall(ASK)
    assert tls.recv(1000).startswith(b"HTTP/1.1 200")
    with socket.socket(fileno=os.dup(tls.fileno())) as s:
        s.settimeout(20)
        s.sendall(b"\x17\x03\x03\x00\x20" + os.urandom(32))
        rest(s)  # ends
    tls.close()
    assert server.get("/v1/status/leader").status == 200


def test_many_half_handshakes_cost_little_and_delay_nobody(make_tls):
    s = make_tls(config={"limits": {"https_handshake_timeout": "60s"}}).start()
    hello = client_hello()
    before = s.allocated_kb()
    held = []
    for i in range(500):
        c = socket.create_connection(("127.0.0.1", s.tls_port), 20)
        c.sendall(hello if i % 2 else hello[:100])
        held.append(c)
    # All are served in turns, and a healthy client of either port meanwhile.
    for _ in range(20):
        assert s.get("/v1/status/leader").status == 200
        assert s.get("/v1/status/leader", connection=s.plain()).status == 200
    for c in held[1::2]:
        assert c.recv(5)[:1] == b"\x16"
    grown = s.allocated_kb() - before
    assert grown < 500 * 100, f"{grown} kB for 500 half handshakes"
    for c in held:
        c.close()
    until(lambda: s.counter("http.tls.failed") == 500, "all are gone")


def test_many_clients_at_once(server):
    wrong = []

    def client():
        try:
            for _ in range(5):
                assert server.get("/v1/status/leader").status == 200
        except Exception as e:  # shown below
            wrong.append(e)

    threads = [threading.Thread(target=client) for _ in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong


def test_who_takes_no_byte_of_an_answer_holds_little(server):
    """A slice of it at most, whatever its length."""
    test_a_large_answer_to_a_slow_reader_is_whole(server)
    before = server.allocated_kb()
    held = []
    for _ in range(40):
        raw = socket.create_connection(("127.0.0.1", server.tls_port), 20)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s = server.context.wrap_socket(raw, server_hostname="localhost")
        s.sendall(b"GET /v1/health/service/big HTTP/1.1\r\nHost: x\r\n\r\n")
        assert s.recv(12) == b"HTTP/1.1 200"
        held.append(s)
    grown = server.allocated_kb() - before
    assert grown < 40 * 400, f"{grown} kB for 40 answers of 3 MB"
    for s in held:
        s.close()
