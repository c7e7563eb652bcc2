# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Every difference from Consul 1.8.7 that is meant, with its reason; the table in
docs/api.md is the short form for users.

A rule matches a request and what both say to it, and makes them equal; what no
rule explains is a failure, and so is a rule that explains nothing any more. Keep
the patterns as narrow as what they are about."""

import re

# --- Kinds of rules ---


class Rule:
    always = True  # is met in every run

    def __init__(self, name, why, request=""):
        self.name = name
        self.why = why
        self.request = re.compile(request)

    def asks(self, request):
        return self.request.search(str(request)) is not None

    def settle(self, request, ours, theirs):
        """Returns both, equal in what the rule is about. May change them."""
        raise NotImplementedError


class Answers(Rule):
    """The whole answers differ: each is "<status> <body>" by its pattern."""

    def __init__(self, name, why, request, *, consul, muster):
        super().__init__(name, why, request)
        self.consul = re.compile(consul, re.S)
        self.muster = re.compile(muster, re.S)

    def settle(self, request, ours, theirs):
        if self.consul.match(theirs.line) and self.muster.match(ours.line):
            return theirs, theirs
        return ours, theirs


class Head(Rule):
    """Lines of the head: only the other has them, or has none of them."""

    def __init__(self, name, why, *lines, request="", only=""):
        super().__init__(name, why, request)
        self.lines = lines
        self.only = only

    def settle(self, request, ours, theirs):
        has, lacks = (ours, theirs) if self.only == "muster" else (theirs, ours)
        for line in self.lines:
            if line not in lacks.headers:
                has.headers.pop(line, None)
        return ours, theirs


class Parts(Rule):
    """Calls change(object of ours, the same object of theirs) for every pair of
    JSON objects that stand at the same place of both bodies."""

    def __init__(self, name, why, change, request=""):
        super().__init__(name, why, request)
        self.change = change

    def settle(self, request, ours, theirs):
        self.walk(ours.body, theirs.body)
        return ours, theirs

    def walk(self, a, b):
        if not isinstance(a, list) or not isinstance(b, list):
            return
        if is_object(a) and is_object(b):
            self.change(a, b)
            theirs = dict(b)
            for name, value in list(a):
                if name in theirs:
                    self.walk(value, theirs[name])
        elif not is_object(a) and not is_object(b):
            for x, y in zip(a, b):
                self.walk(x, y)


class Texts(Rule):
    """A pattern whose matches in both texts are replaced by the same."""

    def __init__(self, name, why, pattern, by, request=""):
        super().__init__(name, why, request)
        self.pattern = re.compile(pattern)
        self.by = by

    def settle(self, request, ours, theirs):
        for one in (ours, theirs):
            if isinstance(one.body, str) and ours.body != theirs.body:
                one.body = self.pattern.sub(self.by, one.body)
        return ours, theirs


class FilterError(Rule):
    """The same text with another status."""

    def settle(self, request, ours, theirs):
        if ours.status == 400 and theirs.status == 500 and \
                isinstance(theirs.body, str) and \
                ours.body == theirs.body.split("\n")[0]:
            return theirs, theirs
        return ours, theirs


def is_object(value):
    return type(value).__name__ == "Object"


def has(obj, *names):
    return {k for k, _ in obj} >= set(names)


def put(obj, name, value):
    """Changes a member that is there."""
    obj[:] = [(k, value if k == name else v) for k, v in obj]


def drop(obj, *names):
    obj[:] = [(k, v) for k, v in obj if k not in names]


def member(name, ours, theirs, *beside):
    """In objects that have the members beside: if ours and theirs are these two
    values (or ANY), they count as equal."""

    def change(a, b):
        if not has(a, name, *beside) or not has(b, name, *beside):
            return
        x, y = dict(a)[name], dict(b)[name]
        if x != y and ours in (ANY, x) and theirs in (ANY, y):
            put(a, name, y)
    return change


def extra(name, *beside):
    """A member that only muster sends, in objects that have those beside."""

    def change(a, b):
        if has(a, name, *beside) and has(b, *beside) and not has(b, name):
            drop(a, name)
    return change


def membership(a, b):
    """What muster tells of an instance beside its checks."""
    if has(a, "Checks") and has(b, "Node", "Service", "Checks"):
        drop(a, "Held", "DampedUntil", "Draining", "ReadySince")


ANY = object()

# --- The rules ---

NODE = ("Node", "Address", "Datacenter")
CHECK = ("CheckID", "Status", "Definition")
ROUTE_READS = r"^GET /v1/(agent|catalog|health|status)/"


def own_node(a, b):
    if has(a, *NODE) and dict(a)["Node"] == dict(b)["Node"] == "node-a":
        member("ModifyIndex", "as created", "later")(a, b)


def common_members(a, b):
    both = {k for k, _ in a} & {k for k, _ in b}
    for obj in (a, b):
        obj[:] = sorted((k, v) for k, v in obj if k in both)


def self_config(a, b):
    if has(a, "NodeName", "Revision", "Server"):
        drop(a, "MusterVersion", "PrimaryDatacenter")


def self_internals(a, b):
    if has(a, "DebugConfig", "Stats") and has(b, "DebugConfig", "Stats"):
        x, y = dict(a), dict(b)
        common_members(x["DebugConfig"], y["DebugConfig"])
        drop(x["DebugConfig"], "NodeMeta")
        drop(y["DebugConfig"], "NodeMeta")
        common_members(x["Stats"], y["Stats"])
        for name, value in x["Stats"]:
            common_members(value, dict(y["Stats"])[name])


def metric_values(a, b):
    if not has(a, "Gauges", "Counters") or not has(b, "Gauges", "Counters"):
        return
    for obj in (a, b):
        gauges = [dict(g) for g in dict(obj)["Gauges"]]
        put(obj, "Gauges", [sorted(gauges[0]),
                            "consul.runtime.alloc_bytes"
                            in [g["Name"] for g in gauges]])
        put(obj, "Timestamp", re.sub(r"\d", "0", dict(obj)["Timestamp"]))
        put(obj, "Counters", {"Name", "Count", "Sum", "Labels"}
            <= {k for k, _ in dict(obj)["Counters"][0]})
        put(obj, "Samples", [])


def agent_check(a, b):
    if not has(a, *CHECK) or not has(b, *CHECK):
        return
    x, y = dict(a), dict(b)
    if y["Type"] == "":
        put(a, "Type", "")
    if x["ServiceTags"] == [] and y["ServiceTags"] is None:
        put(a, "ServiceTags", None)
    if x["Definition"] == [] and has(y["Definition"], "Interval", "Timeout"):
        put(a, "Definition", y["Definition"])


def host(a, b):
    common_members(a, b)
    for name, value in a:
        other = dict(b)[name]
        if name == "Errors":
            continue
        put(a, name, type(value).__name__)
        put(b, name, type(other).__name__)


def event_id(a, b):
    if has(a, "ID", "LTime") and has(b, "ID", "LTime"):
        put(a, "ID", len(dict(a)["ID"]))
        put(b, "ID", len(dict(b)["ID"]))


def own_version(a, b):
    if has(a, "consul-network-segment", "consul-version"):
        drop(a, "consul-version")


def peer_port(a, b):
    drop(a, "muster_peer_port")


def raft_figures(a, b):
    for obj in (a, b):
        for name in ("CreateIndex", "ModifyIndex", "LastIndex", "LastTerm",
                     "StableSince"):
            if has(obj, name):
                put(obj, name, type(dict(obj)[name]).__name__)


def ui_lists(a, b):
    for name in ("Tags", "ServiceTags"):
        member(name, [], None)(a, b)


class Maintenance(Rule):
    """1.8.7 says of a service in maintenance that has a critical check too now
    the one, now the other: the order of a Go map."""

    def settle(self, request, ours, theirs):
        self.entry(ours.body, theirs.body)
        reason = ours.headers.get("x-consul-reason")
        if reason == "maintenance" and \
                theirs.headers.get("x-consul-reason") == "critical":
            theirs.headers["x-consul-reason"] = reason
            if theirs.body == "critical":
                theirs.body = reason
        return ours, theirs

    def entry(self, a, b):
        if is_object(a) and is_object(b) and has(a, "AggregatedStatus"):
            member("AggregatedStatus", "maintenance", "critical")(a, b)
        elif isinstance(a, list) and isinstance(b, list):
            for x, y in zip(a, b):
                self.entry(x, y)


def spelled(a, b):
    for name in ("Node", "ServiceName"):
        if has(a, name) and has(b, name):
            x, y = dict(a)[name], dict(b)[name]
            if isinstance(x, str) and x != y and x.lower() == y.lower():
                put(a, name, y)


def spelled_once(a, b):
    """Consul's map of names has one that ours has in another case."""
    ours = {k.lower() for k, _ in a}
    names = {k for k, _ in a}
    b[:] = [(k, v) for k, v in b if k in names or k.lower() not in ours]


def frozen_service(a, b):
    """Of the check of a service that was renamed."""
    if has(a, *CHECK) and dict(a)["CheckID"] == "fc":
        member("ServiceName", "new", "old")(a, b)
        member("ServiceTags", ["b"], ["a"])(a, b)


def frozen_name(a, b):
    if has(a, *CHECK) and dict(a)["ServiceID"] == dict(b)["ServiceID"] == "" \
            and dict(a)["ServiceName"] == "":
        put(a, "ServiceName", dict(b)["ServiceName"])
        put(a, "ServiceTags", dict(b)["ServiceTags"])


def registered_again(a, b):
    if has(a, *CHECK) and dict(a)["Node"] == "node-a" and \
            re.fullmatch(r"node-check|s\d-own", dict(a)["CheckID"]):
        member("ModifyIndex", "as created", "later")(a, b)


def sometimes(rule):
    rule.always = False
    return rule


def record_of_moved(a, b):
    if has(a, "Service", "Weights"):
        member("ModifyIndex", "later", "as created")(a, b)


RULES = [
    # The way of a request
    Answers("two slashes in an ID",
            "an ID such as http://a/b can be addressed",
            r"%2F%2F", consul="301 ", muster="200 "),
    Answers("text of a bad escape in the path", "says what is wrong",
            r"%zz", consul="400 400 Bad Request$",
            muster="400 400 Bad Request: malformed percent escape in the path$"),
    Answers("bad escape in the query", "the client's fault, and said so",
            r"\?a=%zz", consul="500 $",
            muster="400 Malformed percent escape in the query string$"),
    Answers("invalid UTF-8 in the path", "what is no text is no name",
            r"%C3%28", consul=r"200 \[\]$", muster="400 $"),
    Answers("unprintable beyond ASCII", "Unicode's tables of what prints change "
            "with its releases: only control characters are refused",
            r"%c2%a0", consul="400 $", muster=r"200 \[\]$"),
    Head("gzip of short answers", "below 256 bytes it costs more than it saves",
         "content-encoding", only="consul", request="Accept-Encoding: gzip"),

    Parts("membership of health entries", "a client without ?passing can tell who "
          "is in its answers, and since when", membership),

    # Parameters
    Answers("parameters without use", "a route looks at what it has use for",
            r"^GET /v1/status/leader\?index=x|"
            r"^GET /v1/catalog/datacenters\?stale&consistent",
            consul="400 (Invalid index|Cannot specify)", muster="200 "),
    Answers("Cache-Control of datacenters",
            "1.8.7 refuses and answers all the same",
            r"^GET /v1/catalog/datacenters \[Cache-Control",
            consul=r'400 Invalid Cache-Control header.\["dc1"\]$',
            muster=r'200 \["dc1"\]$'),
    Answers("the default namespace", "newer clients name it; it is the only one",
            r"ns=default|Namespace: default",
            consul=r"400 Bad request: Invalid \S+( parameter)?: .* - Namespaces",
            muster="200 "),
    Answers("another namespace of nodes",
            "who asks for another must not be shown this one",
            r"^GET /v1/catalog/nodes(\?ns=| \[X-Consul-Namespace: )other",
            consul=r"200 \[", muster="400 Bad request: Invalid .* - Namespaces"),
    Answers("partitions", "as for namespaces", r"^GET .*\?partition=other",
            consul=r"200 [\[{]",
            muster="400 Bad request: Invalid query parameter: \"partition\""),
    FilterError("a bad filter", "it is the client's fault, so 400 as in newer "
                "releases, and nothing was read, so no index; of several errors "
                "the first is named", r"^GET .*[?&]filter="),
    Answers("filter of catalog/services", "newer releases have it",
            r"^GET /v1/catalog/services\?filter=", consul=r"200 \{",
            muster=r"(200 \{|400 Failed to create boolean expression)"),
    Answers("datacenter in the query of a write",
            "Consul ignores it: the write lands where it was not meant",
            r"^PUT /v1/catalog/\S+\?dc=nope", consul="200 true$",
            muster="500 No path to datacenter$"),

    # Prepared queries
    Answers("another namespace of a query",
            "who asks for another must not be shown this one",
            r"^GET /v1/query/\S+\?ns=other", consul=r"200 \{",
            muster="400 Bad request: Invalid query parameter: \"ns\""),
    Answers("sessions of queries", "there are none, and it is said how to go on",
            r'^POST /v1/query .*"Session"', consul="500 invalid session",
            muster="500 invalid session \"[^\"]*\": there are no sessions here"),
    Texts("expressions of templates", "what may stand there is named; the text "
          "that is wrong is told alike",
          r"(failed compiling template: Bad )(?:format|evaluation for)( .* in "
          r"Service\.\w+: ).*", r"\1\2", "^POST /v1/query "),
    Answers("null for a query", "Consul drops the connection",
            "^POST /v1/query null", consul="0 $",
            muster="500 Invalid prepared query: Must be bound"),
    Answers("a name that is no UTF-8", "Consul stores U+FFFD instead",
            r"^POST .*ud800", consul="500 Invalid prepared query",
            muster="400 Request decode failed: half a surrogate pair"),
    Answers("nesting in a query", "a body costs no more than a bounded multiple "
            "of its size", r"^POST .*\[{100}",
            consul="400 Request decode failed: unexpected EOF$",
            muster="400 Request decode failed: JSON nested deeper than 64"),

    # Bodies
    Answers("unknown members", "newer clients send members that older servers "
            "never knew", r"^PUT ",
            consul="400 Request decode failed: json: unknown field",
            muster="(200 |400 Invalid check|500 Must provide|400 Request decode "
                   "failed: half a surrogate)"),
    Texts("Go's types in texts", "muster has none of them; the field and what it "
          "holds are named alike",
          r"(Request decode failed: )(?:\w{1,40}: )?"
          r"(json: cannot unmarshal \w+) into Go .*", r"\1\2"),
    Answers("text that is no UTF-8", "Consul stores U+FFFD instead",
            r"^PUT .*ud800", consul="(200 |400 Invalid check)",
            muster="400 Request decode failed: half a surrogate pair"),
    Answers("NUL in a string", "cannot be addressed by any URL",
            r'"a\\u0000b"', consul="200 true$",
            muster=r"400 Request decode failed: NUL \("),
    Answers("large bodies", "a request must not cost gigabytes",
            r'^PUT .*"big"', consul="400 Invalid Service Meta",
            muster="413 "),
    Answers("nesting", "a body costs no more than a bounded multiple of its size",
            r"^PUT .*\[{100}", consul="400 Request decode failed: unexpected EOF$",
            muster="400 Request decode failed: JSON nested deeper than 64"),
    Answers("the same member twice", "two meanings are none",
            r'"Name".*"name"', consul="200 $", muster="400 .* is given twice$"),
    Answers("null among Checks", "Consul panics and drops the connection",
            r"\[null\]", consul="0 $", muster="400 .*cannot unmarshal null"),
    Answers("null as Definition", "Consul panics and drops the connection",
            r'"Definition": null', consul="0 $", muster="200 true$"),
    Answers("a duration that is none", "Consul takes it as left out, and then "
            "there is no check", r'"(TTL|Interval|Timeout)": (true|\[1?\])',
            consul="(200 $|400 Invalid check: TTL must be > 0)",
            muster="400 Request decode failed: json: cannot unmarshal"),
    Answers("checks that could never run", "said at once, not found out later",
            r'"(Method": "a b|HTTP": "no url|TCP": "no port|HTTP": .* "TCP|'
            r'Timeout": "(-1s|2h)|\w+After": "-1s|SuccessBeforePassing": -1)',
            consul="200 $", muster="400 Invalid check: "),
    Answers("what a check lacks", "named; Consul says TTL of all it cannot tell",
            r'(DockerContainerID": "x", "Interval|Check": {"Status": "bogus"})',
            consul="400 Invalid check: TTL must be > 0",
            muster="400 (Invalid check: DockerContainerID needs|Status for checks)"),
    Texts("long values in texts", "the value is told by its front",
          r"(Couldn't load metadata pair \()'.*'(\): )", r"\1...\2",
          request="(k{100}|v{100})"),
    Answers("connect proxies", "kept as given: there is no mesh to check them "
            "for", r'"Kind": "connect-proxy"',
            consul=r"(400|500) 2 errors occurred", muster="200 "),
    Answers("a record without a name", "says what is missing",
            r'"(Service|Check)": {}|"Checks": \[{}\]',
            consul="500 .*: object missing primary index",
            muster="500 failed inserting (service|check): Must provide"),

    # Agent
    Answers("unknown IDs", "404 as in releases since 1.11",
            r"^PUT /v1/agent/(service|check)/deregister/", consul="200 $",
            muster="404 Unknown (service|check) ID"),
    Answers("beats of unknown checks", "404 as in releases since 1.11",
            r"^PUT /v1/agent/check/(pass|warn|fail|update)/",
            consul="500 CheckID .* does not have associated TTL$",
            muster="404 Unknown check ID"),
    Answers("maintenance and replaced checks", "who put a service into "
            "maintenance did not mean until its next registration",
            r"^GET /v1/(agent/checks|health/service/kept|agent/health/\S*/kept)$",
            consul="200 (?!.*_service_maintenance:kept)",
            muster="(200|503) .*_service_maintenance:kept"),
    Parts("Datacenter of agent services", "newer releases send it",
          extra("Datacenter", "ID", "Service", "Weights"),
          r"^GET /v1/agent/(services?|health)"),
    Answers("case of IDs on agent routes", "the same everywhere: two IDs that "
            "differ in case never settle in Consul",
            r"^GET /v1/agent/\S*/(WEB|WEB-1)$",
            consul=r"404 ", muster=r'200 .*"(ID|AggregatedStatus)"'),
    Parts("checks in agent health", "as /v1/agent/checks has them: Consul leaves "
          "Type and tags out and prints an old form of Definition",
          agent_check, r"^GET /v1/agent/health/service/"),
    sometimes(Maintenance(
        "maintenance and critical", "maintenance tells more, and always",
        r"^GET /v1/agent/health/service/")),
    Parts("agent/self: versions", "both are told", self_config,
          "^GET /v1/agent/self"),
    Parts("agent/self: internals", "those of another program; what both have is "
          "the same", self_internals, "^GET /v1/agent/self"),
    Parts("metrics", "those of another program, counted since the start",
          metric_values, r"^GET /v1/agent/metrics"),
    Answers("metrics for Prometheus", "always available",
            r"^GET /v1/agent/metrics\?format=prometheus",
            consul="415 Prometheus is not enabled", muster="200 # HELP"),

    Answers("agent/version", "newer clients ask for it",
            "^GET /v1/agent/version", consul="404 $", muster=r'200 {"SHA"'),
    Parts("agent/host", "the machine, as much of it as is of use", host,
          "^GET /v1/agent/host"),
    Answers("refused sidecars", "a client's fault is no 500",
            "SidecarService", consul="500 Bad request: Invalid",
            muster="400 Bad request: Invalid"),
    Texts("where in a sidecar", "the field is named",
          "SidecarService: time: ", "time: ", "SidecarService"),
    Parts("IDs of events", "random", event_id, "^PUT /v1/event/fire"),
    Texts("large events", "Consul counts twice, before and after encoding",
          r"(encoded )?(user event exceeds configured limit of 512 bytes) .* "
          r"encoding", r"\2", "^PUT /v1/event/fire"),
    Parts("consul-version of the own node", "newer releases tell it, and their "
          "clients look for it", own_version),
    Texts("consul-version, indented", "the same",
          r',\s+"consul-version": "[^"]*"', "", r"^GET /v1/catalog/nodes\?pretty"),
    Parts("muster_peer_port of the service consul", "servers and agents find "
          "each other by it", peer_port),
    Parts("internals of the consensus", "there is none: one server leads itself",
          raft_figures, "^GET /v1/operator/"),
    Head("index of what there is nothing of", "no table, no index of its own",
         "x-consul-index", "x-consul-knownleader", "x-consul-lastcontact",
         request="^GET /v1/(connect/(ca/roots|intentions)|config/|"
         "catalog/gateway|health/ingress|internal/ui/gateway)"),

    # Catalog
    Parts("lists of the web page", "a list is a list", ui_lists,
          "^GET /v1/internal/ui/"),
    Parts("the own node's record", "Consul writes it in two steps at start",
          own_node),
    Parts("node without services", "a list is a list; clients with static types "
          "stumble over null",
          member("Services", [], None, "Node"), r"^GET /v1/catalog/node-services/"),
    Parts("spelling of names", "as the node or service has it now, not as it was "
          "when the record was written", spelled,
          r"^GET /v1/(catalog/service|health/(service|checks))/(api|ord)"),
    Parts("names that differ in case", "lookups do not tell them apart, so they "
          "are one service", spelled_once, r"^GET /v1/catalog/services"),
    Parts("the name of a check's service", "as it is, not as it was when the "
          "check was registered", frozen_service, r"^GET /v1/health/"),
    Answers("checks of a renamed service", "the same",
            "^GET /v1/health/checks/new$",
            consul=r"200 \[\]$", muster=r'200 \[{.*"CheckID": "fc"'),
    Answers("checks of the old name", "the same",
            "^GET /v1/health/checks/old$",
            consul=r'200 \[{.*"CheckID": "fc"', muster=r"200 \[\]$"),
    Parts("service names of node checks", "a check of no service has none",
          frozen_name, r"^GET /v1/health/"),
    Parts("a check that moves", "the records of both services are written again, "
          "so that a deregistration under way sees it", record_of_moved,
          r"^GET /v1/(health|catalog)/\S+/(s1|s2|cs|node-a)"),
    sometimes(Parts(
        "a check registered again", "Consul writes it with the new definition's "
        "status, then back, if its syncer comes between: nothing has changed",
        registered_again, r"^GET /v1/health/")),
    Parts("a node that is renamed", "is a new record: its CreateIndex too",
          member("ModifyIndex", "as created", "later", *NODE),
          r"^GET /v1/catalog/(nodes|node/(i1|i2|bbbb\S*))$"),
    Parts("newer names in Definition", "newer clients send IntervalDuration",
          lambda a, b: has(a, "Interval") and b == [] and drop(a, "Interval"),
          r"^GET /v1/health/node/b$"),
]

# --- Long polls ---

NO_NEWS = "its answer is what it was: equal bytes wake nobody"
OUTPUT = "output texts wake no health query"
EXTINCTION = "another service's end is no news of one that is not there"
RENAMED = "the old name has lost an instance (a fault of 1.8.7)"
GONE = "null is an answer too, and another than before (a fault of 1.8.7)"

HEALTH, CATALOG = "/v1/health/", "/v1/catalog/"
CHECK_LISTS = {HEALTH + "checks/web", HEALTH + "node/w1", HEALTH + "state/any"}
WEB = {HEALTH + "service/web", HEALTH + "service/web?passing",
       HEALTH + "service/web?tag=blue"}

# What a change wakes on one side alone: (change, side) -> (paths, why).
WAKES = {
    ("the same again", "consul"): (CHECK_LISTS, NO_NEWS),
    ("one more instance", "consul"): (
        {CATALOG + "services", HEALTH + "service/web?tag=blue"}, NO_NEWS),
    ("another port", "consul"): (
        {CATALOG + "services"} | CHECK_LISTS, NO_NEWS),
    ("a check's output", "consul"): (WEB, OUTPUT),
    ("a warning turns critical", "consul"): (
        {HEALTH + "service/web?passing"}, NO_NEWS),
    ("one instance less", "consul"): (
        {CATALOG + "services", HEALTH + "node/w1",
         HEALTH + "service/web?passing", HEALTH + "service/web?tag=blue"},
        NO_NEWS),
    ("the last instances go", "consul"): (
        {CATALOG + "service/absent", HEALTH + "service/absent"}, EXTINCTION),
    ("a node less", "muster"): (
        {CATALOG + "node/w1", CATALOG + "node-services/w1"}, GONE),
    ("the same ID under another name", "muster"): (
        WEB | {CATALOG + "service/web"}, RENAMED),
}
