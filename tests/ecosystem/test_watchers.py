"""A watcher inside, and somebody who edits on the host meanwhile."""

import subprocess

import pytest

from tests.ecosystem.bench import Bench
from tests.ecosystem.checks import Check, one

# Prints the names of what changed, in order, up to a change of its own.
WATCH = """
log=$(mktemp)
inotifywait -q -m --format %f -e modify src >$log & watcher=$!
until cat /proc/$watcher/fdinfo/* 2>/dev/null | grep -q '^inotify'; do :; done
echo ready; read -r _
echo more >>src/own
until grep -q own $log; do :; done
kill $watcher; cat $log src/edited; rm $log
"""
END_S = 60


def seen(watching: subprocess.Popen[bytes], bench: Bench) -> list[bytes]:
    """Edit a file on the host once the watcher is ready; what it saw, and what it reads in the file then."""
    assert watching.stdout and watching.stdout.readline() == b"ready\n"
    with (bench.workspace / "src/edited").open("a") as file:
        file.write("by the host\n")
    said, _ = watching.communicate(b"\n", timeout=END_S)
    assert watching.returncode == 0, said
    return said.splitlines()


@pytest.mark.parametrize("check", [one("watchers", "edits-of-the-host")], ids=str)
def test_edits_of_the_host_are_read_but_not_told(check: Check, bench: Bench) -> None:
    bench.host("mkdir ws/src; echo first >ws/src/edited; touch ws/src/own")
    words = ["sh", "-euc", WATCH]
    alone = subprocess.Popen(words, cwd=bench.workspace, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert seen(alone, bench) == [b"edited", b"own", b"first", b"by the host"]
    state = bench.state()
    inside = bench.start(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert seen(inside, bench) == [b"own", b"first", b"by the host", b"by the host"]
    state.unchanged_but(check.changes)
    bench.record(check)
