# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Expressions of ?filter, good and bad, over the routes that take one."""

import muster
from ask import get, put

LANGUAGE = r'''
Node == n1
Node==n1
 Node  ==  n1
Node != n1
Node == "n1"
Node == `n1`
Node == "n\u0031"
Node == "n\x31"
Node == n2.x
Node == a["b c"].d
Node == and
Node == not
Node == 1.1
Node == -0
Node == ""
n in Node
"2" in Node
Node contains n
Node contains ""
Node not contains 1
1 not in Node
v1 in ServiceTags
v1 not in ServiceTags
"v1" in ServiceTags
`v1` in ServiceTags
5 in ServiceTags
-5.5 in ServiceTags
not in NodeMeta
not not in NodeMeta
in in ServiceTags
ServiceTags contains and
ServiceTags not contains and
ServiceTags is empty
ServiceTags is  not   empty
Node matches "^n[12]$"
Node not matches "^n[12]$"
Node matches n
Node matches ""
Node matches `\An\d\z`
Node matches "n\\d"
Node matches "(?i)N1"
Node matches "(?P<x>n)(?:1|2)"
Node matches "[[:alpha:]]\\d{1}"
Node matches `^n{1,2}\pN+?$`
NodeMeta.rack == r1
NodeMeta["rack"] == r1
NodeMeta[ `rack` ] != r1
NodeMeta["dotted.key"] == d
NodeMeta[""] == 1
NodeMeta is empty
NodeMeta is not empty
rack in NodeMeta
NodeMeta not contains rack
NodeMeta.nope == 1
NodeMeta.nope != 1
1 in NodeMeta.nope
1 not in NodeMeta.nope
NodeMeta.nope matches 1
NodeMeta.nope not matches 1
TaggedAddresses.lan == "10.0.0.1"
ServiceTaggedAddresses.lan.Address == "10.0.0.9"
ServiceTaggedAddresses.lan.Port != 80
ServiceTaggedAddresses.nope.Port != 80
ServiceTaggedAddresses.nope.Address matches x
lan in ServiceTaggedAddresses
ServiceTaggedAddresses is empty
ServiceMeta.version == 1
ServiceMeta.empty == ""
ServicePort == 80
ServicePort != "0x50"
ServicePort == "0b1010000"
ServicePort == "8_0"
ServicePort == "0120"
ServicePort == -1
ServicePort == 9223372036854775807
ServiceEnableTagOverride == true
ServiceEnableTagOverride != T
ServiceWeights.Passing == 3
ServiceConnect.Native == false
ServiceKind == ""
ServiceProxy.Upstreams is empty
ServiceProxy.DestinationServiceName == ""
Datacenter == dc1
ID == "11111111-2222-3333-4444-555555555555"
Address == "10.0.0.1" or ServiceAddress == "10.0.0.9"
Node == n1 or Node == n2 and Node == n3
(Node == n1 or Node == n2) and ServicePort == 8080
not Node == n1 and Node == n2
not (Node == n1 and Node == n2)
not not Node == n1
((((Node == n1))))
(Node == n1) or ( not ( Node == n2 ) )
Node
Node ==
Node == n1.
Node = n1
Node === n1
Node ! = n1
Node == n-1
Node == _n
Node == n1 n1
Node == n1)
(Node == n1
(Node == n1 x
()
Node == n1 and
Node == n1 or
Node == n1 and or
Node == n1 AND Node == n2
Node == n1 and(Node == n2)
(Node == n1)or(Node == n2)
not(Node == n1)
not Node
NOT Node == n1
Node.x == n1
node == n1
Nope == 1
Nope["a b"].c == 1
NodeMeta == 1
NodeMeta matches 1
NodeMeta.a.b == 1
NodeMeta["a\tb"].c == 1
NodeMeta .rack == 1
NodeMeta. rack == 1
NodeMeta[rack] == 1
NodeMeta[5] == 1
NodeMeta["rack" == 1
NodeMeta["rack"]x == 1
NodeMeta["a\q"] == 1
NodeMeta["a] == 1
NodeMeta.rack is empty
Node is empty
Node is
Node is not
Node is not emptyx
ServiceTags isnot empty
ServiceTags == v1
ServiceTags matches v1
ServiceTags.x == 1
"v1"in ServiceTags
v1 inServiceTags
v1 in ServiceTags[0]
v1 in "ServiceTags"
v1 in 5
"v1" == ServiceTags
ServicePort == abc
ServicePort == 80.0
ServicePort == ""
ServicePort == "_80"
ServicePort == "09"
ServicePort == " 80"
ServicePort == 080
ServicePort == 80.
ServicePort == - 1
ServicePort == 9223372036854775808
ServicePort == "-9223372036854775809"
ServicePort < 80
80 in ServicePort
ServicePort is empty
ServiceEnableTagOverride
ServiceEnableTagOverride == yes
ServiceWeights == 1
ServiceTaggedAddresses.lan == x
ServiceTaggedAddresses.lan.Nope == x
ServiceProxy.Upstreams == x
ServiceProxy is empty
CreateIndex == 1
RaftIndex.CreateIndex == 1
Node == 1.1.1.1
Node == 01
Node == 1and
Node == "n1
Node == `n1
Node == "n\q1"
Node == "n\"1"
Node == "a"and Node == b
Node == "a" "b"
Node == 'n1'
Node == é
Node matches "["
Node matches "a(?=b)"
Node matches "(a"
Node matches "a)"
Node matches "*a"
Node matches "a**"
Node matches `\1`
Node matches `\h`
Node matches "[z-a]"
Node matches "a{1001}"
Node matches "a{2,1}"
Node matches "[[:nope:]]"
Node matches `a\`
Node not matches "(?<n>a)"
'''.strip("\n").splitlines()

OTHERS = {
    "/v1/catalog/nodes": [
        "Node == n1", "Meta.rack == r1", "TaggedAddresses.lan != x",
        "ID is empty", "NodeMeta.rack == r1", "lan in TaggedAddresses"],
    "/v1/catalog/node/n1": [
        "Service == web", "Port == 81", "Tags contains v1", "Node == n1",
        "Meta.version == 1", "TaggedAddresses.lan.Port == 80"],
    "/v1/catalog/node-services/n1": ["Service == web", "ID != a1", "Nope == 1"],
    "/v1/catalog/node/nope": ["Service == web", "Nope == 1"],
    "/v1/catalog/service/nope": ["Node == n1", "Nope == 1"],
    "/v1/catalog/service/web-proxy": [
        "ServiceProxy.DestinationServiceName == web",
        "ServiceProxy.LocalServicePort == 80",
        "ServiceProxy.Upstreams.LocalBindPort == 9192",
        "ServiceProxy.Upstreams.LocalBindPort != 9192",
        "not ServiceProxy.Upstreams.LocalBindPort == 9192",
        "ServiceProxy.Upstreams.DestinationName contains d",
        "ServiceProxy.Upstreams.Nope == 1",
        "ServiceProxy.MeshGateway.Mode == local",
        "ServiceProxy.Expose.Checks == true",
        "ServiceProxy.Expose.Paths.Path == \"/x\"",
        "ServiceProxy.Expose.Paths is not empty"],
    "/v1/catalog/services": ["ServiceName == web", "Nope == 1"],
    "/v1/health/service/web": [
        "Checks.Status == critical", "Checks.Status != critical",
        "not Checks.Status == critical", "Checks is empty",
        "Checks is not empty", "v1 in Checks.ServiceTags",
        "Checks.ServiceTags is empty", "Checks.Output matches \"^line2$\"",
        "Checks.Output matches \"(?m)^line2$\"", "Checks.Name contains one",
        "Checks.Node == n1", "Checks.ServiceName == web", "Checks.Type == \"\"",
        "Node.Node == n1 and Service.Port == 80", "Node.Meta.rack != r1",
        "Service.Meta is empty", "Service.Weights.Passing == 3",
        "Node == n1", "Service is empty", "Checks == 1", "Checks.Nope == 1",
        "Checks.Status.x == 1", "Checks.Definition is empty"],
    "/v1/health/service/web?passing": ["Node.Node != n3", "Nope == 1"],
    "/v1/health/node/n1": ["Status == warning", "ServiceTags contains v1",
                           "ServiceID == \"\"", "Nope == 1"],
    "/v1/health/checks/web": ["Status == critical", "Node == n1",
                              "Output matches good", "Type == \"\""],
    "/v1/health/state/any": ["Node == n1 and Status == warning",
                             "Notes == nn", "Name contains check", "ID == 1"],
    "/v1/health/state/nope": ["Node == n1", "Nope == 1"],
    "/v1/agent/services": ["Service == local", "t1 in Tags", "Port != 0",
                           "Meta is empty", "Nope == 1", "Tags is empty"],
    "/v1/agent/checks": ["Status == critical", "ServiceTags contains t1",
                         "ServiceName == local", "Type == ttl",
                         "Node == \"node-a\"", "Node =="],
    "/v1/catalog/connect/web": ["ServiceKind == \"connect-proxy\"",
                                "ServicePort != 1", "Nope == 1"],
    "/v1/health/connect/web": ["Service.Kind matches `-proxy$`",
                               "Service.Port != 1", "Nope == 1"],
    "/v1/internal/ui/nodes": ["Meta.rack == r2", "Nope == 1"],
    "/v1/internal/ui/services": ["Service.Service == web", "Node == 1"],
    # Ignored where a route has no rows to choose among.
    "/v1/catalog/datacenters": ["Nope == 1"],
    "/v1/status/leader": ["Nope == 1"],
}


def register(**body):
    return put("/v1/catalog/register", body)


def filters():
    n1 = {"Node": "n1", "Address": "10.0.0.1",
          "ID": "11111111-2222-3333-4444-555555555555",
          "TaggedAddresses": {"lan": "10.0.0.1", "wan": "1.2.3.4"},
          "NodeMeta": {"rack": "r1", "dotted.key": "d"}}
    n3 = {"Node": "n3", "Address": "10.0.0.3", "NodeMeta": {"rack": "r2"}}
    yield register(**n1, Service={
        "ID": "a1", "Service": "web", "Port": 80, "Tags": ["v1", "primary"],
        "Address": "10.0.0.9", "Meta": {"version": "1", "empty": ""},
        "TaggedAddresses": {"lan": {"Address": "10.0.0.9", "Port": 80}},
        "Weights": {"Passing": 3, "Warning": 1}, "EnableTagOverride": True},
        Checks=[{"CheckID": "c1", "Name": "check one", "ServiceID": "a1",
                 "Status": "passing", "Output": "all good\nline2",
                 "Notes": "nn"}])
    yield register(**n1, Check={"CheckID": "nc", "Name": "node check",
                                "Status": "warning"})
    yield register(Node="n2", Address="10.0.0.2", Service={
        "ID": "a2", "Service": "web", "Port": 8080, "Tags": []})
    yield register(**n3, Service={
        "ID": "a3", "Service": "web", "Port": -1, "Tags": ["v2", "and"],
        "Meta": {"version": "2"}},
        Checks=[{"CheckID": "c3", "Name": "c3", "ServiceID": "a3",
                 "Status": "critical"}])
    yield register(**n3, Service={
        "ID": "p3", "Service": "web-proxy", "Kind": "connect-proxy", "Port": 1,
        "Proxy": {"DestinationServiceName": "web", "LocalServicePort": 80,
                  "LocalServiceAddress": "127.0.0.1",
                  "MeshGateway": {"Mode": "local"},
                  "Expose": {"Checks": True, "Paths": [
                      {"ListenerPort": 1, "Path": "/x", "LocalPathPort": 2,
                       "Protocol": "http", "ParsedFromCheck": True}]},
                  "Upstreams": [
                      {"DestinationType": kind, "DestinationName": name,
                       "Datacenter": "dc2", "LocalBindPort": port,
                       "Config": {"a": 1}, "MeshGateway": {}}
                      for kind, name, port in (("service", "db", 9191),
                                               ("prepared_query", "x", 9192))]}})
    yield put("/v1/agent/service/register", {
        "Name": "local", "Tags": ["t1"], "Check": {"CheckID": "lc",
                                                   "TTL": "1h"}})
    for expression in LANGUAGE:
        yield asked("/v1/catalog/service/web", expression)
    for path, expressions in OTHERS.items():
        for expression in expressions:
            yield asked(path, expression)
    for node in ("n1", "n2", "n3"):
        yield put("/v1/catalog/deregister", {"Node": node})
    yield put("/v1/agent/service/deregister/local")


def asked(path, expression):
    mark = "&" if "?" in path else "?"
    return get(f"{path}{mark}filter={muster.quote(expression)}")
