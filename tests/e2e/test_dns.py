# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""DNS, over sockets: what clients see, and what cannot hurt."""

import contextlib
import os
import random
import socket
import struct
import subprocess
import threading

import dns_client as dns
import muster
import pytest


class DnsServer(muster.Server):
    """Takes DNS away from -dns-port -1: the last one counts."""

    def __init__(self, folder, *extra, **kw):
        self.dns = muster.free_port()
        super().__init__(folder, "-dns-port", str(self.dns), *extra, **kw)

    def ask(self, name, qtype="A", **kw):
        return dns.ask(self.dns, name, qtype, **kw)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = DnsServer(tmp_path_factory.mktemp("dns"), dev=True).start()
    for i in range(30):
        put(s, f"b{i}", f"10.2.0.{i}", "big", 1000 + i)
    put(s, "n1", "10.1.0.1", "web", 80, Tags=["v1"])
    yield s
    s.stop()


def put(s, node, address, service, port=80, check=None, **more):
    body = {"Node": node, "Address": address,
            "Service": {"ID": f"{service}-{port}", "Service": service,
                        "Port": port, **more}}
    if check:
        body["Check"] = {"CheckID": "c", "Name": "c", "Status": check,
                         "ServiceID": f"{service}-{port}"}
    assert s.put("/v1/catalog/register", body).text == "true"


# --- What is told ---


def test_udp_and_tcp_say_the_same(server):
    for tcp in False, True:
        m = server.ask("web.service.consul", "SRV", tcp=tcp)
        assert (m.rcode, m.aa, m.ra, m.tc) == ("NOERROR", True, False, False)
        assert m.values() == ["1 1 80 n1.node.dc1.consul."]
        assert [r.data for r in m.additional] == ["10.1.0.1"]


def test_a_registration_is_told_by_the_next_query(server):
    for i in range(50):
        put(server, "moving", f"10.6.0.{i}", "moving")
        assert server.ask("moving.service.consul").values() == [f"10.6.0.{i}"]
    server.put("/v1/catalog/deregister", {"Node": "moving"})
    assert server.ask("moving.service.consul").rcode == "NXDOMAIN"


def test_a_check_that_fails_takes_its_instance_away(server):
    put(server, "sick", "10.6.1.1", "sick", check="passing")
    assert server.ask("sick.service.consul").values() == ["10.6.1.1"]
    put(server, "sick", "10.6.1.1", "sick", check="warning")
    assert server.ask("sick.service.consul").values() == ["10.6.1.1"]
    assert server.ask("sick.passing.consul").rcode == "NXDOMAIN"
    put(server, "sick", "10.6.1.1", "sick", check="critical")
    assert server.ask("sick.service.consul").rcode == "NXDOMAIN"


def test_few_of_many_are_marked_and_tcp_has_them_all(server):
    m = server.ask("big.service.consul")
    assert (len(m.answer), m.tc) == (3, True)
    m = server.ask("big.service.consul", edns=1232)
    assert (len(m.answer), m.tc) == (30, False)
    assert m.opt == (1232, b"")
    m = server.ask("big.service.consul", "SRV", tcp=True)
    assert (len(m.answer), len(m.additional), m.tc) == (30, 30, False)


def test_all_of_many_come_first_some_time(server):
    seen = set()
    while len(seen) < 30:  # 30 * ln 30, about a hundred queries
        seen.add(server.ask("big.service.consul").answer[0].data)


def test_the_question_comes_back_as_it_was_spelled(server):
    packet = dns.query("wEb.SerVice.CONsul", ident=77)
    m = dns.Message(dns.send_udp(server.dns, packet))
    assert m.id == 77
    assert m.question == ("wEb.SerVice.CONsul.", 1, 1)
    assert m.answer[0].name == "wEb.SerVice.CONsul."


def test_many_queries_on_one_connection(server):
    with dns.connect(server.dns) as s:
        packets = [dns.query("web.service.consul", ident=i) for i in range(500)]
        s.sendall(b"".join(map(dns.framed, packets)))
        for i in range(500):
            m = dns.Message(dns.read_message(s))
            assert (m.id, m.values()) == (i, ["10.1.0.1"])


def test_a_reload_changes_ttls(tmp_path):
    s = DnsServer(tmp_path, dev=True, config={
        "dns_config": {"service_ttl": {"web": "5s", "*": "1s"}}}).start()
    try:
        put(s, "n1", "10.0.0.1", "web")
        put(s, "n1", "10.0.0.1", "other", 81)
        assert s.ask("web.service.consul").answer[0].ttl == 5
        assert s.ask("other.service.consul").answer[0].ttl == 1
        (tmp_path / "config.json").write_text(
            '{"dns_config": {"service_ttl": {"we*": "7s"}, "node_ttl": "3s"}}')
        assert s.put("/v1/agent/reload").status == 200
        assert s.ask("web.service.consul").answer[0].ttl == 7
        assert s.ask("other.service.consul").answer[0].ttl == 0
        assert s.ask("n1.node.consul").answer[0].ttl == 3
    finally:
        s.stop()


def test_several_addresses_and_domains(tmp_path):
    s = DnsServer(tmp_path, "-hcl",
                  'addresses { dns = "127.0.0.1 127.0.0.2 ::1" }',
                  "-domain", "example.test.", "-alt-domain", "corp",
                  dev=True).start()
    try:
        put(s, "n1", "10.0.0.1", "web")
        for host in "127.0.0.1", "127.0.0.2", "::1":
            for tcp in False, True:
                for domain in "example.test", "corp":
                    m = s.ask(f"web.service.{domain}", "SRV", host=host, tcp=tcp)
                    assert m.values() == [f"1 1 80 n1.node.dc1.{domain}."]
        assert s.ask("web.service.consul").rcode == "REFUSED"
    finally:
        s.stop()


def test_an_answer_leaves_from_the_address_that_was_asked(tmp_path):
    s = DnsServer(tmp_path, "-hcl", 'addresses { dns = "0.0.0.0" }',
                  dev=True).start()
    try:  # connected sockets: from elsewhere nothing would arrive
        for host in "127.0.0.1", "127.0.0.77":
            assert s.ask("x.service.consul", host=host).rcode == "NXDOMAIN"
    finally:
        s.stop()


def test_a_port_in_use_stops_the_start(server, tmp_path):
    s = muster.Server(tmp_path, "-dns-port", str(server.dns), dev=True).spawn()
    assert s.process.wait(muster.LIMIT) == 1
    assert f"listen on 127.0.0.1:{server.dns}: address already in use" in s.log()


# --- Recursors ---


class Recursor:
    """A name server that answers as it is told."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []
        self.port = muster.free_port()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind(("127.0.0.1", self.port))
        self.tcp.listen()
        for run in self.serve_udp, self.serve_tcp:
            threading.Thread(target=run, daemon=True).start()

    def serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                packet, who = self.udp.recvfrom(65535)
                self.asked.append(packet)
                for data in self.answer(packet, "udp"):
                    self.udp.sendto(data, who)

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.tcp.accept()
                threading.Thread(target=self.serve_one, args=(c,),
                                 daemon=True).start()

    def serve_one(self, c):
        with c, contextlib.suppress(OSError):
            while packet := dns.read_message(c):
                self.asked.append(packet)
                for data in self.answer(packet, "tcp"):
                    c.sendall(dns.framed(data))

    def close(self):
        for s in self.udp, self.tcp:
            s.shutdown(socket.SHUT_RDWR) if s is self.tcp else None
            s.close()


def reply(packet, address="192.0.2.1", rcode=0, ident=None, flags=0x8180):
    """An answer with one A record."""
    head = struct.pack("!HHHHHH",
                       struct.unpack("!H", packet[:2])[0] if ident is None
                       else ident, flags | rcode, 1, 0 if rcode else 1, 0, 0)
    end = packet.index(b"\0", 12) + 5
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) \
        + socket.inet_aton(address)
    return head + packet[12:end] + (b"" if rcode else record)


@contextlib.contextmanager
def forwarding(folder, *recursors, timeout="5s", **settings):
    """The time-out is short where one is silent: the others, threads of this
    process, have to answer within it."""
    s = DnsServer(folder, dev=True, config={
        "recursors": [f"127.0.0.1:{r.port}" for r in recursors],
        "dns_config": {"recursor_timeout": timeout, **settings}}).start()
    try:
        yield s
    finally:
        s.stop()
        for r in recursors:
            r.close()


def test_other_domains_are_asked_of_recursors(tmp_path):
    r = Recursor(lambda packet, _: [reply(packet)])
    with forwarding(tmp_path, r) as s:
        for tcp in False, True:
            m = s.ask("www.example.com", tcp=tcp, ident=4711)
            assert (m.id, m.rcode, m.ra, m.aa) == (4711, "NOERROR", True, False)
            assert m.values() == ["192.0.2.1"]
        assert s.ask("9.9.9.9.in-addr.arpa", "PTR").ra
        assert s.ask("nosuch.service.consul").ra
        assert len(r.asked) == 3
        assert {p[:2] for p in r.asked} != {struct.pack("!H", 4711)}


def test_the_next_recursor_is_asked_when_one_fails(tmp_path):
    silent = Recursor(lambda packet, _: [])
    broken = Recursor(lambda packet, _: [reply(packet, rcode=2)])
    good = Recursor(lambda packet, _: [reply(packet, "192.0.2.7")])
    with forwarding(tmp_path, silent, broken, good, timeout="2s") as s:
        assert s.ask("www.example.com").values() == ["192.0.2.7"]
        assert len(silent.asked) == len(broken.asked) == len(good.asked) == 1


def test_nobody_answers_is_servfail(tmp_path):
    silent = Recursor(lambda packet, _: [])
    with forwarding(tmp_path, silent, timeout="100ms") as s:
        for tcp in False, True:
            m = s.ask("www.example.com", tcp=tcp)
            assert (m.rcode, m.question[0]) == ("SERVFAIL", "www.example.com.")
        assert s.metric("dns.recursor.failed") == 2


def test_lies_are_not_passed_on(tmp_path):
    """Another id, another question, no question, an answer cut short, a query:
    then the truth. Only that arrives."""
    def lies(packet, _):
        ident = struct.unpack("!H", packet[:2])[0]
        other = dns.query("www.example.org", ident=ident)
        none = struct.pack("!HHHHHH", ident, 0x8180, 0, 0, 0, 0)
        return [reply(packet, "192.0.2.66", ident=ident ^ 1),
                reply(other, "192.0.2.66"), none, packet,
                reply(packet, "192.0.2.66")[:20], b"", b"\0",
                reply(packet, "192.0.2.1")]
    r = Recursor(lies)
    with forwarding(tmp_path, r, timeout="2s") as s:
        for _ in range(20):
            m = s.ask("www.example.com")
            assert m.rcode in ("NOERROR", "SERVFAIL")
            assert m.values() in ([], ["192.0.2.1"])
            assert m.question[0] == "www.example.com."


def test_a_long_answer_is_cut_for_udp(tmp_path):
    def long(packet, _):
        data = bytearray(reply(packet))
        data[6:8] = struct.pack("!H", 60)
        return [bytes(data) + data[-16:] * 59]
    r = Recursor(long)
    with forwarding(tmp_path, r) as s:
        m = s.ask("www.example.com")
        assert (m.tc, m.answer) == (True, [])
        assert len(s.ask("www.example.com", edns=4096).answer) == 60
        assert len(s.ask("www.example.com", tcp=True).answer) == 60


def test_waiting_for_a_recursor_keeps_nobody_else_waiting(tmp_path):
    silent = Recursor(lambda packet, _: [])
    with forwarding(tmp_path, silent, timeout="2s") as s:
        put(s, "n1", "10.0.0.1", "web")
        socks = []
        for i in range(300):
            c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            c.connect(("127.0.0.1", s.dns))
            c.send(dns.query(f"w{i}.example.com"))
            socks.append(c)
            if i % 50 == 0:  # more at once than a socket holds are dropped
                assert s.ask("web.service.consul").values() == ["10.0.0.1"]
        for _ in range(50):
            assert s.ask("web.service.consul").values() == ["10.0.0.1"]
        for c in socks:
            c.settimeout(muster.LIMIT)
            assert dns.Message(c.recv(512)).rcode == "SERVFAIL"
            c.close()


# --- Abuse ---


def test_no_packet_hurts(server):
    rng = random.Random(1)
    good = dns.query("web.service.consul", "SRV", edns=1232)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("127.0.0.1", server.dns))
        for i in range(5000):
            data = bytearray(good if i % 2 else rng.randbytes(rng.randrange(600)))
            for _ in range(rng.randrange(4)):
                if data:
                    data[rng.randrange(len(data))] = rng.randrange(256)
            s.send(bytes(data[:rng.randrange(len(data) + 1)]))
            if i % 50 == 0:
                assert server.ask("web.service.consul").values() == ["10.1.0.1"]
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while answer := s.recv(65535):
                assert len(answer) <= 1232 or len(answer) <= 4096
    assert server.metric("dns.malformed") > 100


def test_packets_that_are_no_query_get_no_answer(server):
    before = server.metric("dns.malformed")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("127.0.0.1", server.dns))
        s.settimeout(muster.LIMIT)
        for data in b"", b"\0", dns.query("x.consul")[:11], \
                dns.query("x.consul", flags=0x8000):
            s.send(data)
        s.send(dns.query("x.consul", ident=9))  # the first answer is to this
        assert dns.Message(s.recv(512)).id == 9
    assert server.metric("dns.malformed") >= before + 3


def test_a_pointer_to_itself_is_malformed(server):
    packet = struct.pack("!HHHHHH", 5, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1"
    assert dns.send_udp(server.dns, packet) == \
        struct.pack("!HHHHHH", 5, 0x8001, 0, 0, 0, 0)
    extra = dns.query("web.service.consul")[:10] + b"\0\1" \
        + dns.query("web.service.consul")[12:] + b"\xc0\x24\0\x29\4\0\0\0\0\0\0\0"
    assert dns.Message(dns.send_udp(server.dns, extra)).opt == (1024, b"")


def test_empty_and_oversized_messages_end_a_connection(server):
    for data in b"\0\0", struct.pack("!H", 65535), \
            dns.framed(dns.query("x.consul", flags=0x8000)):
        with dns.connect(server.dns) as s:
            s.sendall(data)
            assert dns.read_message(s) == b""


def test_a_query_byte_by_byte_is_answered(server):
    with dns.connect(server.dns) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in dns.framed(dns.query("web.service.consul")):
            s.sendall(bytes([byte]))
        assert dns.Message(dns.read_message(s)).values() == ["10.1.0.1"]


def test_many_idle_connections_keep_nobody_out(server):
    """More than there may be: the oldest go."""
    limit = 1024 * (os.cpu_count() or 1)
    before = server.metric("dns.evicted")
    idle = [dns.connect(server.dns) for _ in range(limit + 100)]
    try:
        for _ in range(20):
            m = server.ask("web.service.consul", tcp=True)
            assert m.values() == ["10.1.0.1"]
        # Those that the kernel has accepted may wait for muster to accept them.
        muster.until(lambda: server.metric("dns.evicted") > before, "evictions")
        assert server.metric("dns.connections") <= limit
        assert server.ask("web.service.consul").values() == ["10.1.0.1"]
    finally:
        for s in idle:
            s.close()
    muster.until(lambda: server.metric("dns.connections") == 0, "all gone")


def test_who_takes_no_answer_is_cut_off(server):
    for i in range(200):
        put(server, f"h{i}", f"10.7.0.{i}", "tall", 1000 + i)
    packet = dns.framed(dns.query("tall.service.consul", "SRV"))
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(muster.LIMIT)
        s.connect(("127.0.0.1", server.dns))
        before = server.metric("dns.slow")
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for _ in range(20000):
                s.send(packet)
        for _ in range(20):
            assert server.ask("web.service.consul", tcp=True).values()
        muster.until(lambda: server.metric("dns.slow") > before,
                     "the one who does not read to be cut off")


def test_explain_tells_what_dns_tells(server):
    put(server, "e1", "10.8.0.1", "ex", 1, check="passing")
    put(server, "e2", "10.8.0.2", "ex", 2, check="warning")
    put(server, "e3", "10.8.0.3", "ex", 3, check="critical")
    told = server.get("/v1/muster/explain/health/service/ex").json["DNS"]
    assert told == {"Service": 2, "Passing": 1, "LeftOut": []}
    for kind, count in ("service", 2), ("passing", 1):
        assert len(server.ask(f"ex.{kind}.consul").answer) == count


def left_out(server, name):
    answer = server.get(f"/v1/muster/explain/health/service/{name}")
    shown = subprocess.run([muster.BINARY, "explain", "-http-addr",
                            f"127.0.0.1:{server.port}", name],
                           capture_output=True, text=True, timeout=30)
    left = {r["Reason"]: r["Count"] for r in answer.json["DNS"]["LeftOut"]}
    for reason, count in left.items():
        assert f"Not in DNS: {count}, {reason}" in shown.stdout, shown
    return left


def test_explain_tells_what_dns_leaves_out(server):
    for i in range(3):
        put(server, f"l{i}", f"10.8.1.{i}", "idle", i + 1, check="warning",
            Weights={"Passing": 1, "Warning": 0})
    assert left_out(server, "idle") == {}  # nothing else: they are told
    assert len(server.ask("idle.service.consul").answer) == 3
    put(server, "l9", "10.8.1.9", "idle", 9)
    assert left_out(server, "idle") == {"weight 0": 3}
    assert server.ask("idle.service.consul").values() == ["10.8.1.9"]
    for i in range(2):
        put(server, f"h{i}", f"10.8.2.{i}", "hosts", i + 1,
            Address=f"h{i}.example.com")
    assert left_out(server, "hosts") == {"one host name is told (A, AAAA)": 1}
    assert len(server.ask("hosts.service.consul").answer) == 1
    put(server, "h9", "10.8.2.9", "hosts", 9)
    assert left_out(server, "hosts") == {"host name, not an address (A, AAAA)": 2}
    assert server.ask("hosts.service.consul").values() == ["10.8.2.9"]
    assert len(server.ask("hosts.service.consul", "SRV").answer) == 3


def test_a_host_name_is_followed_through_recursors(tmp_path):
    """What stands for an address may be somebody else's name; stub resolvers do not
    ask on by themselves."""
    def answer(packet, how):
        if b"\4slow" in packet:
            return []
        if b"\4gone" in packet:
            return [reply(packet, rcode=3)]
        if b"\4many" in packet:
            data = bytearray(reply(packet))
            data[6:8] = struct.pack("!H", 60)
            end = packet.index(b"\0", 12) + 5
            return [bytes(data) + data[end:end + 16] * 59]
        return [reply(packet)]
    r = Recursor(answer)
    with forwarding(tmp_path, r, timeout="1s") as s:
        for host in "www", "slow", "gone", "many":
            put(s, "n1", "10.0.0.1", host, Address=f"{host}.example.com")
        put(s, "named", "node.example.com", "onnode")
        for tcp in False, True:
            for kw in {}, {"edns": 1232}:
                m = s.ask("www.service.consul", tcp=tcp, **kw)
                assert (m.rcode, m.aa, m.ra, m.tc) == ("NOERROR", True, True, False)
                assert [(a.name, a.type, a.data) for a in m.answer] == [
                    ("www.service.consul.", "CNAME", "www.example.com."),
                    ("www.example.com.", "A", "192.0.2.1")]
            m = s.ask("named.node.consul", tcp=tcp)
            assert m.values("A") == ["192.0.2.1"]
            for host in "slow", "gone":
                m = s.ask(f"{host}.service.consul", tcp=tcp)
                assert (m.rcode, m.values()) == ("NOERROR",
                                                 [f"{host}.example.com."])
        m = s.ask("many.service.consul")
        assert m.tc and len(m.data) <= 512
        assert len(s.ask("many.service.consul", tcp=True).answer) == 61
        asked = len(r.asked)
        assert s.ask("www.service.consul", "SRV").values() == \
            ["1 1 80 www.example.com."]
        assert len(r.asked) == asked


def ede(m):
    """The word beside an answer (RFC 8914): its code and text."""
    data, at = m.opt[1], 0
    while at < len(data):
        code, n = struct.unpack_from("!HH", data, at)
        if code == 15:
            return (struct.unpack_from("!H", data, at + 4)[0],
                    data[at + 6:at + 4 + n].decode())
        at += 4 + n
    return None


def test_a_word_says_why_there_is_no_answer(server, tmp_path):
    put(server, "down", "10.6.2.1", "down", check="critical", Tags=["v1"])
    for name, want in [
            ("down.service.consul", (0, "all instances are unhealthy")),
            ("v2.down.service.consul", (0, "no healthy instance has this tag")),
            ("nosuch.service.consul", None), ("web.service.consul", None),
            ("example.com", (20, "no recursors are configured"))]:
        assert ede(server.ask(name, edns=1232)) == want
    silent = Recursor(lambda packet, _: [])
    with forwarding(tmp_path, silent, timeout="50ms") as s:
        assert ede(s.ask("example.com", edns=1232)) == (22, "no recursor answered")


class FewFiles(DnsServer):
    def command(self):
        return ["prlimit", "--nofile=200:200", *super().command()]


def test_few_files_leave_room_for_both_doors(tmp_path):
    s = FewFiles(tmp_path, dev=True).start()
    held = []
    try:
        put(s, "n1", "10.0.0.1", "web")
        for connect in (lambda: dns.connect(s.dns),
                        lambda: socket.create_connection(("127.0.0.1", s.port))):
            for _ in range(400):
                held.append(connect())
            assert s.ask("web.service.consul", tcp=True).values() == ["10.0.0.1"]
            assert s.ask("web.service.consul").values() == ["10.0.0.1"]
        for c in held:
            c.close()
        assert s.get("/v1/status/leader").status == 200
        assert s.metric("dns.evicted") > 0
    finally:
        s.stop()
