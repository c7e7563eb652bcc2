# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Unmodified clients of other languages as judges.

A client that cannot be had on this machine is skipped with the reason; one that
can be had and fails is a failure.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import muster
import pytest

HERE = pathlib.Path(__file__).resolve().parent
CACHE = muster.ROOT / "build" / "clients"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = muster.Server(tmp_path_factory.mktemp("clients")).start()
    yield s
    s.stop()


def go_seed():
    """The Go program, built; skipped where Go or its modules cannot be had."""
    go = shutil.which("go")
    if not go:
        pytest.skip("no go on this machine")
    env = dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="-mod=mod")
    have = subprocess.run([go, "env", "GOVERSION"], capture_output=True,
                          text=True, env=env).stdout.strip()
    want = re.search(r"^go ([\d.]+)", (HERE / "go" / "go.mod").read_text(), re.M)

    def number(text):
        return [int(n) for n in re.findall(r"\d+", text)[:3]]
    if number(have) < number(want.group(1)):
        pytest.skip(f"{have} is older than go {want.group(1)}")
    target = CACHE / "seed"
    CACHE.mkdir(parents=True, exist_ok=True)
    modules = subprocess.run([go, "mod", "download"], cwd=HERE / "go", env=env,
                             capture_output=True, text=True)
    if modules.returncode:
        pytest.skip("the Go modules cannot be fetched: "
                    + modules.stderr.strip()[-200:])
    subprocess.run([go, "build", "-mod=readonly", "-o", str(target), "."],
                   cwd=HERE / "go", check=True,
                   env=dict(env, GOFLAGS="-buildvcs=false"))
    return target


def test_go_consul_api_registers_finds_watches_and_leaves(server):
    program = go_seed()
    out = subprocess.run([str(program)], capture_output=True, text=True,
                         timeout=180, env=dict(
                             os.environ,
                             CONSUL_HTTP_ADDR=f"127.0.0.1:{server.port}"))
    print(out.stdout)
    assert out.returncode == 0, out.stdout + out.stderr
    assert "all steps passed" in out.stdout


def python_with(package, module):
    """A Python that can import the module, from a virtual environment of ours."""
    venv = CACHE / "venv"
    python = venv / "bin" / "python"
    if not python.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(venv)],
                              capture_output=True, text=True)
        if made.returncode:
            pytest.skip("no virtual environment: " + made.stderr.strip()[-200:])
    if subprocess.run([str(python), "-c", f"import {module}"],
                      capture_output=True).returncode:
        got = subprocess.run([str(python), "-m", "pip", "install", "-q", package],
                             capture_output=True, text=True)
        if got.returncode:
            pytest.skip(f"{package} cannot be fetched: "
                        + got.stderr.strip()[-200:])
    return python


def test_py_consul_registers_checks_finds_and_blocks(server, provider):
    python = python_with("py-consul==1.8.0", "consul")
    out = subprocess.run(
        [str(python), str(HERE / "py_consul.py"), str(server.port), provider.url],
        capture_output=True, text=True, timeout=180)
    print(out.stdout)
    assert out.returncode == 0, out.stdout + out.stderr
    assert "all steps passed" in out.stdout


@pytest.fixture
def provider():
    p = muster.Provider()
    yield p
    p.close()
