# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""The web page in a real browser: what a person sees, and that nobody has to
reload. MUSTER_SCREENSHOTS=docs/images writes the pictures of README and docs."""

import json

import pytest

import browser
from agents import Agent
from muster import until
from streams import Stream

pytestmark = pytest.mark.skipif(browser.MISSING is not None,
                                reason=str(browser.MISSING))
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
TAB, ENTER = "\ue004", "\ue007"


@pytest.fixture(scope="module")
def chromium():
    b = browser.Browser()
    yield b
    b.close()


@pytest.fixture
def page(chromium, make_server):
    """A server of its own with the page open, wide and light."""
    server = make_server(dev=True).start()
    chromium.size(1200, 800)
    chromium.scheme("light")
    chromium.open(f"http://127.0.0.1:{server.port}/ui/")
    chromium.shows("live", "#live")
    chromium.server = server
    chromium.complaints()
    yield chromium
    chromium.open("about:blank")


def register(server, service, instance, status="passing", node="n1", **more):
    answer = server.put("/v1/catalog/register", {
        "Node": node, "Address": "10.0.0.1",
        "Service": {"ID": instance, "Service": service, "Port": 80, **more},
        "Checks": [{"CheckID": f"check-{instance}", "Name": "HTTP on :80",
                    "ServiceID": instance, "Status": status,
                    "Output": f"{status}: HTTP GET http://10.0.0.1/"}]})
    assert answer.status == 200, answer.text


def applies(server, service, change):
    """A subscriber that hears of one change and says so."""
    s = Stream(server, f"/v1/health/service/{service}?subscriber=checkout&zone=eu-1")
    s.ready()
    change()
    s.change()
    server.put("/v1/muster/ack", [{"Subscriber": s.subscriber, "Index": s.last_id}])
    return s


def go(page, view):
    page.run("location.hash = arguments[0]", view)


def row(page, service):
    return "\n".join(page.texts(f'tr[data-service="{service}"]'))


def test_changes_show_without_a_reload(page):
    page.run("window.notReloaded = true")
    page.shows("Nothing hurts")
    register(page.server, "web", "web-1")
    register(page.server, "web", "web-2")
    go(page, "#/services")
    until(lambda: "all pass" in row(page, "web"), "web passes")
    register(page.server, "web", "web-2", "critical")
    until(lambda: "1 critical" in row(page, "web"), "web has one that is sick")
    go(page, "#/")
    until(lambda: "1 critical" in row(page, "web"), "web hurts")
    register(page.server, "web", "web-1", "critical")
    until(lambda: "nobody answers" in row(page, "web"), "nobody answers")
    register(page.server, "web", "web-1")
    register(page.server, "web", "web-2")
    page.shows("Nothing hurts")
    assert page.run("return window.notReloaded") is True
    assert page.complaints() == []


def test_one_service_tells_who_is_out_and_why(page):
    server = page.server
    register(server, "web", "web-1", Tags=["v1"], Meta={"team": "shop"},
             Weights={"Passing": 7, "Warning": 1})
    register(server, "web", "web-2", "critical")
    go(page, "#/service/web")
    until(lambda: page.texts('tr[data-instance="web-1"]'), "web-1")
    out = "\n".join(page.texts('tr[data-instance="web-2"]'))
    assert "out" in out and "HTTP on :80 is critical" in out
    inside = "\n".join(page.texts('tr[data-instance="web-1"]'))
    assert "7 / 1" in inside and "v1" in inside
    page.click('tr[data-instance="web-1"] summary')
    page.shows("passing: HTTP GET", 'tr[data-instance="web-1"]')
    page.shows("team", 'tr[data-instance="web-1"]')
    # It stays open while the rest changes.
    register(server, "web", "web-2")
    until(lambda: "out" not in "\n".join(page.texts('tr[data-instance="web-2"]')),
          "web-2 is in again")
    page.shows("passing: HTTP GET", 'tr[data-instance="web-1"]')
    page.shows("registered", "ol.line")
    server.put("/v1/catalog/deregister", {"Node": "n1", "ServiceID": "web-2"})
    until(lambda: page.texts('tr[data-instance="web-2"]') == [], "web-2 is gone")
    page.shows("deregistered", "ol.line")
    assert page.complaints() == []


def test_one_service_shows_who_watches(page):
    server = page.server
    register(server, "web", "web-1")
    c = server.connect()
    c.request("GET", "/v1/health/service/web?passing&stream",
              headers={"X-Muster-Subscriber": "checkout", "X-Muster-Zone": "eu-1"})
    assert c.getresponse().status == 200
    go(page, "#/service/web")
    page.shows("checkout", "table[aria-label=Subscribers]")
    page.shows("eu-1", "table[aria-label=Subscribers]")
    c.close()


def test_a_watcher_shows_at_which_server_and_through_which_agent(
        chromium, make_server, tmp_path):
    server = make_server(name="server-1").start()
    agent = Agent(tmp_path / "agent", server, name="agent-7")
    try:
        agent.start()
        register(server, "web", "web-1")
        streams = [Stream(server, "/v1/health/service/web?subscriber=direct"),
                   Stream(agent, "/v1/health/service/web?subscriber=checkout")]
        for s in streams:
            s.ready()
        chromium.open(f"http://127.0.0.1:{server.port}/ui/#/service/web")

        def cells(label):
            rows = chromium.texts("table[aria-label=Subscribers] tbody tr")
            return next((r.split() for r in rows if r.startswith(label)), [])
        until(lambda: "server-1" in cells("direct"), "who watches at the server")
        assert "agent-7" not in cells("direct")
        until(lambda: {"server-1", "agent-7"} <= set(cells("checkout")),
              "who watches through an agent")
        assert chromium.complaints() == []
        chromium.open("about:blank")
    finally:
        agent.stop()


def test_the_page_tells_what_it_has_applied(page):
    """Or an open page would keep everybody from draining."""
    server = page.server
    register(server, "web", "web-1")

    def applied():
        told = server.get("/v1/muster/watchers/web").json["Subscribers"]
        index = server.get("/v1/health/service/web").index
        return [w for w in told if w["Label"] == "web-page" and w["AppliedIndex"] >= index]
    until(applied, "the page's acknowledgement")
    page.open("about:blank")
    until(lambda: server.get("/v1/muster/watchers/web").json["Subscribers"] == [],
          "a page that was closed is forgotten")


def test_one_service_shows_how_fast_changes_are_applied(page):
    server = page.server
    register(server, "web", "web-1")
    go(page, "#/service/web")
    s = applies(server, "web", lambda: register(server, "web", "web-1", "critical"))
    page.shows("up to", "table[aria-label=Lag]")
    page.shows("in the mean", "main")
    assert page.complaints() == []
    s.close()


def test_one_service_shows_who_drains_and_who_is_damped(page):
    server = page.server
    for i in range(4):
        a = server.put("/v1/agent/service/register",
                       {"Name": "api", "ID": f"api-{i}", "Port": 80, "Check": {
                           "CheckID": f"beat-{i}", "TTL": "1h",
                           "Damping": "suppress"}})
        assert a.status == 200, a.text
        server.put(f"/v1/agent/check/pass/beat-{i}")
    go(page, "#/service/api")

    def shown(instance):
        return "\n".join(page.texts(f'tr[data-instance="{instance}"]'))
    until(lambda: "ready since" in shown("api-0"), "since when it is in")
    assert server.put("/v1/agent/service/drain/api-0?reason=update").status == 200
    until(lambda: "out, draining" in shown("api-0"), "it drains")
    assert server.put("/v1/agent/service/undrain/api-0").status == 200
    until(lambda: "draining" not in shown("api-0"), "it does not any more")
    for _ in range(8):  # it flaps
        server.put("/v1/agent/check/fail/beat-1")
        server.put("/v1/agent/check/pass/beat-1")
    until(lambda: "damped" in shown("api-1"), "it is damped")
    assert page.complaints() == []


def test_changes_are_listed_as_they_happen(page):
    go(page, "#/changes")
    page.shows("Nothing has changed")
    register(page.server, "web", "web-1")
    page.shows("web-1 on n1", "ol.line")
    register(page.server, "web", "web-1", "critical")
    page.shows("is critical", "ol.line li:first-child")
    page.server.put("/v1/catalog/deregister", {"Node": "n1", "ServiceID": "web-1"})
    page.shows("left: deregistered", "ol.line li:first-child")


def test_nodes_and_one_node(page):
    register(page.server, "web", "web-1", "warning", node="host-7")
    go(page, "#/nodes")
    until(lambda: page.texts('tr[data-node="host-7"]'), "the node")
    page.click('tr[data-node="host-7"] a')
    page.shows("Node host-7", "h1")
    page.shows("warning: HTTP GET")
    go(page, "#/node/nobody")
    page.shows("No node of this name")


def test_the_state_of_the_connection_is_always_shown(page):
    server = page.server
    register(server, "web", "web-1")
    go(page, "#/services")
    until(lambda: "all pass" in row(page, "web"), "web")
    server.kill()
    page.shows("not connected", "#live")
    page.shows("old", "#live")
    assert page.run("return document.getElementById('live').dataset.state") == "lost"
    server.start()  # -dev: it remembers nothing
    page.shows("live", "#live")
    until(lambda: row(page, "web") == "", "what is gone is not shown")
    register(server, "api", "api-1")
    until(lambda: "all pass" in row(page, "api"), "api")


def test_hostile_names_and_outputs_do_nothing(page):
    server = page.server
    answer = server.put("/v1/catalog/register", {
        "Node": "n1", "Address": "10.0.0.1",
        "Service": {"ID": HOSTILE, "Service": HOSTILE, "Port": 80,
                    "Tags": [HOSTILE], "Meta": {"note": HOSTILE}},
        "Checks": [{"CheckID": "c", "Name": HOSTILE, "ServiceID": HOSTILE,
                    "Status": "critical", "Notes": HOSTILE, "Output": HOSTILE}]})
    assert answer.status == 200, answer.text
    page.run("window.alert = () => { window.attacked = true }")
    for view in ("#/", "#/services", "#/changes", "#/nodes", "#/node/n1"):
        go(page, view)
        page.shows("n1" if "node" in view else HOSTILE)
    go(page, "#/services")
    page.click("tr[data-service] a")
    page.shows(HOSTILE, "h1")
    until(lambda: page.texts("tr[data-instance] summary"), "the instance")
    page.click("tr[data-instance] summary")
    page.shows(HOSTILE, "tr[data-instance] pre")
    assert page.run("return document.querySelectorAll('main img, main script').length") == 0
    assert not page.run("return window.attacked")
    assert page.complaints() == []


def test_scripts_from_elsewhere_are_refused_by_policy(page):
    ran = page.run("const s = document.createElement('script');"
                   "s.textContent = 'window.inline = 1'; document.body.append(s);"
                   "return window.inline")
    assert ran is None
    head = page.server.get("/ui/").headers["content-security-policy"]
    assert "default-src 'none'" in head and "unsafe" not in head


def test_thousands_of_services_scroll(page):
    server = page.server
    c = server.connect()
    for i in range(5000):
        server.request("PUT", "/v1/catalog/register", {
            "Node": f"n{i % 50}", "Address": "10.0.0.1",
            "Service": {"ID": f"x{i}", "Service": f"service-{i:04}", "Port": 80}},
            connection=c)
    c.close()
    go(page, "#/services")
    page.shows("5001 of them")
    until(lambda: row(page, "service-0000"), "the first")
    rows = "return document.querySelectorAll('tr[data-service]').length"
    assert page.run(rows) <= 200
    page.run("const s = document.querySelector('.scroll'); s.scrollTop = s.scrollHeight")
    until(lambda: row(page, "service-4999"), "the last")
    assert page.run(rows) <= 200
    page.type("input[name=search]", "service-321")
    page.shows("10 of them")
    until(lambda: row(page, "service-3219"), "what was searched for")


def test_the_keyboard_is_enough(page):
    register(page.server, "web", "web-1")
    go(page, "#/services")
    until(lambda: row(page, "web"), "web")
    page.press("/")
    page.press(*"we")
    assert page.run("return document.activeElement.name") == "search"
    until(lambda: page.run("return document.activeElement.value") == "we", "typed")
    seen = set()
    for _ in range(12):
        page.press(TAB)
        seen.add(page.run("return document.activeElement.getAttribute('href')"))
        if "#/service/web" in seen:
            break
    assert "#/service/web" in seen
    page.press(ENTER)
    page.shows("Service web", "h1")
    assert page.run("return document.activeElement.id") == "main"
    current = page.run("return document.querySelector('nav [aria-current]').textContent")
    assert current == "Services"


def test_a_narrow_screen_needs_no_sideways_scrolling(page):
    register(page.server, "a-service-with-quite-a-long-name-for-a-phone", "x-1",
             "critical", node="a-node-with-a-long-name")
    page.size(380, 760)
    for view in ("#/", "#/services", "#/nodes", "#/changes",
                 "#/service/a-service-with-quite-a-long-name-for-a-phone"):
        go(page, view)
        page.shows("a-" if view != "#/changes" else "Changes")
        wide = page.run("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], (view, wide)


def test_everything_has_a_name_for_a_screen_reader(page):
    register(page.server, "web", "web-1", "critical")
    for view in ("#/", "#/services", "#/nodes", "#/service/web"):
        go(page, view)
        page.shows("web" if view != "#/nodes" else "n1")
        assert page.run("""
            const nameless = [];
            for (const e of document.querySelectorAll('a, button, input, select, table, [role=img], nav'))
              if (!(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length))
                nameless.push(e.outerHTML);
            return nameless""") == []
        assert page.run("return document.querySelectorAll('h1').length") == 1


def test_the_files_are_cached_by_what_they_hold(server):
    first = server.get("/ui/main.js")
    assert first.status == 200
    again = server.get("/ui/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert server.get("/ui/../main.js").status in (301, 404)
    assert server.get("/ui/nothing.js").status == 404
    assert server.put("/ui/main.js").status == 405


def test_the_page_can_be_off(make_server):
    server = make_server(dev=True, config={"ui_config": {"enabled": False}}).start()
    assert server.get("/ui/").status == 404
    assert server.get("/", headers={"Accept": "text/html"}).text == "Consul Agent"


def test_pictures(page):
    """What README and docs show; asserts that there is something to see."""
    server = page.server
    for service, sick in (("web", 1), ("api", 0), ("db", 0), ("search", 3),
                          ("mail", 0), ("auth", 0), ("cache", 1)):
        for i in range(3 if service == "search" else 6):
            register(server, service, f"{service}-{i}",
                     "critical" if i < sick else "passing", node=f"host-{i}",
                     Tags=["v2", "eu"], Meta={"team": service})
    page.shows("nobody answers")
    page.screenshot("page-overview.png")
    go(page, "#/service/web")
    page.shows("out")
    page.shows("registered", "ol.line")
    s = applies(server, "web",
                lambda: register(server, "web", "web-3", "warning", node="host-3"))
    page.shows("up to", "table[aria-label=Lag]")
    page.scheme("dark")
    page.screenshot("page-service-dark.png")
    page.size(400, 800)
    page.scheme("light")
    go(page, "#/services")
    until(lambda: row(page, "web"), "web")
    page.screenshot("page-narrow.png")
