"""What an observed call is worth in the record."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence.sandbox import notify


def signalled(target: str, *, inside: bool = False) -> str:
    found = notify.observed(notify.Notification(0, "kill", "", target), lambda number: inside)
    return found.code if found else ""


@pytest.fixture
def ended() -> int:
    """Give a number that neither a process nor a group has any more; where numbers are few, it is soon another's."""
    child = subprocess.Popen([sys.executable, "-c", ""], process_group=0)
    child.wait()
    return child.pid


def test_a_signal_to_what_this_host_has_reaches_out() -> None:
    assert signalled(f"pid {os.getpid()}") == "signal-denied"
    assert signalled(f"group {os.getpgrp()}") == "signal-denied"


def test_a_signal_within_is_nothing() -> None:
    assert signalled(f"group {os.getpgrp()}", inside=True) == ""
    assert signalled("") == ""


@pytest.mark.parametrize("target", ["[::]:8000", "0.0.0.0:8000", "[::1]:80", "family 0"])
def test_connecting_to_itself_and_taking_it_back_is_nothing(target: str) -> None:
    """What getaddrinfo(3) does for a server that listens on every address."""
    assert notify.observed(notify.Notification(0, "connect", "", target), lambda number: False) is None


@pytest.mark.parametrize(
    ("call", "target"), [("connect", "[::2]:80"), ("connect", "192.0.2.1:80"), ("sendto", "family 0")]
)
def test_reaching_for_another_machine_is_recorded(call: str, target: str) -> None:
    found = notify.observed(notify.Notification(0, call, "", target), lambda number: False)
    assert found is not None
    assert found.code == "egress-denied"


@pytest.mark.parametrize("kind", ["pid", "group"])
def test_what_has_ended_was_not_reached_for(kind: str, ended: int) -> None:
    """A shell or a test runner that ends a group of its own once more, after its end, is no news."""
    assert signalled(f"{kind} {ended}") == ""


def kernel_thread() -> int:
    """A thread of the kernel's; those of the host are not seen from within a container."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        if notify.is_kernel_s(int(name)):
            return int(name)
    pytest.skip("no thread of the kernel is seen here")


def test_no_signal_reaches_a_thread_of_the_kernel() -> None:
    assert signalled(f"pid {kernel_thread()}") == ""


def test_numbers_below_one_that_lives_were_given_out() -> None:
    """Ours are of the namespace that the test runs in: its first process stands for a boundary's."""
    own = os.getpid()
    living = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    gone = next(number for number in range(own, 0, -1) if number not in living)
    assert notify.was_given_out(own, own) and notify.was_given_out(own, gone)
    assert not notify.was_given_out(own, 2**22 + 1)  # above kernel.pid_max
    assert not notify.was_given_out(2**22 + 1, 1)  # no such boundary


def reached(path: str, pid: int) -> str:
    found = notify.observed(notify.Notification(pid, "connect", "", f"unix:{path}"), lambda number: True)
    return found.code if found else ""


@pytest.fixture
def service(open_path: Path) -> Iterator[str]:
    """Give a socket that somebody listens on, in a place where services do."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{open_path}/service")
        listener.listen()
        yield f"{open_path}/service"


def test_a_service_of_the_host_is_reached_for_where_the_view_has_nothing(service: str) -> None:
    nobody = 2**22 + 1  # above kernel.pid_max: its view has nothing
    assert reached(service, nobody) == "unix-socket"
    assert reached(service, os.getpid()) == ""


def test_other_paths_are_no_service(service: str) -> None:
    nobody = 2**22 + 1
    file = Path(service).with_name("file")
    file.write_text("")
    assert [reached(path, nobody) for path in (str(file), f"{service}-gone", f"{service}\0", "/etc/passwd")] == [""] * 4
    assert reached("/run/nscd/socket", nobody) == reached("/run/systemd/journal/socket", nobody) == ""
