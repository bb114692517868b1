"""From the path lists of sandbox-runtime settings to regions of the view.

Rules, as sandbox-runtime has them: paths are relative to the working directory, `~` is the home; without a
wildcard an entry is one path with everything below; `**` crosses directories. A denied link denies what it leads
to. Beyond them: an allowance is followed through links at the root of the file system only, because a link
elsewhere may have been planted by an earlier run; the names that run code later (shell start-up files, hooks,
editor settings) are sealed in every writable place, not only in the working directory.

SECURITY: what is sealed here is what the command sees refused; the filter at the end of the run knows more names
and holds them at any depth (model/surfaces.py), so the bounded search for nested repositories loses nothing.
"""

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from ringfence.model.decision import Source
from ringfence.model.errors import HostError
from ringfence.model.paths import HostPath
from ringfence.planner.open_root import Access, Region, below
from ringfence.policy.effective import PathRule, Policy
from ringfence.policy.patterns import compile_rule, escape

from .srt_settings import Path, Settings, SettingsError, spelled

SEALED_FILES = (
    ".gitconfig .gitmodules .bashrc .bash_profile .zshrc .zprofile .profile .ripgreprc .mcp.json .srt-settings.json"
).split()
SEALED_DIRECTORIES = (".vscode", ".idea", ".claude/commands", ".claude/agents")
SEALED_IN_GIT = (".git/hooks", ".git/config")
WALK_LIMIT = 500_000
SEARCH_LIMIT = 20_000  # names looked at for nested repositories, per writable place
VIRTUAL = frozenset({"/proc", "/sys", "/dev"})


class Laid(msgspec.Struct, frozen=True, kw_only=True):
    """Regions, patterns of what must not reach the host, and what was asked for and not granted."""

    regions: tuple[Region, ...]
    held: tuple[str, ...]
    notes: tuple[str, ...]


class Layout:
    """Collects regions for one run in `cwd`, a real path; `source` is the settings file."""

    def __init__(self, cwd: str, home: str, source: str) -> None:
        self.cwd = cwd
        self.home = home
        self.source = Source(scope="cli", file=source)
        self.regions: list[Region] = []
        self.held: list[str] = []
        self.notes: list[str] = []

    def done(self) -> Laid:
        """Everything collected."""
        return Laid(regions=tuple(self.regions), held=tuple(dict.fromkeys(self.held)), notes=tuple(self.notes))

    def add(self, path: str, access: Access, reason: str, **fields: object) -> None:
        """Lay one region."""
        region = Region(path=HostPath(path), access=access, reason=reason, origin=self.source)
        self.regions.append(msgspec.structs.replace(region, **fields))

    def settings(self, found: Settings, depth: int) -> None:
        """Lay the regions of a settings file; `depth` bounds the search for names to seal."""
        files = found.filesystem
        for entry in files.allow_read:
            self.allow(entry, Access.READ)
        for entry in files.allow_write:
            self.allow(entry, Access.WRITE)
        for entry in files.deny_read:
            self.deny(self.rule(entry, "denyRead"), Access.DENY)
        for entry in files.deny_write:
            self.deny(self.rule(entry, "denyWrite"), Access.SEAL)
        for root in self.writable():
            self.seal_start_up_names(root, depth)

    def writable(self) -> list[str]:
        """The places that may be written, as far as they are laid."""
        return [region.path for region in self.regions if region.access is Access.WRITE]

    def policy(self, found: Policy) -> None:
        """Lay what ringfence's own policy denies; no settings file opens that again."""
        for rule in found.deny_read:
            self.deny(self.anchored(rule), Access.DENY, firm=True)
        for rule in found.deny_write:
            self.deny(self.anchored(rule), Access.SEAL)
        if found.workspace_mode == "readonly" and found.origins["workspace.mode"].scope == "managed":
            self.regions = [region for region in self.regions if region.access is not Access.WRITE]

    def rule(self, entry: Path, key: str) -> PathRule:
        """An entry of a list as a rule on absolute paths."""
        path, literal = spelled(entry)
        top, rest = (self.home, path[1:]) if path == "~" or path.startswith("~/") else (self.cwd, f"/{path}")
        if path.startswith("/"):
            top, rest = "", path
        full = "/" + posixpath.normpath((top if literal else escape(top)) + rest).lstrip("/")
        if not literal:
            full = full.removesuffix("/**") or "/"
        reason = f"filesystem.{key} `{path}`"
        return PathRule(pattern=full, literal=literal, source=self.source, reason=reason)

    def anchored(self, rule: PathRule) -> PathRule:
        """A rule of ringfence's own, which may be relative to the workspace, on absolute paths."""
        if rule.pattern.startswith("/"):
            return rule
        name = rule.pattern.strip("/")
        between = "/" if "/" in rule.pattern.rstrip("/") else "/**/"
        pattern = f"{escape(self.cwd)}{between}{escape(name) if rule.literal else name}"
        return msgspec.structs.replace(rule, pattern=posixpath.normpath(pattern), literal=False)

    def deny(self, rule: PathRule, access: Access, *, firm: bool = False) -> None:
        """Lay a denial on every path that `rule` names, and on what links among them lead to."""
        found = expand(rule, self.cwd)
        # What lies around a writable place is out of its reach; held, it would hold the place itself.
        around = {path for path in found for root in self.writable() if path != root and below(root, path)}
        if not around or access is Access.SEAL:
            self.held.append(escape(rule.pattern) if rule.literal else rule.pattern)
        for path in found:
            real = os.path.realpath(path)
            self.held += [escape(real), escape(path)] if path not in around else []
            if os.path.lexists(real) or (access is Access.SEAL and _could_appear(real)):
                self.add(real, access, rule.reason or f"`{rule.pattern}`", origin=rule.source, firm=firm)

    def allow(self, entry: Path, access: Access) -> None:
        """Lay an allowance where the path exists and is what it seems."""
        key = "allowRead" if access is Access.READ else "allowWrite"
        rule = self.rule(entry, key)
        compiled = compile_rule(rule, workspace=self.cwd, ignore_case=False)
        literal = rule.pattern if rule.literal else compiled.literal_path
        if literal is None and access is Access.WRITE:
            self.notes.append(f"{rule.reason} is not granted: writable places are named without wildcards")
            return
        for path in [literal] if literal else expand(rule, self.cwd):
            self._allow(path, access, rule.reason)

    def _allow(self, path: str, access: Access, reason: str) -> None:
        top = "/" + path.split("/")[1]
        direct = os.path.realpath(top) + path[len(top) :] if os.path.islink(top) else path
        real = os.path.realpath(direct)
        if path == "/" and access is Access.WRITE:
            raise SettingsError("filesystem.allowWrite: `/` would give the whole host away", place=self.source.file)
        if not os.path.exists(real):
            self.notes.append(f"{reason} is not granted: it does not exist")
        elif not below(real, direct):
            self.notes.append(f"{reason} is not granted: a link leads elsewhere")
        elif access is Access.WRITE and os.path.isfile(real) and os.stat(real).st_nlink > 1:
            self.notes.append(f"{reason} is not granted: the file has another name, which may lie anywhere")
        elif access is Access.WRITE and _is_sealed_name(real):
            self.notes.append(f"{reason} is not granted: programs run what is written there")
        else:
            if direct != path and access is Access.READ:
                self.add(top, Access.READ, reason)
            self.add(real, access, reason)

    def seal_start_up_names(self, root: str, depth: int) -> None:
        """Seal, in a writable place, the names that some program runs or obeys later."""
        if not os.path.isdir(root):
            return
        places = dict.fromkeys([root, *([self.cwd] if below(self.cwd, root) else [])])
        for place in places:
            for name in (*SEALED_FILES, *SEALED_DIRECTORIES):
                self._seal(place, name)
        for place in (*places, *repositories(root, depth)):
            for name in SEALED_IN_GIT if os.path.isdir(f"{place}/.git") else ():
                self._seal(place, name)

    def seal(self, path: str, reason: str) -> None:
        """Seal one path, whether it exists or not."""
        real = os.path.realpath(path)
        self.held += [escape(path), escape(real)]
        if _could_appear(real):
            self.add(real, Access.SEAL, reason)

    def _seal(self, place: str, name: str) -> None:
        """Seal a name, or the first part of it that does not exist yet."""
        path = place
        for part in name.split("/"):
            path = f"{path}/{part}"
            if not os.path.lexists(path):
                break
        self.held.append(escape(f"{place}/{name}"))
        real = os.path.realpath(path)
        self.held += [escape(real)] if real != path else []
        if real == path or below(real, place):
            self.add(real, Access.SEAL, "programs run or obey what stands there")


def expand(rule: PathRule, workspace: str) -> list[str]:
    """Every existing path that `rule` names, outermost only; the path itself where it has no wildcard.

    Raises HostError where that takes looking at too many names.
    """
    compiled = compile_rule(rule, workspace=workspace)
    literal = compiled.literal_path
    if literal is not None:
        return [literal]
    names = [segment for segment in rule.pattern.split("/") if segment]
    fixed = [name for name in compiled.prefix.split("/") if name]
    real = os.path.realpath(compiled.prefix)
    if rule.pattern.startswith("/") and real != compiled.prefix:
        moved = "/".join([escape(real), *names[len(fixed) :]])
        compiled = compile_rule(msgspec.structs.replace(rule, pattern=moved), workspace=workspace)
    return [path for path in walk(real, compiled.matches, WALK_LIMIT) if compiled.matches(path)]


def walk(top: str, leave: Callable[[str], bool], limit: int) -> Iterator[str]:
    """Yield every path below `top` but nothing below those that `leave` names; HostError past `limit` names."""
    pending, seen = [top], 0
    while pending:
        place = pending.pop()
        for entry in _entries(place):
            seen += 1
            if seen > limit:
                hint = "name the paths exactly, or begin the pattern further down"
                raise HostError(f"a pattern below `{top}` means looking at more than {limit} names", hint=hint)
            path = f"{place.rstrip('/')}/{entry.name}"
            yield path
            if entry.is_dir(follow_symlinks=False) and path not in VIRTUAL and not leave(path):
                pending.append(path)


def repositories(root: str, depth: int) -> Iterable[str]:
    """Directories below `root` that hold `.git`, down to `depth` levels; the search is bounded and says nothing."""
    level, seen = [root], 0
    for _ in range(depth):
        following = []
        for place in level:
            for entry in _entries(place):
                seen += 1
                if seen > SEARCH_LIMIT:
                    return
                if entry.name in (".git", "node_modules") or not entry.is_dir(follow_symlinks=False):
                    continue
                following.append(f"{place}/{entry.name}")
                if os.path.isdir(f"{place}/{entry.name}/.git"):
                    yield f"{place}/{entry.name}"
        level = following


def _entries(place: str) -> Sequence["os.DirEntry[str]"]:
    try:
        with os.scandir(place) as found:
            return list(found)
    except OSError:
        return ()


def _could_appear(path: str) -> bool:
    """Whether a name exists or could be made: the nearest thing above it is a directory."""
    if os.path.lexists(path):
        return True
    while not os.path.lexists(path):
        path = posixpath.dirname(path)
    return os.path.isdir(path)


def _is_sealed_name(path: str) -> bool:
    names = (*SEALED_FILES, *SEALED_DIRECTORIES, *SEALED_IN_GIT)
    return any(path.endswith(f"/{name}") or f"/{name}/" in path for name in names)
