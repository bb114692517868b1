"""What an observed call is worth in the record."""

import os
import subprocess
import sys

import pytest

from ringfence.sandbox import notify


def signalled(target: str, *, inside: bool = False) -> str:
    found = notify.observed(notify.Notification(0, "kill", "", target), lambda number: inside)
    return found.code if found else ""


@pytest.fixture(scope="module")
def ended() -> int:
    """Give a number that neither a process nor a group has any more."""
    child = subprocess.Popen([sys.executable, "-c", ""], process_group=0)
    child.wait()
    return child.pid


def test_a_signal_to_what_this_host_has_reaches_out() -> None:
    assert signalled(f"pid {os.getpid()}") == "signal-denied"
    assert signalled(f"group {os.getpgrp()}") == "signal-denied"


def test_a_signal_within_is_nothing() -> None:
    assert signalled(f"group {os.getpgrp()}", inside=True) == ""
    assert signalled("") == ""


@pytest.mark.parametrize("kind", ["pid", "group"])
def test_what_has_ended_was_not_reached_for(kind: str, ended: int) -> None:
    """A shell or a test runner that ends a group of its own once more, after its end, is no news."""
    assert signalled(f"{kind} {ended}") == ""
