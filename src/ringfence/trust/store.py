"""The user's decisions: one file for each digest that was trusted at one place.

They lie below the user's own data directory, which no run can see. SECURITY: a decision counts only for the digest it
was made about, at the real path and in the very directory (inode) that the user was in; a store that anybody else could
have written to counts for nothing. Decisions are written whole or not at all.
"""

import contextlib
import hashlib
import os
import stat

import msgspec

KEPT = 16  # per checkout: as many branches with settings of their own as one goes back and forth between


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was trusted, where and when. `contents` tells by path what it was made of, for `--diff`."""

    version: int = 1
    workspace: str
    inode: int
    digest: str
    time_ns: int
    contents: dict[str, str]


def printable(path: str) -> str:
    """A path as text, with an escape for each byte that is not UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def remember(place: str, decision: Decision) -> None:
    """Keep a decision in the store at `place`; raise OSError where that fails."""
    directory = _directory(place, decision.workspace)
    os.makedirs(place, mode=0o700, exist_ok=True)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    temporary = f"{directory}/.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(msgspec.json.encode(decision))
        file.flush()
        os.fsync(descriptor)
    os.replace(temporary, f"{directory}/{decision.digest}")
    for old in decisions(place, decision.workspace)[KEPT:]:
        os.unlink(f"{directory}/{old.digest}")


def decisions(place: str, workspace: str) -> list[Decision]:
    """Every decision about a workspace, the latest first; none from a store that is not ours alone."""
    directory = _directory(place, workspace)
    if not (_is_ours(place) and _is_ours(directory)):
        return []
    found = (_read(f"{directory}/{name}") for name in os.listdir(directory) if not name.startswith("."))
    counting = [one for one in found if one is not None and one.workspace == workspace]
    return sorted(counting, key=lambda one: one.time_ns, reverse=True)


def trusts(place: str, workspace: str, digest: str) -> bool:
    """Whether the user has trusted just this, here."""
    inode = os.stat(workspace).st_ino
    return any(one.digest == digest and one.inode == inode for one in decisions(place, workspace))


def revoke(place: str, workspace: str) -> int:
    """Forget every decision about a workspace; return how many there were."""
    known = decisions(place, workspace)
    for one in known:
        os.unlink(f"{_directory(place, workspace)}/{one.digest}")
    return len(known)


def _directory(place: str, workspace: str) -> str:
    return f"{place}/{hashlib.sha256(os.fsencode(workspace)).hexdigest()[:32]}"


def _is_ours(path: str) -> bool:
    with contextlib.suppress(OSError):
        status = os.lstat(path)
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
    return False


def _read(path: str) -> Decision | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return None
        try:
            found = msgspec.json.decode(file.read(), type=Decision)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
    return found if found.version == 1 and found.digest == os.path.basename(path) else None
