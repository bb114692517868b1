"""The view: which part of the host exists inside, in mounting order.

Theory of operation. The root is an empty tmpfs. System trees, a few pieces of /etc, preset paths and the
workspace are placed on it; denied paths are covered last, so that no later mount can uncover them; then /dev
and the root itself are sealed.

INVARIANT: every host path in the view is named here, in a preset or in policy with its origin, and no denied
path is readable through any of them (tests/attacks/test_f1_files_read.py, tests/unit/planner/test_mounts.py).
"""

import posixpath
from collections.abc import Collection, Iterable, Sequence

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import HostFacts, Identity, Mount, MountKind, PathFact, PathKind
from ringfence.policy.effective import PathRule, Policy
from ringfence.policy.patterns import compile_rule

from . import system
from .search import Sought
from .view import HOST, deciding, follow, within

ABSENT = PathFact(kind=PathKind.ABSENT)
DECOY_TEXT = "# ringfence: path-protected\n"
DECOY_JSON = "{}\n"
INSIDE = GuestPath("/run/ringfence/inside")
# What the view is made of: showing the host's own there, or above it, would undo it.
_OWN = ("/proc", "/dev", INSIDE)


def fact(facts: HostFacts, path: str) -> PathFact:
    """What is known of `path`; absent when nobody looked."""
    return facts.paths.get(path, ABSENT)


def _guest(path: str) -> GuestPath:
    return GuestPath(path)


def _ro_bind(path: str, reason: str, origin: Source | None = None) -> Mount:
    return Mount(
        kind=MountKind.RO_BIND,
        source=HostPath(path),
        target=_guest(path),
        reason=reason,
        origin=origin or Source(scope="default"),
    )


def _tmpfs(path: str, *, mode: int, size_bytes: int, reason: str) -> Mount:
    return Mount(kind=MountKind.TMPFS, target=_guest(path), mode=mode, size_bytes=size_bytes, reason=reason)


def _file(path: str, text: str, reason: str, *, mode: int = 0o444) -> Mount:
    return Mount(kind=MountKind.FILE, target=_guest(path), text=text, mode=mode, reason=reason)


def _link(path: str, target: str, reason: str) -> Mount:
    return Mount(kind=MountKind.SYMLINK, target=_guest(path), text=target, reason=reason)


def _directory(path: str, reason: str, *, mode: int = 0o755) -> Mount:
    return Mount(kind=MountKind.DIRECTORY, target=_guest(path), mode=mode, reason=reason)


def system_trees(facts: HostFacts) -> Iterable[Mount]:
    """/usr and its companions, with merged directories as the host has them."""
    for path, reason in system.SYSTEM_TREES:
        if fact(facts, path).kind is PathKind.DIRECTORY:
            yield _ro_bind(path, reason)
    for path in system.MERGED_DIRECTORIES:
        found = fact(facts, path)
        if found.kind is PathKind.SYMLINK:
            yield _link(path, found.link, "merged into /usr")
        elif found.kind is PathKind.DIRECTORY:
            yield _ro_bind(path, "programs and libraries")


def etc(facts: HostFacts, identity: Identity, resolver: tuple[str, str]) -> Iterable[Mount]:
    """The picked entries of /etc that "other" may read, and generated account and host tables."""
    for path, reason in system.ETC_TEXTS:
        found = fact(facts, path)
        if found.kind is not PathKind.ABSENT and found.others_read and found.text:
            yield _file(path, found.text, reason)
    for pattern, reason in system.ETC_TREES:
        for path in facts.matches.get(pattern, ()) if "*" in pattern else (pattern,):
            found = fact(facts, path)
            if found.kind is not PathKind.ABSENT and found.others_read:
                yield _ro_bind(path, reason)
    zone = fact(facts, "/etc/localtime")
    if zone.resolved.startswith("/usr/"):
        yield _link("/etc/localtime", zone.resolved, "local time")
    shell = "/bin/bash" if fact(facts, "/bin/bash").kind is not PathKind.ABSENT else "/bin/sh"
    accounts = (
        "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
        f"{identity.user}:x:{identity.uid}:{identity.gid}::{identity.home}:{shell}\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    )
    groups = f"root:x:0:\n{identity.user}:x:{identity.gid}:\ntty:x:5:\nnogroup:x:65534:\n"
    yield _file("/etc/passwd", accounts, "only the sandbox's own accounts")
    yield _file("/etc/group", groups, "only the sandbox's own groups")
    yield _file("/etc/nsswitch.conf", system.GENERATED_NSSWITCH, "names come from files")
    yield _file("/etc/hosts", system.GENERATED_HOSTS.format(hostname=facts.hostname), "loopback names")
    yield from _refusals(facts)
    yield _file("/etc/hostname", facts.hostname + "\n", "the sandbox's own name")
    yield _file("/etc/resolv.conf", *resolver)


def _refusals(facts: HostFacts) -> Iterable[Mount]:
    """What programs say that would change the system: by themselves they would not say why they fail."""
    yield _file("/etc/pam.d/other", system.GENERATED_PAM, "what a log-in is told, as every one fails")
    if fact(facts, "/etc/debian_version").kind is not PathKind.ABSENT:
        yield _file(
            "/etc/apt/apt.conf.d/ringfence", system.GENERATED_APT, "what apt is told, as it can install nothing"
        )


def masks(policy: Policy, facts: HostFacts) -> Iterable[Mount]:
    """Nothing in place of what /proc says of the host; the profile `nested` needs a /proc without covers."""
    for path, what in system.PROC_MASKS:
        if policy.seccomp != "nested" and fact(facts, path).kind is not PathKind.ABSENT:
            reason = f"not the sandbox's to know: {what}"
            yield Mount(kind=MountKind.RO_BIND, source=HostPath("/dev/null"), target=_guest(path), reason=reason)


def containers(policy: Policy) -> Iterable[Mount]:
    """Settings of an engine without privileges, where the profile lets it start containers."""
    if policy.seccomp == "nested":
        for name, text in system.GENERATED_CONTAINERS.items():
            yield _file(f"/etc/containers/{name}", text, "containers of one user, in the network of the run")


def private_places(policy: Policy, identity: Identity, workspace: str) -> Iterable[Mount]:
    """Writable places that end with the run, each with its own size."""
    limits = policy.limits
    yield _tmpfs("/tmp", mode=0o1777, size_bytes=limits.tmp_bytes, reason="private temporary files")
    if any(within(place, "/var/tmp") for place in (workspace, identity.home)):  # a link would give them another path
        yield _tmpfs("/var/tmp", mode=0o1777, size_bytes=limits.tmp_bytes, reason="private temporary files")
    else:
        yield _link("/var/tmp", "/tmp", "private temporary files")
    yield _tmpfs("/run", mode=0o755, size_bytes=limits.run_bytes, reason="private run-time state")
    yield _directory("/run/lock", "lock files", mode=0o1777)
    yield _directory(f"/run/user/{identity.uid}", "XDG_RUNTIME_DIR", mode=0o700)
    yield _link("/var/run", "/run", "private run-time state")
    yield _link("/var/lock", "/run/lock", "private run-time state")
    yield _directory("/var/cache", "programs that expect it")
    yield _directory("/var/lib", "programs that expect it")
    yield _directory("/sys/fs/cgroup", "containers give up without a word if it is missing")
    yield _tmpfs("/dev/shm", mode=0o1777, size_bytes=limits.shm_bytes, reason="POSIX shared memory")
    home = identity.home
    yield _tmpfs(home, mode=0o700, size_bytes=limits.home_bytes, reason="private home")


def decoys(facts: HostFacts, identity: Identity) -> list[str]:
    """Paths of the well-known secrets that the host's home holds, for which a notice stands in."""
    places = (f"{facts.home}/{name}" for name, _ in system.DECOYS)
    return [str(identity.home) + path[len(facts.home) :] for path in places if fact(facts, path).kind is PathKind.FILE]


def home_files(facts: HostFacts, identity: Identity, settings: str = "") -> Iterable[Mount]:
    """The generated .gitconfig, with further `settings` of git's, and the decoys."""
    lines = [] if not facts.git_name else [f"\tname = {quoted(facts.git_name)}"]
    lines += [] if not facts.git_email else [f"\temail = {quoted(facts.git_email)}"]
    text = "[user]\n" + "\n".join(lines) + "\n" if lines else ""
    if identity.idmap:
        # The index on disk holds the host's uid; comparing it would make git read every file again.
        text += "[core]\n\tcheckStat = minimal\n"
    more = "and how something is signed" if settings else "nothing else"
    yield _file(f"{identity.home}/.gitconfig", text + settings, f"the user's name and e-mail, {more}", mode=0o644)
    for path in decoys(facts, identity):
        yield _file(path, DECOY_JSON if path.endswith(".json") else DECOY_TEXT, "notice in place of a secret")


def quoted(value: str) -> str:
    """A git-config value in double quotes (git-config(1), "Values")."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'


def fixed_path(rule: PathRule) -> str | None:
    """The one path that an absolute allowance names, None where it has wildcards."""
    return compile_rule(rule, workspace="/", ignore_case=False).literal_path


def _allowed(rules: Sequence[PathRule], facts: HostFacts, workspace: str) -> Iterable[tuple[str, PathRule]]:
    """Existing paths that allowances name. Inside the workspace they say nothing: its mode alone decides there."""
    for rule in rules:
        if rule.pattern.startswith("/"):
            fixed = fixed_path(rule)
            for path in facts.matches.get(rule.pattern, ()) if fixed is None else (fixed,):
                if fact(facts, path).kind is not PathKind.ABSENT and not within(path, workspace):
                    yield path, rule


def granted(policy: Policy, facts: HostFacts, workspace: str) -> list[Mount]:
    """What presets and policy show beyond the system and the workspace; raise UsageError for what would undo the view.

    What is readable below a writable place stays writable. Links are resolved: the host's place appears by its name.
    """
    writable = dict(_allowed(policy.write, facts, workspace))
    readable = dict(reversed(list(_allowed(policy.read, facts, workspace))))
    dropped = unreadable(policy, facts, workspace)
    shown = {
        path: (MountKind.RO_BIND, rule)
        for path, rule in readable.items()
        if path not in dropped and not any(within(path, top) for top in writable)
    }
    shown |= {path: (MountKind.BIND, rule) for path, rule in writable.items()}
    found = [
        _granted(kind, path, fact(facts, path).resolved or path, rule.source, reason=rule.reason)
        for path, (kind, rule) in shown.items()
    ]
    for item in policy.mounts:
        known = fact(facts, item.host)
        if known.kind is PathKind.ABSENT:
            raise UsageError(f"mount source `{item.host}` does not exist", place=str(item.source))
        kind = MountKind.BIND if item.writable else MountKind.RO_BIND
        found.append(_granted(kind, item.guest, known.resolved or item.host, item.source))
    return found


def _granted(kind: MountKind, target: str, source: str, origin: Source, *, reason: str = "") -> Mount:
    if any(within(own, target) for own in _OWN) or any(within(path, "/proc") for path in (target, source)):
        raise UsageError(
            f"`{source}` cannot be shown at `{target}`: the sandbox has its own /proc, /dev and /run",
            place=str(origin),
            hint="name the directories below it that are needed",
        )
    return Mount(kind=kind, source=HostPath(source), target=_guest(target), reason=reason or "policy", origin=origin)


def point(view: Sequence[Mount], mount: Mount) -> str:
    """The host path on which `mount` is made, where that lies in another tree of the host's; else empty."""
    under = deciding([other for other in view if other is not mount and other.target != mount.target], mount.target)
    place = f"{under.source}{mount.target[len(under.target) :]}"
    return place if under.kind in HOST and mount.kind in HOST and place != mount.source else ""


def check_points(view: Sequence[Mount], facts: HostFacts) -> None:
    """Refuse a mount for which a directory would have to be made on the host; raise UsageError."""
    for mount in view:
        place = point(view, mount)
        if place and fact(facts, place).kind is not fact(facts, str(mount.source)).kind:
            raise UsageError(
                f"nothing can be mounted at `{mount.target}`: there is no such place in `{posixpath.dirname(place)}`",
                place=str(mount.origin),
                hint="create it, as a directory or a file like what is mounted there",
            )


def unreadable(policy: Policy, facts: HostFacts, workspace: str) -> list[str]:
    """Preset paths that the command could not read: as root only one owner on disk, the workspace's, is mapped."""
    if not facts.idmap or fact(facts, facts.home).uid == fact(facts, workspace).uid:
        return []
    rules = [rule for rule in policy.read if rule.source.scope == "preset"]
    return [path for path, _ in _allowed(rules, facts, workspace) if within(path, facts.home)]


def without_hidden(view: Iterable[Mount], rules: Sequence[Sought], sources: Collection[Source]) -> Iterable[Mount]:
    """Leave out copied and generated files that may not be read; a notice becomes a cover, still an alarm if opened.

    What a secret is read from is hidden by a rule of one of `sources`; a file with placeholders may stand there.
    """
    for mount in view:
        hiding = (one.rule for one in rules if one.matches(mount.target))
        filled = mount.kind is MountKind.SECRET_FILE
        rule = next((rule for rule in hiding if not (filled and rule.source in sources)), None)
        if mount.kind not in (MountKind.FILE, MountKind.SECRET_FILE) or rule is None:
            yield mount
        elif mount.text in (DECOY_TEXT, DECOY_JSON):
            reason = rule.reason or f"deny-read `{rule.pattern}`"
            yield Mount(kind=MountKind.COVER, target=mount.target, directory=True, reason=reason, origin=rule.source)


def with_parents(view: Iterable[Mount]) -> list[Mount]:
    """Name every directory that leads to a mount: unnamed ones would be made with mode 0700."""
    made: list[Mount] = []
    known: set[str] = set()
    for mount in view:
        parts = mount.target.split("/")
        for path in ("/".join(parts[:depth]) for depth in range(2, len(parts))):
            if path not in known and follow(made, path) == path and deciding(made, path).kind is MountKind.TMPFS:
                made.append(_directory(path, "leads to what is below it"))
            known.add(path)
        if mount.kind is MountKind.TMPFS:  # it hides what was made below
            known = {path for path in known if not within(path, mount.target)}
        known.add(mount.target)
        made.append(mount)
    return made


def seals() -> Iterable[Mount]:
    """The last operations: no new name may appear in /dev or at the root."""
    yield Mount(kind=MountKind.READ_ONLY, target=_guest("/dev"), reason="devices are fixed")
    yield Mount(kind=MountKind.READ_ONLY, target=_guest("/"), reason="the view is fixed")
