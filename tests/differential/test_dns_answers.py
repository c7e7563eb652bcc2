# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""DNS: the same packets to muster and to a real Consul 1.8.7, over UDP and TCP,
with EDNS of several sizes. What differs without standing in dns_meant.py is a
failure."""

import itertools

import dns_client as dns
import dns_meant
import muster
import peers
import pytest

CONFIG = """
dns_config {
  service_ttl { "ttl" = "5s" "tt*" = "6s" "*" = "0s" }
  node_ttl = "3s"
  soa { min_ttl = 2 retry = 7 }
}
alt_domain = "alt.test"
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dns")
    both = []
    for kind in peers.Muster, peers.Consul:
        port = muster.free_port()
        p = kind(folder / kind.kind, f"-dns-port={port}", f"-hcl={CONFIG}")
        p.dns = port
        both.append(p)
    try:
        for p in both:
            p.spawn()
        for p in both:
            p.wait_ready()
            fill(p)
        yield both
    finally:
        peers.stop_both(both)


def reg(p, node, address, service=None, check=None, **more):
    body = {"Node": node, "Address": address, **more}
    if service:
        body["Service"] = service
    if check:
        body["Check"] = check
    answer = p.put("/v1/catalog/register", body)
    assert answer.status == 200, answer.text


def instance(ident, name, port, address="", tags=(), **more):
    return {"ID": ident, "Service": name, "Port": port, "Address": address,
            "Tags": list(tags), **more}


def check(ident, status, service=""):
    return {"CheckID": ident, "Name": ident, "Status": status,
            "ServiceID": service}


def fill(p):
    reg(p, "n1", "10.1.0.1", instance("web1", "web", 80, "", ["master", "v.2"]),
        NodeMeta={"k": "v", "rfc1035-x": "only value", "a=b": "c`d=e f",
                  " lead": " x"})
    reg(p, "n2", "10.1.0.2", instance("web2", "web", 81, "10.9.0.2", ["Slave"],
                                      Weights={"Passing": 5, "Warning": 2}))
    reg(p, "n3", "fd00::3", instance("web3", "web", 82, "", ["master"]))
    reg(p, "n4.dotted", "10.1.0.4", instance("ext", "ext", 443,
                                             "www.example.com"))
    reg(p, "n5", "node5.example.com", instance("ext2", "ext2", 443))
    reg(p, "n6", "10.1.0.6", instance("int", "int", 443, "n1.node.consul"))
    reg(p, "n6", "10.1.0.6", instance("int2", "int2", 443,
                                      "0a010001.addr.dc1.consul"))
    reg(p, "n7", "10.1.0.7", instance("tg", "tg", 90), TaggedAddresses={
        "lan": "10.1.0.7", "lan_ipv4": "10.7.7.7", "lan_ipv6": "fd00::7",
        "wan": "1.2.3.4"})
    reg(p, "n8", "10.1.0.8", instance("tg2", "tg2", 91, "10.8.8.8",
        TaggedAddresses={"lan_ipv4": {"Address": "10.8.8.9", "Port": 9191},
                         "lan_ipv6": {"Address": "fd00::8", "Port": 9292}}))
    reg(p, "n17", "10.1.0.17", instance("tg3", "tg3", 92), TaggedAddresses={
        "lan_ipv4": "10.1.0.17"})
    reg(p, "n18", "10.1.0.18", instance("tg4", "tg4", 93), TaggedAddresses={
        "lan_ipv4": "10.1.1.18"})
    reg(p, "n9", "10.1.0.9", instance("crit", "crit", 1),
        check("c", "critical", "crit"))
    reg(p, "n10", "10.1.0.10", instance("warn", "warn", 1, Weights={
        "Passing": 7, "Warning": 3}), check("c", "warning", "warn"))
    reg(p, "n11", "10.1.0.11", instance("odd", "odd", 1, Weights={
        "Passing": 7, "Warning": 3}), check("c", "strange", "odd"))
    reg(p, "n12", "10.1.0.12", instance("d.ot", "do.t", 1))
    reg(p, "n13", "10.1.0.13", instance("self", "self", 1,
                                        "self.service.consul"))
    reg(p, "n15", "10.1.0.15", instance("mixed1", "mixed", 1,
                                        "www.example.com"))
    reg(p, "n16", "10.1.0.16", instance("mixed2", "mixed", 2, "10.16.16.16"))
    reg(p, "n19", "10.1.0.19", instance("bad", "bad", 1),
        check("node", "critical"))
    reg(p, "n20", "10.1.0.20", instance("ttl", "ttl", 1))
    reg(p, "n20", "10.1.0.20", instance("tty", "tty", 2))
    reg(p, "n21", "10.1.0.21", instance("dup1", "dup", 1))
    reg(p, "n21", "10.1.0.21", instance("dup2", "dup", 2))
    reg(p, "n21", "10.1.0.21", instance("dup3", "dup", 2))
    reg(p, "n22", "10.1.0.22", instance("node", "node", 1))
    for i in range(30):
        reg(p, f"b{i}", f"10.2.0.{i}", instance(f"big{i}", "big", 1000 + i))


SERVICES = ["web", "master.web", "slave.web", "v.2.web", "nosuch.web", "nosuch",
            "ext", "ext2", "int", "int2", "tg", "tg2", "tg3", "tg4", "crit",
            "warn", "odd", "do.t", "self", "mixed", "bad", "ttl", "tty", "dup",
            "node", "consul", "big"]
NODES = ["n1", "N1", "n3", "n4.dotted", "n5", "n7", "n18", "nosuch", "node-a"]
TYPES = ["A", "AAAA", "SRV", "ANY", "TXT", "MX", "CNAME", "PTR", "NS", "SOA"]
DOMAINS = ["consul", "dc1.consul", "dc9.consul", "x.dc1.consul", "alt.test",
           "DC1.Consul"]
OTHERS = [
    "_web._tcp.service.consul", "_web._master.service.consul",
    "_web._tcp.consul", "_web._tcp.dc1.consul", "_web._nosuch.service.consul",
    "a._web._tcp.service.consul", "_web.service.consul", "_WEB._TCP.consul",
    "_web._master.x.service.consul", "_ttl._tcp.service.dc1.consul",
    "0a010001.addr.consul", "0A010001.addr.dc9.consul", "0a0100.addr.consul",
    "x.0a010001.addr.consul", "0a01000g.addr.consul", "addr.consul",
    "fd000000000000000000000000000003.addr.consul", "0a010001.addr.a.b.consul",
    "1.0.1.10.in-addr.arpa", "2.0.9.10.in-addr.arpa", "9.9.9.9.in-addr.arpa",
    "in-addr.arpa", "x.ip6.arpa", "0.1.10.in-addr.arpa",
    "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
    "consul", "service.consul", "node.consul", "foo.consul", "a.b.consul",
    "ns.consul", "example.com", ".", "com", "xconsul", "web.connect.consul",
    "web.ingress.consul", "web.virtual.consul", "nosuch.query.consul",
    "web.passing.consul", "web.service.passing.consul", "service.service.consul",
    "web.service.service.consul", "web.service.dc1.dc.consul",
]


def names():
    for s, d in itertools.product(SERVICES, DOMAINS):
        yield f"{s}.service.{d}"
    for n, d in itertools.product(NODES, DOMAINS):
        yield f"{n}.node.{d}"
    yield from OTHERS


WAYS = [(False, 0), (False, 512), (False, 1232), (True, 0), (True, 4096)]


def questions():
    for i, (name, kind) in enumerate(itertools.product(names(), TYPES)):
        # All ways for services alone; the others take turns.
        ways = WAYS if ".service.consul" in name else [WAYS[i % len(WAYS)]]
        for tcp, edns in ways:
            yield name, kind, tcp, edns


def shape(peer, packet, tcp=False):
    """What is compared: order is random, serials are of their moment, ports their
    own."""
    data = (dns.send_tcp if tcp else dns.send_udp)(peer.dns, packet)
    if data is None:
        return None
    m = dns.Message(data)
    for r in m.answer:
        if r.type == "SRV":
            r.data = r.data.replace(f" {peer.ports['server']} ", " server ")
    return dns_meant.Shape(
        rcode=m.rcode, flags=m.flags & ~15, question=m.question, opt=m.opt,
        answer=tidy(m.answer), authority=tidy(m.authority),
        additional=tidy(m.additional))


def tidy(records):
    out = []
    for r in records:
        data = r.data
        if r.type == "SOA":
            words = data.split()
            words[2] = "serial"
            data = " ".join(words)
        out.append((r.name.lower(), r.type, r.ttl, data.lower()
                    if r.type != "TXT" else data))
    return sorted(out)


def test_every_form_of_name_is_answered_alike(pair):
    found, count, used = [], 0, set()
    for name, kind, tcp, edns in questions():
        packet = dns.query(name, kind, edns=edns)
        ours, theirs = (shape(p, packet, tcp) for p in pair)
        count += 1
        ours, word = dns_meant.without_word(ours)
        if word:
            used.add(dns_meant.WORD_RULE)
        if ours == theirs:
            continue
        rule = dns_meant.explain(dns_meant.Asked(name, kind, tcp, edns), ours,
                                 theirs)
        if rule:
            used.add(rule)
        else:
            found.append(f"{name} {kind} tcp={tcp} edns={edns}\n  muster {ours}"
                         f"\n  consul {theirs}")
    assert not found, f"{len(found)} of {count} differ:\n" + \
        "\n".join(found[:12])
    assert used == dns_meant.NAMES, \
        f"explain nothing: {dns_meant.NAMES - used}"
    print(f"# {count} queries, {len(used)} meant differences")


PACKETS = {
    "class CH": dns.query("web.service.consul", qclass=3),
    "class ANY": dns.query("web.service.consul", qclass=255),
    "class 0": dns.query("web.service.consul", qclass=0),
    "RD off": dns.query("web.service.consul", flags=0),
    "AD and CD": dns.query("web.service.consul", flags=0x0130),
    "opcode 2": dns.query("web.service.consul", flags=0x1000),
    "opcode 5": dns.query("web.service.consul", flags=0x2800),
    "rest of garbage": dns.query("ttl.service.consul") + b"garbage",
    "a record promised": dns.query("ttl.service.consul")[:11] + b"\1"
    + dns.query("ttl.service.consul")[12:],
    "EDNS version 1": dns.query("ttl.service.consul")[:11] + b"\1"
    + dns.query("ttl.service.consul")[12:] + dns.opt(1232, version=1),
    "two OPT": dns.query("ttl.service.consul")[:11] + b"\2"
    + dns.query("ttl.service.consul")[12:] + dns.opt(1232) + dns.opt(600),
    "client subnet": dns.query("ttl.service.consul", edns=1232, options=bytes(
        [0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100])),
    "a bad client subnet": dns.query("ttl.service.consul", edns=1232,
                                     options=bytes([0, 8, 0, 3, 0, 9, 0])),
    "a cookie": dns.query("ttl.service.consul", edns=1232, options=bytes(
        [0, 10, 0, 8]) + b"a client"),
    "a bad cookie": dns.query("ttl.service.consul", edns=1232, options=bytes(
        [0, 10, 0, 7]) + b"a clien"),
    "no question": dns.query("x.consul")[:5] + b"\0" + b"\0" * 6,
    "two questions": dns.query("ttl.service.consul")[:5] + b"\2"
    + dns.query("ttl.service.consul")[6:]
    + dns.query("tty.service.consul")[12:],
}


@pytest.mark.parametrize("name", PACKETS)
def test_odd_packets_are_answered_alike(pair, name):
    ours, theirs = (shape(p, PACKETS[name]) for p in pair)
    if ours != theirs:
        assert dns_meant.packet_differs(name, ours, theirs), \
            f"muster {ours}\nconsul {theirs}"


@pytest.mark.parametrize("packet", [b"", b"\0" * 11, dns.query(
    "web.service.consul", flags=0x8000)], ids=["empty", "short", "answer"])
def test_neither_answers_what_is_no_query(pair, packet):
    for p in pair:
        assert dns.send_udp(p.dns, packet, wait=0.3) is None
