"""What of ringfence's own on this machine is not as it should be and can be put right, and how.

Rules. A `Mend` is data: what is wrong, and the steps that put it right. What is shown is what is carried out, step by
step, and nothing else. Only files, groups and processes of ringfence's own are touched, and only those that belong to
us; what needs root, or would throw away something that somebody might want, is not here (`doctor` tells it).

SECURITY: between showing and doing the answer of a person passes. So everything is looked at again before the first
step, and where a mend is not found any more, in exactly these words, nothing is done. No step follows a link.
"""

import os
import signal
import stat
from collections.abc import Iterable, Iterator
from enum import Enum

import msgspec

from ringfence.model.errors import HostError
from ringfence.sandbox import cgroup
from ringfence.session import places, standby
from ringfence.workspace import removal

from . import leftovers

_OTHERS = 0o077  # bits that a private directory has not
_WRITERS = 0o022


class Verb(Enum):
    """What a step does."""

    CHMOD = "chmod"
    REMOVE = "rm"
    REMOVE_TREE = "rm -r"
    REMOVE_GROUP = "rmdir"
    END = "kill -9"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `path` is a path, of END a process's number; `mode` is of CHMOD, as `was` is what it was."""

    verb: Verb
    path: str
    mode: int = 0
    was: int = 0

    def __str__(self) -> str:
        """The step as the command that does the same."""
        words = [self.verb.value, *([f"{self.mode:04o}"] if self.verb is Verb.CHMOD else []), self.path]
        return " ".join(words)

    @property
    def undo(self) -> str:
        """The command that takes it back; empty where there is none, or nothing to take back."""
        return f"chmod {self.was:04o} {self.path}" if self.verb is Verb.CHMOD else ""


class Mend(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong, `detail`, and the `steps` that put it right. `then` is what to do afterwards, if anything."""

    name: str
    detail: str
    steps: tuple[Step, ...]
    then: str = ""


def find() -> list[Mend]:
    """Everything that can be mended here, in the order in which it should be."""
    found = [*modes(), *artefacts(), *standbys(), *runs(), *scratch(), *agents(), *groups()]
    return [mend for mend in found if mend.steps]


def carry_out(mend: Mend) -> None:
    """Do what was shown; raise HostError where it is not so any more, or a step fails."""
    if mend not in find():
        raise HostError(f"`{mend.name}` has changed meanwhile, nothing was done", hint="ringfence doctor --mend")
    for step in mend.steps:
        try:
            _do(step)
        except OSError as error:
            raise HostError(f"`{step}` failed: {error.strerror or error}", hint="ringfence doctor") from error


def _do(step: Step) -> None:
    match step.verb:
        case Verb.CHMOD:
            _require_ours(step.path)
            os.chmod(step.path, step.mode)
        case Verb.REMOVE:
            os.unlink(step.path)
        case Verb.REMOVE_TREE:
            _require_ours(step.path)
            removal.remove_tree(step.path)
        case Verb.REMOVE_GROUP:
            os.rmdir(step.path)
        case Verb.END:
            handle = os.pidfd_open(int(step.path))
            try:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)


def _require_ours(path: str) -> None:
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
        raise HostError(f"`{path}` is not a file or directory of yours", hint="ringfence doctor")


def modes() -> Iterator[Mend]:
    """Directories and files that others can get at, or that we cannot."""
    state, cache = places.state(), places.cache()
    config = os.path.dirname(places.user_policy())
    yield from _mode("state directory", state, _WRITERS)
    for name in ("runs", "standby", "hooks"):
        yield from _mode(f"state directory `{name}`", f"{state}/{name}", _OTHERS)
    yield from _mode("state directory `agents`", f"{state}/agents", _WRITERS)  # each state in it is private
    check = "ringfence log verify"
    yield from _mode("audit", places.audit(), _OTHERS, then=check)
    for name in leftovers.listed(places.audit()):
        yield from _mode("audit", f"{places.audit()}/{name}", _OTHERS, then=check)
    yield from _mode("cache directory", cache, _WRITERS)
    yield from _mode("configuration", config, _WRITERS, then="read your policy again: `ringfence policy show`")
    yield from _mode("policy", places.user_policy(), _WRITERS, then="read your policy again: `ringfence policy show`")
    yield from _mode("decisions about checkouts", places.trust(), _OTHERS, then="ringfence trust --show")


def _mode(name: str, path: str, unwanted: int, *, then: str = "") -> Iterator[Mend]:
    """`path` without the bits `unwanted`, and open for us."""
    try:
        found = os.lstat(path)
    except OSError:
        return
    if found.st_uid != os.geteuid() or not (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)):
        return  # of another: told by the findings
    mode = stat.S_IMODE(found.st_mode)
    right = (mode & ~unwanted) | (0o700 if stat.S_ISDIR(found.st_mode) else 0o600)
    if right != mode:
        opened = mode & unwanted
        what = "others may write to it" if opened & _WRITERS else "others may read it"
        yield Mend(
            name=name,
            detail=f"{path} has mode {mode:04o}: {what if opened else 'it is closed to you'}",
            steps=(Step(verb=Verb.CHMOD, path=path, mode=right, was=mode),),
            then=then if opened else "",
        )


def artefacts() -> Iterator[Mend]:
    """The cache of launches: one that is open to others goes as a whole, else what is damaged in it."""
    place = f"{places.cache()}/launch"
    try:
        found = os.lstat(place)
    except OSError:
        return
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        return
    mode = stat.S_IMODE(found.st_mode)
    if mode & _OTHERS or mode & 0o700 != 0o700:
        detail = f"{place} has mode {mode:04o}, and is passed over; it is made anew"
        yield Mend(name="cache", detail=detail, steps=(Step(verb=Verb.REMOVE_TREE, path=place),))
        return
    broken = tuple(_removals(leftovers.broken_artefacts(place)))
    yield Mend(name="cache", detail=f"{len(broken)} damaged or unfinished in {place}", steps=broken)


def standbys() -> Iterator[Mend]:
    """Sockets of prepared proxies that have ended, and prepared proxies that do not answer."""
    place = standby.directory()
    dead = tuple(_removals(leftovers.dead_sockets(place)))
    yield Mend(name="standby", detail=f"nobody listens any more in {place}", steps=dead)
    for pid, path in leftovers.silent_standbys(place):
        detail = f"process {pid} listens at {path} and does not answer"
        yield Mend(name="standby", detail=detail, steps=(Step(verb=Verb.END, path=str(pid)), *_removals([path])))


def runs() -> Iterator[Mend]:
    """Directories of dead runs in which nothing is left to apply or to take back."""
    try:
        place = places.runs()
    except HostError:
        return
    empty = list(leftovers.empty_runs(place))
    steps = tuple(Step(verb=Verb.REMOVE_TREE, path=path) for path in empty)
    yield Mend(name="dead runs", detail=f"{len(empty)} ended by a signal or a crash, and changed nothing", steps=steps)


def scratch() -> Iterator[Mend]:
    """What a killed `doctor` has left in the state directory."""
    steps = tuple(Step(verb=Verb.REMOVE_TREE, path=path) for path in leftovers.scratch(places.state()))
    yield Mend(name="scratch", detail=f"left by a `doctor` that was killed in {places.state()}", steps=steps)


def agents() -> Iterator[Mend]:
    """Copies of logins that should have ended with their runs (`--state fresh`)."""
    try:
        found = leftovers.fresh_states(f"{places.state()}/agents", places.runs())
    except HostError:
        return
    steps = tuple(Step(verb=Verb.REMOVE_TREE, path=path) for path in found)
    yield Mend(name="agents", detail="copies of logins, of `--state fresh`, whose runs have ended", steps=steps)


def groups() -> Iterator[Mend]:
    """Control groups of supervisors that have ended."""
    parents = set(cgroup.places(cgroup.own_groups()).values())
    dead = [path for parent in sorted(parents) for path in leftovers.dead_groups(parent)]
    steps = tuple(Step(verb=Verb.REMOVE_GROUP, path=path) for path in dead)
    yield Mend(name="control groups", detail="of runs that have ended", steps=steps)


def _removals(paths: Iterable[str]) -> Iterator[Step]:
    return (Step(verb=Verb.REMOVE, path=path) for path in paths)
