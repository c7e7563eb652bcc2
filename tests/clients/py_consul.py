# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Drives a registry with the Python package py-consul: PORT CHECK_URL."""

import sys
import threading
import time

import consul
import consul.exceptions

port, url = int(sys.argv[1]), sys.argv[2]
c = consul.Consul(host="127.0.0.1", port=port)


def within(what, condition, limit=30):
    deadline = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            print("ok:", what)
            return value
        assert time.monotonic() < deadline, f"{what}: did not happen"
        time.sleep(0.02)


assert c.status.leader(), "no leader"
assert c.agent.self()["Config"]["NodeName"]
c.agent.service.register("py", service_id="py-1", address="127.0.0.1", port=99,
                         tags=["a"],
                         check=consul.Check.http(url, "1s", timeout="1s"))
assert c.agent.services()["py-1"]["Tags"] == ["a"]
within("py-1 passes", lambda: c.health.service("py", passing=True)[1])
index, entries = c.health.service("py", passing=True)
assert entries[0]["Service"]["Port"] == 99
assert c.catalog.service("py")[1][0]["ServiceID"] == "py-1"
assert "py" in c.catalog.services()[1]
assert any(n["Node"] for n in c.catalog.nodes()[1])

woken = []
t = threading.Thread(target=lambda: woken.append(
    consul.Consul(host="127.0.0.1", port=port).health.service(
        "py", index=index, wait="30s")))
t.start()
c.agent.service.register("py", service_id="py-2",
                         check=consul.Check.ttl("30s"))
t.join(35)
assert woken and int(woken[0][0]) > int(index), woken
print("ok: a long poll wakes")
c.agent.check.ttl_pass("service:py-2", "fine")
within("py-2 passes",
       lambda: len(c.health.service("py", passing=True)[1]) == 2)
assert c.agent.check.ttl_fail("service:py-2")
assert len(c.health.service("py", passing=True)[1]) == 1
assert c.agent.service.maintenance("py-1", True, "reason")
assert c.health.service("py", passing=True)[1] == []
assert c.agent.service.maintenance("py-1", False)
fired = c.event.fire("py-deploy", body="v2")
assert c.event.list("py-deploy")[1][-1]["ID"] == fired["ID"]
assert c.catalog.register("outside", "10.9.9.9",
                          service={"service": "ext", "id": "e1", "port": 1})
assert c.catalog.node("outside")[1]["Services"]["e1"]["Port"] == 1
assert c.catalog.deregister("outside")
assert c.catalog.node("outside")[1] is None


def refused(error, status, call, *args, **kw):
    try:
        call(*args, **kw)
    except error as e:
        assert str(status) in str(e), e
        print("ok: refused:", e)
    else:
        raise AssertionError(f"was not refused with {status}")


refused(consul.exceptions.BadRequest, 400, c.agent.service.register, "py", "py-3",
        check=consul.Check.ttl("soon"))
assert c.agent.check.ttl_pass("nobody") is False  # its word for a 404
refused(consul.exceptions.ConsulException, 500, c.health.service, "py", dc="nowhere")
for i in ("py-1", "py-2"):
    assert c.agent.service.deregister(i)
assert c.health.service("py")[1] == []
print("all steps passed")
