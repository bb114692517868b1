"""Decides about shell commands, part by part.

Order: denials and questions first, of the text, of every command in it and of every file it opens; then what is never
settled by a rule (removing what is critical, writing what is protected); then allowances. A rule for the whole tool or
for this exact text vouches for everything; otherwise every part needs its own reason, and one obstacle is a question.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from ringfence.model.decision import Verdict

from . import critical, files, launched, operands, wrappers
from .bash_rules import is_exact, matcher
from .command import Command, Script
from .findings import Finding, Weight, allowed, asked, by_rule
from .glob_names import may_be
from .known_values import Known
from .parts import Part, judge, opened, parts_of
from .paths import PathFacts, is_protected, spellings
from .settings import Settings
from .shell_parse import parse

_BOUNDARIES = re.compile(r"\$\{\w+:?[-=+]|[;&|\n(){}`]|\b(?:then|do|else)\b")
_SEPARATORS = re.compile(r"[\s;&|<>(){}`'\"=]+")
_LOOP = re.compile(r"\b(?:for|while|until)\b")


class _Reading:
    """One script with what is found out about it on the way, each thing once."""

    def __init__(self, script: Script, settings: Settings) -> None:
        self.script = script
        self.parts = parts_of(script, settings)
        self.known = Known()
        # What no parser could read is cut up where commands may begin: the shell runs what comes before an error.
        pieces = (piece.strip() for piece in _BOUNDARIES.split(script.text)) if script.doubts else ()
        self.pieces = tuple(dict.fromkeys(pieces))

    @cached_property
    def runs(self) -> list[launched.Run]:
        scripts = (self.script, *map(parse, () if self.script.unread else self.pieces))
        return [run for script in scripts for run in launched.runs(script, known=self.known)]

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Every text that a denial may be meant for: generous, since it can only tighten."""
        found = dict.fromkeys((self.script.text, *(command.raw for command in self.script.commands)))
        for command in self.script.commands:
            found[" ".join(word.text for word in command.words if word.fixed)] = None
        found |= dict.fromkeys(self.pieces)
        for run in self.runs:
            found[" ".join(run.argv)] = None
            found[" ".join((run.argv[0].rpartition("/")[2], *run.argv[1:]))] = None
        return tuple(found)


def decide_shell(text: str, settings: Settings, facts: PathFacts) -> Finding:
    """Judge the command `text`."""
    reading = _Reading(parse(text), settings)
    script, parts = reading.script, reading.parts
    for verdict in (Verdict.DENY, Verdict.ASK):
        finding = _by_text(reading, verdict, settings) or _by_files(parts, verdict, settings, facts)
        if finding is None and verdict is Verdict.DENY:
            finding = _by_names(script, settings, facts)
        if finding is not None:
            return finding
    firm = _firm(reading, settings)
    if firm is not None:
        return firm
    whole = settings.on_whole_tool(Verdict.ALLOW, "Bash")
    if whole is not None:
        return _protected(parts, settings, facts) or _unsure(script) or by_rule(whole, "every command")
    exact = _exact(script, settings)
    if exact is not None:
        return _protected(parts, settings, facts) or exact
    if settings.contained and not _leaves_boundary(reading, settings):
        return Finding(verdict=Verdict.ALLOW, reason="contained: the boundary makes its effect harmless")
    return _by_parts(script, parts, settings, facts)


def _unsure(script: Script) -> Finding | None:
    """Return the question about a text that even an allowance of everything was not meant for: nobody can read it."""
    mixed = "a command in the background" in script.obstacles
    if script.doubts or mixed:
        return asked(script.doubts[0] if script.doubts else "it goes on while a part runs in the background")
    return None


# ---- what rules say about the text, and about files


def _by_text(reading: _Reading, verdict: Verdict, settings: Settings) -> Finding | None:
    """Return what the first `verdict` rule about commands says to any of them."""
    for rule, matches in settings.shell_rules[verdict]:
        hit = next((text for text in reading.texts if matches(text)), None)
        if hit is None and any(mark in reading.script.text for mark in "*?["):
            hit = next((run.argv[0] for run in reading.runs if may_be(run.argv, rule.what)), None)
        if hit is not None:
            return by_rule(rule, f"`{hit[:80]}`")
    return None


def _by_files(parts: Sequence[Part], verdict: Verdict, settings: Settings, facts: PathFacts) -> Finding | None:
    """Return what rules about paths say to any file that a part is known to open."""
    if not (settings.about(verdict, "Read") or settings.about(verdict, "Edit")):
        return None
    for part in parts:
        for operand in opened(part.command):
            found = _unplaced(operand, part, verdict, settings)
            for paths in _places(operand.word.text, part, settings, facts):
                if verdict is Verdict.DENY:
                    found = found or files.refused(paths, writes=operand.writes, reads=operand.reads, settings=settings)
                else:
                    found = found or files.questioned(paths, writes=operand.writes, settings=settings)
            if found is not None:
                return found
    return None


def _by_names(script: Script, settings: Settings, facts: PathFacts) -> Finding | None:
    """Return what denials of files say to anything in a text that no parser could read."""
    for word in _SEPARATORS.split(script.text) if script.doubts and not script.unread else ():
        paths = spellings(word, settings.places, facts)
        found = files.refused(paths, writes=">" in script.text, reads=True, settings=settings) if word else None
        if found is not None:
            return found
    return None


def _places(path: str, part: Part, settings: Settings, facts: PathFacts) -> Iterator[tuple[str, ...]]:
    """Yield the spellings of `path` from where the part runs, and from where the command line began."""
    for cwd in dict.fromkeys((part.cwd, settings.places.cwd)):
        yield spellings(path, settings.places, facts, cwd)
    if part.moved:
        yield spellings(path.replace("../", ""), settings.places, facts, part.cwd)


def _unplaced(operand: operands.Operand, part: Part, verdict: Verdict, settings: Settings) -> Finding | None:
    """Return the denial that may be meant by a relative path from a directory that is not known."""
    if part.cwd or verdict is not Verdict.DENY or operand.word.text.startswith(("/", "~")):
        return None
    if part.command.name == "cd" or operand.word.text == ".":
        return None
    rules = settings.about(verdict, "Edit" if operand.writes else "Read")
    return by_rule(rules[0], f"`{operand.word.raw}`, from a directory that is not known,") if rules else None


def _exact(script: Script, settings: Settings) -> Finding | None:
    """Return the allowance of exactly this text; what it writes and pipes is judged by parts."""
    text = script.text.strip()
    for rule, _ in settings.shell_rules[Verdict.ALLOW]:
        if is_exact(rule.what) and rule.what == text and not script.doubts:
            simple = not any(command.redirects for command in script.commands) and "|" not in text.replace("||", "")
            if simple and "a command in the background" not in script.obstacles and not text.startswith(("(", "{")):
                return by_rule(rule, "exactly this command")
    return None


def _leaves_boundary(reading: _Reading, settings: Settings) -> bool:
    """Tell whether a part is excepted from the boundary, or may be."""
    if not settings.uncontained:
        return False
    tests = [matcher(what) for what in settings.uncontained]
    return bool(reading.script.doubts) or any(matches(text) for matches in tests for text in reading.texts)


# ---- what no rule settles, and the parts


def _firm(reading: _Reading, settings: Settings) -> Finding | None:
    """Return the question that every mode has to ask: a critical removal, a secret that would be printed, a riddle."""
    script = reading.script
    reason = critical.removes(script, [(part.command, part.cwd) for part in reading.parts], settings.places)
    reason = reason or critical.prints_secret(script)
    if script.unread:
        reason = script.doubts[0]
    elif len(reading.runs) and not reading.known.complete:
        reason = reason or "it starts commands inside commands, further than they are followed"
    return asked(reason, Weight.FIRM) if reason else None


def _protected(parts: Sequence[Part], settings: Settings, facts: PathFacts) -> Finding | None:
    """Return the question about writing what is run or obeyed later, which no allowance settles."""
    for part in parts:
        if moved := critical.moves(part.command, part.cwd, settings.places):
            return asked(f"`{moved}` is critical: moving it takes it away", Weight.SAFETY)
        for operand in opened(part.command):
            if operand.writes or part.command.name == "cp":
                paths = spellings(operand.word.text, settings.places, facts, part.cwd)
                if any(is_protected(path) for path in paths):
                    return asked(f"what is in `{paths[0]}` is run or obeyed later", Weight.SAFETY)
    return None


def _by_parts(script: Script, parts: Sequence[Part], settings: Settings, facts: PathFacts) -> Finding:
    """Allow where every part has its own reason; ask about the first that has none."""
    protected = _protected(parts, settings, facts)
    if protected is not None:
        return protected
    doubts = script.doubts + script.obstacles
    if doubts:
        return asked(f"the command holds {doubts[0]}" if not script.doubts else doubts[0], notes=doubts)
    if [command.raw for command in script.commands] == ["cd -"] == [script.text]:
        return allowed("it goes back to where a call was judged; the next one is judged from where it is made")
    moves = _moves(script, parts, settings, facts)
    if moves:
        return asked(moves)
    found = [judge(part, settings, facts) for part in parts]
    for finding in found:
        if finding.verdict is Verdict.ASK and not finding.edits:
            return finding
    edits = [finding for finding in found if finding.edits]
    if edits:
        return edits[0]
    if len(found) == 1:
        return found[0]
    rule = next((finding.rule for finding in found if finding.rule is not None), None)
    return allowed("every part of it is allowed", rule)


def _moves(script: Script, parts: Sequence[Part], settings: Settings, facts: PathFacts) -> str:
    """Say why a change of directory makes the rest uncertain."""
    changes = [part for part in parts if part.command.name == "cd"]
    git = any(_program(part.command) == "git" for part in parts)
    if git and (bare := facts.repository_inside(settings.places.cwd)):
        return f"git may take `{bare}` for a repository and run what its configuration says"
    real = [part for part in changes if [word.text for word in part.command.words[1:]] not in (["."], ["./"])]
    if len(changes) > 1 or (real and _LOOP.search(script.text)):
        return "it changes the directory more than once"
    if real and git:
        return "it changes the directory and runs git, which obeys the configuration it finds there"
    for part in parts:
        if not real:
            continue
        for operand in opened(part.command):
            if operand.writes or operand.word in [redirect.target for redirect in part.command.redirects]:
                return "it changes the directory and writes or redirects"
            place = operand.word.text
            if part.command.name != "cd" and (".." in place.split("/") or place.startswith("/proc/")):
                return "it changes the directory and reads above it"
    return ""


def _program(command: Command) -> str:
    inner = wrappers.unwrapped(command.argv)
    return (inner[-1] if inner else command.argv or ("",))[0]
