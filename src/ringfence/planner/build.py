"""Policy, request and facts in; a complete Plan out."""

import posixpath

import msgspec

from ringfence.model.errors import UsageError
from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import HostFacts, Identity, Mount, MountKind, Plan, Watch, WorkspacePlan
from ringfence.policy.effective import Policy

from . import environment, git, mounts, system, workspace
from .request import Request

NAMESPACES = ("user", "mount", "pid", "ipc", "uts", "net", "cgroup")
UNPRIVILEGED_ID = 1000  # what the command sees when the launcher is root
INSIDE = GuestPath("/run/ringfence/inside")


def wanted(policy: Policy, request: Request, home: str) -> tuple[list[str], list[str]]:
    """Host paths to look at and globs to expand before `build` can be called."""
    paths = [path for path, _ in system.SYSTEM_TREES] + list(system.MERGED_DIRECTORIES)
    paths += [path for path, _ in system.ETC_TEXTS]
    paths += [path for path, _ in system.ETC_TREES if "*" not in path]
    paths += ["/etc/localtime", "/bin/bash", home]
    paths += [f"{home}/{name}" for name, _ in system.DECOYS]
    paths += [request.workspace, f"{request.workspace}/.git"]
    paths += [f"{request.workspace}/{name}" for name in request.surfaces]
    paths += [item.host for item in policy.mounts]
    globs = list(system.ETC_GLOBS)
    for rule in (*policy.read, *policy.write):
        if rule.pattern.startswith("/"):
            (globs if "*" in rule.pattern else paths).append(rule.pattern)
    for rule in (*policy.deny_read, *policy.deny_write):
        paths += [literal] if (literal := workspace.literal_path(rule, request.workspace)) else []
    return paths, globs


def identity(facts: HostFacts) -> Identity:
    """Who the command is: the user itself, or an unprivileged stand-in when the launcher is root."""
    if facts.uid != 0:
        return Identity(user=facts.user, uid=facts.uid, gid=facts.gid, home=GuestPath(facts.home))
    return Identity(
        user="agent", uid=UNPRIVILEGED_ID, gid=UNPRIVILEGED_ID, home=GuestPath(facts.home), idmap=facts.idmap
    )


def check_workspace(facts: HostFacts, request: Request) -> None:
    """Refuse a workspace that would hand over the home directory or the system; raise UsageError."""
    path = request.workspace
    if path == "/" or facts.home == path or facts.home.startswith(path + "/"):
        raise UsageError(
            f"the workspace `{path}` would contain the home directory or the whole system",
            hint="change to a project directory, or name one with --directory",
        )
    if path in ("/usr", "/etc", "/dev", "/proc", "/sys", "/run", "/tmp", "/var"):
        raise UsageError(f"`{path}` is a system directory, not a workspace", hint="change to a project directory")


def build(policy: Policy, facts: HostFacts, request: Request) -> Plan:
    """Return everything one run is promised; raise UsageError for a workspace that cannot be contained."""
    check_workspace(facts, request)
    frame = framed(policy, facts, request)
    who = frame.identity
    repositories = git.repositories(facts, request)
    covers = list(workspace.denied_reads(policy, facts, request))
    view = [
        *mounts.system_trees(facts),
        *mounts.etc(facts, who),
        Mount(kind=MountKind.PROC, target=GuestPath("/proc"), reason="the sandbox's own processes"),
        Mount(kind=MountKind.DEV, target=GuestPath("/dev"), reason="null zero full random urandom tty ptmx"),
        *mounts.private_places(policy, who),
        *interpreter(facts, request),
        *mounts.readable(policy, facts),
        *mounts.home_files(facts, who),
        *workspace.base(policy, request, repositories),
        *mounts.extra(policy, facts),
        *workspace.surfaces(facts, request, policy),
        *workspace.denied_writes(policy, facts, request),
        *covers,
        *way_in(request),
        *mounts.seals(),
    ]
    return msgspec.structs.replace(
        frame,
        cwd=GuestPath(request.cwd if contains(view, request.cwd) else who.home),
        mounts=tuple(view),
        environment=environment.variables(policy, who, request.cwd),
        workspace=workspace_plan(policy, request, repositories),
        watches=watches(facts, who, covers),
    )


def framed(policy: Policy, facts: HostFacts, request: Request) -> Plan:
    """What a Plan promises whatever its view is; the view, the environment and the watches are still empty."""
    owner = facts.paths[request.workspace]
    return Plan(
        tier=policy.tier,
        argv=request.argv,
        cwd=GuestPath(request.cwd),
        hostname=facts.hostname,
        identity=msgspec.structs.replace(identity(facts), owner_uid=owner.uid, owner_gid=owner.gid),
        mounts=(),
        environment=(),
        namespaces=NAMESPACES,
        seccomp=policy.seccomp,
        landlock_scopes=("abstract-sockets", "signals") if facts.landlock_abi >= 6 else (),
        # A Landlock domain with file rules may not change mounts, which nested sandboxes must.
        landlock_files=facts.landlock_abi >= 3 and policy.seccomp != "nested",
        network=policy.network,
        limits=policy.limits,
        workspace=WorkspacePlan(path=request.workspace, mode="readonly"),
        watches=(),
        presets=policy.presets,
        notes=notes(facts),
    )


def workspace_plan(policy: Policy, request: Request, repositories: tuple[HostPath, ...]) -> WorkspacePlan:
    """What the apply step after the run must know."""
    return WorkspacePlan(
        path=request.workspace,
        mode=policy.workspace_mode,
        apply=policy.workspace_apply,
        deny_write=tuple(rule.pattern for rule in (*policy.deny_write, *policy.deny_read)),
        repositories=repositories,
    )


def contains(view: list[Mount], path: str) -> bool:
    """Whether the working directory exists inside."""
    kinds = (MountKind.BIND, MountKind.RO_BIND, MountKind.OVERLAY)
    return any(path == m.target or path.startswith(m.target + "/") for m in view if m.kind in kinds)


def interpreter(facts: HostFacts, request: Request) -> list[Mount]:
    """The first process: its code, and where it is not a program of its own the Python that /usr does not have."""
    found = [
        Mount(kind=MountKind.RO_BIND, source=request.inside, target=INSIDE, reason="the first process's own code")
    ]
    if not facts.native_init and not facts.python.startswith("/usr/"):
        root = HostPath(posixpath.dirname(posixpath.dirname(facts.python)))
        found.append(
            Mount(kind=MountKind.RO_BIND, source=root, target=GuestPath(root), reason="Python for the first process")
        )
    return found


def way_in(request: Request) -> list[Mount]:
    """Where a symlink led to the working directory, the same path leads there inside."""
    logical = posixpath.normpath(request.logical_cwd) if request.logical_cwd else ""
    if not logical.startswith("/") or logical == request.cwd:
        return []
    covered = ("/usr/", "/etc/", "/proc/", "/dev/", request.workspace + "/")
    if logical.startswith(covered):
        return []
    return [
        Mount(kind=MountKind.SYMLINK, target=GuestPath(logical), text=request.cwd, reason="the path you came by")
    ]


def watches(facts: HostFacts, who: Identity, covers: list[Mount]) -> tuple[Watch, ...]:
    """Openings and changes inside that are recorded on the host."""
    found = [Watch(target=GuestPath(path), on="open", code="path-protected") for path in mounts.decoys(facts, who)]
    found += [Watch(target=cover.target, on="open", code="path-protected") for cover in covers]
    home = Watch(target=who.home, on="change", code="home-contained", names=system.HOME_SURFACES)
    return (*found, home)


def notes(facts: HostFacts) -> tuple[str, ...]:
    """What this host cannot give, said rather than hidden."""
    found = []
    if facts.uid == 0 and not facts.idmap:
        found.append("no id-mapped mounts here: the command's kernel uid is 0, without any capability")
    if facts.landlock_abi < 6:
        found.append("no Landlock scopes here (kernel < 6.12): the command gets a process group of its own")
    return tuple(found)


