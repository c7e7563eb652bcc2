# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""A DNS client on the standard library: queries as bytes, answers as records."""

import dataclasses
import ipaddress
import socket
import struct

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16,
         "AAAA": 28, "SRV": 33, "OPT": 41, "AXFR": 252, "ANY": 255}
NAMES = {v: k for k, v in TYPES.items()}
RCODES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]
LIMIT = 10  # seconds, for what takes milliseconds


def wire(name):
    labels = [p for p in name.rstrip(".").split(".") if p]
    return b"".join(bytes([len(p)]) + p.encode() for p in labels) + b"\0"


def opt(size, data=b"", version=0):
    return struct.pack("!BHHBBHH", 0, TYPES["OPT"], size, 0, version, 0,
                       len(data)) + data


def query(name, qtype="A", *, edns=0, ident=0x1234, flags=0x0100, qclass=1,
          options=b""):
    number = TYPES.get(qtype, qtype)
    extra = opt(edns, options) if edns else b""
    return (struct.pack("!HHHHHH", ident, flags, 1, 0, 0, 1 if edns else 0)
            + wire(name) + struct.pack("!HH", number, qclass) + extra)


@dataclasses.dataclass(order=True)
class Record:
    name: str
    type: str
    ttl: int
    data: str


class Message:
    """Fails on anything that is not whole."""

    def __init__(self, data):
        self.data, self.at = data, 0
        (self.id, self.flags, self.questions, answers, authority,
         additional) = self.take("!HHHHHH")
        self.rcode = RCODES[self.flags & 15]
        self.question = None
        for _ in range(self.questions):
            self.question = (self.name(), *self.take("!HH"))
        self.opt = None
        self.answer = self.section(answers)
        self.authority = self.section(authority)
        self.additional = self.section(additional)
        assert self.at == len(data), "bytes behind the last record"

    def take(self, form):
        n = struct.calcsize(form)
        assert self.at + n <= len(self.data), "cut off"
        values = struct.unpack_from(form, self.data, self.at)
        self.at += n
        return values

    def name(self):
        labels, back, limit = [], None, self.at + 1
        while True:
            (n,) = self.take("!B")
            if n == 0:
                break
            if n >= 0xc0:
                (low,) = self.take("!B")
                to = (n & 0x3f) << 8 | low
                assert to < limit - 1, "a pointer that does not lead back"
                back = self.at if back is None else back
                self.at, limit = to, to + 1
                continue
            assert n < 64 and self.at + n <= len(self.data)
            labels.append(self.data[self.at:self.at + n].decode("latin-1"))
            self.at += n
        if back is not None:
            self.at = back
        return ".".join(labels) + "."

    def section(self, count):
        records = []
        for _ in range(count):
            owner = self.name()
            number, qclass, ttl, n = self.take("!HHIH")
            end = self.at + n
            if number == TYPES["OPT"]:
                self.opt = (qclass, self.data[self.at:end])
                self.at = end
                continue
            records.append(Record(owner, NAMES.get(number, str(number)), ttl,
                                  self.rdata(NAMES.get(number), n)))
            assert self.at == end, "a record longer or shorter than it says"
        return records

    def rdata(self, kind, n):
        end = self.at + n
        if kind in ("A", "AAAA"):
            self.at = end
            return str(ipaddress.ip_address(self.data[end - n:end]))
        if kind in ("NS", "CNAME", "PTR"):
            return self.name()
        if kind == "SRV":
            return " ".join(map(str, self.take("!HHH"))) + " " + self.name()
        if kind == "SOA":
            return " ".join([self.name(), self.name(),
                             *map(str, self.take("!IIIII"))])
        texts = []
        while self.at < end and kind == "TXT":
            (k,) = self.take("!B")
            texts.append(self.data[self.at:self.at + k].decode("latin-1"))
            self.at += k
        self.at = end
        return "".join(texts)

    @property
    def tc(self):
        return bool(self.flags & 0x0200)

    @property
    def aa(self):
        return bool(self.flags & 0x0400)

    @property
    def ra(self):
        return bool(self.flags & 0x0080)

    def values(self, kind=None):
        return sorted(r.data for r in self.answer
                      if kind is None or r.type == kind)


def send_udp(port, data, host="127.0.0.1", wait=LIMIT):
    """The bytes that come back, or None after `wait` seconds without any."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(wait)
        s.connect((host, port))
        s.send(data)
        try:
            return s.recv(65535)
        except (TimeoutError, ConnectionRefusedError):
            return None


def read_message(s):
    """One message of a stream; b"" when the other side has closed."""
    data = b""
    want = 2
    while len(data) < want:
        got = s.recv(want - len(data))
        if not got:
            return b""
        data += got
        if len(data) == 2 and want == 2:
            want += struct.unpack("!H", data)[0]
    return data[2:]


def framed(data):
    return struct.pack("!H", len(data)) + data


def connect(port, host="127.0.0.1"):
    return socket.create_connection((host, port), LIMIT)


def send_tcp(port, data, host="127.0.0.1"):
    with connect(port, host) as s:
        s.sendall(framed(data))
        return read_message(s)


def ask(port, name, qtype="A", *, tcp=False, host="127.0.0.1", **kw):
    packet = query(name, qtype, **kw)
    data = send_tcp(port, packet, host) if tcp else send_udp(port, packet, host)
    assert data, f"no answer about {name} {qtype}"
    return Message(data)
