# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Programs that find services by DNS, unmodified, each as docs/operating.md tells to
set it up. What is not installed is skipped, by name."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading

import dns_client as dns
import muster
import pytest
from test_dns import DnsServer, put

SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def need(program, package):
    path = shutil.which(program, path=SBIN)
    if not path:
        pytest.skip(f"{program} is not installed (Debian package {package})")
    return path


def run(*words, **kw):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, **kw)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def running(*words, **kw):
    p = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         **kw)
    try:
        yield p
    finally:
        p.kill()
        p.communicate()


def fill(s):
    put(s, "n1", "127.0.0.1", "web", 80)
    put(s, "n2", "127.0.0.2", "web", 81, Weights={"Passing": 5, "Warning": 1})
    for i in range(30):
        put(s, f"b{i}", f"10.2.0.{i}", "big", 1000 + i)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = DnsServer(tmp_path_factory.mktemp("dns"), dev=True).start()
    fill(s)
    yield s
    s.stop()


# --- Those that ask ---


def test_dig(server):
    dig = need("dig", "bind9-dnsutils")
    base = [dig, "@127.0.0.1", "-p", str(server.dns), "+short"]
    assert sorted(run(*base, "web.service.consul").split()) == \
        ["127.0.0.1", "127.0.0.2"]
    assert sorted(run(*base, "web.service.consul", "SRV").splitlines()) == \
        ["1 1 80 n1.node.dc1.consul.", "1 5 81 n2.node.dc1.consul."]
    # Without EDNS the answer is cut, and dig asks again over TCP by itself.
    assert len(run(*base, "+noedns", "big.service.consul").split()) == 30
    out = run(*base[:-1], "+noedns", "+ignore", "big.service.consul")
    assert "flags: qr aa tc rd" in out and "ANSWER: 3" in out
    assert run(*base, "-x", "10.2.0.7").strip() == "b7.node.dc1.consul."
    # A cookie (RFC 7873) is answered by one, a subnet (RFC 7871) is no trouble.
    out = run(*base[:-1], "+cookie", "+subnet=10.0.0.0/8", "n1.node.consul")
    assert "(good)" in out
    out = run(*base[:-1], "example.com")
    assert "EDE: 20 (Not Authoritative): (no recursors are configured)" in out


def test_drill(server):
    drill = need("drill", "ldnsutils")
    out = run(drill, "-p", str(server.dns), "@127.0.0.1", "SRV",
              "web.service.consul")
    assert "n2.node.dc1.consul." in out and "127.0.0.2" in out
    out = run(drill, "-t", "-p", str(server.dns), "@127.0.0.1",
              "big.service.consul")
    assert out.count("10.2.0.") == 30


def test_dnspython(server):
    python = next((p for p in (sys.executable, "/usr/bin/python3")
                   if os.path.exists(p) and subprocess.run(
                       [p, "-c", "import dns.resolver"],
                       capture_output=True).returncode == 0), None)
    if not python:
        pytest.skip("dnspython is not installed (Debian package "
                    "python3-dnspython)")
    out = run(python, "-c", f"""
import dns.resolver
r = dns.resolver.Resolver(configure=False)
r.nameservers, r.port = ["127.0.0.1"], {server.dns}
print(sorted(a.to_text() for a in r.resolve("web.service.consul", "SRV")))
print(len(r.resolve("big.service.consul", "A")))
r.use_edns(False)
print(len(r.resolve("big.service.consul", "A")))
""", cwd="/")
    assert out.splitlines() == [
        "['1 1 80 n1.node.dc1.consul.', '1 5 81 n2.node.dc1.consul.']",
        "30", "30"]


def test_gos_resolver(server, tmp_path):
    go = need("go", "golang-go")
    source = tmp_path / "main.go"
    source.write_text("""package main

import (
    "context"
    "fmt"
    "net"
    "os"
    "sort"
)

func main() {
    r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
        return (&net.Dialer{}).DialContext(ctx, network, os.Args[1]) }}
    _, srv, err := r.LookupSRV(context.Background(), "web", "tcp", "service.consul.")
    if err != nil { panic(err) }
    var lines []string
    for _, s := range srv { lines = append(lines, fmt.Sprintf("%s:%d %d", s.Target, s.Port, s.Weight)) }
    sort.Strings(lines)
    fmt.Println(lines)
    ips, err := r.LookupHost(context.Background(), "big.service.consul.")
    if err != nil { panic(err) }
    fmt.Println(len(ips))
    _, err = r.LookupHost(context.Background(), "nosuch.service.consul.")
    fmt.Println(err.(*net.DNSError).IsNotFound)
}
""")
    env = dict(os.environ, GO111MODULE="off", GOTOOLCHAIN="local")
    built = subprocess.run([go, "build", "-o", str(tmp_path / "ask"),
                            str(source)], env=env, capture_output=True,
                           text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    out = run(str(tmp_path / "ask"), f"127.0.0.1:{server.dns}").splitlines()
    assert out == ["[n1.node.dc1.consul.:80 1 n2.node.dc1.consul.:81 5]", "30",
                   "true"]


# --- Those that forward ---


def follows(port, server, host="127.0.0.1"):
    """A registration shows through the forwarder, and so does its end."""
    def ask(*words, **kw):
        return dns.ask(port, *words, host=host, **kw)
    for address in "10.5.0.1", "10.5.0.2":
        put(server, "moved", address, "moved")
        muster.until(lambda a=address: ask("moved.service.consul").values() == [a],
                     "the new address")
    assert sorted(ask("web.service.consul", "SRV").values()) == \
        ["1 1 80 n1.node.dc1.consul.", "1 5 81 n2.node.dc1.consul."]
    assert len(ask("big.service.consul", tcp=True).answer) == 30
    assert ask("nosuch.service.consul").rcode == "NXDOMAIN"


def answers(port, host="127.0.0.1"):
    def look():
        data = dns.send_udp(port, dns.query("web.service.consul"), host, 0.2)
        return data and dns.Message(data).rcode == "NOERROR"
    return look


def test_dnsmasq_forwards(server, tmp_path):
    dnsmasq = need("dnsmasq", "dnsmasq-base")
    port = muster.free_port()
    (tmp_path / "dnsmasq.conf").write_text(
        f"server=/consul/127.0.0.1#{server.dns}\n"
        f"port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\n"
        f"no-hosts\nuser=\ngroup=\npid-file={tmp_path}/pid\n")
    with running(dnsmasq, "-k", "-C", str(tmp_path / "dnsmasq.conf")) as p:
        muster.until(answers(port), "dnsmasq to answer")
        assert p.poll() is None
        follows(port, server)


def unbound_conf(port, server, folder):
    return f"""server:
  interface: 127.0.0.1
  port: {port}
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  domain-insecure: "consul"
  num-threads: 1
  local-zone: "consul." nodefault
  module-config: "iterator"
stub-zone:
  name: "consul"
  stub-addr: 127.0.0.1@{server.dns}
remote-control:
  control-enable: no
"""


def test_unbound_forwards(server, tmp_path):
    unbound = need("unbound", "unbound")
    port = muster.free_port()
    (tmp_path / "unbound.conf").write_text(unbound_conf(port, server, tmp_path))
    with running(unbound, "-d", "-c", str(tmp_path / "unbound.conf")):
        muster.until(answers(port), "unbound to answer")
        follows(port, server)


RESOLVED = """[Resolve]
DNS=127.0.0.1:{dns}
Domains=~consul
DNSSEC=no
"""


def behind_resolved(folder, resolved):
    """Runs in namespaces: /run and /etc/systemd are empty, links are ours."""
    s = DnsServer(folder, dev=True).start()
    os.makedirs("/run/systemd/resolve")
    with open("/etc/systemd/resolved.conf", "w") as f:
        f.write(RESOLVED.format(dns=s.dns))
    try:
        fill(s)
        with running(resolved):
            muster.until(answers(53, "127.0.0.53"), "resolved to answer")
            follows(53, s, "127.0.0.53")
    finally:
        s.stop()


def test_systemd_resolved_forwards(tmp_path):
    """It wants a link that is up beside loopback, and to be nobody in particular."""
    unshare = need("unshare", "util-linux")
    ip = need("ip", "iproute2")
    resolved = shutil.which("systemd-resolved",
                            path=SBIN + ":/lib/systemd:/usr/lib/systemd")
    if not resolved:
        pytest.skip("systemd-resolved is not installed (Debian package "
                    "systemd-resolved, which takes over /etc/resolv.conf)")
    words = [unshare, "--user", "--map-user=1000", "--map-group=1000", "--net",
             "--mount", "--keep-caps"]
    if subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here (unshare --keep-caps)")
    here = os.path.dirname(os.path.abspath(__file__))
    folder = tmp_path / "server"
    script = f"""set -e
{ip} link set lo up
{ip} link add lan type dummy 2>/dev/null || {ip} link add lan type bridge
{ip} link set lan up
{ip} address add 10.99.0.1/24 dev lan
mount -t tmpfs none /run
mount -t tmpfs none /etc/systemd
exec {sys.executable} -c 'import sys; sys.path.insert(0, "{here}")
import test_dns_consumers as t; t.behind_resolved("{folder}", "{resolved}")'
"""
    run(*words, "sh", "-c", script)


def test_glibc_getaddrinfo(server, tmp_path):
    """In namespaces of its own: /etc/resolv.conf is ours, and port 53."""
    unshare = need("unshare", "util-linux")
    ip = need("ip", "iproute2")
    getent = need("getent", "libc-bin")
    if subprocess.run([unshare, "-rmn", "true"],
                      capture_output=True).returncode:
        pytest.skip("namespaces cannot be made here (unshare -rmn)")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")
    data = tmp_path / "config.json"
    data.write_text(json.dumps({"services": [
        {"name": "web", "id": f"w{i}", "address": f"10.3.0.{i}", "port": 80}
        for i in range(20)]}))
    script = f"""set -e
{ip} link set lo up
{ip} address add 10.99.0.1/32 dev lo # AI_ADDRCONFIG does not count 127.0.0.1
mount --bind {tmp_path}/resolv.conf /etc/resolv.conf
mount --bind {tmp_path}/nsswitch.conf /etc/nsswitch.conf
{muster.BINARY} agent -dev -dns-port 53 -http-port 8500 \\
    -config-file {data} >{tmp_path}/log 2>&1 &
trap 'kill %1' EXIT
for i in $(seq 200); do
    n=$({getent} ahostsv4 web.service.consul | grep -c STREAM) || true
    [ "$n" = 20 ] && break
    sleep 0.05 # sleep: between two looks
done
{getent} ahostsv4 web.service.consul | grep STREAM | sort
{getent} hosts nosuch.service.consul && exit 1
true
"""
    out = run(unshare, "-rmn", "bash", "-c", script)
    assert out.count("10.3.0.") == 20  # more than UDP tells: TCP was asked


# --- Those that balance ---


class Backend:
    """Says its name to whoever asks over HTTP."""

    def __init__(self, name, host="127.0.0.1"):
        self.name = name
        self.socket = socket.create_server((host, 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.socket.accept()
                with c, contextlib.suppress(OSError):
                    c.recv(4096)
                    body = self.name.encode()
                    c.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
                              b"Content-Length: %d\r\n\r\n%s"
                              % (len(body), body))


def seen(port, times=12):
    """Which backends answered."""
    names = set()
    for _ in range(times):
        with contextlib.suppress(OSError, socket.timeout):
            with socket.create_connection(("127.0.0.1", port), 2) as s:
                s.settimeout(2)
                s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                          b"\r\n")
                data = b""
                while got := s.recv(4096):
                    data += got
                if b" 200 " in data[:20]:
                    names.add(data.rsplit(b"\r\n", 1)[-1].decode())
    return names


HAPROXY = """global
  log stderr local0 warning
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
resolvers muster
  nameserver muster 127.0.0.1:{dns}
  accepted_payload_size 8192
  resolve_retries 3
  timeout resolve 200ms
  timeout retry 200ms
  hold valid 100ms
  hold nx 100ms
  hold obsolete 100ms
frontend in
  bind 127.0.0.1:{port}
  default_backend app
backend app
  balance roundrobin
  server-template app 10 _app._tcp.service.consul resolvers muster resolve-prefer ipv4 init-addr none
"""


def test_haproxy_follows_scale_up_and_down(server, tmp_path):
    haproxy = need("haproxy", "haproxy")
    port = muster.free_port()
    (tmp_path / "haproxy.cfg").write_text(
        HAPROXY.format(dns=server.dns, port=port))
    backends = [Backend(f"app{i}") for i in range(4)]

    def up(i):
        put(server, f"hap{i}", "127.0.0.1", "app", backends[i].port)

    def down(i):
        server.put("/v1/catalog/deregister", {"Node": f"hap{i}"})
    up(0)
    with running(haproxy, "-db", "-f", str(tmp_path / "haproxy.cfg")):
        muster.until(lambda: seen(port) == {"app0"}, "the first instance")
        for i in 1, 2, 3:
            up(i)
        muster.until(lambda: seen(port) == {f"app{i}" for i in range(4)},
                     "all four")
        down(0)
        down(2)
        muster.until(lambda: seen(port) == {"app1", "app3"}, "the other two")
    down(1)
    down(3)


NGINX = """daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  resolver 127.0.0.1:{dns} valid=1s ipv6=off;
  server {{
    listen 127.0.0.1:{port};
    set $app app2.service.consul;
    location / {{ proxy_pass http://$app:{backend}; }}
  }}
}}
"""


def test_nginx_resolver_follows(server, tmp_path):
    nginx = need("nginx", "nginx-light")
    port = muster.free_port()
    one = Backend("one", "127.0.0.11")
    other = Backend.__new__(Backend)
    other.name, other.port = "other", one.port
    other.socket = socket.create_server(("127.0.0.12", one.port))
    threading.Thread(target=other.serve, daemon=True).start()
    (tmp_path / "nginx.conf").write_text(NGINX.format(
        folder=tmp_path, dns=server.dns, port=port, backend=one.port))
    put(server, "ngx", "127.0.0.11", "app2", one.port)
    with running(nginx, "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)):
        muster.until(lambda: seen(port, 1) == {"one"}, "the first address")
        put(server, "ngx", "127.0.0.12", "app2", one.port)
        muster.until(lambda: seen(port, 1) == {"other"}, "the second address")
