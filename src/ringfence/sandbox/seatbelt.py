"""Plan -> a profile for macOS' Seatbelt (`sandbox-exec`), as text. Untested on hardware: nothing here starts anything.

Rules of the language (SBPL), from what is public of it: an S-expression per rule, nothing but rules in a profile
without imports; the last rule that speaks of an operation and a path decides; paths are compared as the kernel has
resolved them, so none may lead through a link; `(param "X")` is a string given at launch (`sandbox-exec -D X=...`).

Theory of operation. Seatbelt makes no view: a path means what it means on the host, and is allowed or not. So
- what a Plan shows at its own path is allowed there, in the order of its mounts, which is the order of the rules;
- what a Plan makes for the run alone (home, /tmp, a copy-on-write workspace) are directories that the launcher makes
  and names by parameters: the home and temporary files are empty ones, the workspace is a clone (clonefile(2));
- single files that a Plan makes in place of the host's (/etc/hosts, a notice) are denied where the host has them;
- denials come after every allowance, once for the host's path and once for its twin below a parameter.

SECURITY: rules speak of names, so a directory that is moved takes what is in it out of a rule's reach. Each directory
above a denial is kept from being moved or removed, and no hard link may be made.
What a profile cannot promise is refused, never left out in silence; LIMITS says what the launcher owes.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ringfence.model.errors import HostError
from ringfence.model.plan import HostFacts, Mount, MountKind, Plan

NAME = "seatbelt"
_SECCOMP = frozenset({"default", "no-unix"})  # what the rules below stand for
PARAMETERS = {
    "HOME": "an empty directory, the command's home; holds the small files that the plan makes in the home",
    "TMP": "an empty directory, its TMPDIR",
    "WORKSPACE": "a clone of the workspace, where the command works and writes",
    "PROXY_PORT": "the port of the run's proxy on 127.0.0.1",
}
LIMITS = (
    "untested on hardware; made from the same plan as the Linux boundary",
    "processes, memory and time are not limited by a profile: setrlimit(2) and a watchdog have to",
    "loopback is the machine's: no server of the command's own can be reached, but on a published port",
)
_INSIDE = "/run/ringfence"  # the first process's own code, which only Linux has
_READ = ("file-read*", "file-map-executable", "process-exec*")
_BOTH = (*_READ, "file-write*")
_HOST = frozenset({MountKind.BIND, MountKind.RO_BIND, MountKind.OVERLAY})
_GONE = frozenset({MountKind.COVER, MountKind.WHITEOUT})
_MADE = frozenset({MountKind.FILE, MountKind.SECRET_FILE, MountKind.RUN_FILE})


class _Rule(NamedTuple):
    """One rule: `filters` are expressions, any of which must hold; none means always."""

    verdict: str
    operations: tuple[str, ...]
    filters: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        body = " ".join([self.verdict, *self.operations, *self.filters])
        return f"({body}) ; {comment(self.reason)}"


def quoted(text: str) -> str:
    """A string literal of exactly `text`.

    SECURITY: a name must not end its string. A name with a control character, or that is no text, is refused, since how
    the profile's reader takes those is not documented; HostError.
    """
    if any(
        ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 or 0xD800 <= ord(character) < 0xE000
        for character in text
    ):
        raise HostError(f"a Seatbelt profile cannot name `{text!r}`", hint="rename it, or take it out of the policy")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def comment(text: str) -> str:
    """`text` on one line."""
    return "".join(character if character.isprintable() else " " for character in text)


def _literal(path: str) -> str:
    return f"(literal {quoted(path)})"


def _subpath(path: str) -> str:
    return f"(subpath {quoted(path)})"


def _beneath(parameter: str, rest: str) -> str:
    """The string of the path `rest` (empty, or beginning with `/`) below a directory given at launch."""
    return f'(string-append (param "{parameter}") {quoted(rest)})' if rest else f'(param "{parameter}")'


# What every program on macOS needs before its first line, and nothing of the user's.
_SYSTEM = (
    _Rule("allow", ("file-read*",), ('(literal "/")',), "the loader looks at the root directory"),
    _Rule("allow", _READ, ('(subpath "/usr")', '(subpath "/bin")', '(subpath "/sbin")'), "the system's programs"),
    _Rule("allow", _READ, ('(subpath "/System/Library")', '(subpath "/Library/Apple")'), "frameworks of the system"),
    _Rule(
        "allow", _READ, ('(subpath "/System/Volumes/Preboot/Cryptexes")',), "where newer systems keep shared libraries"
    ),
    _Rule("allow", _READ, ('(subpath "/Library/Developer/CommandLineTools")',), "git, clang, make, python3"),
    _Rule("allow", ("file-read*",), ('(subpath "/private/var/db/dyld")',), "the loader's shared cache"),
    _Rule("allow", ("file-read*",), ('(subpath "/private/var/db/timezone")',), "local time"),
    _Rule(
        "allow",
        ("file-read*",),
        tuple(
            _literal(f"/private/etc/{name}")
            for name in ("hosts", "localtime", "passwd", "protocols", "services", "shells")
        ),
        "tables that libc reads; accounts are not in them",
    ),
    _Rule("allow", ("file-read*",), ('(subpath "/private/etc/ssl")',), "certificate authorities"),
    _Rule(
        "allow",
        ("file-read-metadata",),
        tuple(_literal(path) for path in ("/etc", "/tmp", "/var", "/private", "/private/var", "/private/etc")),
        "links and directories on the way",
    ),
    _Rule(
        "allow",
        ("file-read*", "file-write-data", "file-ioctl"),
        tuple(_literal(f"/dev/{name}") for name in ("null", "zero", "random", "urandom", "tty", "ptmx")),
        "devices without effect, and the command's own terminal",
    ),
    _Rule("allow", ("file-read*", "file-write-data"), ('(subpath "/dev/fd")',), "descriptors that are open already"),
    _Rule("allow", ("pseudo-tty",), (), "terminals of its own"),
    # SECURITY: without the extension, which only a terminal made inside has, other windows could be typed into.
    _Rule(
        "allow",
        ("file-read*", "file-write*", "file-ioctl"),
        ('(require-all (regex "^/dev/ttys[0-9]+$") (extension "com.apple.sandbox.pty"))',),
        "the other ends of those",
    ),
)
_PROCESSES = (
    _Rule("allow", ("process-fork",), (), "its own children"),
    _Rule("allow", ("process-info*", "signal"), ("(target same-sandbox)",), "itself and what it started, nobody else"),
    _Rule(
        "allow",
        ("ipc-posix-sem",),
        ('(ipc-posix-name-prefix "/mp-")', '(ipc-posix-name-prefix "/loky-")'),
        "semaphores as Python's multiprocessing and joblib name them; names are shared with the machine",
    ),
    _Rule(
        "allow",
        ("sysctl-read",),
        (
            *(f'(sysctl-name-prefix "{prefix}")' for prefix in ("hw.", "machdep.cpu.")),
            *(
                f'(sysctl-name "kern.{name}")'
                for name in (
                    "argmax",
                    "bootargs",
                    "hostname",
                    "maxfilesperproc",
                    "ngroups",
                    "osproductversion",
                    "osrelease",
                )
            ),
            *(
                f'(sysctl-name "kern.{name}")'
                for name in ("ostype", "osversion", "secure_kernel", "usrstack64", "version")
            ),
            '(sysctl-name "vm.loadavg")',
        ),
        "the machine's kind and size, read by language runtimes; `kern.proc` would list other processes",
    ),
)
_MACH = (
    ("com.apple.system.opendirectoryd.libinfo", "getpwuid(3): the user's own name"),
    ("com.apple.system.opendirectoryd.membership", "group membership"),
    ("com.apple.system.notification_center", "libc is told of a change of the time zone"),
    ("com.apple.bsd.dirhelper", "confstr(3) names directories for temporary files"),
)
# Named so that whoever misses one finds why: each is a way out or to another's secrets.
LEFT_OUT = (
    ("com.apple.coreservices.launchservicesd", "starts programs outside of the sandbox"),
    ("com.apple.securityd.xpc", "the keychain"),
    ("com.apple.pasteboard.1", "what was copied"),
    ("com.apple.mDNSResponder", "questions for names leave by it; the proxy resolves"),
    ("com.apple.trustd.agent", "fetches revocation lists from addresses that a certificate names"),
    ("com.apple.cfprefsd.agent", "preferences of other programs, also for writing"),
)


def profile(plan: Plan, facts: HostFacts) -> str:
    """The profile for `plan`; raise HostError for a promise that it cannot keep."""
    _refuse(plan)
    twins = _twins(plan)
    shown = [mount for mount in plan.mounts if not mount.target.startswith(_INSIDE)]
    sections: tuple[tuple[str, Iterable[_Rule]], ...] = (
        ("the system", _SYSTEM),
        ("processes", (*_PROCESSES, *(_mach(name, reason) for name, reason in _MACH))),
        (
            "what the plan shows, in the order of its mounts",
            [rule for mount in shown for rule in _shown(mount, facts)],
        ),
        ("network", list(_network(plan))),
        ("what is the run's own", list(_private(plan, twins))),
        ("denials, after every allowance", list(_denials(shown, twins))),
    )
    heads = [f"; {line}" for line in LIMITS]
    heads += [f"; -D {name}=...: {PARAMETERS[name]}" for name in _parameters(plan, twins)]
    heads += [f"; left out: {name}: {reason}" for name, reason in LEFT_OUT]
    text = ["(version 1)", *heads, '(deny default (with message "ringfence")) ; what no rule names']
    for title, rules in sections:
        text += ["", f"; {title}", *map(str, rules)]
    return "\n".join(text) + "\n"


def _refuse(plan: Plan) -> None:
    """Raise HostError for what a profile cannot promise."""
    if plan.seccomp not in _SECCOMP:
        raise HostError(f"seatbelt cannot honour seccomp profile `{plan.seccomp}`", hint="leave --seccomp out")
    for mount in plan.mounts:
        if mount.kind is MountKind.OVERLAY and str(mount.target) != plan.workspace.path:
            raise HostError(f"seatbelt cannot keep writes to `{mount.target}` apart", hint="use --workspace direct")


def _twins(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Directories of the view whose content lies in a directory given at launch, deepest first."""
    found = [(str(plan.identity.home), "HOME"), ("/tmp", "TMP")]
    if plan.workspace.mode == "overlay":
        found.append((plan.workspace.path, "WORKSPACE"))
    return tuple(sorted(found, key=lambda twin: len(twin[0]), reverse=True))


def _parameters(plan: Plan, twins: tuple[tuple[str, str], ...]) -> list[str]:
    return sorted([name for _, name in twins] + (["PROXY_PORT"] if plan.egress else []))


def _mach(name: str, reason: str) -> _Rule:
    return _Rule("allow", ("mach-lookup",), (f"(global-name {quoted(name)})",), reason)


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _above(path: str) -> list[str]:
    """Every directory above `path`, without the root."""
    names = path.split("/")[1:-1]
    return ["/" + "/".join(names[: count + 1]) for count in range(len(names))]


def _hides(mount: Mount) -> bool:
    """Whether the operation denies its target: a stand-in, no name at all, or nothing bound over it."""
    return mount.kind in _GONE or mount.source == "/dev/null"


def _shown(mount: Mount, facts: HostFacts) -> Iterator[_Rule]:
    """What one operation of the view allows at its own path, and hides there."""
    place, reason = str(mount.target), mount.reason
    if _hides(mount):
        return
    if mount.kind in _HOST:
        fact = facts.paths.get(place)
        if mount.source != place and (fact is None or fact.resolved != mount.source):
            raise HostError(
                f"seatbelt cannot show `{mount.source}` at `{place}`", hint="take it out of filesystem.mounts"
            )
        source = str(mount.source)
        yield _Rule("allow", ("file-read-metadata",), tuple(map(_literal, (*_above(source), place))), "the way to it")
        if mount.kind is MountKind.BIND:
            yield _Rule("allow", _BOTH, (_subpath(source),), reason)
        else:
            yield _Rule("allow", _READ, (_subpath(source),), reason)
            yield _Rule("deny", ("file-write*",), (_subpath(source),), f"read-only: {reason}")
    elif mount.kind is MountKind.TMPFS:
        yield _Rule("deny", _BOTH, (_subpath(place),), f"the host's: {reason}")
    elif mount.kind in _MADE:
        yield _Rule("deny", _BOTH, (_literal(place),), f"the host's: {reason}")
    elif mount.kind in (MountKind.DIRECTORY, MountKind.SYMLINK):
        yield _Rule("allow", ("file-read-metadata",), (_literal(place),), reason)


def _private(plan: Plan, twins: tuple[tuple[str, str], ...]) -> Iterator[_Rule]:
    """Directories of the run's own."""
    for place, name in twins:
        yield _Rule("allow", _BOTH, (f"(subpath {_beneath(name, '')})",), f"in place of {place}")
    if plan.seccomp != "no-unix":
        sockets = tuple(f"(subpath {_beneath(name, '')})" for _, name in twins)
        yield _Rule("allow", ("network-bind", "network-outbound"), sockets, "unix sockets, where only this run can be")
        yield _Rule("allow", ("system-socket",), ("(socket-domain AF_UNIX)",), "the same")


def _network(plan: Plan) -> Iterator[_Rule]:
    """Nothing, or the proxy's port and those that are published."""
    yield _Rule("deny", ("network*",), (), "nothing but what follows")
    if plan.egress is None:
        return
    port = '(remote ip (string-append "localhost:" (param "PROXY_PORT")))'
    yield _Rule("allow", ("network-outbound",), (port,), "the proxy, which decides on every request and resolves names")
    for outside, inside in plan.egress.publish:
        if outside != inside:
            raise HostError(
                f"seatbelt cannot publish port {inside} as {outside}", hint="publish it under its own number"
            )
        yield _Rule("allow", ("network-bind", "network-inbound"), (f'(local ip "localhost:{inside}")',), "published")


def _denials(shown: list[Mount], twins: tuple[tuple[str, str], ...]) -> Iterator[_Rule]:
    """What is hidden or may not be written, at its own path and below the parameters; what is above it stays put."""
    yield _Rule("deny", ("file-link",), (), "a second name for a file would have no rule")
    writable = [str(mount.source) for mount in shown if mount.kind is MountKind.BIND]
    pinned: dict[str, str] = {}
    for mount in shown:
        path = str(mount.target)
        sealed = not _hides(mount)
        if sealed and mount.kind is not MountKind.RO_BIND:
            continue
        operations = ("file-write*",) if sealed else _BOTH
        if not sealed:
            yield _Rule("deny", operations, (_subpath(path),), mount.reason)
        pinned |= {_literal(above): path for above in _above(path) if any(_within(above, top) for top in writable)}
        place, name = next((twin for twin in twins if path.startswith(f"{twin[0]}/")), ("", ""))
        # Of the home's twin nothing is the host's: only what a plan denies there has a rule.
        if name == "WORKSPACE" or (name and not sealed):
            rest = path[len(place) :]
            yield _Rule("deny", operations, (f"(subpath {_beneath(name, rest)})",), mount.reason)
            above = ("", *_above(rest))
            pinned |= {f"(literal {_beneath(name, directory)})": path for directory in above}
    for place, path in pinned.items():
        yield _Rule(
            "deny", ("file-write-unlink",), (place,), f"is not moved or removed, for what is denied in it: {path}"
        )
