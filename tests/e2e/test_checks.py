# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Every type of check, against a real peer where there is one."""

import os
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
def docker(tmp_path_factory):
    d = peers.DockerStandIn(tmp_path_factory.mktemp("docker") / "sock")
    yield d
    d.close()


@pytest.fixture(scope="module")
def agent(tmp_path_factory, docker):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{docker.path}")
        s = muster.Server(tmp_path_factory.mktemp("agent"), dev=True,
                          config={"enable_script_checks": True}).start()
    yield s
    s.stop()


@pytest.fixture(scope="module")
def tls_agent(tmp_path_factory, certs):
    """One that has an authority and a certificate of its own for checks."""
    s = muster.Server(tmp_path_factory.mktemp("tls-agent"), dev=True, config={
        "enable_agent_tls_for_checks": True, "ca_file": certs.ca,
        "cert_file": certs.client_cert, "key_file": certs.client_key}).start()
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
    assert re.search("connection reset by peer before any HTTP/2 frame; a "
                     "server that wants TLS",
                     text_of(rude(peers.reset_unanswered).port))
    assert 'it began with "SSH-2.0-OpenSSH' in text_of(
        rude(peers.ssh_banner_and_reset).port)
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
    assert outcome(agent, UDP=f"127.0.0.1:{port}", Timeout="1s") == (
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


def test_own_authority_and_certificate(tls_agent, agent, nginx, grpc_server):
    """For every type that has TLS."""
    a, port = tls_agent, nginx.mutual
    url = f"https://127.0.0.1:{port}/ok"
    assert outcome(a, HTTP=url)[0] == "passing"
    assert outcome(a, TCP=f"localhost:{port}", TCPUseTLS=True)[0] == "passing"
    assert outcome(a, H2PING=f"localhost:{port}")[0] == "passing"
    assert outcome(a, GRPC=f"localhost:{grpc_server.tls_port}",
                   GRPCUseTLS=True)[0] == "passing"
    assert outcome(a, HTTP=url, TLSServerName="web.example.org")[0] == "passing"
    text = "x509: certificate is not valid for other.example.org"
    assert outcome(a, HTTP=url, TLSServerName="other.example.org") == (
        "critical", f'Get "{url}": {text}')
    assert outcome(a, TCP=f"127.0.0.1:{port}", TCPUseTLS=True,
                   TLSServerName="other.example.org") == ("critical", text)
    assert outcome(a, H2PING=f"127.0.0.1:{port}",
                   TLSServerName="other.example.org") == ("critical", text)
    # Without a certificate nginx says 400 to those who do not verify it.
    status, text = outcome(agent, HTTP=url, TLSSkipVerify=True)
    assert status == "critical"
    assert "No required SSL certificate was sent" in text


def test_files_that_cannot_be_used_are_named_at_the_start(make_server, tmp_path):
    (tmp_path / "bad.pem").write_text("no certificate")
    for config, words in (
            ({"ca_file": "/nonexistent/ca"},
             ["ca_file", "/nonexistent/ca", "No such file"]),
            ({"ca_file": str(tmp_path / "bad.pem")}, ["ca_file", "bad.pem"]),
            ({"cert_file": "/nonexistent/c"}, ["cert_file", "without key_file"])):
        s = make_server(dev=True, config={
            "enable_agent_tls_for_checks": True, **config}).spawn()
        assert s.process.wait(30) == 1
        for word in words:
            assert word in s.log()


# --- Docker, against a stand-in ----------------------------------------------

def test_docker(agent, docker):
    def run(script, container="web", **more):
        return outcome(agent, DockerContainerID=container,
                       Args=["sh", "-c", script], **more)
    assert run("echo fine; echo more >&2") == ("passing", "fine\nmore\n")
    assert run("echo hm; exit 1") == ("warning", "hm\n")
    assert run("echo bad; exit 2") == ("critical", "bad\n")
    status, text = run("seq 10000", OutputMaxSize=100)
    assert status == "passing"
    assert text.startswith("Captured 100 of 48894 bytes\n...\n")
    assert text.endswith("9999\n10000\n")
    create = [r for r in docker.requests if r[1] == "/containers/web/exec"][0]
    assert create[2] == {"AttachStdin": False, "AttachStdout": True,
                         "AttachStderr": True, "Tty": False,
                         "Cmd": ["sh", "-c", "echo fine; echo more >&2"]}


def test_docker_that_fails_says_why(agent):
    assert outcome(agent, DockerContainerID="gone", Args=["true"]) == (
        "critical",
        "create exec failed for container gone: No such container: gone")
    assert outcome(agent, DockerContainerID="deaf", Args=["true"],
                   Timeout="50ms") == (
        "critical", "Timed out (50ms) running check")


def test_docker_without_daemon(make_server, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    s = make_server(dev=True, config={"enable_script_checks": True}).start()
    assert outcome(s, DockerContainerID="web", Args=["true"]) == (
        "critical", "create exec failed for container web: dial unix "
        "/nonexistent/docker.sock: connect: no such file or directory")


def test_docker_needs_scripts_to_be_enabled(make_server):
    s = make_server(dev=True).start()
    a = s.put("/v1/agent/check/register", {
        "Name": "d", "DockerContainerID": "web", "Args": ["true"],
        "Interval": "1s"})
    assert a.status == 500
    assert "enable_script_checks" in a.text


# --- systemd -----------------------------------------------------------------

def test_os_service(agent):
    """Units of the real systemd; a stand-in is in tests/unit/probe_unit_test.c."""
    if not os.path.isdir("/run/systemd/system"):
        pytest.skip("no systemd runs on this machine")
    status, text = outcome(agent, OSService="systemd-journald")
    assert (status, text) == (
        "passing", 'Service "systemd-journald" is healthy: active (running)')
    status, text = outcome(agent, OSService="muster-nosuch")
    assert status == "critical" and "no such unit" in text


# --- Definitions that cannot be ----------------------------------------------

@pytest.mark.parametrize("definition, words", [
    ({"HTTP": "http://h/"}, ["Interval must be > 0"]),
    ({"HTTP": "http://h/", "Interval": "0s"}, ["Interval must be > 0"]),
    ({"GRPC": "h:1", "Interval": "-1s"}, ["Interval must be > 0"]),
    ({"HTTP": "http://h/", "Interval": "ten"}, ["invalid duration", "ten"]),
    ({"HTTP": "http://h/", "Interval": "1s", "Timeout": "-1s"},
     ["Timeout must not be negative"]),
    ({"HTTP": "http://h/", "TCP": "h:1", "Interval": "1s"},
     ["type http and of type tcp"]),
    ({"GRPC": "h:1", "H2PING": "h:1", "Interval": "1s"},
     ["type grpc and of type h2ping"]),
    ({"TTL": "1s", "Interval": "1s"}, ["Interval and TTL"]),
    ({"GRPC": "h", "Interval": "1s"}, ["GRPC", "host:port"]),
    ({"UDP": "h:99999", "Interval": "1s"}, ["UDP", "host:port"]),
    ({"H2PING": "https://h:1", "Interval": "1s"}, ["H2PING", "host:port"]),
    ({"HTTP": "ftp://h/", "Interval": "1s"}, ["HTTP", "http:// or https://"]),
    ({"HTTP": "http://h/", "Method": "G T", "Interval": "1s"}, ["Method"]),
    ({"HTTP": "http://h/", "Header": {"a b": ["x"]}, "Interval": "1s"},
     ["Header"]),
    ({"HTTP": "https://h/", "TLSServerName": "a b", "Interval": "1s"},
     ["TLSServerName"]),
    ({"OSService": "a/b", "Interval": "1s"}, ["OSService", "unit name"]),
    ({"DockerContainerID": "a/b", "Args": ["x"], "Interval": "1s"},
     ["DockerContainerID"]),
    ({"DockerContainerID": "web", "Interval": "1s"},
     ["DockerContainerID needs Args"]),
    ({"HTTP": "http://h/", "Interval": "1s", "Status": "fine"},
     ["status"]),
    ({"HTTP": "http://h/", "Interval": "10s", "Timeout": "10001ms"},
     ["Timeout 10.001s", "Interval 10s", "raise Interval or lower Timeout"]),
    ({"HTTP": "http://h/", "Interval": "10ms", "Timeout": "2s"},
     ["Timeout 2s", "Interval 1s"]),
    ({"TTL": "10s", "Damping": "yes"},
     ["Damping", '"yes"', "observe, suppress or off"]),
    ({"TTL": "10s", "FailuresBeforeWarning": -1},
     ["FailuresBeforeWarning must not be negative"]),
    ({"TTL": "10s", "FailuresBeforeCritical": -1},
     ["FailuresBeforeCritical must not be negative"]),
])
def test_a_bad_definition_is_refused_by_name(agent, definition, words):
    a = agent.put("/v1/agent/check/register", {"Name": "bad", **definition})
    assert a.status == 400, (a.status, a.text)
    for word in words:
        assert word in a.text


@pytest.mark.parametrize("definition", [
    {"HTTP": "http://127.0.0.1:1/", "Interval": "10ms", "Timeout": "1s"},
    {"HTTP": "http://127.0.0.1:1/", "Interval": "10s", "Timeout": "10s"},
    {"HTTP": "http://127.0.0.1:1/", "Interval": "1s"},  # of 10 s by default
    {"TTL": "1s", "Timeout": "1m"},  # says nothing
    {"TTL": "1s", "Damping": "suppress"},
])
def test_what_is_just_possible_is_taken(agent, definition):
    a = agent.put("/v1/agent/check/register", {"Name": "edge", **definition})
    assert a.status == 200, (a.status, a.text)
