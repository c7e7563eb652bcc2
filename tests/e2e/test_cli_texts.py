# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""What the command line says of itself: help, manual pages, completions of
shells. All come from one table; these tests see that nothing is left out."""

import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

import muster


def run(*words, **kw):
    return subprocess.run([muster.BINARY, *words], capture_output=True,
                          text=True, timeout=60, **kw)


def listed(text):
    """Names in a list of commands: two spaces, the name, two or more spaces."""
    part = re.search(r"ommands \(each knows -help\):\n((?:  .*\n)+)", text)
    return re.findall(r"^  (\S+)", part[1], re.M) if part else []


def all_commands():
    """{name: its help}, groups too, as the binary itself lists them."""
    found = {}
    wanted = [[name] for name in listed(run("help").stdout)]
    while wanted:
        words = wanted.pop()
        out = run(*words, "-help")
        assert out.returncode == 0 and out.stderr == "", words
        found[" ".join(words)] = out.stdout
        wanted += [[*words, name] for name in listed(out.stdout)]
    return found


def flags_of(text):
    """The flags that a help explains."""
    parts = re.findall(r"^Options.*:\n((?:  .*\n)+)", text, re.M)
    return re.findall(r"^  -([a-z_-]+)", "".join(parts), re.M)


COMMANDS = all_commands()
SHELLS = {shell: run("help", "-completion", shell).stdout
          for shell in ("bash", "zsh", "fish")}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("man")
    assert run("help", "-man", str(folder)).returncode == 0
    return folder


def need(program):
    path = shutil.which(program)
    if not path:
        pytest.skip(f"there is no {program} here")
    return path


# --- Nothing is left out ------------------------------------------------------

def test_the_commands_are_those_of_consul_that_muster_has():
    assert set(COMMANDS) >= {
        "agent", "catalog", "catalog datacenters", "catalog nodes",
        "catalog services", "debug", "event", "force-leave", "health", "help",
        "info", "join", "keygen", "leave", "maint", "members", "monitor",
        "operator", "operator autopilot get-config",
        "operator autopilot set-config", "operator raft list-peers",
        "operator raft remove-peer", "reload", "rtt", "services deregister",
        "services register", "version", "watch"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_teaches(name):
    text = COMMANDS[name]
    assert text.startswith(f"Usage: muster {name}")
    assert f"      $ muster {name}" in text, "no example"
    assert max(map(len, text.splitlines())) <= 80
    for flag in flags_of(text):
        assert re.search(rf"^  -{flag}(=\S+)?\s+\S", text, re.M), flag
    assert run(*name.split(), "--help").stdout == text
    assert run("help", *name.split()).stdout == text


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_examples_use_flags_that_exist(name):
    for line in re.findall(r"^ +\$ muster (.*)$", COMMANDS[name], re.M):
        command = max((c for c in COMMANDS
                       if (line + " ").startswith(c + " ")), key=len)
        line = re.sub(r"'.*?'", "", line)
        for flag in re.findall(r"(?<= )-([a-z-]+)", line):
            assert flag in flags_of(COMMANDS[command]), line


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_flag_has_a_manual_page(name, pages):
    page = (pages / f"muster-{name.split()[0]}.1").read_text()
    text = page.replace("\\-", "-")
    assert f"muster {name}" in text
    for flag in flags_of(COMMANDS[name]):
        assert f"\\fB-{flag}\\fR" in text, flag


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_flag_has_a_completion(name):
    last = name.split()[-1]
    for flag in flags_of(COMMANDS[name]):
        assert re.search(rf"^    '{name}'\) echo '[^']* -{flag}[=' ]",
                         SHELLS["bash"], re.M), flag
        assert f"is {name}' -o {flag} " in SHELLS["fish"], flag
        part = SHELLS["zsh"].split(f"    '{name}')\n        _arguments")[1]
        assert f"-{flag}" in part.split(";;")[0], flag
    assert f"-fa '{last}'" in SHELLS["fish"]
    assert f"'{last}:" in SHELLS["zsh"]
    assert re.search(rf"echo '[^']*\b{last}\b", SHELLS["bash"])


def test_every_flag_that_agent_takes_is_told():
    """Also those without effect: whoever reads a script wants to find them."""
    source = (muster.ROOT / "src/config/flag_table.c").read_text()
    names = re.findall(r'^    \{"([a-z_-]+)", FLAG_', source, re.M)
    assert len(names) > 80
    for name in set(names) - {"help", "h"}:
        assert re.search(rf"(?<![\w-])-{name}(?![\w-])", COMMANDS["agent"]), name


def test_readers_of_the_manual_find_the_environment(pages):
    text = (pages / "muster.1").read_text()
    for name in ("HTTP_ADDR", "HTTP_TOKEN_FILE", "HTTP_SSL_VERIFY", "CACERT"):
        assert f"\\fB{name}\\fR" in text
        assert name in run("help").stdout


# --- Manual pages as man's tools see them -------------------------------------

def test_mandoc_finds_nothing_to_complain_of(pages):
    out = subprocess.run([need("mandoc"), "-T", "lint", "-W", "warning",
                          *map(str, sorted(pages.iterdir()))],
                         capture_output=True, text=True)
    assert out.stdout + out.stderr == "" and out.returncode == 0


def test_groff_finds_nothing_to_complain_of(pages):
    groff = need("groff")
    for page in sorted(pages.iterdir()):
        out = subprocess.run([groff, "-ww", "-man", "-Tutf8", str(page)],
                             capture_output=True, text=True)
        assert out.stderr == "", page.name
        assert "muster" in out.stdout


def test_installed_files_stand_where_man_and_shells_look(tmp_path):
    if muster.BINARY != str(muster.ROOT / "build" / "muster"):
        pytest.skip("make install takes build/muster; another one is tested")
    subprocess.run(["make", "--silent", "install", f"DESTDIR={tmp_path}"],
                   cwd=muster.ROOT, check=True, capture_output=True)
    share = tmp_path / "usr/local/share"
    assert (share / "man/man1/muster-watch.1").stat().st_size > 500
    for shell, path in {
            "bash": "bash-completion/completions/muster",
            "zsh": "zsh/site-functions/_muster",
            "fish": "fish/vendor_completions.d/muster.fish"}.items():
        assert (share / path).read_text() == SHELLS[shell]


# --- Completion in the shells themselves --------------------------------------

@pytest.fixture
def scripts(tmp_path):
    """The scripts as files, and a folder of programs with muster in it."""
    for shell, text in SHELLS.items():
        (tmp_path / shell).write_text(text)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/muster").symlink_to(muster.BINARY)
    (tmp_path / "zsh-functions").mkdir()
    (tmp_path / "zsh-functions/_muster").write_text(SHELLS["zsh"])
    return tmp_path


def environment(scripts, address="127.0.0.1:1"):
    return {"PATH": f"{scripts}/bin:{os.environ['PATH']}", "TERM": "dumb",
            "HOME": str(scripts), "LC_ALL": "C.UTF-8",
            "CONSUL_HTTP_ADDR": address}


def bash(scripts, line, address="127.0.0.1:1"):
    """What bash would offer behind this line, as its completion is called."""
    text = """. ./bash; compopt() { :; }; COMP_LINE=$1 COMP_POINT=${#1}
_muster; printf '%s\\n' "${COMPREPLY[@]}" """
    out = subprocess.run([need("bash"), "--norc", "-c", text, "-", line],
                         cwd=scripts, env=environment(scripts, address),
                         capture_output=True, text=True, timeout=60)
    assert out.stderr == "", out.stderr
    return out.stdout.split("\n")[:-1]


def test_bash_offers(scripts):
    assert bash(scripts, "muster mem") == ["members"]
    assert bash(scripts, "muster catalog ") == ["datacenters", "nodes",
                                                "services"]
    assert bash(scripts, "muster operator raft l") == ["list-peers"]
    assert bash(scripts, "muster catalog services -ta") == ["-tags"]
    assert bash(scripts, "muster catalog services --ta") == ["--tags"]
    assert bash(scripts, "muster watch -type ser") == ["services", "service"]
    assert bash(scripts, "muster watch -type=ch") == ["checks"]
    assert bash(scripts, "muster agent -bootstrap") == ["-bootstrap",
                                                        "-bootstrap-expect="]
    assert bash(scripts, "muster services register ba") == ["bash"]
    assert bash(scripts, "muster help cat") == ["catalog"]
    assert bash(scripts, "muster nonsense x") == [""]


def test_bash_offers_names_of_the_catalog_and_runs_none(scripts, server):
    """Whoever registers a service must not run commands in my shell."""
    server.register("node-b", "web")
    server.register("node-b", "webhook")
    server.register("node-b", "wx$(touch${IFS}hurt);`touch hurt`")
    address = f"127.0.0.1:{server.port}"
    assert bash(scripts, "muster health we", address) == ["web", "webhook"]
    hostile = bash(scripts, "muster health wx", address)
    assert len(hostile) == 1 and hostile[0].startswith("wx\\$\\(")
    assert not (scripts / "hurt").exists()
    assert bash(scripts, "muster rtt node-b", address) == ["node-b"]


class Terminal:
    """A shell on a terminal, typed to."""

    def __init__(self, argv, env, cwd):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(argv[0], argv, env)
        self.seen = ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, pattern):
        """Reads until the pattern stands in what came since the last call."""
        deadline = time.monotonic() + muster.LIMIT
        while not (found := re.search(pattern, self.seen)):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern} did not come: {self.seen!r}"
            if select.select([self.fd], [], [], left)[0]:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
        self.seen = self.seen[found.end():]
        return found

    def close(self):
        os.close(self.fd)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


def typed(terminal, line):
    """The arguments that muster gets when this line is typed with its tabs."""
    terminal.type(line + "\r")
    return terminal.until(r"GOT\[(.*?)\]")[1]


def test_bash_completes_what_is_typed(scripts):
    terminal = Terminal([need("bash"), "--norc", "--noprofile", "-i"],
                        environment(scripts), scripts)
    try:
        terminal.type(". ./bash; muster() { echo \"GO\"\"T[$*]\"; }; "
                      "echo rea\"\"dy\r")
        terminal.until("ready")
        assert typed(terminal, "muster mem\t-deta\t") == "members -detailed"
        assert typed(terminal, "muster cat\tse\t-node\t=x") == \
            "catalog services -node=x"
        assert typed(terminal, "muster watch -type=chec\t") == \
            "watch -type=checks"
        assert typed(terminal, "muster services reg\tzsh-f\t") == \
            "services register zsh-functions/"
    finally:
        terminal.close()


def test_zsh_completes_what_is_typed(scripts):
    terminal = Terminal([need("zsh"), "-f", "-i"], environment(scripts),
                        scripts)
    try:
        terminal.type("fpath=($PWD/zsh-functions $fpath); unsetopt zle_bracketed"
                      "_paste; autoload -Uz compinit; compinit -u -D; "
                      "muster() { echo \"GO\"\"T[$*]\"; }; echo rea\"\"dy\r")
        terminal.until("ready")
        assert typed(terminal, "muster mem\t-deta\t") == "members -detailed"
        assert typed(terminal, "muster catalog se\t-ta\t") == \
            "catalog services -tags"
        assert typed(terminal, "muster watch -type=chec\t") == \
            "watch -type=checks"
        assert typed(terminal, "muster operator raft li\t") == \
            "operator raft list-peers"
    finally:
        terminal.close()


def fish(scripts, line):
    out = subprocess.run([need("fish"), "--no-config", "-c",
                          "source ./fish; complete -C $argv[1]", line],
                         cwd=scripts, env=environment(scripts),
                         capture_output=True, text=True, timeout=60)
    assert out.stderr == "", out.stderr
    return [row.split("\t")[0] for row in out.stdout.splitlines()]


def test_fish_offers(scripts):
    assert fish(scripts, "muster mem") == ["members"]
    assert sorted(fish(scripts, "muster catalog ")) == [
        "datacenters", "nodes", "services"]
    assert fish(scripts, "muster catalog services -ta") == ["-tags"]
    assert sorted(fish(scripts, "muster watch -type ser")) == ["service",
                                                               "services"]
    assert fish(scripts, "muster operator raft l") == ["list-peers"]


def test_completion_can_be_installed_for_one_person(scripts):
    env = environment(scripts)
    out = run("-autocomplete-install", env=env)
    assert out.returncode == 0, out.stderr
    written = [pathlib.Path(p)
               for p in re.findall(r"^Wrote (.*)$", out.stdout, re.M)]
    assert [p.read_text() for p in written] == [
        SHELLS["bash"], SHELLS["zsh"], SHELLS["fish"]]
    assert all(scripts in p.parents for p in written)
    assert run("-autocomplete-uninstall", env=env).returncode == 0
    assert not any(p.exists() for p in written)


def test_every_configuration_key_is_in_the_manual(pages):
    source = (muster.ROOT / "src/config/keys.c").read_text()
    rows = source.split("config_keys[] = {")[1].split("\n};")[0]
    names = re.findall(r'(?:\{|IGNORED\(|PROTECTS\()"([a-z0-9_.]+)"', rows)
    assert len(names) > 200
    page = (pages / "muster.json.5").read_text().replace("\\-", "-")
    missing = [n for n in names if f"\\fB{n}\\fR" not in page]
    assert not missing
