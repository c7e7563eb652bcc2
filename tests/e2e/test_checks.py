# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Every type of check, against a real peer where there is one."""

import re
import shutil

import pytest

import check_peers as peers
import muster
from muster import until


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("no openssl command (apt: openssl)")
    return peers.Certificates(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    s = muster.Server(tmp_path_factory.mktemp("agent"), dev=True,
                      config={"enable_script_checks": True}).start()
    yield s
    s.stop()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory, certs):
    reason = peers.nginx_skip_reason()
    if reason:
        pytest.skip(reason)
    n = peers.Nginx(tmp_path_factory.mktemp("nginx"), certs)
    yield n
    n.close()


@pytest.fixture(scope="module")
def grpc_server(certs):
    reason = peers.grpc_skip_reason()
    if reason:
        pytest.skip(reason)
    g = peers.GrpcServer(certs)
    yield g
    g.close()


@pytest.fixture
def rude():
    made = []

    def make(act):
        made.append(peers.Rude(act))
        return made[-1]

    yield make
    for r in made:
        r.close()


numbers = iter(range(1, 1000000))


def outcome(agent, **definition):
    """(status, output) of a check's first run."""
    name = f"check-{next(numbers)}"
    answer = agent.put("/v1/agent/check/register",
                       {"Name": name, "Interval": "1s", **definition})
    assert answer.status == 200, answer.text

    def ran():
        c = agent.get("/v1/agent/checks").json[name]
        return c if c["Output"] or c["Status"] != "critical" else None
    c = until(ran, f"a run of {definition}")
    agent.put(f"/v1/agent/check/deregister/{name}")
    return c["Status"], c["Output"]


# --- gRPC --------------------------------------------------------------------

def test_grpc_passes_by_service(agent, grpc_server):
    port = grpc_server.port
    for target in (f"127.0.0.1:{port}", f"localhost:{port}",
                   f"127.0.0.1:{port}/serving"):
        assert outcome(agent, GRPC=target) == (
            "passing", f"gRPC check {target}: success")


def test_grpc_that_does_not_serve_is_critical(agent, grpc_server):
    port = grpc_server.port
    text = "gRPC application didn't report service healthy: "
    assert outcome(agent, GRPC=f"127.0.0.1:{port}/sick") == (
        "critical", text + "NOT_SERVING")
    assert outcome(agent, GRPC=f"127.0.0.1:{port}/unknown") == (
        "critical", text + "UNKNOWN")
    assert outcome(agent, GRPC=f"127.0.0.1:{port}/nobody") == (
        "critical", "rpc error: code = NotFound desc = ")


def test_grpc_server_without_health_service(agent, grpc_server, certs):
    bare = peers.GrpcServer(certs, health=False)
    try:
        assert outcome(agent, GRPC=f"127.0.0.1:{bare.port}") == (
            "critical",
            "rpc error: code = Unimplemented desc = Method not found!")
    finally:
        bare.close()


def test_grpc_with_tls(agent, grpc_server):
    target = f"127.0.0.1:{grpc_server.tls_port}"
    assert outcome(agent, GRPC=target, GRPCUseTLS=True, TLSSkipVerify=True) == (
        "passing", f"gRPC check {target}: success")
    status, text = outcome(agent, GRPC=target, GRPCUseTLS=True)
    assert status == "critical"
    assert "x509: certificate signed by unknown authority" in text
    status, text = outcome(agent, GRPC=f"127.0.0.1:{grpc_server.port}",
                           GRPCUseTLS=True, TLSSkipVerify=True)
    assert status == "critical"
    assert "authentication handshake failed: tls: first record does not look " \
        "like a TLS handshake" in text


def test_grpc_to_something_else_says_so(agent, nginx, rude):
    def text_of(port, **more):
        status, text = outcome(agent, GRPC=f"127.0.0.1:{port}", **more)
        assert status == "critical"
        assert text.startswith("rpc error: code = "), text
        return text
    assert 'does not speak HTTP/2: it began with "HTTP/1.1 400 Bad' in text_of(
        nginx.plain)
    assert "no gRPC server: it answered with HTTP status 404" in text_of(
        nginx.h2c)
    assert 'does not offer "h2"' in text_of(nginx.tls1, GRPCUseTLS=True,
                                            TLSSkipVerify=True)
    assert 'it began with "SSH-2.0-OpenSSH' in text_of(
        rude(peers.ssh_banner).port)
    assert "DeadlineExceeded" in text_of(rude(peers.hang).port, Timeout="50ms")
    assert "closed the connection before any HTTP/2 frame" in text_of(
        rude(peers.close_unanswered).port)
    assert re.search("dial tcp 127.0.0.1:.*: connect: connection refused",
                     text_of(muster.free_port()))
    assert "lookup nohost.invalid: no such host" in outcome(
        agent, GRPC="nohost.invalid:1")[1]


# --- HTTP/2 ping -------------------------------------------------------------

def test_h2ping(agent, nginx, grpc_server):
    good = ("passing", "HTTP2 ping was successful")
    assert outcome(agent, H2PING=f"127.0.0.1:{nginx.tls}",
                   TLSSkipVerify=True) == good
    assert outcome(agent, H2PING=f"localhost:{nginx.h2c}",
                   H2PingUseTLS=False) == good
    assert outcome(agent, H2PING=f"127.0.0.1:{grpc_server.port}",
                   H2PingUseTLS=False) == good


def test_h2ping_that_fails_says_why(agent, nginx, rude):
    status, text = outcome(agent, H2PING=f"127.0.0.1:{nginx.tls}")
    assert (status, text) == (
        "critical", "x509: certificate signed by unknown authority")
    status, text = outcome(agent, H2PING=f"127.0.0.1:{nginx.tls1}",
                           TLSSkipVerify=True)
    assert (status, text) == (
        "critical", f'tls: 127.0.0.1:{nginx.tls1} does not offer "h2" as '
        "application protocol (ALPN)")
    status, text = outcome(agent, H2PING=f"127.0.0.1:{rude(peers.hang).port}",
                           H2PingUseTLS=False, Timeout="50ms")
    assert status == "critical" and "i/o timeout" in text


# --- TCP and UDP -------------------------------------------------------------

def test_tcp_with_tls(agent, nginx):
    target = f"127.0.0.1:{nginx.tls1}"
    assert outcome(agent, TCP=target, TCPUseTLS=True, TLSSkipVerify=True) == (
        "passing", f"TCP connect {target}: Success")
    assert outcome(agent, TCP=target, TCPUseTLS=True) == (
        "critical", "x509: certificate signed by unknown authority")
    assert outcome(agent, TCP=f"127.0.0.1:{nginx.plain}", TCPUseTLS=True) == (
        "critical", "tls: first record does not look like a TLS handshake")


def test_tcp_handshake_that_never_ends(agent, rude):
    port = rude(peers.hang).port
    assert outcome(agent, TCP=f"127.0.0.1:{port}", TCPUseTLS=True,
                   Timeout="50ms") == (
        "critical", f"tls: handshake with 127.0.0.1:{port}: i/o timeout")
    assert outcome(agent, TCP=f"127.0.0.1:{rude(peers.close_unanswered).port}",
                   TCPUseTLS=True)[0] == "critical"


def test_udp(agent):
    echo = peers.UdpEcho()
    try:
        assert outcome(agent, UDP=f"127.0.0.1:{echo.port}") == (
            "passing", f"UDP connect 127.0.0.1:{echo.port}: Success")
        assert echo.heard[0] == b"UDP check"
    finally:
        echo.close()


def test_udp_silence_passes_and_refusal_does_not(agent):
    import socket
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        assert outcome(agent, UDP=f"127.0.0.1:{port}", Timeout="50ms") == (
            "passing", f"UDP connect 127.0.0.1:{port}: Success")
    assert outcome(agent, UDP=f"127.0.0.1:{port}", Timeout="5s") == (
        "critical",
        f"read udp 127.0.0.1:{port}: read: connection refused")
    assert outcome(agent, UDP="nohost.invalid:9") == (
        "critical", "dial udp: lookup nohost.invalid: no such host")


# --- HTTP --------------------------------------------------------------------

def test_http_with_every_option(agent, nginx):
    url = f"https://127.0.0.1:{nginx.tls1}/ok"
    status, text = outcome(
        agent, HTTP=url, Method="PUT", Body="ping", TLSSkipVerify=True,
        Header={"X-Probe": ["yes"], "Host": ["web.example.org"]})
    assert (status, text) == (
        "passing", f"HTTP PUT {url}: 200 OK Output: method PUT host "
        "web.example.org length 4 header yes")


def test_http_redirects(agent, nginx):
    url = f"http://127.0.0.1:{nginx.plain}/moved"
    assert outcome(agent, HTTP=url)[0] == "passing"
    status, text = outcome(agent, HTTP=url, DisableRedirects=True)
    assert status == "critical" and "302 Moved Temporarily" in text


def test_http_statuses(agent, nginx):
    base = f"http://127.0.0.1:{nginx.plain}"
    assert outcome(agent, HTTP=base + "/busy") == (
        "warning", f"HTTP GET {base}/busy: 429 Too Many Requests Output: busy")
    assert outcome(agent, HTTP=base + "/bad")[0] == "critical"


def test_http_that_misbehaves_is_critical_and_says_why(agent, rude):
    def text_of(act, **more):
        status, text = outcome(
            agent, HTTP=f"http://127.0.0.1:{rude(act).port}/", **more)
        assert status == "critical"
        return text
    assert "context deadline exceeded (Client.Timeout or context cancellation " \
        "while reading body)" in text_of(peers.endless, Timeout="100ms")
    assert "response headers exceeded" in text_of(peers.endless_header)
    assert "while awaiting headers" in text_of(peers.hang, Timeout="50ms")
    assert text_of(peers.close_early).endswith("unexpected EOF")
    assert text_of(peers.close_unanswered).endswith(": EOF")
    assert "malformed HTTP response" in text_of(peers.ssh_banner)
