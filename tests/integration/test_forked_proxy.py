"""A proxy that the standby has forked: confined as one that was started for its run, and nothing of a run elsewhere."""

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ringfence.session import titles
from tests.integration.egress_runs import Running, called, proxies, running, wait_for
from tests.integration.test_vault import status, words_of
from tests.integration.test_vault_spare import parent
from tests.lab import Lab
from tests.posture.live import children

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab")]
GOOD, OTHER = "www.public.example.net", "named-in-one-run.public.example.net"
FETCH = """
import sys, urllib.request
print("ready", flush=True)
for line in sys.stdin:
    print(urllib.request.urlopen(line.strip(), timeout=20).status, flush=True)
"""
NAME = """
from ringfence.session import standby
from ringfence.session.places import installed_version
print(standby.name(installed_version()))
"""
ARGV = ["/usr/bin/python3", "-I", "-c", FETCH]


def of(home: Path, name: str) -> list[int]:
    """The processes of this test's standby that go by a name: the standby, and what waits below it."""
    mark = str(home / ".local/state/ringfence/standby")
    return [pid for pid in called(name) if mark in words_of(pid)]


def end_standby(home: Path) -> None:
    """Kill it; those that wait end by themselves."""
    for pid in of(home, titles.STANDBY):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not of(home, titles.STANDBY) and not of(home, titles.PROXY))


@pytest.fixture
def zygote(lab: Lab, open_path: Path, home: Path) -> Iterator[int]:
    """A standby of this test's own, with a proxy that waits."""
    with live(lab, open_path) as run:
        assert proxies(run.supervisor.pid)  # the first has one of its own
        wait_for(lambda: of(home, titles.PROXY))

    def own() -> list[int]:  # what it forks goes by its name for a moment
        found = of(home, titles.STANDBY)
        return found if len(found) == 1 else []

    (found,) = wait_for(own)
    yield found
    end_standby(home)


@contextmanager
def live(lab: Lab, place: Path, *options: str, use: str = "1") -> Iterator[Running]:
    """A run that has fetched something; `use` is whether it may ask the standby."""
    words = ("--allow", GOOD, *options)
    own = place / str(len(list(place.iterdir())))
    own.mkdir()
    with running(lab, own, ARGV, *words, environment={"RINGFENCE_STANDBY": use}) as run:
        assert run.line() == "ready"
        fetch(run)
        yield run


@contextmanager
def forked(lab: Lab, place: Path, zygote: int, *options: str) -> Iterator[Running]:
    """A run whose proxy is the standby's, which a busy machine may keep from answering in time."""
    for _ in range(10):
        with live(lab, place, *options) as run:
            if parent(proxy_of(run)) == zygote:
                yield run
                return
    pytest.fail("the standby was passed over again and again")


def fetch(run: Running, host: str = GOOD) -> None:
    """Have the command reach a host through the proxy."""
    run.tell(f"https://{host}/")
    assert run.line() == "200"


def proxy_of(run: Running) -> int:
    """The proxy that serves a run, whoever its parent is: the supervisor holds a pidfd of it."""

    def held() -> list[int]:
        found = []
        for path in Path(f"/proc/{run.supervisor.pid}/fdinfo").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found += [int(pid) for pid in re.findall(r"^Pid:\t(\d+)$", path.read_text(), re.MULTILINE)]
        return [pid for pid in called(titles.PROXY) if pid in found]

    (found,) = wait_for(held)
    return found


ALIKE = (
    "CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters Groups SigBlk SigIgn SigCgt Umask Threads "
    "TracerPid Speculation_Store_Bypass"
).split()


def posture(pid: int) -> dict[str, Any]:
    """Everything about a process that says what it may do."""
    found = status(pid)
    place = Path(f"/proc/{pid}")
    seen: dict[str, Any] = {name: found.get(name) for name in ALIKE}
    seen["is another user"] = int(found["Uid"].split()[0]) != os.getuid()
    seen["one user"] = len(set(found["Uid"].split() + found["Gid"].split()))
    seen["limits"] = (place / "limits").read_text()
    seen["oom"] = (place / "oom_score_adj").read_text()
    if os.geteuid() == 0:  # nobody else may look
        seen["environment"] = (place / "environ").read_bytes()
        seen["namespaces"] = {name: os.readlink(place / "ns" / name) for name in os.listdir(place / "ns")}
        seen["descriptors"] = kinds(descriptors(pid))
    return seen


def descriptors(pid: int) -> list[str]:
    """What a process holds open, but for what it has just closed."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(path))
    return found


def kinds(links: list[str]) -> Counter[str]:
    """The same without numbers and the names of runs."""
    return Counter(link.rpartition("/")[2] if "/runs/" in link else link.partition(":[")[0] for link in links)


def memory(pid: int) -> Iterator[bytes]:
    """All that a process has in memory, in pieces."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if found and "[v" not in line:
                start, end = (int(one, 16) for one in found.groups())
                file.seek(start)
                try:
                    yield file.read(end - start)
                except OSError:
                    continue  # not backed by anything


def keys(pid: int) -> set[bytes]:
    """The private keys that are written out in the memory of a process."""
    pattern = rb"-----BEGIN PRIVATE KEY-----\n([A-Za-z0-9+/]{64})"
    return {found for piece in memory(pid) for found in re.findall(pattern, piece)}


def certificate(run: Running) -> x509.Certificate:
    """What the inside of a run trusts."""
    return x509.load_pem_x509_certificate((run.directory / "trust.authority").read_bytes())


def test_it_is_confined_as_one_that_was_started_for_the_run(lab: Lab, open_path: Path, zygote: int) -> None:
    with live(lab, open_path, use="0") as own, forked(lab, open_path, zygote) as other:
        assert parent(proxy_of(own)) == own.supervisor.pid
        pids = proxy_of(own), proxy_of(other)
        wait_for(lambda: posture(pids[1]) == posture(pids[0]))  # also the connections of before have been closed
        wanted = posture(pids[0])
        assert wanted["Seccomp"] == "2" and wanted["NoNewPrivs"] == "1"  # it is something


def test_it_shares_neither_session_nor_group_with_anybody(lab: Lab, open_path: Path, zygote: int) -> None:
    with forked(lab, open_path, zygote) as run:
        pid = proxy_of(run)
        assert os.getsid(pid) == os.getpgid(pid) == pid


@pytest.mark.require("root")  # nobody else may look
def test_nobody_holds_what_is_another_s(lab: Lab, open_path: Path, zygote: int) -> None:
    with forked(lab, open_path, zygote) as one, forked(lab, open_path, zygote) as other:
        nobodys = {"/dev/null", "anon_inode:[eventpoll]", "anon_inode:[pidfd]", "anon_inode:[eventfd]"}
        pids = {"one": proxy_of(one), "other": proxy_of(other), "zygote": zygote, "its run": other.supervisor.pid}

        def holdings() -> dict[str, set[str]]:
            return {name: set(descriptors(pid)) - nobodys for name, pid in pids.items()}

        def is_apart() -> bool:
            held = holdings()
            pairs = [*itertools.combinations(("zygote", "one", "other"), 2), ("one", "its run")]
            shared = [(first, second) for first, second in pairs if held[first] & held[second]]
            return not shared and not [link for link in held["zygote"] if "/runs/" in link]

        wait_for(is_apart)  # what is handed over, the standby holds until it has been
        held = holdings()
        assert len(held["one"]) > 5
        (log,) = (link for link in held["one"] if link.startswith("/") and "memfd:" not in link)
        assert log.endswith("/proxy.log")


@pytest.mark.require("root")  # nobody else may look
def test_nothing_of_a_run_is_in_the_standby_or_in_the_next_proxy(
    lab: Lab, open_path: Path, home: Path, zygote: int
) -> None:
    with forked(lab, open_path, zygote, "--allow", OTHER) as run:
        fetch(run, OTHER)
        own = proxy_of(run)

        def others() -> list[int]:
            found = [pid for pid in of(home, titles.PROXY) if pid != own]
            return found if len(found) == 1 else []

        (waiting,) = wait_for(others)
        pem = (run.directory / "trust.authority").read_bytes().splitlines()[-3]  # of the signature
        for what in (OTHER.encode(), pem):
            assert any(what in piece for piece in memory(own)), "the control"
            for pid in (zygote, waiting):
                assert not any(what in piece for piece in memory(pid)), (what, pid)
        secret = keys(own) - keys(zygote)
        assert secret and not secret & keys(waiting)


def test_no_two_have_a_key_or_a_number_in_common(lab: Lab, open_path: Path, zygote: int) -> None:
    """Forks of one process begin with the same state of every source of randomness that does not notice a fork."""
    found = []
    for _ in range(3):
        with forked(lab, open_path, zygote) as run:
            found.append(certificate(run))
    assert len({one.serial_number for one in found}) == 3
    assert len({one.public_key().public_numbers().x for one in found}) == 3  # type: ignore[union-attr]  # of a curve


def test_runs_live_on_when_the_standby_and_its_group_are_killed(
    lab: Lab, open_path: Path, home: Path, zygote: int
) -> None:
    with forked(lab, open_path, zygote) as run:
        pid = proxy_of(run)
        os.killpg(zygote, signal.SIGKILL)
        wait_for(lambda: not of(home, titles.STANDBY))
        fetch(run)
        with live(lab, open_path) as later:
            assert proxies(later.supervisor.pid)  # one of its own, and another standby
            wait_for(lambda: of(home, titles.STANDBY))
        run.end()
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    assert not run.events("lost")


def test_when_everything_of_ours_is_killed_nothing_is_left(lab: Lab, open_path: Path, zygote: int) -> None:
    with forked(lab, open_path, zygote) as run:
        left = [proxy_of(run), *children(run.supervisor.pid), *children(zygote)]
        assert len(left) >= 3
        os.kill(zygote, signal.SIGKILL)
        run.supervisor.kill()
        wait_for(lambda: not [pid for pid in left if words_of(pid)])


BROKEN = """
import sys
from ringfence.session import egress_worker, standby_server
def broken(*given):
    {how}
egress_worker.serve = broken
standby_server.launch.detach = lambda: None
standby_server.main()
"""


@pytest.mark.parametrize("how", ["raise MemoryError", "os._exit(1)", "os.close(given[3])"])
def test_where_what_was_forked_is_broken_a_run_starts_its_own(lab: Lab, open_path: Path, home: Path, how: str) -> None:
    place = home / ".local/state/ringfence/standby"
    place.mkdir(parents=True, mode=0o700)
    environment = lab.environment()
    name = subprocess.run(
        [sys.executable, "-c", NAME], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    words = [sys.executable, "-c", BROKEN.format(how=f"import os; {how}"), str(place), name]
    with lab.popen(words, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: (place / name).is_socket() and of(home, titles.PROXY))
            with live(lab, open_path) as run:
                assert proxies(run.supervisor.pid)
            assert not run.events("lost")
        finally:
            process.kill()
    wait_for(lambda: not of(home, titles.PROXY))
