# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""A short torture of three servers on three members of etcd, and of three servers with
stores of their own and four agents: one round of each of these faults, always the
same. `make torture` goes on for as long as one likes."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import netlab  # noqa: E402
BINARY = os.environ.get("MUSTER", str(ROOT / "build" / "muster"))
FAULTS = ("kill-leader,stop-member,kill-server,stop-server,partition-member,"
          "partition-server,compact,reset")
MANAGED = "kill-store,stop-agent,partition-agent,partition-minority,kill-agent"
SEED = 8


def driver():
    for name, package in (("go", "golang-go"), ("etcd", "etcd-server")):
        if not shutil.which(name):
            pytest.skip(f"no {name} on this machine (Debian: {package})")
    env = dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="-buildvcs=false")
    version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True,
                             text=True, env=env).stdout
    have = [int(n) for n in re.findall(r"\d+", version)[:2]]
    want = re.search(r"^go (\d+)\.(\d+)", (HERE / "go.mod").read_text(), re.M)
    if have < [int(n) for n in want.groups()]:
        pytest.skip(f"{version.strip()} is older than {want.group(0)}")
    got = subprocess.run(["go", "mod", "download"], capture_output=True,
                         text=True, cwd=HERE, env=env)
    if got.returncode:
        pytest.skip("the Go modules cannot be fetched: " + got.stderr[-300:])
    target = ROOT / "build" / "torture"
    subprocess.run(["go", "build", "-mod=readonly", "-o", str(target), "."],
                   cwd=HERE, env=env, check=True)
    return target


def test_the_judge_knows_right_from_wrong():
    driver()
    out = subprocess.run(["go", "test", "-count=1", "."], cwd=HERE,
                         capture_output=True, text=True,
                         env=dict(os.environ, GOTOOLCHAIN="local",
                                  GOFLAGS="-buildvcs=false"))
    assert out.returncode == 0, out.stdout + out.stderr


def torture(faults, *more):
    words = [str(driver()), "-muster", BINARY, "-seed", str(SEED), "-faults",
             faults, "-rounds", str(faults.count(",") + 1), "-lasting", "1s",
             "-disks=false", "-bound", "60s", "-failing", "120s", *more]
    out = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, timeout=600)
    sys.stdout.write(out.stdout)
    assert out.returncode == 0, out.stdout
    counted = dict(re.findall(r"^  (\w[\w ]*\w) +(\d+)$", out.stdout, re.M))
    for what in ("reads", "writes", "operations checked", "events",
                 "histories linearizable", "indexes compared",
                 "acknowledged for ever", "looks at healthy instances"):
        assert int(counted[what]) > 0, f"nothing was tried of: {what}"
    return counted


def test_nothing_promised_is_broken_by_one_fault_of_each_kind():
    torture(FAULTS)


@pytest.mark.skipif(netlab.why_not() is not None, reason=str(netlab.why_not()))
def test_nothing_promised_is_broken_where_there_are_agents():
    counted = torture(MANAGED, "-layout", "managed", "-wire", str(netlab.WIRE))
    assert int(counted["dead agents noticed"]) > 0
    assert int(counted["chances of a false removal"]) > 0
