"""Calls that read or write one file: what rules, the workspace and protected names say about its path."""

import re
from collections.abc import Iterable

import msgspec

from ringfence.model.decision import Verdict

from .findings import Finding, Weight, allowed, asked, by_rule
from .paths import PathFacts, inside, is_protected, pattern_of, spellings
from .rules import Rule
from .settings import Settings

_DEVICES = re.compile(r"/dev/(?:tcp|udp)/")


def matching(rules: Iterable[Rule], paths: tuple[str, ...], settings: Settings) -> Rule | None:
    """Return the first denial or question that speaks of any spelling of a path."""
    places = settings.places
    for rule in rules:
        if rule.what:
            pattern = pattern_of(rule, places.workspace, places.home)
            if any(pattern.matches(path) for path in paths):
                return rule
    return None


def allowing(rules: Iterable[Rule], paths: tuple[str, ...], settings: Settings) -> Rule | None:
    """Return the first allowance that covers every spelling of a path."""
    places = settings.places
    for rule in rules:
        if not rule.what:
            continue  # about the tool of that name alone, neither about its kin nor about commands
        pattern = pattern_of(rule, places.workspace, places.home)
        if all(pattern.matches(path) for path in paths):
            return rule
    return None


def refused(paths: tuple[str, ...], *, writes: bool, reads: bool, settings: Settings) -> Finding | None:
    """Return what denials say about opening a file; a denial to read it denies writing it as well."""
    if writes:
        rule = matching(settings.about(Verdict.DENY, "Edit"), paths, settings)
        if rule is not None:
            return by_rule(rule, f"writing `{paths[0]}`")
    if reads:
        rule = matching(settings.about(Verdict.DENY, "Read"), paths, settings)
        if rule is not None:
            return by_rule(rule, f"opening `{paths[0]}`")
    return None


def questioned(paths: tuple[str, ...], *, writes: bool, settings: Settings) -> Finding | None:
    """Return what `ask` rules say about opening a file."""
    rule = matching(settings.about(Verdict.ASK, "Edit" if writes else "Read"), paths, settings)
    return by_rule(rule, f"opening `{paths[0]}`") if rule is not None else None


def read(paths: tuple[str, ...], settings: Settings) -> Finding:
    """Judge reading a file that no denial speaks of."""
    rule = allowing(settings.about(Verdict.ALLOW, "Read"), paths, settings)
    if rule is not None:
        return by_rule(rule, f"reading `{paths[0]}`")
    if all(inside(path, settings.places.roots) for path in paths):
        return allowed("it reads in the workspace")
    return asked(f"`{paths[-1]}` is outside the workspace")


def write(paths: tuple[str, ...], settings: Settings, *, by_tool: bool = True) -> Finding:
    """Judge writing a file that no denial speaks of; only tools and redirections follow `Edit` allowances."""
    if any(is_protected(path) for path in paths):
        return asked(f"what is in `{paths[0]}` is run or obeyed later", Weight.SAFETY)
    rule = allowing(settings.about(Verdict.ALLOW, "Edit"), paths, settings) if by_tool else None
    if rule is not None:
        return by_rule(rule, f"writing `{paths[0]}`")
    if all(inside(path, settings.places.roots) for path in paths):
        return Finding(verdict=Verdict.ASK, reason=f"it writes `{paths[0]}`", edits=True)
    return asked(f"`{paths[-1]}` is outside the workspace")


def decide_file(tool: str, path: str, *, writes: bool, settings: Settings, facts: PathFacts) -> Finding:
    """Judge one call of the file tool `tool` for `path`, which may be relative to the working directory."""
    if not path or "\x00" in path:
        return asked("no file is named")
    suspicious = _suspicious(path)
    paths = spellings(path, settings.places, facts)
    finding = refused(paths, writes=writes, reads=True, settings=settings)
    if finding is None:
        finding = questioned(paths, writes=writes, settings=settings)
    if finding is None and suspicious and writes:
        finding = asked(suspicious, Weight.SAFETY)
    if finding is None:
        finding = write(paths, settings) if writes else read(paths, settings)
        whole = settings.on_whole_tool(Verdict.ALLOW, tool)
        if whole is not None and finding.verdict is Verdict.ASK and finding.weight is Weight.OPEN:
            finding = by_rule(whole, f"`{tool}`")
        away = not all(inside(path, settings.places.roots) for path in paths)
        return msgspec.structs.replace(finding, outside=away, tool_edit=writes)
    return finding


def _suspicious(path: str) -> str:
    """Say what about the notation of a path means different places to different programs."""
    if path.startswith("//"):
        return "a path that begins with two slashes is another machine to some programs"
    return "a device that connects" if _DEVICES.match(path) else ""
