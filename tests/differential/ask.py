# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Requests, and short forms of the usual ones."""

import dataclasses
import json


@dataclasses.dataclass
class Request:
    method: str
    path: str
    body: bytes | None = None
    headers: dict = dataclasses.field(default_factory=dict)

    def __str__(self):
        text = f"{self.method} {self.path}"
        for name, value in self.headers.items():
            text += f" [{name}: {value}]"
        if self.body is not None:
            text += " " + self.body.decode(errors="backslashreplace")[:300]
        return text


def get(path, **headers):
    return Request("GET", path, None,
                   {k.replace("_", "-"): v for k, v in headers.items()})


def put(path, body=None, **headers):
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    return Request("PUT", path, body,
                   {k.replace("_", "-"): v for k, v in headers.items()})


# --- Short forms of the writes ---

def service(name, /, **fields):
    return put("/v1/agent/service/register", {"Name": name, **fields})


def drop_service(*ids):
    return [put(f"/v1/agent/service/deregister/{i}") for i in ids]


def check(name, /, **fields):
    return put("/v1/agent/check/register", {"Name": name, **fields})


def drop_check(*ids):
    return [put(f"/v1/agent/check/deregister/{i}") for i in ids]


def node(name, address="10.0.0.1", /, **fields):
    return put("/v1/catalog/register",
               {"Node": name, "Address": address, **fields})


def drop_node(*names):
    return [put("/v1/catalog/deregister", {"Node": n}) for n in names]


AGENT_READS = [get("/v1/agent/services"), get("/v1/agent/checks")]


@dataclasses.dataclass
class Tried:
    """A write; reads only if both took it or both refused it; the way back."""
    write: Request
    reads: list
    undo: list = dataclasses.field(default_factory=list)


def reads_of(name, node_name="node-a"):
    """Every catalog and health route, asked about one service and node."""
    return [get(p) for p in (
        f"/v1/catalog/service/{name}", f"/v1/health/service/{name}",
        f"/v1/health/service/{name}?passing", f"/v1/health/checks/{name}",
        f"/v1/catalog/node/{node_name}", f"/v1/catalog/node-services/{node_name}",
        f"/v1/health/node/{node_name}", "/v1/catalog/services",
        "/v1/catalog/nodes", "/v1/health/state/any")]

BAD_BODIES = ["", " ", "null", "{}", "[]", "1", '"x"', "true", "{", '{"Name"',
              '{"Name":}', '{"Name":"x",}', '{bad}', "{'a':1}", '{"Name":"x"',
              '{"Name":1}', '{"Name":["x"]}', '{"Name":{}}', "nul", "{} trailing",
              '\xef\xbb\xbf{}', '{"Name":"\x01"}', '{"Name":"\\x"}',
              '{"Name":"\\ud800"}', '{"a":01}', '{"a":1.}', '{"a":-}',
              "[" * 200]
