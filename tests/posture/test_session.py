"""Processes of a live session, read from /proc on the host: what serves, the keepers, and commands of both kinds."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ringfence import Sandbox, SandboxSession, SessionProcess
from tests import paths
from tests.posture.live import children, links, status

pytestmark = pytest.mark.require("bubblewrap", "userns")
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
SANDBOX_UID = 0x70000000  # the lowest kernel uid that a root-launched sandbox runs as
AS_ROOT = os.geteuid() == 0
both = pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "shared"])


VIEW = """
import os, json
found = {"": [sorted(os.environ), os.getcwd(), os.getuid(), sorted(os.listdir("/run")), sorted(os.listdir("/tmp"))]}
for line in open("/proc/self/mountinfo"):
    words = line.split()
    kind, _, details = words[words.index("-") + 1 :]
    look = os.stat(words[4])
    size = [one for one in details.split(",") if one.startswith("size=")]
    options = sorted(one for one in words[5].split(",") if not one.endswith("atime"))
    found[words[4]] = [kind, options, oct(look.st_mode), look.st_uid, size]
print(json.dumps(found))
"""
LOOK = ["/usr/bin/python3", "-I", "-S", "-c", VIEW]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxSession]:
    """Give an open session on an empty workspace."""
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    with Sandbox(directory=tmp_path) as box, box.session() as found:
        yield found


def start(session: SandboxSession, *, fresh: bool) -> tuple[SessionProcess, int, int]:
    """Start a command that waits; give it with the pid of its keeper, or of what serves its room, and its own."""
    process = session.start(["sh", "-c", "echo on; read x"], fresh=fresh)
    assert process.stdout.readline() == b"on\n"
    paths.wait_until(lambda: process._command.pid >= 0)  # the supervisor's thread may learn of it later than we do
    found = children(process._command.keeper)
    assert process._command.pid in found if not fresh else found == [process._command.pid]
    return process, process._command.keeper, process._command.pid


def first(session: SandboxSession) -> int:
    """The pid of what serves the session."""
    supervisor = session.carried_out.supervisor
    assert supervisor is not None
    return supervisor.init


def namespaces(pid: int) -> dict[str, str]:
    """Every namespace of a process."""
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in ("user", "mnt", "pid", "ipc", "uts", "net")}


@both
def test_a_command_has_no_power(session: SandboxSession, fresh: bool) -> None:
    process, _, command = start(session, fresh=fresh)
    with process:
        found = status(command)
        assert {name: int(found[name][0], 16) for name in CAPABILITY_SETS} == dict.fromkeys(CAPABILITY_SETS, 0)
        assert (found["NoNewPrivs"], found["Seccomp"], found["Seccomp_filters"]) == (["1"], ["2"], ["1"])
        assert Path(f"/proc/{command}/uid_map").read_text().split()[::2] == [
            "1000" if AS_ROOT else str(os.getuid()),
            "1",
        ]
        if AS_ROOT:
            assert min(int(word) for word in found["Uid"] + found["Gid"]) >= SANDBOX_UID
            assert found["Groups"] == []
        assert sorted(os.listdir(f"/proc/{command}/fd")) == ["0", "1", "2"]


@both
def test_a_keeper_has_none_left(session: SandboxSession, fresh: bool) -> None:
    process, keeper, _ = start(session, fresh=fresh)
    with process:
        found = status(keeper)
        assert {name: int(found[name][0], 16) for name in CAPABILITY_SETS} == dict.fromkeys(CAPABILITY_SETS, 0)
        assert (found["NoNewPrivs"], found["Seccomp"]) == (["1"], ["2"])
        if AS_ROOT:  # nobody else may look: it is not dumpable
            held = {os.readlink(f"/proc/{keeper}/fd/{name}") for name in ("0", "1", "2")}
            assert held == {"/dev/null"}


def handles(pid: int) -> set[int]:
    """The processes that it holds handles on."""
    found: set[int] = set()
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        with suppress(FileNotFoundError):  # it has just been closed
            lines = Path(f"/proc/{pid}/fdinfo/{name}").read_text().splitlines()
            found.update(int(line.split()[1]) for line in lines if line.startswith("Pid:"))
    return found


def test_what_serves_the_shared_room_has_none_either(session: SandboxSession) -> None:
    process, server, command = start(session, fresh=False)
    with process:
        found = status(server)
        assert {name: int(found[name][0], 16) for name in CAPABILITY_SETS} == dict.fromkeys(CAPABILITY_SETS, 0)
        assert (found["NoNewPrivs"], found["Seccomp"], found["Seccomp_filters"]) == (["1"], ["2"], ["1"])
        assert namespaces(server)["user"] == namespaces(command)["user"] != namespaces(first(session))["user"]
        if AS_ROOT:
            # It may be just closing what it has handed to the command.
            paths.wait_until(lambda: not set(links(command)) & set(links(server)))
            paths.wait_until(lambda: handles(server) <= {-1, *children(server)})
            held = links(server)
            # Conversations, what wakes it up, and nothing of a command.
            assert held_kinds(held).count("/dev/null") == 3
            assert set(held_kinds(held)) <= {"/dev/null", "socket", "pipe", "anon_inode", "pidfd"}
            assert not set(links(command)) & set(held)
            assert {link for link in held if link.startswith("anon_inode")} <= {"anon_inode:[pidfd]"}
            assert handles(server) <= {-1, *children(server)}  # of its own children, and of those that have ended


def test_what_stands_by_has_no_power_and_nothing_of_a_command(session: SandboxSession) -> None:
    process, server, command = start(session, fresh=False)
    with process:
        for pid in [pid for pid in children(server) if pid != command]:
            found = status(pid)
            assert {name: int(found[name][0], 16) for name in CAPABILITY_SETS} == dict.fromkeys(CAPABILITY_SETS, 0)
            assert (found["NoNewPrivs"], found["Seccomp"], found["Seccomp_filters"]) == (["1"], ["2"], ["1"])
            assert namespaces(pid) == namespaces(command)
            if AS_ROOT:
                assert has_only(pid, ["pipe"] * 3 + ["socket"] * 2), links(pid)
                assert not set(links(command)) & set(links(pid))


def has_only(pid: int, kinds: list[str]) -> bool:
    """Whether a process holds descriptors of these kinds and no others; it may have been made a moment ago."""
    return paths.wait_until(lambda: sorted(held_kinds(links(pid))) == kinds)


def held_kinds(held: list[str]) -> list[str]:
    """What kinds of things links of /proc/PID/fd lead to."""
    return [text.partition(":")[0] for text in held]


def test_what_serves_is_nobody_on_the_host(session: SandboxSession) -> None:
    """Its capabilities are over the boundary's namespaces, and it holds none of the host's."""
    session.run(["true"])
    server, here = namespaces(first(session)), namespaces(os.getpid())
    assert all(server[name] != here[name] for name in here)
    if AS_ROOT:
        assert min(int(word) for word in status(first(session))["Uid"]) >= SANDBOX_UID
        expected = ["/dev/null"] * 3 + ["socket"]  # to its supervisor
        assert has_only(first(session), expected), links(first(session))


def test_fresh_namespaces_are_fresh(session: SandboxSession) -> None:
    one, _, first_command = start(session, fresh=True)
    other, _, second_command = start(session, fresh=True)
    with one, other:
        server, a, b = namespaces(first(session)), namespaces(first_command), namespaces(second_command)
        for name in ("pid", "mnt", "ipc", "user"):
            assert len({server[name], a[name], b[name]}) == 3, name
        for name in ("net", "uts"):
            assert server[name] == a[name] == b[name]
        assert status(first_command)["NSpid"][-1] == "2"


def test_shared_commands_share_namespaces_of_their_own(session: SandboxSession) -> None:
    one, _, first_command = start(session, fresh=False)
    other, _, second_command = start(session, fresh=False)
    with one, other:
        server, a, b = namespaces(first(session)), namespaces(first_command), namespaces(second_command)
        assert a == b
        assert not {a["pid"], a["mnt"], a["ipc"], a["user"]} & set(server.values())


@both
def test_a_command_sees_what_a_run_of_its_own_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    """The view of a session's command is that of `run`, place by place: what is mounted there, of which kind, how."""
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    with Sandbox(directory=tmp_path) as box:
        cold = json.loads(box.run(LOOK).text)
        with box.session() as session:
            warm = json.loads(session.run(LOOK, fresh=fresh).text)
    queues = warm["/dev/mqueue"]
    assert queues[0] == "mqueue" and set(queues[1]) >= set(cold["/dev/mqueue"][1])  # if anything, it may do less there
    cold["/dev/mqueue"][1] = queues[1]
    assert {name: (warm[name], cold[name]) for name in cold if warm[name] != cold[name]} == {}
    assert warm.keys() == cold.keys()


def processes_of(session: SandboxSession) -> list[str]:
    """Every process of its boundary."""
    return [name for name in os.listdir(f"/proc/{first(session)}/root/proc") if name.isdigit()]


def test_everything_is_dead_when_its_end_is_told(session: SandboxSession) -> None:
    process, keeper, command = start(session, fresh=True)
    with process:
        process.stdin.write(b"\n")
        assert process.wait(100) == 0
        assert not os.path.exists(f"/proc/{command}")
    session.run(["sh", "-c", "for i in 1 2 3; do setsid sleep 600 & done"])
    paths.wait_until(lambda: len(processes_of(session)) == 1)  # keepers may be just ending; what they kept would go on
    assert len(processes_of(session)) == 1
    assert keeper > 0
