# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Random requests, the same for the same seed: registrations, deregistrations,
check updates, maintenance and reads in any order.

It stays off what is known to differ (meant.py): a service ID keeps its name and
tags, a check ID its service, a node its spelling, no check has an output, and
nothing replaces the checks of a service in maintenance."""

import random

from ask import Request, get, put

SERVICES = {f"s{i}": name for i, name in
            enumerate(["web", "web", "api", "db", "api", "web"])}
TAGS = {"s0": ["a", "b"], "s1": ["b"], "s2": [], "s3": ["A"], "s4": ["c", "c"],
        "s5": []}
NODES = {"n0": "10.0.0.1", "n1": "10.0.0.2", "N2": "10.0.0.3"}
STATUSES = ["passing", "warning", "critical"]


class Sequence:
    def __init__(self, seed, steps):
        self.random = random.Random(seed)
        self.steps = steps
        self.maintained = set()

    def __iter__(self):
        actions = [(8, self.agent_service), (3, self.agent_drop),
                   (5, self.agent_check), (2, self.agent_drop_check),
                   (10, self.beat), (2, self.maintenance), (8, self.catalog),
                   (4, self.catalog_drop), (30, self.read)]
        weights = [w for w, _ in actions]
        for _ in range(self.steps):
            action = self.random.choices(actions, weights)[0][1]
            yield action()
        yield from ALL_READS

    def one_of(self, *values):
        return self.random.choice(values)

    def maybe(self, body, name, *values):
        """Sets a member, or leaves it out."""
        value = self.one_of(None, *values)
        if value is not None:
            body[name] = value

    def service_id(self):
        return self.random.choice(list(SERVICES))

    def check_id(self):
        """Of a service: the service's ID is a part of it."""
        s = self.service_id()
        return self.one_of(f"service:{s}", f"service:{s}:1", f"service:{s}:2",
                           f"{s}-own", "node-check", "nothing")

    # --- Agent ---

    def ttl_check(self):
        c = {"TTL": self.one_of("1h", "90m")}
        self.maybe(c, "Status", *STATUSES)
        self.maybe(c, "Notes", "", "some notes")
        return c

    def agent_service(self):
        s = self.service_id()
        body = {"Name": SERVICES[s], "ID": s, "Tags": TAGS[s],
                "Port": self.one_of(0, 80, 8080)}
        self.maybe(body, "Address", "", "10.1.1.1", "2001:db8::7", "a.example")
        self.maybe(body, "Meta", {}, {"k": "v"}, {"b": "2", "a": "1"})
        self.maybe(body, "Weights", {"Passing": 2, "Warning": 1})
        self.maybe(body, "EnableTagOverride", True, False)
        self.maybe(body, "Check", {}, self.ttl_check())
        self.maybe(body, "Checks", [], [self.ttl_check(), self.ttl_check()],
                   [{"CheckID": f"{s}-own", "Name": "own", **self.ttl_check()}])
        flag = self.one_of("", "", "?replace-existing-checks")
        if s in self.maintained:
            flag = ""
        return put("/v1/agent/service/register" + flag, body)

    def agent_drop(self):
        return put(f"/v1/agent/service/deregister/{self.service_id()}")

    def agent_check(self):
        if self.one_of(True, False):
            s = self.service_id()
            body = {"Name": "own", "ID": f"{s}-own", "ServiceID": s}
        else:
            body = {"Name": "node check", "ID": "node-check"}
        return put("/v1/agent/check/register", {**body, **self.ttl_check()})

    def agent_drop_check(self):
        return put(f"/v1/agent/check/deregister/{self.check_id()}")

    def beat(self):
        what = self.one_of("pass", "warn", "fail", "update")
        path = f"/v1/agent/check/{what}/{self.check_id()}"
        if what == "update":
            return put(path, {"Status": self.one_of(*STATUSES, "bogus")})
        return put(path)

    def maintenance(self):
        enable = self.one_of("true", "false")
        if self.one_of(True, True, False):
            s = self.service_id()
            (self.maintained.add if enable == "true"
             else self.maintained.discard)(s)
            return put(f"/v1/agent/service/maintenance/{s}?enable={enable}")
        return put(f"/v1/agent/maintenance?enable={enable}")

    # --- Catalog ---

    def catalog(self):
        n = self.random.choice(list(NODES))
        body = {"Node": n, "Address": NODES[n]}
        self.maybe(body, "NodeMeta", {"rack": "a"}, {"rack": "b"}, {})
        self.maybe(body, "TaggedAddresses", {"lan": "10.9.9.9"})
        self.maybe(body, "SkipNodeUpdate", True)
        s = self.service_id()
        if self.one_of(True, True, False):
            service = {"ID": s, "Service": SERVICES[s], "Tags": TAGS[s],
                       "Port": self.one_of(1, 2)}
            self.maybe(service, "Meta", {"m": "1"})
            self.maybe(service, "Address", "10.2.2.2")
            body["Service"] = service
        checks = [{"CheckID": f"{n}-{s}", "Name": "of service", "ServiceID": s,
                   "Status": self.one_of(*STATUSES)},
                  {"CheckID": f"{n}-node", "Name": "of node",
                   "Status": self.one_of(*STATUSES)}]
        self.maybe(body, "Check", *checks)
        self.maybe(body, "Checks", [], checks)
        return put("/v1/catalog/register", body)

    def catalog_drop(self):
        n = self.random.choice(list(NODES))
        body = {"Node": n}
        s = self.service_id()
        self.maybe(body, "ServiceID", s, s, s)
        self.maybe(body, "CheckID", f"{n}-{s}", f"{n}-node", "nothing")
        return put("/v1/catalog/deregister", body)

    def read(self):
        return self.random.choice(ALL_READS)


def all_reads():
    for name in sorted(set(SERVICES.values())):
        for ask in ("", "?passing", "?tag=a", "?tag=b&passing", "?node-meta=rack:a"):
            yield get(f"/v1/health/service/{name}{ask}")
            if "passing" not in ask:
                yield get(f"/v1/catalog/service/{name}{ask}")
        yield get(f"/v1/health/checks/{name}")
        yield get(f"/v1/agent/health/service/name/{name}")
        yield get(f"/v1/agent/health/service/name/{name}?format=text")
    for node in (*NODES, "node-a"):
        yield get(f"/v1/catalog/node/{node}")
        yield get(f"/v1/catalog/node-services/{node}")
        yield get(f"/v1/health/node/{node}")
    for state in ("any", *STATUSES):
        yield get(f"/v1/health/state/{state}")
    for s in SERVICES:
        yield get(f"/v1/agent/service/{s}")
        yield get(f"/v1/agent/health/service/id/{s}")
    for path in ("catalog/nodes", "catalog/nodes?node-meta=rack:a",
                 "catalog/services", "catalog/services?node-meta=rack:b",
                 "agent/services", "agent/checks"):
        yield get("/v1/" + path)


ALL_READS = list(all_reads())
assert all(isinstance(r, Request) for r in ALL_READS)
