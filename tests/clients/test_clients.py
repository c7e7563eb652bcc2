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
JAVA_OLDEST = 17  # what consul-client is compiled for
MAVEN_DEPENDENCY = "org.apache.maven.plugins:maven-dependency-plugin:2.8"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = muster.Server(tmp_path_factory.mktemp("clients")).start()
    yield s
    s.stop()


def fetched(argv, what, **more):
    """Runs a package manager; skips where it cannot get what it is to fetch."""
    got = subprocess.run(argv, capture_output=True, text=True, **more)
    if got.returncode:
        pytest.skip(f"{what} cannot be fetched: "
                    + (got.stdout + got.stderr).strip()[-300:])
    return got.stdout


def tool(*names):
    """Paths of programs; skipped where one of them is missing."""
    for name in names:
        if not shutil.which(name):
            pytest.skip(f"no {name} on this machine")
    return [shutil.which(name) for name in names]


def passes_all_steps(argv, server, **env):
    out = subprocess.run([str(a) for a in argv], capture_output=True, text=True,
                         timeout=180, env=dict(
                             os.environ, **env,
                             CONSUL_HTTP_ADDR=f"127.0.0.1:{server.port}"))
    print(out.stdout)
    assert out.returncode == 0, out.stdout + out.stderr
    assert "all steps passed" in out.stdout


def go_program(folder, package, name):
    """A Go program, built; skipped where Go or its modules cannot be had."""
    go, = tool("go")
    source = HERE / folder
    env = dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="-buildvcs=false")
    have = subprocess.run([go, "env", "GOVERSION"], capture_output=True,
                          text=True, env=env).stdout.strip()
    want = re.search(r"^go ([\d.]+)", (source / "go.mod").read_text(), re.M)

    def number(text):
        return [int(n) for n in re.findall(r"\d+", text)[:3]]
    if number(have) < number(want.group(1)):
        pytest.skip(f"{have} is older than go {want.group(1)}")
    fetched([go, "mod", "download"], "the Go modules", cwd=source, env=env)
    target = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run([go, "build", "-mod=readonly", "-o", str(target), package],
                   cwd=source, check=True, env=env)
    return target


def test_go_consul_api_registers_finds_watches_and_leaves(server):
    passes_all_steps([go_program("go", ".", "seed")], server)


def test_go_package_watch_is_told_of_its_own_changes(server):
    passes_all_steps([go_program("go", "./watch", "watch")], server)


def test_prometheus_finds_targets_and_loses_them(server):
    passes_all_steps([go_program("prometheus", ".", "prometheus")], server)


def test_node_consul_without_keep_alive(server, provider):
    node, npm = tool("node", "npm")
    folder = CACHE / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "client.js"):
        shutil.copy(HERE / "node" / name, folder)
    fetched([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            "the Node packages", cwd=folder)
    passes_all_steps([node, folder / "client.js", server.port, provider.url],
                     server)


@pytest.fixture(scope="module")
def java():
    """Runs one of the programs in java/, with what its pom.xml names."""
    java, javac, mvn = tool("java", "javac", "mvn")
    version = subprocess.run([javac, "-version"], capture_output=True,
                             text=True).stdout.strip()
    if int(re.search(r"\d+", version)[0]) < JAVA_OLDEST:
        pytest.skip(f"{version} is older than {JAVA_OLDEST}")
    folder = CACHE / "java"
    folder.mkdir(parents=True, exist_ok=True)
    fetched([mvn, "-q", "-B", "-f", HERE / "java" / "pom.xml",
             f"{MAVEN_DEPENDENCY}:build-classpath",
             f"-Dmdep.outputFile={folder / 'classpath'}"], "the Java packages")
    path = f"{folder}:{(folder / 'classpath').read_text().strip()}"
    subprocess.run([javac, "-cp", path, "-d", folder,
                    *(HERE / "java").glob("*.java")], check=True)
    return [java, "-cp", path]


@pytest.mark.parametrize("program", ["Ecwid", "Kiwi"])
def test_java(server, provider, java, program):
    passes_all_steps([*java, program, server.port, provider.url], server)


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
        fetched([python, "-m", "pip", "install", "-q", package], package)
    return python


def test_py_consul_registers_checks_finds_and_blocks(server, provider):
    python = python_with("py-consul==1.8.0", "consul")
    passes_all_steps([python, HERE / "py_consul.py", server.port, provider.url],
                     server)


@pytest.fixture
def provider():
    p = muster.Provider()
    yield p
    p.close()
