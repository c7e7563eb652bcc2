# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Every difference in DNS from Consul 1.8.7 that is meant, with its reason. A rule
that explains nothing any more fails the test."""

import dataclasses
import struct

AA, TC = 0x0400, 0x0200


@dataclasses.dataclass(frozen=True)
class Shape:
    rcode: str
    flags: int
    question: tuple
    opt: tuple
    answer: list
    authority: list
    additional: list


@dataclasses.dataclass(frozen=True)
class Asked:
    name: str
    kind: str
    tcp: bool
    edns: int


WORD = 15  # EDNS option (RFC 8914)


def without_word(shape):
    """The shape without the word that says why there is no answer, and whether it
    had one."""
    if not shape or not shape.opt:
        return shape, False
    size, data = shape.opt
    left, at = b"", 0
    while at < len(data):
        code, n = struct.unpack_from("!HH", data, at)
        if code != WORD:
            left += data[at:at + 4 + n]
        at += 4 + n
    return dataclasses.replace(shape, opt=(size, left)), left != data


def differ_in(ours, theirs, *members):
    """In these and in nothing else."""
    return dataclasses.replace(
        theirs, **{m: getattr(ours, m) for m in members}) == ours


def says_tc(q, ours, theirs):
    """Which records are told is a draw. No SRV without its target's address: with
    EDNS they may be fewer."""
    return not q.tcp and ours.flags == theirs.flags | TC and \
        q.name.startswith("big.") and len(ours.answer) <= len(theirs.answer)


def as_first_domain(ours, question):
    """The names of an answer, but for the question's, as they would be in the first
    domain."""
    def word(w):
        if w == question or not (w.endswith(".alt.test.") or w == "alt.test."):
            return w
        return w.removesuffix("alt.test.") + "consul."

    def section(records):
        return sorted((word(n), t, ttl, " ".join(map(word, d.split(" "))))
                      for n, t, ttl, d in records)
    return dataclasses.replace(
        ours, answer=section(ours.answer), authority=section(ours.authority),
        additional=section(ours.additional))


def second_domain(q, ours, theirs):
    return q.name.endswith("alt.test") and \
        as_first_domain(ours, q.name.lower() + ".") == theirs


def no_such_node(q, ours, theirs):
    return ".node." in q.name and ours.rcode == "NXDOMAIN" and \
        theirs.rcode == "NOERROR" and not theirs.answer and \
        q.kind in ("SRV", "MX", "PTR", "CNAME")


def refused_with_opt(q, ours, theirs):
    return theirs.rcode == "REFUSED" and theirs.opt is None and q.edns and \
        differ_in(ours, theirs, "opt")


def own_version(q, ours, theirs):
    def without(s):
        return dataclasses.replace(
            s, answer=[r for r in s.answer if "consul-version=" not in r[3]],
            additional=[r for r in s.additional
                        if "consul-version=" not in r[3]])
    return without(ours) != ours and (
        without(ours) == theirs or
        as_first_domain(without(ours), q.name.lower() + ".") == theirs)


def soa_of_another_zone(q, ours, theirs):
    return q.name.endswith(".arpa") and q.kind == "SOA" and \
        differ_in(ours, theirs, "authority")


def passing_kind(q, ours, theirs):
    return q.name == "web.passing.consul" and theirs.rcode == "NXDOMAIN" and \
        ours.rcode == "NOERROR"


def newer_datacenter(q, ours, theirs):
    return q.name.endswith(".dc1.dc.consul") and theirs.rcode == "NXDOMAIN" \
        and ours.rcode == "NOERROR"


RULES = [
    ("TC is said", "three of thirty do not look complete", says_tc),
    ("alt_domain", "an answer's names end in the domain that was asked, as in newer "
     "releases", second_domain),
    ("NXDOMAIN for any type", "a node that is not there is not there",
     no_such_node),
    ("OPT in refusals", "RFC 6891: who sends one gets one", refused_with_opt),
    ("consul-version", "in the own node's Meta, as in newer releases",
     own_version),
    ("reverse SOA", "the zone of the answer is not consul", soa_of_another_zone),
    (".passing", "a kind of names of muster's own", passing_kind),
    ("DC.dc", "as newer releases have it", newer_datacenter),
]
WORD_RULE = "a word"  # why there is no answer: beside whatever else differs
NAMES = {name for name, _, _ in RULES} | {WORD_RULE}


def explain(asked, ours, theirs):
    """The first rule that makes them equal, or None."""
    for rule, _, holds in RULES:
        if ours and theirs and holds(asked, ours, theirs):
            return rule
    return None


# Odd packets: name -> why what differs does, and what it is.
PACKETS = {
    "a bad client subnet": ("FORMERR is twelve bytes, without question",
                            ["question"]),
    "a cookie": ("it is answered by ours (RFC 7873)", ["opt"]),
    "a bad cookie": ("FORMERR (RFC 7873 5.2.2)",
                     ["rcode", "flags", "question", "opt", "answer",
                      "additional"]),
}


def packet_differs(name, ours, theirs):
    return name in PACKETS and differ_in(ours, theirs, *PACKETS[name][1])
