# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""libmuster as its users get it: what the header declares is what the library
shows, what the manual tells, and what C and C++ take."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include/muster.h"
BUILT = Path(os.environ.get("MUSTER", ROOT / "build/muster")).parent


def declared():
    """Functions that the header declares; comments left out."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    names = set(re.findall(r"^[a-z][^(;{}#]*?\b(muster_[a-z_]+)\(", text, re.M))
    assert len(names) > 20
    return names


def run(*words, **more):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True,
                          **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def need(tool):
    if not shutil.which(tool):
        pytest.skip(f"no {tool}")
    return tool


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The root of what `make install` puts there."""
    if BUILT != ROOT / "build":
        pytest.skip("make install takes what is in build/; another one is tested")
    root = tmp_path_factory.mktemp("root")
    run("make", "--silent", "install", f"DESTDIR={root}", "PREFIX=/opt/muster",
        cwd=ROOT)
    return root / "opt/muster"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("man3")
    run(ROOT / "tools/man3", "-v", f"dir={folder}", "-v", "version=1.2.3", HEADER)
    return folder


# --- The library --------------------------------------------------------------

def test_the_map_names_what_the_header_declares():
    text = (ROOT / "src/client/muster.map").read_text()
    named = re.findall(r"^ +(muster_[a-z_]+);", text, re.M)
    assert len(named) == len(set(named))
    assert set(named) == declared()


def test_the_shared_library_shows_that_and_nothing_else(installed):
    library = installed / "lib/libmuster.so.0"
    rows = run("nm", "-D", "--defined-only", library).splitlines()
    shown = {r.split()[2] for r in rows if " A " not in r}
    assert {n.split("@")[0] for n in shown} == declared()
    assert all("@@MUSTER_0" in n for n in shown)
    header = run("readelf", "-d", library)
    assert re.search(r"SONAME.*\[libmuster\.so\.0\]", header)
    assert (installed / "lib/libmuster.so").resolve() == library.resolve()


def test_the_static_library_shows_nothing_else_either(installed):
    rows = run("nm", "-g", "--defined-only", installed / "lib/libmuster.a")
    shown = {r.split()[2] for r in rows.splitlines() if len(r.split()) == 3}
    assert shown == declared()


# --- The header ---------------------------------------------------------------

PROGRAM = """#include <muster.h>
int main(void)
{
    struct muster_options o;
    struct muster_watch_options w;
    struct muster *m = 0;
    struct muster_service *s = 0;
    char why[MUSTER_TEXT];

    muster_options_init(&o, sizeof o);
    muster_watch_options_init(&w, sizeof w);
    o.servers = "127.0.0.1:1";
    o.hold_ms = MUSTER_HOLD_EVER;
    w.policy = "maglev";
    if (muster_open(&o, &m, why) != MUSTER_OK ||
        muster_watch(m, "web", &w, &s, why) != MUSTER_OK ||
        muster_wait(s, 10) != MUSTER_ETIMEOUT)
        return 1;
    return muster_close(m);
}
"""
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


@pytest.mark.parametrize("compiler, words, suffix", [
    ("gcc", ["-std=c99", "-Wstrict-prototypes", "-Wc++-compat"], "c"),
    ("clang", ["-std=c99", "-Weverything", "-Wno-padded"], "c"),
    ("g++", ["-std=c++11"], "cc"),
    ("g++", ["-std=c++20"], "cc"),
    ("clang++", ["-std=c++17"], "cc"),
])
def test_programs_are_built_as_the_manual_says(installed, tmp_path, compiler, words,
                                               suffix):
    """Through pkg-config; shared, then static, and they run."""
    need(compiler)
    source = tmp_path / f"program.{suffix}"
    source.write_text(PROGRAM)
    env = {**os.environ, "PKG_CONFIG_PATH": str(installed / "lib/pkgconfig"),
           "PKG_CONFIG_SYSROOT_DIR": str(installed.parents[1])}
    flags = run(need("pkg-config"), "--cflags", "--libs", "muster", env=env).split()
    run(compiler, *words, *STRICT, "-o", tmp_path / "program", source, *flags)
    run(tmp_path / "program", env={**os.environ,
                                   "LD_LIBRARY_PATH": str(installed / "lib")})
    flags = run("pkg-config", "--static", "--libs", "muster", env=env).split()
    flags = [str(installed / "lib/libmuster.a") if f == "-lmuster" else f
             for f in flags]
    run(compiler, *words, f"-I{installed}/include", "-o", tmp_path / "static",
        source, *flags)
    run(tmp_path / "static")


def test_the_header_stands_alone(tmp_path):
    for name, compiler, words in (("a.c", "gcc", ["-std=c99"]),
                                  ("a.cc", "g++", ["-std=c++11"])):
        if not shutil.which(compiler):
            continue
        (tmp_path / name).write_text("#include <muster.h>\n#include <muster.h>\n")
        run(compiler, *words, *STRICT, f"-I{ROOT}/include", "-fsyntax-only",
            tmp_path / name)


# --- The manual ---------------------------------------------------------------

def test_every_function_has_a_page_that_tells_of_it(pages):
    for name in declared():
        text = (pages / f"{name}.3").read_text()
        if text.startswith(".so "):
            target = pages.parent / text.split()[1].replace("man3/", f"{pages.name}/")
            text = target.read_text()
        names = re.search(r"^\.SH NAME\n(.*)\\-", text, re.M)[1]
        assert name in names.replace(",", " ").split(), name
        assert re.search(rf"\b{name}\(", text), name
    pages_for = {p.stem for p in pages.glob("*.3")}
    assert pages_for == declared() | {"muster"}


def test_every_member_and_number_of_the_header_is_in_the_manual(pages):
    manual = "".join(p.read_text() for p in pages.glob("*.3")).replace("\\-", "-")
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    words = set(re.findall(r"\bMUSTER_[A-Z_]+\b", text)) - {"MUSTER_H"}
    for body in re.findall(r"^struct [a-z_]+ \{(.*?)^\};", text, re.S | re.M):
        words |= set(re.findall(r"\b([a-z_]+)(?=[,;\[])", body))
    assert len(words) > 100
    assert [w for w in sorted(words) if not re.search(rf"\b{w}\b", manual)] == []


def test_the_tools_of_man_find_nothing_to_complain_of(pages):
    own = [p for p in pages.glob("*.3") if not p.read_text().startswith(".so")]
    assert len(own) == 6
    out = subprocess.run([need("mandoc"), "-T", "lint", "-W", "warning",
                          *map(str, own)], capture_output=True, text=True)
    told = [x for x in out.stdout.splitlines() if "missing date" not in x]
    assert told == []
    for page in own:
        out = subprocess.run([need("groff"), "-ww", "-man", "-Tutf8", str(page)],
                             capture_output=True, text=True)
        assert out.stderr == "", page.name


def test_pages_are_installed(installed):
    folder = installed / "share/man/man3"
    assert {p.stem for p in folder.iterdir()} == declared() | {"muster"}
    version = (ROOT / "VERSION").read_text().strip()
    assert f'"muster {version}"' in (folder / "muster_pick.3").read_text()
