"""Who ever holds the value of a secret: the vault, and nobody before it or beside it, from the first moment on.

Where a secret comes from a file, neither what plans the run nor what supervises it reads that file: every `read(2)` of
the whole tree of processes is looked at. And while the vault starts, a process of the same user that reads its memory
again and again finds nothing there: when the value comes, the memory is closed.
"""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.e2e.commands import Commands

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay"), pytest.mark.timeout(400)]
VALUE = f"ghp_{'Vault' * 6}012345"
POLICY = """version = 1
[network]
allow = ["host.example"]
[secrets.service]
source = {{ file = "{file}"{field} }}
inject = [{{ host = "host.example", header = "authorization" }}]
variables = ["TOKEN"]
"""
QUIET = {"RINGFENCE_STANDBY": "0", "RINGFENCE_SUPERVISOR": "0"}


def placed(ringfence: Commands, place: str) -> tuple[str, str]:
    """Put the value somewhere; options of a run that keeps it."""
    if place == "the workspace":
        file, field = ringfence.write("sub/.env", f"TOKEN={VALUE}\n"), ', field = "TOKEN"'
    else:
        file, field = ringfence.home / "token", ""
        ringfence(before=("sh", "-c", f"umask 077; printf %s '{VALUE}' > {file}"))
    if place == "behind a link":
        ringfence(before=("sh", "-c", f"cd; mkdir links; ln -s ../token links/token; test -r {file}"))
        file = ringfence.home / "links/token"
    (ringfence.home / "policy.toml").write_text(POLICY.format(file=file, field=field))
    return "--policy", str(ringfence.home / "policy.toml")


@pytest.mark.require("strace")
@pytest.mark.parametrize("place", ["the home", "the workspace", "behind a link"])
def test_nobody_but_the_vault_reads_the_source(place: str, ringfence: Commands) -> None:
    options, trace = placed(ringfence, place), ringfence.workspace / "trace"
    words = ringfence.words("run", *options, "--", "printenv", "TOKEN")
    strace = ("strace", "-f", "-qq", "-s", "400", "-e", "trace=execve,read,pread64,preadv,recvmsg", "-o", str(trace))
    done = ringfence(before=(*strace, *words), **QUIET)
    assert done.returncode == 0 and done.stdout.startswith("ghp_") and VALUE not in done.stdout, done.stderr
    program: dict[str, str] = {}
    readers = set()
    for line in trace.read_text(errors="replace").splitlines():
        pid, _, rest = line.partition(" ")
        if rest.lstrip().startswith("execve("):
            program[pid] = rest
        if VALUE in rest:
            readers.add(pid)
    if ringfence.account.pw_uid == 0:
        assert len(readers) == 1, readers
        assert "vault_worker" in program[readers.pop()]
    else:  # what the vault reads is shown to nobody by then, to whom started it neither
        assert readers == set() and any("vault_worker" in line for line in program.values())


SCAN = r"""
import os, re, subprocess, sys, time
needle = ("ghp_" + "Vault" * 6 + "012345").encode()
run = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
opened = denied = found = 0
end = time.monotonic() + 60

def children(pid):
    try:
        return open(f"/proc/{pid}/task/{pid}/children").read().split()
    except OSError:
        return []

def look(pid):
    global found
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        maps = open(f"/proc/{pid}/maps").read()
        for low, high in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw", maps, re.M):
            try:
                memory.seek(int(low, 16))
                found += needle in memory.read(int(high, 16) - int(low, 16))
            except (OSError, OverflowError, ValueError):
                pass
    found += needle in open(f"/proc/{pid}/environ", "rb").read()

while denied < 200 and run.poll() is None and time.monotonic() < end:
    for pid in children(run.pid):
        try:
            if b"vault_worker" not in open(f"/proc/{pid}/cmdline", "rb").read():
                continue
            look(pid)
            opened += 1
        except PermissionError:
            denied += 1
        except OSError:
            pass
said = run.communicate("enough\n")[0]
print("SCAN", opened, denied, found, run.returncode, needle.decode() in said)
"""


def test_its_memory_is_closed_before_the_value_is_in_it(ringfence: Commands) -> None:
    """To processes of the same user on the host; from inside there is no such process at all."""
    if ringfence.account.pw_uid == 0:
        pytest.skip("root may read everything")
    options = placed(ringfence, "the home")
    words = ringfence.words("run", *options, "--", "sh", "-c", "read x; cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'")
    opened = 0
    for _ in range(30):
        done = ringfence(before=(sys.executable, "-c", SCAN, *words), **QUIET)
        result = re.search(r"^SCAN (\d+) (\d+) (\d+) (\d+) (\w+)$", done.stdout, re.M)
        assert result, done.stdout + done.stderr
        assert (result[3], result[4], result[5]) == ("0", "0", "False") and int(result[2]) > 0, result[0]
        opened += int(result[1])
        if opened:
            break
    assert opened, "it was never looked into while it was open"


def test_inside_there_is_no_process_of_the_vault_s(ringfence: Commands) -> None:
    options = placed(ringfence, "the home")
    script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; cat $p/comm; echo; done"
    done = ringfence("run", *options, "--", "sh", "-c", script, **QUIET)
    assert done.returncode == 0 and "tr " in done.stdout and "vault" not in done.stdout, done.stdout


def test_a_run_leaves_no_value_behind(ringfence: Commands) -> None:
    """Nor the cache of what was planned, which is written before the vault has even begun."""
    options = placed(ringfence, "the home")
    assert ringfence("run", *options, "--", "true", **QUIET).returncode == 0
    kept = [path for path in ringfence.home.rglob("*") if path.is_file() and os.access(path, os.R_OK)]
    assert [path for path in kept if VALUE.encode() in Path(path).read_bytes()] == [ringfence.home / "token"]
    assert any("cache" in str(path) for path in kept)
