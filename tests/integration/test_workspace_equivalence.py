"""For random trees and random changes, an unfiltered apply equals running directly, and rollback restores the tree."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringfence.workspace import live, overlay
from ringfence.workspace.apply import apply
from ringfence.workspace.change import Outcome, Reviewed
from ringfence.workspace.filter import Rules
from ringfence.workspace.rollback import rollback
from tests.trees import Place, snapshot, without_times

NAMES = ("a", "b", "c d", "e\n", "\u00e9")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
CONTENTS = st.sampled_from(("", "one", "two", "much longer than a block\n" * 300))
MODES = st.sampled_from((0o644, 0o600, 0o755, 0o444))
DIRECTORY_MODES = st.sampled_from((0o755, 0o700, 0o555))
ACTIONS = st.one_of(
    st.tuples(st.just("write"), PATHS, CONTENTS),
    st.tuples(st.just("append"), PATHS, CONTENTS),
    st.tuples(st.just("remove"), PATHS, st.just("")),
    st.tuples(st.just("mkdir"), PATHS, st.just("")),
    st.tuples(st.just("link"), PATHS, st.sampled_from(("a", "../b", "missing"))),
    st.tuples(st.just("hardlink"), PATHS, PATHS),
    st.tuples(st.just("move"), PATHS, PATHS),
    st.tuples(st.just("chmod"), PATHS, MODES),
    st.tuples(st.just("chmod-directory"), PATHS, DIRECTORY_MODES),
)

# Not what exists on the host as one file under two names: a write through one of them parts them on an overlay, which
# is what keeps a link to something outside from being written through.
BEFORE = ACTIONS.filter(lambda action: action[0] != "hardlink")

# Carried out inside the boundary and, for comparison, without one. What is impossible in one is so in the other.
PERFORM = """
import json, os, shutil, sys
def perform(action, path, extra):
    if action in ("write", "append"):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w" if action == "write" else "a") as file: file.write(extra)
    elif action == "remove":
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    elif action == "mkdir": os.makedirs(path)
    elif action == "link": os.symlink(extra, path)
    elif action == "hardlink": os.link(path, extra, follow_symlinks=False)
    elif action == "move": shutil.move(path, extra)
    elif os.path.islink(path) or os.path.isdir(path) != (action == "chmod-directory"): pass
    else: os.chmod(path, extra)
for step in json.loads(sys.argv[1]):
    try: perform(*step)
    except (OSError, shutil.Error): pass
"""

STEPWISE = """
for line in sys.stdin:
    try: perform(*json.loads(line))
    except (OSError, shutil.Error): pass
    print("done", flush=True)
"""


@pytest.mark.require("overlay", "bubblewrap")
@pytest.mark.timeout(900)
@settings(max_examples=40, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.lists(BEFORE, max_size=12), during=st.lists(ACTIONS, min_size=1, max_size=10))
def test_apply_equals_running_directly_and_rollback_restores(
    before: list[tuple[str, str, str]], during: list[tuple[str, str, str]]
) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        root = Path(directory)
        try:
            _compare(root, json.dumps(before), json.dumps(during))
        finally:
            _open_up(root)


def _compare(root: Path, before: str, during: str) -> None:
    direct = root / "direct"
    direct.mkdir()
    place = Place(root, {})
    for tree in (direct, place.workspace):
        _perform(tree, before)
    place.run = place.begin()
    original = snapshot(place.workspace)
    _perform(direct, during)
    place.contain_python(PERFORM, during)
    results = apply(place.run, place.unfiltered())
    assert {result.outcome for result in results} <= {Outcome.APPLIED}, results
    assert without_times(snapshot(place.workspace)) == without_times(snapshot(direct))
    results = rollback(place.run)
    assert {result.outcome for result in results} <= {Outcome.APPLIED}, results
    assert snapshot(place.workspace) == original


@pytest.mark.require("overlay", "bubblewrap")
@pytest.mark.timeout(900)
@settings(max_examples=40, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    before=st.lists(BEFORE, max_size=8),
    during=st.lists(st.tuples(ACTIONS, st.booleans()), min_size=1, max_size=10),
)
def test_carrying_over_while_it_runs_comes_to_the_same(
    before: list[tuple[str, str, str]], during: list[tuple[tuple[str, str, str], bool]]
) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        root = Path(directory)
        try:
            _compare_live(root, json.dumps(before), during)
        finally:
            _open_up(root)


def _compare_live(root: Path, before: str, during: list[tuple[tuple[str, str, str], bool]]) -> None:
    direct = root / "direct"
    direct.mkdir()
    place = Place(root, {})
    for tree in (direct, place.workspace):
        _perform(tree, before)
    place.run = place.begin()
    original = snapshot(place.workspace)
    _perform(direct, json.dumps([action for action, _ in during]))
    with live.Mirror(place.run, Rules) as mirror, _Contained(place) as contained:
        mirror.scan("")
        for action, carried in during:
            contained(action)
            if carried:
                mirror.notice()
                mirror.carry(time.monotonic() + live.REST_S)
    found = overlay.changes(place.run.upper, place.run.workspace)
    if os.path.lexists(place.run.journal):
        found = live.corrected(found, place.run)
    results = apply(place.run, [Reviewed(change=change) for change in found])
    assert {result.outcome for result in results} <= {Outcome.APPLIED}, results
    assert without_times(snapshot(place.workspace)) == without_times(snapshot(direct))
    if os.path.lexists(place.run.journal):
        results = rollback(place.run)
        assert {result.outcome for result in results} <= {Outcome.APPLIED}, results
    assert snapshot(place.workspace) == original


class _Contained:
    """The actions one at a time, in one overlay."""

    def __init__(self, place: Place) -> None:
        code = PERFORM.rpartition("for step in")[0] + STEPWISE
        argv = place.contained_argv(sys.executable, "-I", "-S", "-c", code)
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def __call__(self, action: tuple[str, str, str]) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(action) + "\n")
        assert self._process.stdout.readline() == "done\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def _perform(tree: Path, actions: str) -> None:
    subprocess.run([sys.executable, "-I", "-S", "-c", PERFORM, actions], cwd=tree, check=True, timeout=60)


def _open_up(root: Path) -> None:
    for directory, names, _ in os.walk(root):
        for name in names:
            if not os.path.islink(os.path.join(directory, name)):
                os.chmod(os.path.join(directory, name), 0o700)
