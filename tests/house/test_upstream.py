# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""tests/clients/upstream/suite must not let a test end unseen: what a list
allows, and what a test program did, become TAP in exactly one way."""

import importlib.util
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "tests" / "clients" / "upstream" / "suite"
loader = SourceFileLoader("upstream_suite", str(PATH))
suite = importlib.util.module_from_spec(
    importlib.util.spec_from_loader("upstream_suite", loader))
loader.exec_module(suite)

LIMIT_S = 30
LIST = """
# a word
== pass
TestA
== fails
TestB it is a race
== out: keys: none here
TestC
watch/TestD
"""


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] not in "ZX"
    except OSError:
        return False  # gone


def tap_of(name, outcome, said=""):
    """The points that one result becomes, and how many of them fail."""
    tap = suite.Tap()
    suite.report(tap, name, suite.Expected(LIST), (outcome, said))
    return tap.failed


def test_a_list_is_read_with_its_reasons():
    expected = suite.Expected(LIST)
    assert expected.kinds == {
        "TestA": ("pass", ""),
        "TestB": ("fails", "it is a race"),
        "TestC": ("out", "keys: none here"),
        "watch/TestD": ("out", "keys: none here"),
    }
    assert expected.areas == {"keys: none here": ["TestC", "watch/TestD"]}


@pytest.mark.parametrize("text, complaint", [
    ("TestA", "no section"),
    ("== pass\nTestA\n== fails\nTestA twice", "or in two"),
    ("== fails\nTestA", "say why"),
    ("== maybe\nTestA", "no section 'maybe'"),
])
def test_a_wrong_list_is_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        suite.Expected(text)


def test_a_listed_test_that_stops_passing_fails(capsys):
    assert tap_of("TestA", "pass") == 0
    assert tap_of("TestA", "fail", "    a_test.go:7: bad: 3\n") == 1
    assert "not ok 1 - TestA\n#   fail: a_test.go:7: bad: 3" in capsys.readouterr().out


def test_a_test_that_may_fail_is_skipped_with_its_reason(capsys):
    assert tap_of("TestB", "fail", "panic: no\n") == 0
    told = "not ok 1 - TestB # todo it is a race\n#   panic: no\n"
    assert capsys.readouterr().out == told


def test_a_test_that_passes_against_the_list_is_told(capsys):
    assert tap_of("TestB", "pass") == 0
    assert "TestB passes here" in capsys.readouterr().out


def test_a_test_that_skips_itself_has_stopped_passing(capsys):
    assert tap_of("TestA", "skip", "    a_test.go:7: not today\n") == 1
    assert "skip: a_test.go:7: not today" in capsys.readouterr().out


@pytest.mark.parametrize("names, complaint", [
    (["TestA", "TestB", "TestC"], "watch/TestD: not in the suite"),
    (["TestA", "TestB", "TestC", "watch/TestD", "TestE"], "TestE: not in tests"),
])
def test_a_list_that_is_not_the_suite_s_fails(names, complaint, capsys):
    tap = suite.Tap()
    suite.compare_lists(tap, names, suite.Expected(LIST))
    assert tap.failed == 1
    assert complaint in capsys.readouterr().out


def test_the_documents_count_as_the_list_does():
    expected = suite.Expected((PATH.parent / "tests.list").read_text())
    kinds = [kind for kind, _ in expected.kinds.values()]
    page = (ROOT / "docs" / "compatibility.md").read_text()
    for number, text in [
        (len(kinds), "in the suite"),
        (kinds.count("pass"), "pass, and must"),
        (kinds.count("fails"), "run, and do not pass"),
        (kinds.count("out"), "are not run"),
    ]:
        assert f"| {number} | {text}" in page


@pytest.fixture
def runner(tmp_path):
    """A runner whose test program is shell text."""

    def make(text):
        (tmp_path / "api").mkdir()
        (tmp_path / "bin").mkdir()
        program = tmp_path / "api.test"
        program.write_text("#!/bin/sh\n" + text)
        program.chmod(0o755)
        return suite.Runner(tmp_path, tmp_path, timeout=1)

    return make


@pytest.mark.parametrize("text, outcome", [
    ("echo '--- PASS: TestA (0.01s)'", "pass"),
    ("echo '--- SKIP: TestA (0.01s)'", "skip"),
    ("echo '--- FAIL: TestA (0.01s)'; exit 1", "fail"),
    ("echo '--- PASS: TestA (0.01s)'; exit 1", "fail"),
    ("echo '--- PASS: TestAnother (0.01s)'", "fail"),
    ("echo 'testing: warning: no tests to run'", "fail"),
    ("kill -SEGV $$", "fail"),
])
def test_only_a_clean_end_is_a_pass(runner, text, outcome):
    assert runner(text).run("TestA")[0] == outcome


def test_what_a_test_leaves_running_is_ended(runner, tmp_path):
    left = tmp_path / "left"
    r = runner(f"tail -f /dev/null & echo $! >{left}; echo '--- PASS: TestA (0s)'")
    assert r.run("TestA")[0] == "pass"
    deadline = time.monotonic() + LIMIT_S
    while lives(left.read_text().strip()):
        assert time.monotonic() < deadline, "is still running"
        time.sleep(0.01)  # sleep: between two looks
