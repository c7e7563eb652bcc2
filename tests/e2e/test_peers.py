# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""The listener for servers and agents: who has the key is let in, nobody else."""

import base64
import hashlib
import hmac
import http.client
import json
import shutil
import socket
import ssl
import subprocess

import pytest

from muster import BINARY, until

KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER = base64.b64encode(b"0123456789abcdef0123456789abcdeF").decode()
OPENSSL = shutil.which("openssl")


def psk_of(key):
    """HKDF (RFC 5869) with SHA-256, as src/loop/tls_psk.c derives it."""
    extracted = hmac.new(bytes(32), base64.b64decode(key), hashlib.sha256)
    info = b"muster peers, TLS 1.3 PSK"
    return hmac.new(extracted.digest(), info + b"\1", hashlib.sha256).hexdigest()


def port_of(server):
    return server.other_ports[0]


def ask_plain(port, path):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        c.request("GET", path)
        r = c.getresponse()
        return r.status, r.read().decode()
    finally:
        c.close()


def ask_psk(port, key, path):
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    done = subprocess.run(
        [OPENSSL, "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3",
         "-psk_identity", "muster", "-psk", psk_of(key), "-quiet",
         "-ign_eof"], input=request.encode(), capture_output=True, timeout=60)
    return done.stdout.decode()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    import muster
    s = muster.Server(tmp_path_factory.mktemp("plain")).start()
    yield s
    s.stop()


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    import muster
    s = muster.Server(tmp_path_factory.mktemp("sealed"), "-encrypt", KEY).start()
    yield s
    s.stop()


def test_hello_on_loopback_says_who_this_is(plain):
    status, body = ask_plain(port_of(plain), "/v1/peer/hello")
    hello = json.loads(body)
    assert status == 200
    assert hello["Node"] == plain.name
    assert hello["ID"] == plain.get("/v1/agent/self").json["Config"]["NodeID"]
    assert (hello["Datacenter"], hello["Server"], hello["Protocol"]) == (
        "dc1", True, 1)
    assert [s["PeerPort"] for s in hello["Servers"]] == [port_of(plain)]


def test_each_listener_has_its_own_routes(plain):
    assert plain.get("/v1/peer/hello").status == 404
    for path in ("/v1/agent/self", "/ui/", "/", "/v1/peer/nope"):
        assert ask_plain(port_of(plain), path)[0] == 404, path
    status, body = ask_plain(port_of(plain), "/v1/catalog/nodes")
    assert status == 200 and json.loads(body)[0]["Node"] == plain.name


@pytest.mark.skipif(OPENSSL is None, reason="there is no openssl command")
def test_the_key_opens_and_another_does_not(sealed):
    answer = ask_psk(port_of(sealed), KEY, "/v1/peer/hello")
    assert answer.startswith("HTTP/1.1 200 OK"), answer
    assert f'"Node":"{sealed.name}"' in answer
    assert ask_psk(port_of(sealed), OTHER, "/v1/peer/hello") == ""
    until(lambda: "encrypt is another key there" in sealed.log(),
          "a line about the wrong key")
    assert "peer=127.0.0.1:" in sealed.log()
    assert KEY not in sealed.log() and OTHER not in sealed.log()


def test_without_a_key_nobody_is_let_in(sealed):
    status, body = ask_plain(port_of(sealed), "/v1/peer/hello")
    assert status == 400 and "key (encrypt)" in body
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port_of(sealed))) as s:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(s)


def test_garbage_costs_the_connection_only(plain, sealed):
    for server in (plain, sealed):
        for text in (b"\x16\x03\x01\x02\x00" + bytes(512), b"\0" * 64,
                     b"GET " + b"x" * 9000 + b"\r\n\r\n", b"\r\n" * 8,
                     b"PUT /v1/peer/hello HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"):
            with socket.create_connection(
                    ("127.0.0.1", port_of(server)), timeout=30) as s:
                s.sendall(text)
                s.shutdown(socket.SHUT_WR)
                while True:
                    try:
                        if not s.recv(4096):
                            break
                    except ConnectionResetError:
                        break
        assert server.get("/v1/status/leader").json != ""


def refused(tmp_path, *words):
    done = subprocess.run(
        [BINARY, "agent", "-data-dir", str(tmp_path / "data"), *words],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return done.stderr


def test_what_would_be_open_to_all_is_refused_at_start(tmp_path):
    text = refused(tmp_path, "-bind", "0.0.0.0", "-retry-join", "127.0.0.1:1")
    assert "bind_addr 0.0.0.0 is open to the network" in text
    assert "muster keygen" in text
    text = refused(tmp_path, "-bind", "127.0.0.1", "-encrypt", "abcd")
    assert "encrypt has invalid key" in text
    text = refused(tmp_path, "-bind", "127.0.0.1", "-retry-join",
                   "provider=aws tag_key=x")
    assert "clouds are not asked for addresses" in text


def test_a_port_in_use_is_named(tmp_path, plain):
    text = refused(tmp_path, "-server", "-bootstrap-expect", "1", "-bind",
                   "127.0.0.1", "-http-port", "-1", "-dns-port", "-1",
                   "-serf-lan-port", str(port_of(plain)))
    assert f"127.0.0.1:{port_of(plain)}" in text
