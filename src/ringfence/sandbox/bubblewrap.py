"""Plan -> bubblewrap 0.11, without any effect.

Theory of operation. bubblewrap makes the namespaces and the view and executes our first process as pid 1 and
as uid 0 of the new user namespace (`--uid 0`): one user namespace, which owns all the others, so that the
first process can set what belongs to them (pid_max, /proc/sys) before it starts the command in a child
namespace without power (inside/privilege.py). bubblewrap's own `--seccomp` is not used, since the filter must
be loaded after those steps.

INVARIANT: no argument, path or value of the plan stands on bubblewrap's command line: `ps` shows
`bwrap --args N` (tests/posture/test_process.py). Its environment is empty.
"""

from ringfence.model.errors import HostError
from ringfence.model.paths import HostPath
from ringfence.model.plan import Capabilities, HostFacts, Launch, Limits, Mount, MountKind, Plan

NAME = "bubblewrap"
CAPABILITIES = Capabilities(
    tier="process",
    mount_kinds=frozenset(MountKind),
    seccomp_profiles=frozenset({"default", "no-unix", "debug", "nested"}),
    landlock_scopes=True,
    overlay=True,
)
NAMESPACE_FLAGS = {
    "user": "--unshare-user",
    "mount": "",  # always
    "pid": "--unshare-pid",
    "ipc": "--unshare-ipc",
    "uts": "--unshare-uts",
    "net": "--unshare-net",
    "cgroup": "--unshare-cgroup-try",
}
# Host paths of these trees belong to the system; everything else is the user's own.
SYSTEM_ROOTS = ("/usr", "/opt", "/nix", "/sys", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/dev")
PAGE_BYTES = 4096  # the smallest page; with larger ones the limit on System V memory is looser than asked
# RESERVED_PIDS, kernel/pid.c: once numbers have been used up, those below are never given again, so of a namespace's
# pid_max only what is above them is the number of processes that it can have at one time.
RESERVED_PIDS = 300


class _Arguments:
    """Collects bubblewrap's arguments with the descriptors and host paths they stand for."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.words: list[str] = []
        self.files: list[str] = []
        self.secret_files: list[int] = []
        self.sources: list[tuple[HostPath, bool]] = []
        # The workspace's layer is the first, whatever is mounted before it: the run's record speaks of that one.
        overlays = [mount.source for mount in plan.mounts if mount.kind is MountKind.OVERLAY and mount.source]
        self.lowers = [path for path in overlays if path == plan.workspace.path][:1]
        self.covers: list[tuple[int, str, bool]] = []
        self.whiteouts: list[tuple[int, str]] = []
        self.directories = 0

    def source(self, path: HostPath) -> str:
        system = path == "/" or path in SYSTEM_ROOTS or path.startswith(tuple(root + "/" for root in SYSTEM_ROOTS))
        self.sources.append((path, not system))
        return f"@source:{len(self.sources) - 1}"

    def file(self, text: str) -> str:
        self.files.append(text)
        return f"@file:{len(self.files) - 1}"

    def add(self, mount: Mount) -> None:
        """Translate one operation; every kind has exactly one translation."""
        target = str(mount.target)
        match mount.kind:
            case MountKind.TMPFS:
                self.words += ["--perms", f"{mount.mode:04o}", "--size", str(mount.size_bytes), "--tmpfs", target]
            case MountKind.DIRECTORY:
                self.words += ["--perms", f"{mount.mode:04o}", "--dir", target]
            case MountKind.FILE:
                self.words += ["--perms", f"{mount.mode:04o}", "--file", self.file(mount.text), target]
            case MountKind.SECRET_FILE:
                self.secret_files.append(len(self.files))
                self.words += ["--perms", f"{mount.mode:04o}", "--file", self.file(mount.text), target]
            case MountKind.SYMLINK:
                self.words += ["--symlink", mount.text, target]
            case MountKind.PROC:
                self.words += ["--proc", target]
            case MountKind.DEV:
                self.words += ["--dev", target, "--mqueue", f"{target}/mqueue"]
            case MountKind.WHITEOUT:
                self.whiteouts.append(self.in_layer(target))
            case MountKind.RUN_FILE:
                self.words += ["--ro-bind", f"@run:{mount.text}", target]
            case MountKind.READ_ONLY:
                self.words += ["--remount-ro", target]
            case MountKind.BIND | MountKind.RO_BIND | MountKind.OVERLAY | MountKind.COVER:
                self.add_sourced(mount, target)

    def add_sourced(self, mount: Mount, target: str) -> None:
        """Operations that show something of the host's or of the run's own directory."""
        if mount.kind is MountKind.COVER and mount.text:
            self.words += ["--perms", "0444", "--ro-bind-data", self.file(mount.text), target]
            return
        if mount.kind is MountKind.COVER:
            # Over a file that exists, a directory can be mounted only where an upper layer can hold its place.
            directory = mount.directory or (not mount.absent and self.in_overlay(target))
            if directory != mount.directory or mount.absent:
                self.stand_in(target, directory=directory)
            place = self.empty_directory() if directory else "@absent" if mount.absent else "@unreadable"
            self.words += ["--ro-bind", place, target]
            return
        if mount.source is None:
            raise HostError(f"mount of `{target}` has no source")
        if mount.kind is MountKind.OVERLAY:
            if mount.source not in self.lowers:
                self.lowers.append(mount.source)
            number = self.lowers.index(mount.source)
            layers = [f"@upper:{number}", f"@work:{number}"]
            self.words += ["--overlay-src", self.source(mount.source), "--overlay", *layers, target]
            return
        flag = "--bind" if mount.kind is MountKind.BIND else "--ro-bind"
        self.words += [flag, self.source(mount.source), target]

    def empty_directory(self) -> str:
        """A directory of its own for each cover, because a watch belongs to an inode and must name one path."""
        self.directories += 1
        return f"@empty-directory:{self.directories - 1}"

    def in_overlay(self, target: str) -> bool:
        """Whether an upper layer lies over `target`."""
        return any(target.startswith(lower + "/") for lower in self.lowers)

    def stand_in(self, target: str, *, directory: bool) -> None:
        """Remember that `target` must exist in an upper layer while mounting, of the cover's type."""
        if self.in_overlay(target):
            self.covers.append((*self.in_layer(target), directory))

    def in_layer(self, target: str) -> tuple[int, str]:
        """The number of the layer that `target` belongs to, and its path in it."""
        over = [number for number, lower in enumerate(self.lowers) if target.startswith(lower + "/")]
        number = max(over, key=lambda number: len(self.lowers[number]))
        return number, target[len(self.lowers[number]) + 1 :]


def compile_plan(plan: Plan, facts: HostFacts) -> Launch:
    """Return what carries out `plan` here; raise HostError for a promise this backend cannot honour."""
    if plan.tier != CAPABILITIES.tier:
        raise HostError(f"bubblewrap cannot honour tier `{plan.tier}`", hint="set isolation.tier to `process`")
    if plan.seccomp not in CAPABILITIES.seccomp_profiles:
        raise HostError(f"bubblewrap cannot honour seccomp profile `{plan.seccomp}`")
    arguments = _Arguments(plan)
    words = arguments.words
    words += [flag for name in plan.namespaces if (flag := NAMESPACE_FLAGS[name])]
    words += ["--uid", "0", "--gid", "0", "--cap-add", "ALL", "--as-pid-1", "--die-with-parent"]
    words += ["--hostname", plan.hostname, "--perms", "0755", "--size", str(plan.limits.run_bytes), "--tmpfs", "/"]
    for mount in plan.mounts:
        arguments.add(mount)
    first = [NATIVE_INIT] if facts.native_init else [facts.python, "-I", "-S", "-c", BOOTSTRAP]
    words += ["--chdir", "/", "--", *first]
    return Launch(
        program=facts.bubblewrap,
        arguments=tuple(words),
        files=tuple(arguments.files),
        sources=tuple(arguments.sources),
        lowers=tuple(arguments.lowers),
        covers=tuple(arguments.covers),
        whiteouts=tuple(arguments.whiteouts),
        secret_files=tuple(arguments.secret_files),
        init=tuple(order(plan)),
    )


NATIVE_INIT = "/run/ringfence/inside/native-init"
BOOTSTRAP = "import sys;sys.path.insert(0,'/run/ringfence');from inside.init import start;start()"


def order(plan: Plan) -> list[tuple[str, str]]:
    """The fixed part of what the first process is told; command, environment and terminal are added at launch."""
    pairs = [("uid", str(plan.identity.uid)), ("gid", str(plan.identity.gid))]
    pairs.append(("pid_max", str(RESERVED_PIDS + plan.limits.processes)))
    if plan.limits.memory_bytes:
        pairs.append(("shmall", str(max(1, plan.limits.memory_bytes // PAGE_BYTES))))
    pairs += [("scope", name) for name in plan.landlock_scopes]
    if plan.seccomp == "nested" and (plan.identity.idmap or plan.identity.uid != 0):
        # A new procfs may be mounted in a nested namespace only while nothing covers a part of this one
        # (mount_too_revealing, fs/namespace.c). The command's kernel uid owns no file of /proc/sys.
        pairs.append(("seal", "0"))
    pairs.append(("landlock_files", "1" if plan.landlock_files else "0"))
    pairs += [("limit", f"{name}={amount}") for name, amount in resource_limits(plan.limits)]
    return pairs


def resource_limits(limits: Limits) -> list[tuple[str, int]]:
    """setrlimit(2) names and values for what the kernel enforces per process or per user namespace."""
    # SECURITY: with a core_pattern that starts a program only the limit 1 keeps the host's handler from being run on
    # contained memory; 0 does not (core(5), kernel/coredump.c).
    found = [("NPROC", limits.processes), ("CORE", 1)]
    optional = {
        "CPU": limits.cpu_time_s,
        "FSIZE": limits.file_size_bytes or limits.workspace_bytes,  # no single file may outrun the watchdog
        "NOFILE": limits.open_files,
    }
    return found + [(name, amount) for name, amount in optional.items() if amount]
