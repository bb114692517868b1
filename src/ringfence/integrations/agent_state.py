"""An agent's own files: ringfence's copy of them, seeded with the login, never the host's own.

Theory of operation. Each agent has a copy for each workspace (`private`), one for all (`shared`), or one that ends with
the run (`fresh`). Inside it stands where the agent looks for its directory. A private copy keeps what one project's
agent has written (history, memory, servers it has named) from steering another's. The host's directory is only read.

SECURITY: an agent can write to its copy and leave anything there for the next start. So nothing in it is opened by a
path of more than one name, no link is followed, and a file is put in place by renaming a new one. Names that run code
or instruct the agent are covered, read-only, by the host's own or by nothing (docs/threats.md, A1).
"""

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from typing import Any

from ringfence.model.errors import HostError, UsageError
from ringfence.model.ports import Report
from ringfence.session import places
from ringfence.session.run import Run
from ringfence.workspace import removal

from .agent_catalogue import Agent, StateDirectory

KINDS = ("private", "shared", "fresh")
LOGIN_BYTES = 1 << 20
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

MountWords = tuple[str, str, str, str]
"""Kind, source, target and reason, as session/options.py takes mounts."""


class AgentState:
    """The state of `agent` for one run in `workspace`; `owner` (uid, gid) is whose files the command can write."""

    def __init__(self, agent: Agent, kind: str, *, workspace: str, owner: tuple[int, int]) -> None:
        if kind not in KINDS:
            raise UsageError(f"`{kind}` is not a kind of state", hint="one of " + ", ".join(KINDS))
        keys = {"private": hashlib.sha256(os.fsencode(workspace)).hexdigest()[:16], "shared": "shared"}
        self.agent = agent
        self.owner = owner
        self.temporary = kind == "fresh"
        self.place = f"{root()}/{agent.name}/{keys.get(kind) or f'fresh-{secrets.token_hex(8)}'}"

    def prepare(self, home: str) -> list[MountWords]:
        """Make and seed the copy; return what is mounted for it, `home` being the one inside. Raises HostError."""
        os.makedirs(self.place, mode=0o700, exist_ok=True)
        empty_stand_ins()
        mounts: list[MountWords] = []
        for number, directory in enumerate(self.agent.state):
            own = f"{self.place}/{number}"
            target = f"{home}/{directory.path}"
            self.make(own)
            try:
                self.seed(own, directory)
                covers = list(self.covers(own, directory, target))
            except OSError as error:
                hint = f"look at `{own}`, and remove it to begin anew"
                raise HostError(f"the state of `{self.agent.name}` is damaged: {error}", hint=hint) from error
            mounts += [("bind", own, target, f"state of {self.agent.name}: ringfence's own copy"), *covers]
        return mounts

    def make(self, own: str) -> None:
        """One directory, owned by whoever the command is."""
        try:
            os.mkdir(own, 0o700)
        except FileExistsError:
            return
        if os.geteuid() == 0:
            os.chown(own, *self.owner)

    def seed(self, own: str, directory: StateDirectory) -> None:
        """Copy the login where the host's is newer, and what a first start needs where there is nothing yet."""
        host = host_directory(directory)
        place = os.open(own, _OPEN)
        try:
            for name in directory.login:
                found = read_plain(f"{host}/{name}")
                if found and found[1] > modified(place, name):
                    self.put(place, name, found[0])
            if directory.first and modified(place, directory.first[0]) < 0:
                name, keys = directory.first
                found = read_plain(f"{host}/{name}") or read_plain(f"{places.home()}/{name}")
                self.put(place, name, reduced(found[0] if found else b"{}", keys))
        finally:
            os.close(place)

    def approve(self, key: str, placeholder: str) -> None:
        """Have the agent know the placeholder of a key as one that its user wants used, where the host's knows the key.

        Otherwise it would ask at each start, since there is another placeholder each time.
        """
        known = self.agent.known_key
        for number, directory in enumerate(self.agent.state):
            if not known or not directory.first:
                continue
            name, _ = directory.first
            host = read_plain(f"{host_directory(directory)}/{name}") or read_plain(f"{places.home()}/{name}")
            if key[-known.tail :] not in listed(parsed(host[0]) if host else {}, known.keys):
                continue
            place = os.open(f"{self.place}/{number}", _OPEN)
            try:
                own = parsed(read_within(place, name))
                own[known.keys[0]] = {known.keys[1]: [placeholder[-known.tail :]], "rejected": []}
                self.put(place, name, json.dumps(own).encode())
            finally:
                os.close(place)

    def put(self, place: int, name: str, data: bytes) -> None:
        """A new file under `name`, in place of whatever is there."""
        temporary = f".{name}.{secrets.token_hex(6)}"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=place), "wb") as file:
            file.write(data)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), *self.owner)
        os.rename(temporary, name, src_dir_fd=place, dst_dir_fd=place)

    def covers(self, own: str, directory: StateDirectory, target: str) -> Iterator[MountWords]:
        """Read-only mounts over what steers the agent, and something in the copy for each to be mounted on."""
        place = os.open(own, _OPEN)
        try:
            for named in directory.steering:
                name = named.rstrip("/")
                self.hold(place, name, is_directory=named.endswith("/"))
                source = self.shown(f"{host_directory(directory)}/{named}")
                mine = source.startswith(f"{root()}/")
                reason = "steers the agent: " + ("not there, and not to be made" if mine else "your own, read-only")
                yield "ro-bind", source, f"{target}/{name}", reason
        finally:
            os.close(place)

    def hold(self, place: int, name: str, *, is_directory: bool) -> None:
        """Something of the right type under `name`; what an agent has put there in its place is removed."""
        try:
            found = os.stat(name, dir_fd=place, follow_symlinks=False).st_mode
        except FileNotFoundError:
            pass
        else:
            if stat.S_ISDIR(found) == is_directory and (is_directory or stat.S_ISREG(found)):
                return
            if stat.S_ISDIR(found):
                raise OSError(f"`{name}` is a directory")
            os.unlink(name, dir_fd=place)
        if is_directory:
            os.mkdir(name, 0o755, dir_fd=place)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=place))
        if os.geteuid() == 0:
            os.chown(name, *self.owner, dir_fd=place, follow_symlinks=False)

    def shown(self, path: str) -> str:
        """The host's own `path`, a directory if it ends in `/`, where the command may read it, else a stand-in."""
        is_directory = path.endswith("/")
        real = os.path.realpath(path)
        try:
            found = os.stat(real)
        except OSError:
            return stand_in(path)
        wanted = stat.S_ISDIR if is_directory else stat.S_ISREG
        readable = os.geteuid() != 0 or found.st_uid == self.owner[0] or bool(found.st_mode & stat.S_IROTH)
        return real if wanted(found.st_mode) and readable else stand_in(path)

    def finish(self) -> None:
        """Remove a copy that was to end with the run."""
        if self.temporary:
            removal.remove_tree(self.place)


def root() -> str:
    """Where the copies are."""
    return f"{places.state()}/agents"


def stand_in(path: str) -> str:
    """What is mounted where the host has no `path`: an empty directory, JSON object or file."""
    if path.endswith("/"):
        return f"{root()}/empty-directory"
    # An empty file is no JSON: Gemini CLI starts with none, and not with that.
    return f"{root()}/empty{'.json' if path.endswith(('.json', '.jsonc')) else '-file'}"


def empty_stand_ins() -> None:
    """Make all of them."""
    os.makedirs(stand_in("/"), mode=0o755, exist_ok=True)
    for name, data in ((stand_in(""), b""), (stand_in(".json"), b"{}\n")):
        with open(name, "ab", opener=lambda path, flags: os.open(path, flags | os.O_CLOEXEC, 0o644)) as file:
            if file.tell() != len(data):
                file.truncate(0)
                file.write(data)


def host_directory(directory: StateDirectory) -> str:
    """Where the agent keeps it on the host."""
    moved = os.environ.get(directory.variable, "") if directory.variable else ""
    return moved if moved.startswith("/") else f"{places.home()}/{directory.path}"


def read_plain(path: str) -> tuple[bytes, float] | None:
    """Content and time of change of a regular file of the host's; None where there is none that can be read."""
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(LOGIN_BYTES + 1) if stat.S_ISREG(found.st_mode) else b""
    except OSError:
        return None
    return (data, found.st_mtime) if data and len(data) <= LOGIN_BYTES else None


def modified(place: int, name: str) -> float:
    """When a file of the copy was changed; -1 where there is none."""
    try:
        return os.stat(name, dir_fd=place, follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return -1


def read_within(place: int, name: str) -> bytes:
    """Content of a regular file of the copy, which the agent may have put there; empty where it is none."""
    try:
        with open(
            os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place), "rb"
        ) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(LOGIN_BYTES + 1) if regular else b""
    except OSError:
        return b""
    return data if len(data) <= LOGIN_BYTES else b""


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`; an empty one where there is none."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def listed(found: dict[str, Any], keys: tuple[str, str]) -> list[Any]:
    """The list under two keys; an empty one where there is none."""
    inner = found.get(keys[0])
    names = inner.get(keys[1]) if isinstance(inner, dict) else None
    return names if isinstance(names, list) else []


def reduced(data: bytes, keys: tuple[str, ...]) -> bytes:
    """The JSON object in `data` with nothing but `keys`; an empty one where there is no object."""
    found = parsed(data)
    return json.dumps({key: found[key] for key in keys if key in found}).encode()


class KeyIntroduction:
    """Makes the agent know the placeholder of its key before it starts; a companion of the run `started`."""

    def __init__(self, state: AgentState, started: Run) -> None:
        self.state = state
        self.started = started

    def attach(self, init: int, report: Report) -> None:
        """Write it down, if there is a placeholder."""
        known = self.state.agent.known_key
        placeholder = self.started.extra_environment.get(known.variable) if known else None
        if known and placeholder and known.variable in os.environ:
            self.state.approve(os.environ[known.variable], placeholder)

    def close(self) -> None:
        """Nothing to end."""
