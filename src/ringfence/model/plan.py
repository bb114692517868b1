"""What will be enforced, neutral of any backend, and what a backend turns it into.

A `Plan` is complete: two backends given the same Plan build the same view, and everything a posture test
reads from `/proc` is promised here. Each mount, variable and limit carries the reason it is there and, where
policy asked for it, the line that did.
"""

from enum import Enum

import msgspec

from .decision import Source
from .egress import Egress
from .git import Signing
from .paths import GuestPath, HostPath
from .secrets import Secrets, TaintResponse


class MountKind(Enum):
    """The operations a view is made of; they are carried out in the order listed in the Plan."""

    TMPFS = "tmpfs"  # empty, private, limited to `size_bytes`
    DIRECTORY = "directory"  # an empty directory with `mode`
    FILE = "file"  # a small file with `text` and `mode`, copied into the view
    SECRET_FILE = "secret-file"  # noqa: S105 - the same; `{NAME}` becomes a secret's placeholder
    SYMLINK = "symlink"  # `text` is the link's target
    BIND = "bind"  # `source` appears writable at `target`
    RO_BIND = "ro-bind"  # `source` appears read-only at `target`
    OVERLAY = "overlay"  # `source` is the lower layer; writes go to the run's own upper layer
    PROC = "proc"  # a procfs of the sandbox's own pid namespace
    DEV = "dev"  # null zero full random urandom tty, own devpts
    COVER = "cover"  # denied path: an empty, immutable stand-in; on the overlay it is not listed
    WHITEOUT = "whiteout"  # on an overlay: the name does not exist, whatever the lower layer has there
    RUN_FILE = "run-file"  # a file of the run's own, named by `text`, filled before the command starts
    READ_ONLY = "read-only"  # seal the mount at `target`


class Mount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation on the view. `directory` tells for a COVER whether the stand-in is a directory."""

    kind: MountKind
    target: GuestPath
    reason: str
    source: HostPath | None = None
    text: str = ""
    mode: int = 0o755
    size_bytes: int = 0
    directory: bool = False
    absent: bool = False
    origin: Source = Source(scope="default")


class Variable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One environment variable. `value` None: taken from the launching environment when the command starts."""

    name: str
    reason: str
    value: str | None = None
    origin: Source = Source(scope="default")


class Identity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who the command is.

    `uid`, `gid`: what it sees. `idmap`: True where the launcher is root and the command runs as an
    unprivileged kernel uid, the owner (`owner_uid`, `owner_gid`) of the workspace mapped to it.
    """

    user: str
    uid: int
    gid: int
    home: GuestPath
    idmap: bool = False
    owner_uid: int = 0
    owner_gid: int = 0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Resource limits; sizes in bytes, times in seconds, 0 where there is none."""

    processes: int = 1024
    memory_bytes: int = 4 << 30
    cpu_time_s: int = 0
    file_size_bytes: int = 0
    open_files: int = 0
    wall_time_s: int = 0
    tmp_bytes: int = 1 << 30
    home_bytes: int = 1 << 30
    run_bytes: int = 16 << 20
    shm_bytes: int = 256 << 20
    workspace_bytes: int = 8 << 30


class WorkspacePlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The workspace. `mode` is `overlay`, `direct` or `readonly`; `apply` is `exit`, `live` or `ask` (overlay only).

    `deny_write` holds the patterns of what must not reach the host, each with whether it is literal (`PathRule`);
    `repositories`: git directories outside `path` that a linked worktree or submodule needs.
    """

    path: HostPath
    mode: str
    apply: str = "exit"
    deny_write: tuple[tuple[str, bool], ...] = ()
    repositories: tuple[HostPath, ...] = ()


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """A path in the view whose opening (`open`) or change (`change`) is recorded as an event with `code`.

    `names` narrows a watched directory to these entries; empty means any.
    """

    target: GuestPath
    on: str
    code: str
    names: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything one run is promised."""

    version: int = 1
    tier: str
    argv: tuple[str, ...]
    cwd: GuestPath
    hostname: str
    identity: Identity
    mounts: tuple[Mount, ...]
    environment: tuple[Variable, ...]
    namespaces: tuple[str, ...]
    seccomp: str
    landlock_scopes: tuple[str, ...]
    landlock_files: bool
    network: str
    limits: Limits
    workspace: WorkspacePlan
    watches: tuple[Watch, ...]
    presets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    egress: Egress | None = None
    secrets: Secrets | None = None
    on_taint: TaintResponse = TaintResponse.NO_NEW_HOSTS
    signing: Signing | None = None


class PathKind(Enum):
    """What `lstat` found."""

    ABSENT = "absent"
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


class PathFact(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one host path.

    `resolved` is its real path, also where nothing exists; `others_read` whether "other" may read it.
    """

    kind: PathKind
    resolved: str = ""
    link: str = ""
    others_read: bool = False
    uid: int = 0
    gid: int = 0
    text: str = ""


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the planner and the backends may know of this host, gathered in one step.

    `paths` holds one fact for each path asked about; `matches` the paths that each pattern found and, under each
    directory searched (its key ends in `/`), those in it that may be denied; `tree` the directories searched where
    they are too many to be watched, so that nothing made from these facts may be kept. `native_init` is the first
    process as a program of its own, empty where `python` runs it. `git_signs`: what the user has git sign unasked,
    `commit` and `tag`.
    """

    uid: int
    gid: int
    user: str
    home: HostPath
    hostname: str
    python: HostPath
    bubblewrap: HostPath
    landlock_abi: int
    idmap: bool
    overlay: bool
    terminal: bool
    git_name: str
    git_email: str
    paths: dict[str, PathFact]
    matches: dict[str, tuple[str, ...]] = {}
    tree: tuple[str, ...] = ()
    native_init: HostPath = HostPath("")
    git_signs: tuple[str, ...] = ()


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend can honour; a Plan that needs more is refused with a hint, never degraded."""

    tier: str
    mount_kinds: frozenset[MountKind]
    seccomp_profiles: frozenset[str]
    landlock_scopes: bool
    overlay: bool


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How one backend carries out a Plan: pure data, with the descriptors it will need named by number.

    `arguments` go through a descriptor, never argv. Within them, `@file:N` stands for a descriptor on
    `files[N]`; `@source:N` for the host path `sources[N]`, of which the flag tells whether it is the user's own
    (and so staged through an id-mapped mount when the launcher is root) or the system's; `@upper:N`, `@work:N`
    and `@empty-directory:N`, `@absent`, `@unreadable` for the run's own files, `lowers[N]` being what the Nth overlay
    covers. `covers` are the paths, relative to an upper layer, of stand-ins that must exist while mounting, `whiteouts`
    those of names that are removed there before anything is mounted. `secret_files` are the numbers of the `files` that
    are templates (`SecretFile`).
    `init` is what the first process in the sandbox is told.
    """

    program: HostPath
    arguments: tuple[str, ...]
    files: tuple[str, ...]
    sources: tuple[tuple[HostPath, bool], ...]
    init: tuple[tuple[str, str], ...]
    lowers: tuple[HostPath, ...]
    covers: tuple[tuple[int, str, bool], ...]
    whiteouts: tuple[tuple[int, str], ...] = ()
    secret_files: tuple[int, ...] = ()
