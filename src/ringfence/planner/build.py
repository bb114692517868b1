"""Policy, request and facts in; a complete Plan out."""

import posixpath
from collections.abc import Iterable, Sequence

import msgspec

from ringfence.model.errors import UsageError
from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import HostFacts, Identity, Mount, MountKind, PathKind, Plan, Watch, WorkspacePlan
from ringfence.policy.effective import Policy
from ringfence.policy.patterns import compile_rule

from . import egress, environment, git, git_remotes, git_signers, mounts, secrets, system, trust_store, workspace
from .mounts import INSIDE, fact
from .request import Request
from .search import Listing, search, sought
from .view import HOST, deciding, follow, within

NAMESPACES = ("user", "mount", "pid", "ipc", "uts", "net", "cgroup")
UNPRIVILEGED_ID = 1000  # what the command sees when the launcher is root
# Neither a workspace nor a private home may hide these as a whole; below the last four there is room for a home.
SYSTEM_PLACES = ("/usr", "/etc", "/proc", "/sys", "/dev", "/nix", *system.MERGED_DIRECTORIES)
ROOMY_PLACES = ("/run", "/tmp", "/var", "/opt")


def wanted(policy: Policy, request: Request, home: str) -> tuple[list[str], list[str]]:
    """Host paths to look at and globs to expand first; then come `missing` and `names`."""
    paths = [path for path, _ in system.SYSTEM_TREES] + list(system.MERGED_DIRECTORIES)
    paths += [path for path, _ in system.ETC_TEXTS]
    paths += [path for path, _ in system.ETC_TREES if "*" not in path]
    paths += ["/etc/localtime", "/bin/bash", home, *(path for path, _ in system.PROC_MASKS)]
    paths += [f"{home}/{name}" for name, _ in system.DECOYS]
    paths += [*git.signing_paths(policy.signing, home), *git_signers.paths(policy, home)]
    paths += trust_store.PATHS if egress.inspected(policy) else ()
    paths += [request.workspace, f"{request.workspace}/.git", request.cwd]
    paths += [posixpath.normpath(request.logical_cwd)] if request.logical_cwd.startswith("/") else []
    paths += [item.host for item in policy.mounts]
    paths += [item.source for item in request.mounts if item.source]
    for rule in (*policy.read, *policy.write):
        paths += [path] if (path := mounts.fixed_path(rule)) and rule.pattern.startswith("/") else []
    for rule in (*policy.deny_read, *policy.deny_write):
        paths += _above(compile_rule(rule, workspace=request.workspace).prefix)
    return paths, [*system.ETC_GLOBS, *(trust_store.GLOBS if egress.inspected(policy) else ())]


def texts(policy: Policy, request: Request, home: str) -> list[str]:
    """Those of the wanted paths that are to be read as well; of what lies behind `.git` see `git.references`."""
    keys = [*git.signing_paths(policy.signing, home), *git_signers.paths(policy, home)]
    return [*(path for path, _ in system.ETC_TEXTS), f"{request.workspace}/.git", *keys]


def _above(path: str) -> list[str]:
    """The path itself and every directory it is in."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(2, len(parts) + 1)]


def missing(policy: Policy, facts: HostFacts, request: Request) -> list[str]:
    """Paths that must be looked at as well, given `facts`; ask again until there are none."""
    paths = git.references(facts, request)
    # What does not exist leads nowhere: following a link that leads into itself would never end.
    paths += [known.resolved for known in facts.paths.values() if known.kind is not PathKind.ABSENT]
    for one in sought((*policy.deny_read, *policy.deny_write), facts, request.workspace):
        paths += _above(one.real)
    exposures = exposed(policy, facts, request)
    paths += [f"{path}/{name}" for path, name in workspace.surface_names(exposures, facts, request)]
    paths += [f"{mount.source}/HEAD" for mount in exposures if mount.kind is MountKind.BIND]
    paths += [place for mount in exposures if (place := mounts.point(exposures, mount))]
    paths += [path for found in facts.matches.values() for path in found]
    return [path for path in dict.fromkeys(paths) if path not in facts.paths]


def allowances(policy: Policy, facts: HostFacts, listing: Listing) -> dict[str, tuple[str, ...]]:
    """What each allowance with wildcards finds, with the directories searched, in the form of `HostFacts.matches`."""
    found: dict[str, tuple[str, ...]] = {}
    for rule in (*policy.read, *policy.write):
        if rule.pattern.startswith("/") and mounts.fixed_path(rule) is None:
            (one,) = sought([rule], facts, "/", ignore_case=False)
            hits = search([(one.named, one.named)], [one], listing)
            found |= dict.fromkeys(hits, ())
            found[rule.pattern] = tuple(path for names in hits.values() for path in names)
    return found


def denials(policy: Policy, facts: HostFacts, request: Request, listing: Listing) -> dict[str, tuple[str, ...]]:
    """The names that deny rules match in what the view exposes, by directory searched (`HostFacts.matches`)."""
    rules = sought((*policy.deny_read, *policy.deny_write), facts, request.workspace)
    starts = workspace.exposed(exposed(policy, facts, request))
    return {**search(starts, rules, listing)} if rules else {}


def identity(facts: HostFacts) -> Identity:
    """Who the command is: the user itself, or an unprivileged stand-in when the launcher is root."""
    user = facts.user if facts.uid else "agent"
    hides = any(within(place, facts.home) for place in (*SYSTEM_PLACES, *ROOMY_PLACES))
    home = f"/home/{user}" if hides or any(within(facts.home, place) for place in SYSTEM_PLACES) else facts.home
    if facts.uid != 0:
        return Identity(user=user, uid=facts.uid, gid=facts.gid, home=GuestPath(home))
    return Identity(user=user, uid=UNPRIVILEGED_ID, gid=UNPRIVILEGED_ID, home=GuestPath(home), idmap=facts.idmap)


def check_workspace(facts: HostFacts, request: Request) -> None:
    """Refuse a workspace that would hand over the home directory or the system; raise UsageError."""
    path = request.workspace
    if within(facts.home, path):
        raise UsageError(
            f"the workspace `{path}` would contain the home directory or the whole system",
            hint="change to a project directory, or name one with --directory",
        )
    inside = any(within(path, place) for place in ("/proc", "/dev", "/sys"))
    if inside or any(within(place, path) for place in (*SYSTEM_PLACES, *ROOMY_PLACES, INSIDE, "/var/tmp")):
        raise UsageError(f"`{path}` is a system directory, not a workspace", hint="change to a project directory")


def build(policy: Policy, facts: HostFacts, request: Request) -> Plan:
    """Return everything one run is promised; raise UsageError for a workspace that cannot be contained."""
    check_workspace(facts, request)
    frame = framed(policy, facts, request)
    who = frame.identity
    base = private(policy, facts, request)
    host = shown(base, policy, facts, request)
    mounts.check_points([*base, *host], facts)
    host += workspace.sealed([*base, *host], policy, facts, request)
    view = [*base, *by_depth(host, git.repositories(facts, request))]
    view += workspace.covers(view, policy, facts, request)
    view = mounts.with_parents([*view, *way_in(view, facts, request), *mounts.seals()])
    secrets.check_files(view)
    git.check_key(view, policy.signing, facts)
    git_signers.check_signers(view, policy, facts)
    cwd = GuestPath(request.cwd if deciding(view, request.cwd).kind in HOST else who.home)
    return msgspec.structs.replace(
        frame,
        cwd=cwd,
        mounts=tuple(view),
        environment=environment.variables(policy, who, cwd),
        workspace=workspace_plan(policy, request, git.repositories(facts, request)),
        watches=watches(view, facts, who),
        notes=(*frame.notes, *view_notes(policy, facts, request, view)),
    )


def private(policy: Policy, facts: HostFacts, request: Request) -> list[Mount]:
    """The part of the view that every run has: the system, and places of its own."""
    who = identity(facts)
    view = [
        *mounts.system_trees(facts),
        *mounts.etc(facts, who, egress.resolver(policy.egress)),
        Mount(kind=MountKind.PROC, target=GuestPath("/proc"), reason="the sandbox's own processes"),
        *mounts.masks(policy, facts),
        *mounts.containers(policy),
        Mount(kind=MountKind.DEV, target=GuestPath("/dev"), reason="null zero full random urandom tty ptmx"),
        *mounts.private_places(policy, who, request.workspace),
        *egress.trust(policy, facts),
        *interpreter(facts, request, signs=bool(policy.signing.key)),
        *git.signing_files(policy.signing, facts),
        *mounts.home_files(facts, who, git.signing_settings(policy.signing, facts) + git_remotes.settings(policy)),
        *(item for item in request.mounts if item.source is None),
    ]
    view = secrets.with_files(view, policy.secrets, who)
    sources = {one.declared for one in policy.secrets.secrets}
    return list(mounts.without_hidden(view, sought(policy.deny_read, facts, request.workspace), sources))


def shown(base: list[Mount], policy: Policy, facts: HostFacts, request: Request) -> list[Mount]:
    """What the workspace, presets and policy show of the host, over `base`."""
    found = [
        *workspace.base(policy, request, git.repositories(facts, request)),
        *mounts.granted(policy, facts, request.workspace),
        *(item for item in request.mounts if item.source is not None),
    ]
    placed = [msgspec.structs.replace(mount, target=follow(base, mount.target)) for mount in found]
    ordered = by_depth(placed, git.repositories(facts, request))
    return [*ordered, *workspace.untrusted(ordered, request)]


def exposed(policy: Policy, facts: HostFacts, request: Request) -> list[Mount]:
    """The view before anything of the host's in it is denied."""
    base = private(policy, facts, request)
    return base + shown(base, policy, facts, request)


def by_depth(found: Iterable[Mount], repositories: Sequence[HostPath]) -> list[Mount]:
    """What lies deeper comes later, so that nothing hides another; of two on one path the later stays.

    The workspace is the first overlay: git directories, of which none lies above anything else, come last.
    """
    return sorted(
        found, key=lambda mount: (any(within(mount.target, path) for path in repositories), mount.target.split("/"))
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
        egress=git_signers.with_signers(policy, facts),
        secrets=secrets.kept(policy),
        on_taint=policy.secrets.on_taint,
        signing=policy.signing if policy.signing.key else None,
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
        deny_write=(
            *((rule.pattern, rule.literal) for rule in (*policy.deny_write, *policy.deny_read)),
            *((path, True) for path in request.hidden),
        ),
        repositories=repositories,
    )


def interpreter(facts: HostFacts, request: Request, *, signs: bool = False) -> list[Mount]:
    """The first process: its code, and where a Python is needed the one that /usr does not have."""
    found = [Mount(kind=MountKind.RO_BIND, source=request.inside, target=INSIDE, reason="the first process's own code")]
    if (request.python or signs or not facts.native_init) and not facts.python.startswith("/usr/"):
        root = HostPath(posixpath.dirname(posixpath.dirname(facts.python)))
        found.append(
            Mount(kind=MountKind.RO_BIND, source=root, target=GuestPath(root), reason="Python for the first process")
        )
    return found


def way_in(view: list[Mount], facts: HostFacts, request: Request) -> list[Mount]:
    """Where a symlink led to the working directory, the same path leads there inside."""
    logical = posixpath.normpath(request.logical_cwd)
    if logical == request.cwd or fact(facts, logical).resolved != request.cwd or follow(view, logical) != logical:
        return []
    if deciding(view, logical).kind is not MountKind.TMPFS or any(within(mount.target, logical) for mount in view):
        return []
    return [Mount(kind=MountKind.SYMLINK, target=GuestPath(logical), text=request.cwd, reason="the path you came by")]


def watches(view: list[Mount], facts: HostFacts, who: Identity) -> tuple[Watch, ...]:
    """Openings and changes inside that are recorded on the host."""
    private = [path for path in (*mounts.decoys(facts, who), who.home) if deciding(view, path).kind is MountKind.TMPFS]
    covers = [mount.target for number, mount in enumerate(view) if _can_be_opened(view[:number], mount)]
    filled = {mount.target for mount in view if mount.kind is MountKind.SECRET_FILE}
    opened = [path for path in (*private, *covers) if path != who.home and path not in filled]
    found = [Watch(target=GuestPath(path), on="open", code="path-protected") for path in opened]
    if who.home not in private:
        return tuple(found)
    found.append(Watch(target=who.home, on="change", code="home-contained", names=system.HOME_SURFACES))
    # Directories that are there from the start, because a notice or a preset lies in them, are surfaces as well.
    tops = tuple(f"{who.home}/{name}/" for name in system.HOME_SURFACES)
    made = [mount.target for mount in view if mount.kind is MountKind.DIRECTORY and f"{mount.target}/".startswith(tops)]
    return (*found, *(Watch(target=path, on="change", code="home-contained") for path in made))


def _can_be_opened(view: list[Mount], mount: Mount) -> bool:
    """Whether an attempt on a cover is seen: over a file that lies on no overlay, the kernel refuses it unseen."""
    if mount.kind is not MountKind.COVER or mount.absent:
        return False
    return mount.directory or bool(mount.text) or deciding(view, mount.target).kind is MountKind.OVERLAY


def notes(facts: HostFacts) -> tuple[str, ...]:
    """What this host cannot give, said rather than hidden."""
    found = []
    if facts.uid == 0 and not facts.idmap:
        found.append("no id-mapped mounts here: the command's kernel uid is 0, without any capability")
    if facts.landlock_abi < 6:
        found.append("no Landlock scopes here (kernel < 6.12): the command gets a process group of its own")
    return tuple(found)


def view_notes(policy: Policy, facts: HostFacts, request: Request, view: list[Mount]) -> list[str]:
    """What this view cannot give."""
    live = [mount for mount in view if mount.kind is MountKind.BIND and mount.reason != workspace.PINNED]
    found = [f"`{mount.target}` is live: protected names that do not exist yet can be created there" for mount in live]
    if dropped := mounts.unreadable(policy, facts, request.workspace):
        names = ", ".join(f"`{path}`" for path in dropped)
        found.append(f"not shown, because the workspace belongs to another user than the home: {names}")
    git_file = fact(facts, f"{request.workspace}/.git").kind in (PathKind.FILE, PathKind.SYMLINK)
    if git_file and not git.repositories(facts, request):
        found.append("`.git` leads to a directory that does not point back here: git will not find its repository")
    return found
