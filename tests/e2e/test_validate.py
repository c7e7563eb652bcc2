# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""`muster validate`: Consul's texts, streams and exit codes."""

import json
import subprocess

import pytest

import muster

GOOD = {"data_dir": "/nowhere"}


def validate(*words):
    return subprocess.run([muster.BINARY, "validate", *map(str, words)],
                          capture_output=True, text=True, timeout=60)


def a_file(folder, name, content):
    path = folder / name
    path.write_text(content if isinstance(content, str)
                    else json.dumps(content))
    return path


def test_what_is_good_is_said_to_be(tmp_path):
    out = validate(a_file(tmp_path, "a.json", GOOD))
    assert (out.returncode, out.stdout, out.stderr) == (
        0, "Configuration is valid!\n", "")
    out = validate(tmp_path)
    assert (out.returncode, out.stdout) == (0, "Configuration is valid!\n")
    out = validate("-quiet", tmp_path)
    assert (out.returncode, out.stdout, out.stderr) == (0, "", "")


def test_files_are_read_together_and_in_order(tmp_path):
    a = a_file(tmp_path, "a.json", {"server": True})
    b = a_file(tmp_path, "b.hcl", 'data_dir = "/nowhere"')
    empty = a_file(tmp_path, "c.json", "")
    assert validate(a).stderr == (
        "Config validation failed: data_dir cannot be empty\n")
    assert validate(a, b, empty).returncode == 0
    text = a_file(tmp_path, "d.conf", 'data_dir = "/nowhere"')
    assert validate(text).returncode == 1
    assert validate("-config-format=hcl", text).returncode == 0


@pytest.mark.parametrize("content, words", [
    ('{"data_dir": "/d",\n "foo": 1}', [":2:2:", "foo"]),
    ('{"data_dir": "/d",', ["bad.json:1:"]),
    ({**GOOD, "service": {"name": "a", "check": {"interval": "10s"}}},
     ["bad.json:1:"]),
    ({**GOOD, "services": [{"name": "a", "prot": 1, "port": "x"}]},
     ["bad.json:1:"]),
    ({**GOOD, "ports": {"http": 70000}}, ["ports.http", "70000"]),
    ({**GOOD, "http_config": {"allow_write_http_from": ["10.0.0.0"]}},
     ["allow_write_http_from", "10.0.0.0"]),
    ({**GOOD, "http_config": {"response_headers": {"a b": "c"}}},
     ["response_headers", "a b"]),
])
def test_what_is_bad_is_named_with_its_place(tmp_path, content, words):
    out = validate(a_file(tmp_path, "bad.json", content))
    assert out.returncode == 1 and out.stdout == ""
    assert out.stderr.startswith("Config validation failed: ")
    for word in words:
        assert word in out.stderr, out.stderr


def test_wrong_use():
    out = validate()
    assert (out.returncode, out.stderr) == (
        1, "Must specify at least one config file or directory\n")
    assert validate("-nonsense", "x").returncode == 1
    out = validate("/nowhere/at-all.json")
    assert out.returncode == 1 and "/nowhere/at-all.json" in out.stderr


def test_scripts_are_for_the_agent_to_allow(tmp_path):
    """As in Consul: the files are good, an agent without scripts refuses."""
    path = a_file(tmp_path, "a.json", {**GOOD, "check": {
        "name": "s", "args": ["true"], "interval": "10s"}})
    assert validate(path).returncode == 0
    out = subprocess.run([muster.BINARY, "agent", "-dev", "-config-file", path],
                         capture_output=True, text=True, timeout=60)
    assert out.returncode == 1
    assert "enable_local_script_checks" in out.stderr
