# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""tests/run must see every way in which a suite can fail: a runner that misses
one turns all other tests into decoration."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / "run"


@pytest.fixture
def suite(tmp_path):
    """Makes a program of shell text; returns its path."""

    def make(text, name="fake_test"):
        path = tmp_path / name
        path.write_text(text if name.endswith(".py") else "#!/bin/sh\n" + text)
        path.chmod(0o755)
        return str(path)

    return make


def run(*suites):
    """Returns (exit code, last line, all of the output)."""
    done = subprocess.run(
        [sys.executable, RUN, *suites], capture_output=True, text=True
    )
    return done.returncode, done.stdout.splitlines()[-1], done.stdout


def test_points_of_all_suites_are_summed(suite):
    a = suite("echo 1..2; echo ok 1 - a; echo ok 2 - b", "a_test")
    b = suite("echo ok 1; echo 1..1", "b_test")
    code, last, _ = run(a, b)
    assert (code, last) == (0, "3 passed, 0 failed, 0 skipped")


def test_a_failed_point_fails_and_shows_the_output(suite):
    s = suite("echo 1..2; echo ok 1; echo not ok 2 - x; echo '# why'; exit 1")
    code, last, out = run(s)
    assert (code, last) == (1, "1 passed, 1 failed, 0 skipped")
    assert "| # why" in out


@pytest.mark.parametrize(
    "text, why",
    [
        ("echo 1..1; echo ok 1; exit 3", "exit code 3"),
        ("echo 1..1; echo ok 1; kill -SEGV $$", "killed by SIGSEGV"),
        ("echo 1..2; echo ok 1", "planned 2 points, ran 1"),
        ("echo 1..1; echo ok 1; echo ok 2", "planned 1 points, ran 2"),
        ("echo ok 1", "no TAP plan"),
        ("echo 1..1; echo ok 1; echo 'Bail out! disk'", "Bail out! disk"),
        ("echo 1..1; echo ok 1; tail -f /dev/null & exit 0", "left processes behind"),
    ],
)
def test_a_broken_suite_is_one_failure_with_a_reason(suite, text, why):
    code, last, out = run(suite(text))
    assert code == 1
    assert last.split(", ")[1] == "1 failed"
    assert why in out


def test_a_missing_program_is_a_failure(tmp_path):
    code, last, out = run(str(tmp_path / "nothing_test"))
    assert (code, last) == (1, "0 passed, 1 failed, 0 skipped")
    assert "No such file" in out


def test_a_suite_out_of_time_is_killed_with_its_children(suite, tmp_path):
    pid = tmp_path / "pid"
    s = suite(f"echo 1..1; tail -f /dev/null & echo $! >{pid}; wait")
    code, last, out = run("--timeout", "1", s)
    assert (code, last) == (1, "0 passed, 1 failed, 0 skipped")
    assert "not done after 1.0 s" in out
    stat = Path(f"/proc/{pid.read_text().strip()}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2][1] == "Z"


@pytest.mark.parametrize(
    "text, why",
    [
        ("echo 1..1; echo 'ok 1 - t # SKIP no root'", "t: no root"),
        ("echo 1..0 '# SKIP no Go'", "all of it: no Go"),
        ("echo 1..1; echo '# SKIP slow'; echo 'not ok 1 # SKIP t'", "t: slow"),
        ("echo 1..1; echo 'not ok 1 # SKIP t'", "t: no reason given"),
    ],
)
def test_a_skip_is_told_with_its_reason(suite, text, why):
    code, last, out = run(suite(text))
    assert (code, last) == (0, "0 passed, 0 failed, 1 skipped")
    assert why in out


PYTEST = """
import pytest
def test_good(): pass
def test_bad(): assert 1 == 2
def test_later(): pytest.skip("no network")
@pytest.fixture
def broken(): raise OSError("port taken")
def test_unready(broken): pass
"""


def test_pytest_files_count_like_any_other(suite):
    code, last, out = run(suite(PYTEST, "test_fake.py"))
    assert (code, last) == (1, "1 passed, 2 failed, 1 skipped")
    assert "test_later: no network" in out
    assert "assert 1 == 2" in out and "port taken" in out


LOUD = """
def find(where):
    assert "needle" in where
def test_loud():
    print("hay " * 100000)
    find("a stack of hay")
"""


def test_what_failed_stands_before_all_output_and_at_the_end(suite):
    """Who shows a few lines of each failure, or the end alone, shows that."""
    _, _, out = run(suite(LOUD, "test_loud.py"))
    lines = out.splitlines()
    what = "FAILED test_loud: AssertionError: assert 'needle' in 'a stack of hay'"
    assert lines[1].strip() == what
    before = lines[: next(i for i, x in enumerate(lines) if "| " in x)]
    assert any("test_loud.py:6: in test_loud" in x for x in before)
    assert any('assert "needle" in where' in x for x in before)
    assert any(x.strip().startswith("E ") for x in before)
    assert lines[-3:-1] == ["FAIL test_loud.py", f"     {what}"]


def test_very_much_output_loses_its_middle_alone(suite):
    text = "echo first; echo 1..1; yes | head -c 200000; echo not ok 1 - x; echo '# why'"
    _, _, out = run(suite(text))
    assert "     | first" in out and "     | # why" in out
    assert "bytes cut here]" in out and len(out) < 1000000
    assert out.splitlines()[1:3] == ["     FAILED x: why", "     | first"]


def test_a_value_that_differs_is_shown_whole(suite):
    _, _, out = run(suite("def test_x(): assert 'a' * 300 == 'b'", "test_x.py"))
    assert f"assert '{'a' * 300}' == 'b'" in out


@pytest.mark.parametrize(
    "text", ["", "import nothing_of_this_name", "import os; os.abort()"]
)
def test_a_pytest_file_that_runs_nothing_is_a_failure(suite, text):
    code, last, _ = run(suite(text, "test_fake.py"))
    assert (code, last) == (1, "0 passed, 1 failed, 0 skipped")


def test_a_folder_is_searched_for_suites(suite, tmp_path):
    suite("echo 1..1; echo ok 1", "a_test.sh")
    suite("def test_x(): pass", "test_b.py")
    suite("exit 1", "helper.sh")
    os.chmod(suite("exit 1", "c_test.md"), 0o644)
    code, last, _ = run(str(tmp_path))
    assert (code, last) == (0, "2 passed, 0 failed, 0 skipped")


def test_what_is_given_twice_runs_once_where_it_comes_first(suite, tmp_path):
    for name in ("a_test", "b_test"):
        suite("echo 1..1; echo ok 1", name)
    code, last, out = run(str(tmp_path / "b_test"), str(tmp_path))
    assert (code, last) == (0, "2 passed, 0 failed, 0 skipped")
    assert out.index("b_test") < out.index("a_test")


def test_jobs_run_side_by_side(suite, tmp_path):
    """Each of two suites waits for the other to have begun."""
    mine, other = tmp_path / "a", tmp_path / "b"
    os.mkfifo(mine)
    os.mkfifo(other)
    a = suite(f"echo >{mine}; read x <{other}; echo 1..1; echo ok 1", "a_test")
    b = suite(f"read x <{mine}; echo >{other}; echo 1..1; echo ok 1", "b_test")
    code, last, _ = run("--jobs", "2", "--timeout", "60", a, b)
    assert (code, last) == (0, "2 passed, 0 failed, 0 skipped")


def test_an_interrupt_stops_all_that_runs(suite, tmp_path):
    """And what waited for its turn does not begin."""
    begun, late = tmp_path / "begun", tmp_path / "late"
    os.mkfifo(begun)
    # A shell waits for its child before it dies of SIGINT: exec, so that none is.
    suites = [
        suite(f"echo $$ >{begun}; exec tail -f /dev/null", f"{n}_test")
        for n in "ab"
    ]
    suites.append(suite(f"touch {late}; echo 1..0", "c_test"))
    proc = subprocess.Popen(
        [sys.executable, RUN, "--jobs", "2", *suites],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    pids = []
    while len(pids) < 2:
        pids += begun.read_text().split()
    proc.send_signal(signal.SIGINT)
    _, err = proc.communicate()
    assert proc.returncode == 130 and b"interrupted" in err
    assert not late.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_no_suite_at_all_is_no_failure(tmp_path):
    assert run(str(tmp_path))[:2] == (0, "0 passed, 0 failed, 0 skipped")
