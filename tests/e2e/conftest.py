# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
import pytest

import libmuster
import muster


@pytest.fixture
def make_server(tmp_path):
    """Makes servers; all are stopped at the end, and their logs shown on failure.

    A server that a test leaves running must end as told: under a sanitizer that
    is where leaks show.
    """
    made = []

    def make(*extra, **kw):
        s = muster.Server(tmp_path / f"server{len(made)}", *extra, **kw)
        made.append(s)
        return s

    yield make
    wrong = []
    for s in made:
        if s.process and s.process.poll() is None:
            code = s.stop()
            if code != 1:
                wrong.append(f"{s.folder.name}: exit code {code}, want 1")
        if s.log_path.exists():
            print(f"--- log of {s.folder.name}\n{s.log()[-4000:]}")
    assert not wrong, wrong


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One durable server that the tests of a module share."""
    s = muster.Server(tmp_path_factory.mktemp("server")).start()
    yield s
    code = s.stop()
    assert code == 1, f"exit code {code}, want 1 (as Consul's server)"


@pytest.fixture
def provider():
    p = muster.Provider()
    yield p
    p.close()


@pytest.fixture
def make_client():
    """Makes programs that watch a service by libmuster; `settings` are its options."""
    if not libmuster.DRIVER.exists():
        raise AssertionError(f"{libmuster.DRIVER} is not built: make binaries")
    made = []

    def make(servers, cache="-", hold_ms=300000, mode="thread", policy="smooth",
             name="web", env=None, **settings):
        c = libmuster.Client(env)
        made.append(c)
        for option, value in settings.items():
            c.ok(f"set {option} {value}")
        c.ok(f"open {servers} {cache} {hold_ms} {mode}")
        if name:
            c.ok(f"watch {name} {policy}")
        return c

    yield make
    for c in made:
        c.end()
