"""Paths as people write them to the rules and mounts of `effective`.

`~` is expanded, `.` and `..` are resolved by name, and what would surprise is refused: shell variables,
`~user`, negation, a `..` behind a wildcard, and writes that would take in the whole home directory.
"""

import msgspec

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.paths import GuestPath, HostPath

from .document import MountEntry, PathEntry
from .effective import ExtraMount, PathRule
from .parse import shown
from .patterns import compile_rule, escape

# Names nobody uses: a rule that matches one of them in the home directory matches any name there.
_ANY_NAMES = ("\x01", ".\x01")

# Where ringfence's policies, audit and launch artefacts are, unless XDG variables move them; root's are its own in any
# home (session/places.py).
_PLACES = (".config", ".local/state", ".local/share", ".cache")
_OWN = ("/etc/ringfence", *(f"{home}/{name}/ringfence" for home in ("~", "/root") for name in _PLACES))


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """The two directories that patterns are relative to; absolute paths."""

    home: str
    workspace: str


def path_rule(entry: str | PathEntry, source: Source, places: Places) -> PathRule:
    """Turn an entry of a `filesystem` list into a rule; raise `UsageError` at `source` for one that is not sound."""
    entry = PathEntry(path=entry) if isinstance(entry, str) else entry
    pattern = _normal(entry.path, source, places, literal=entry.literal)
    rule = PathRule(pattern=pattern, source=source, reason=entry.reason, literal=entry.literal)
    try:
        compile_rule(rule, workspace=places.workspace)
    except ValueError as error:
        raise UsageError(
            f"{shown(entry.path)} is not a valid pattern: {error}",
            place=str(source),
            hint="for a path without wildcards write `{ path = ..., literal = true }`",
        ) from None
    return rule


def write_rule(entry: str | PathEntry, source: Source, places: Places) -> PathRule:
    """Turn an entry of `filesystem.write` into a rule; refuse one that covers the home directory."""
    rule = path_rule(entry, source, places)
    refuse_broad_write(rule, source, places)
    return rule


def mount(entry: MountEntry, source: Source, places: Places) -> ExtraMount:
    """Turn an entry of `filesystem.mounts` into a mount; its paths have no wildcards."""
    for path in (entry.source, entry.target):
        if not path.startswith(("/", "~")):
            raise UsageError(
                f"mount path {shown(path)} is not absolute", place=str(source), hint="begin it with `/` or `~/`"
            )
    host = _normal(entry.source, source, places, literal=True)
    guest = _normal(entry.target, source, places, literal=True)
    if guest == "/":
        raise UsageError("a mount cannot replace `/`", place=str(source), hint="name a directory as the target")
    if entry.writable:
        refuse_broad_write(PathRule(pattern=host, source=source, literal=True), source, places)
    return ExtraMount(host=HostPath(host), guest=GuestPath(guest), writable=entry.writable, source=source)


def refuse_broad_write(rule: PathRule, source: Source, places: Places) -> None:
    """Raise `UsageError` where `rule` would let a run write the home directory as a whole, or ringfence's own files."""
    pattern = compile_rule(rule, workspace=places.workspace, ignore_case=True)
    home = "/" + places.home.strip("/")
    if any(pattern.matches(path) for path in (f"{home}/{name}" for name in _ANY_NAMES)):
        raise UsageError(
            f"{shown(rule.pattern)} would make the whole home directory writable",
            place=str(source),
            hint="name the directories that are needed; the sandbox has a private home of its own",
        )
    # SECURITY: a run that edits policy, audit or launch artefacts chooses the next run's boundary.
    for own in (path.replace("~", home) for path in _OWN):
        if pattern.matches(f"{own}/{_ANY_NAMES[0]}") or f"{pattern.prefix}/".startswith(f"{own}/"):
            raise UsageError(
                f"{shown(rule.pattern)} would make ringfence's own files in {shown(own)} writable",
                place=str(source),
                hint="name the other directories that are needed one by one",
            )


def _normal(path: str, source: Source, places: Places, *, literal: bool) -> str:
    """Expand and resolve `path`: absolute if it began with `/` or `~` or holds `.` or `..`, else relative."""
    _refuse_shell(path, source, literal=literal)
    names = [name for name in path.split("/") if name]
    start = ""
    if path.startswith("~"):
        start, names = places.home, names[1:]
    elif not path.startswith("/"):
        if not {".", ".."}.intersection(names):
            return "/".join(names)
        start = places.workspace
    fixed = [name for name in (start if literal else escape(start)).split("/") if name]
    result = list(fixed)
    for name in names:
        if name == "..":
            if not literal and len(result) > len(fixed) and escape(result[-1]) != result[-1]:
                raise UsageError(
                    f"{shown(path)} has `..` after a wildcard", place=str(source), hint="write the path without `..`"
                )
            del result[-1:]
            fixed = fixed[: len(result)]
        elif name != ".":
            result.append(name)
    return "/" + "/".join(result)


def _refuse_shell(path: str, source: Source, *, literal: bool) -> None:
    """Raise `UsageError` for what a shell or gitignore would give a meaning that is not given here."""
    if path.startswith("~") and path[1:2] not in ("", "/"):
        raise UsageError(
            f"{shown(path)} names another user's home",
            place=str(source),
            hint="write the absolute path, or `./~name` for a file of that name",
        )
    if literal:
        return
    if any(name.startswith("$") for name in path.split("/")):
        raise UsageError(
            f"{shown(path)} holds a variable, and variables are not expanded",
            place=str(source),
            hint="write `~` for the home directory, or `\\$` for a name that begins with `$`",
        )
    if path.startswith("!"):
        raise UsageError(
            f"{shown(path)} is negated, and a rule cannot take back another",
            place=str(source),
            hint="narrow the other rule, or write `\\!` for a name that begins with `!`",
        )
