# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""The tools that watch over the tree must see what they are there to see. Each
test makes a small tree with one breach in it."""

import os
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"


@pytest.fixture
def tree(tmp_path):
    """Writes files into an empty tree; returns its folder."""

    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def tool(folder, name, *args):
    """Returns (exit code, output)."""
    argv = [str(TOOLS / name), *args]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def build(folder, layer, *visible):
    """Compiles a layer as the Makefile does: it sees what is linked to."""
    see = folder / "build/see" / layer
    see.mkdir(parents=True)
    for name in (layer, *visible):
        (see / name).symlink_to(folder / "src" / name)
    obj = folder / "build/obj" / layer
    obj.mkdir(parents=True)
    for source in (folder / "src" / layer).glob("*.c"):
        out = obj / (source.stem + ".o")
        argv = ["cc", "-O2", "-D_FORTIFY_SOURCE=2", f"-I{see}", "-c"]
        subprocess.run([*argv, "-o", out, source], check=True)


LOW = "int low_f(int a);\n"
HIGH = "int high_f(int a);\n"


def uses(folder, *rules):
    return tool(folder, "layers", "uses", "build", *rules)


def two_layers(tree, low="int low_f(int a) { return a; }\n"):
    high = '#include "low/low.h"\nint high_f(int a) { return low_f(a); }\n'
    return tree(
        {
            "src/low/low.h": LOW,
            "src/low/low.c": low,
            "src/high/high.h": HIGH,
            "src/high/high.c": high,
        }
    )


def test_layers_that_keep_the_rule_pass(tree):
    folder = two_layers(tree)
    build(folder, "low")
    build(folder, "high", "low")
    assert uses(folder, "low=", "high=low")[0] == 0


def test_a_cycle_of_layers_is_found(tree):
    folder = two_layers(tree)
    build(folder, "low", "high")
    build(folder, "high", "low")
    code, out = uses(folder, "low=high", "high=low")
    assert code == 1 and "low uses high, listed after it" in out


def test_a_folder_outside_the_rule_is_found(tree):
    folder = two_layers(tree)
    build(folder, "low")
    code, out = uses(folder, "low=")
    assert code == 1 and "src/high is in no line" in out


def test_a_visible_header_of_another_layer_is_found(tree):
    folder = two_layers(tree)
    build(folder, "low", "high")
    build(folder, "high", "low")
    code, out = uses(folder, "low=", "high=low")
    assert code == 1 and "sees high/high.h" in out


def test_a_call_declared_by_hand_is_found(tree):
    folder = two_layers(
        tree, "int high_f(int a);\nint low_f(int a) { return high_f(a); }\n"
    )
    build(folder, "low")
    build(folder, "high", "low")
    code, out = uses(folder, "low=", "high=low")
    assert code == 1 and "high_f of high" in out


@pytest.mark.parametrize(
    "include, call, kind",
    [
        ("time.h", "(int)time(0)", "time"),
        ("time.h", "clock_gettime(0, (struct timespec *)p)", "time"),
        ("stdlib.h", "rand()", "random numbers"),
        ("stdio.h", 'fopen(p, "r") != 0', "files"),
        ("fcntl.h", "open64(p, *p)", "files"),  # fortified: __open64_2
        ("unistd.h", "(int)read(0, p, 1)", "files"),
        ("sys/socket.h", "socket(1, 1, 1)", "sockets"),
        ("pthread.h", "(int)pthread_self()", "threads and processes"),
        ("stdlib.h", "getenv(p) != 0", "the environment"),
        ("uv.h", "(int)uv_hrtime()", "sockets"),
        ("sqlite3.h", "sqlite3_initialize()", "a database"),
    ],
)
def test_an_impure_call_is_found(tree, include, call, kind):
    text = "#define _GNU_SOURCE\n#include <%s>\nint f(char *p) { return %s; }\n"
    folder = tree({"src/low/low.c": text % (include, call)})
    build(folder, "low")
    code, out = tool(folder, "layers", "pure", "build", "low")
    assert code == 1 and f"low.c uses {kind}: " in out


def test_formatting_and_memory_are_pure(tree):
    text = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int f(char *p, int n)
{
    char *q = malloc(9);
    if (!q) abort();
    memcpy(q, p, 9);
    fprintf(stderr, "%s", q);
    return snprintf(p, (size_t)n, "%d", (int)strtol(q, 0, 10));
}
"""
    folder = tree({"src/low/low.c": text})
    build(folder, "low")
    assert tool(folder, "layers", "pure", "build", "low")[0] == 0


def lines(n, before=""):
    return f"{before}int f(int a)\n{{\n" + "    a++;\n" * (n - 4) + "    return a;\n}\n"


def test_a_long_function_is_found(tree):
    short = "int a(void)\n{\n    return 1;\n}\n" * 20
    folder = tree({"src/low/low.c": short + lines(83)})
    code, out = tool(folder, "shape")
    assert code == 1 and "f has 83 lines" in out


def test_a_long_function_may_say_why(tree):
    short = "int a(void)\n{\n    return 1;\n}\n" * 20
    why = "/* long: a table in code */\n"
    folder = tree({"src/low/low.c": short + lines(83, why)})
    assert tool(folder, "shape")[0] == 0


def test_many_longish_functions_are_found(tree):
    code, out = tool(tree({"src/low/low.c": lines(50)}), "shape")
    assert code == 1 and "a tenth of the functions has 50 lines" in out


def test_a_long_file_is_found(tree):
    code, out = tool(tree({"src/low/low.h": "/**/\n" * 601}), "shape")
    assert code == 1 and "601 lines, over 600" in out


@pytest.mark.parametrize(
    "name, text, why",
    [
        ("src/low/a.c", "int a;\n", "no SPDX header"),
        ("src/low/a.c", SPDX + '#include "../b.h"\n', "leaves its folder"),
        ("src/low/a.c", SPDX + '#include "b.c"\n', "a .c file is included"),
        ("src/low/a.c", SPDX + "#include <cmocka.h>\n", "only tests/test.h"),
        ("src/low/a.c", SPDX + "\tint a;\n", "a tab"),
        ("src/low/a.c", SPDX + "int a; \n", "space at the end"),
        ("src/low/a.c", SPDX + "/* TO" "DO: more */\n", "without the issue"),
        ("tests/a.c", SPDX + "    sleep" "(1);\n", "a test sleeps"),
        ("tests/a.c", SPDX + "    nanosleep" "(&t, 0);\n", "a test sleeps"),
        ("tests/a.py", "#" + SPDX + "time.sleep" "(0.5)\n", "a test sleeps"),
        ("tests/a.sh", "#" + SPDX + "sleep" " 1\n", "a test sleeps"),
    ],
)
def test_a_breach_of_a_house_rule_is_found(tree, name, text, why):
    folder = tree({name: text})
    paths = [str(p.relative_to(folder)) for p in folder.rglob("*.*")]
    code, out = tool(folder, "rules", *paths)
    assert code == 1 and why in out
    assert len(out.splitlines()) == 1


def test_what_keeps_the_house_rules_passes(tree):
    good = SPDX + '#include "low/a.h"\n\n#include <stdio.h>\n/* TO' "DO(#7) */\n"
    wait = "#" + SPDX + "time.sleep" "(0.01)\ntime.sleep" "(2)  # sleep: TTL\n"
    folder = tree({"src/low/a.c": good, "src/low/a.h": SPDX, "tests/a.py": wait})
    files = ["src/low/a.c", "src/low/a.h", "tests/a.py"]
    assert tool(folder, "rules", *files) == (0, "")


def test_the_own_header_comes_first(tree):
    text = SPDX + '#include <stdio.h>\n#include "low/a.h"\n'
    folder = tree({"src/low/a.c": text, "src/low/a.h": SPDX})
    code, out = tool(folder, "rules", "src/low/a.c")
    assert code == 1 and 'the first include is not "low/a.h"' in out


REPLAYED = r"""
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    if (n > 0 && p[0] == 'x')
        abort();
    return 0;
}
"""


@pytest.mark.parametrize(
    "inputs, counts",
    [
        ({"a": "", "b": "y"}, "2 passed, 0 failed, 0 skipped"),
        ({"a": "", "b": "x", "c": "y"}, "1 passed, 1 failed, 0 skipped"),
        ({}, "0 passed, 0 failed, 1 skipped"),
    ],
)
def test_a_corpus_is_replayed_file_by_file(tree, inputs, counts):
    folder = tree({"target.c": REPLAYED})
    (folder / "corpus").mkdir()
    for name, text in inputs.items():
        (folder / "corpus" / name).write_text(text)
    replay = TOOLS.parent / "fuzz/replay.c"
    argv = ["cc", "-o", folder / "replay", folder / "target.c", replay]
    subprocess.run(argv, check=True)
    runner = TOOLS.parent / "tests/run"
    done = subprocess.run(
        [runner, f"{folder}/replay {folder}/corpus"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == counts


def test_deps_says_what_is_missing_and_installs_nothing_on_check(tmp_path):
    """A dpkg-query that knows nothing stands for a fresh machine."""
    fake = tmp_path / "dpkg-query"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [TOOLS / "deps", "--check", "build"], env=env, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "missing: gcc" in done.stderr and "libuv1-dev" in done.stderr


def test_deps_refuses_a_group_that_is_none():
    done = subprocess.run([TOOLS / "deps", "tset"], capture_output=True, text=True)
    assert done.returncode == 1 and 'no group "tset"' in done.stderr
