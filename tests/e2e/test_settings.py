# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Settings that show on the outside."""

import grp
import os
import socket
import stat

import muster


def over_unix(path, target):
    with socket.socket(socket.AF_UNIX) as c:
        c.settimeout(muster.LIMIT)
        c.connect(str(path))
        c.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while piece := c.recv(65536):
            answer += piece
    return answer.decode()


def test_a_unix_socket_has_its_mode_and_group_and_goes_with_the_server(
        make_server, tmp_path):
    path = tmp_path / "http.sock"
    group = grp.getgrgid(os.getgid()).gr_name
    s = make_server(config={
        "addresses": {"http": f"unix://{path} 127.0.0.1"},
        "unix_sockets": {"mode": "0620", "user": str(os.getuid()),
                         "group": group},
        "http_config": {"allow_write_http_from": ["10.0.0.0/8"]}}).start()
    assert "200 OK" in over_unix(path, "/v1/status/leader")
    seen = path.stat()
    assert stat.S_ISSOCK(seen.st_mode) and stat.S_IMODE(seen.st_mode) == 0o620
    assert (seen.st_uid, seen.st_gid) == (os.getuid(), os.getgid())
    s.stop()
    assert not path.exists()


def test_a_user_that_is_not_there_stops_the_start(make_server, tmp_path):
    path = tmp_path / "http.sock"
    s = make_server(config={"addresses": {"http": f"unix://{path}"},
                            "unix_sockets": {"user": "no-such-user"}}).spawn()
    assert s.process.wait(muster.LIMIT) == 1
    assert "unix_sockets.user: there is no user no-such-user" in s.log()
    assert not path.exists()


def test_addresses_that_others_are_told(make_server):
    s = make_server(config={
        "advertise_addr": "127.0.0.2", "advertise_addr_wan": "198.51.100.7",
        "tagged_addresses": {"vpn": "10.9.9.9", "lan_ipv4": "127.0.0.3"},
        "translate_wan_addrs": True, "disable_update_check": True}).start()
    node = s.get("/v1/catalog/nodes").json[0]
    assert node["Address"] == "127.0.0.2"
    assert node["TaggedAddresses"] == {
        "lan": "127.0.0.2", "lan_ipv4": "127.0.0.3", "vpn": "10.9.9.9",
        "wan": "198.51.100.7", "wan_ipv4": "198.51.100.7"}
