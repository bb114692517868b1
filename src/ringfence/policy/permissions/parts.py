"""Judges one command of a script by itself: what it opens, what its name and options say, which rule vouches for it."""

import re
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from ringfence.model.decision import Verdict

from . import files, operands, read_only, wrappers
from .bash_rules import is_exact
from .command import Command, Context, Redirect, Script, Word
from .edit_commands import edits_workspace
from .findings import Finding, allowed, asked, by_rule
from .paths import PathFacts, absolute, spellings
from .rules import Rule
from .settings import Settings
from .words import plain_word

_NEVER_BY_PREFIX = frozenset(
    "exec eval source . trap alias unalias export declare typeset readonly local unset".split()
)
_LOOKS_THROUGH_FOR_READING = frozenset(("timeout", "command", "builtin"))


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One command with the directory it will run in; `cwd` is empty where that is not known."""

    command: Command
    cwd: str
    moved: bool


def parts_of(script: Script, settings: Settings) -> list[Part]:
    """Follow `cd` through the commands of `script`."""
    found = []
    cwd, moved = settings.places.cwd, False
    for command in script.commands:
        found.append(Part(command=command, cwd=cwd, moved=moved))
        if command.name == "cd" and command.context is Context.DIRECT:
            target = next(iter(command.words[1:]), plain_word("~"))
            known = len(command.words) <= 2 and (target.fixed or "$HOME" in target.expands) and target.text != "-"
            cwd = absolute(target.text, settings.places, cwd) if known and cwd else ""
            moved = moved or cwd != settings.places.cwd
    return found


def opened(command: Command) -> list[operands.Operand]:
    """List the files that a command, or what its wrappers run, opens by name."""
    found = [file for redirect in command.redirects if (file := operands.redirected(redirect)) is not None]
    found += operands.operands(command.words)
    for inner in wrappers.launched(command.argv):
        found += operands.operands(command.words[len(command.words) - len(inner) :])
    return found


def judge(part: Part, settings: Settings, facts: PathFacts) -> Finding:
    """Judge one command by itself."""
    command = part.command
    if not command.words:
        if wrappers.bare_assignments(command):
            return allowed("it sets a variable that nothing loads from")
        return asked("it is no command")
    edits = None
    targets = [redirect.target for redirect in command.redirects]
    for redirect in command.redirects:
        finding = _redirect(redirect, part, settings, facts)
        if finding.verdict is not Verdict.ALLOW and not finding.edits:
            return finding
        edits = finding if finding.edits else edits
    for operand in opened(command):
        if operand.word not in targets:
            question = _operand(operand, part, settings, facts)
            if question is not None:
                return question
    own = _own(part, settings)
    return edits if edits is not None and own.verdict is Verdict.ALLOW else own


def _redirect(redirect: Redirect, part: Part, settings: Settings, facts: PathFacts) -> Finding:
    """Judge what a redirection opens."""
    if redirect.operator.endswith("-"):
        return asked("it closes a descriptor")
    operand = operands.redirected(redirect)
    if operand is None:
        return allowed("it joins descriptors or reads what is written here")
    word = operand.word
    if not word.fixed or word.expands or word.text.startswith(("=", "!", "&")):
        return asked(f"where `{word.raw}` leads is decided when it runs")
    if _turns_back(word.text):
        return asked(f"`{word.raw}` goes through a directory and back")
    paths = spellings(word.text, settings.places, facts, part.cwd)
    return files.write(paths, settings) if operand.writes else files.read(paths, settings)


def _operand(operand: operands.Operand, part: Part, settings: Settings, facts: PathFacts) -> Finding | None:
    """Return the question about a file that a command opens, if there is one."""
    word = operand.word
    if word.fixed and re.search(r"[$`]", word.text):
        return asked(f"`{word.raw}` holds what another reader would expand")
    if word.text.startswith("//"):
        return asked(f"where `{word.raw}` leads is up to the system")
    if word.text.startswith("~") and word.text[1:2] not in ("", "/"):
        return asked(f"`{word.raw}` is another user's home")
    if _turns_back(word.text):
        return asked(f"`{word.raw}` goes through a directory and back")
    if not part.cwd:
        return asked("the directory it runs in is not known")
    paths = spellings(word.text, settings.places, facts, part.cwd)
    if operand.writes and re.search(r"[*?^]|\[", word.text):
        return asked(f"which files `{word.raw}` changes is decided when it runs")
    finding = files.write(paths, settings, by_tool=False) if operand.writes else files.read(paths, settings)
    return finding if finding.verdict is Verdict.ASK and not finding.edits else None


def _turns_back(path: str) -> bool:
    """Tell whether `..` stands behind a name: where that is a link, it leads elsewhere."""
    names = [name for name in path.split("/") if name]
    return any(before != ".." == name for before, name in pairwise(names))


def _own(part: Part, settings: Settings) -> Finding:
    """Judge what the command itself does, its files aside."""
    command = part.command
    if command.name == "cd" and (len(command.words) != 2 or command.redirects):
        return asked("where it changes to is not certain")
    rule = _allowing(command, settings)
    if rule is not None:
        return by_rule(rule, f"`{command.raw[:80]}`")
    if not all(wrappers.is_safe(assignment) for assignment in command.assignments):
        return asked(f"it sets a variable for `{command.name}` that may change what runs")
    if command.name == "cd":
        return _change(command)
    words = command.argv
    known = _LOOKS_THROUGH_FOR_READING
    for inner in wrappers.unwrapped(command.argv):
        if words[0] not in known:
            break
        known = known if words[0] != "timeout" else frozenset(("timeout",))
        words = inner
    why = read_only.reason(command, words)
    if why:
        return allowed(f"it only reads: {why}")
    if edits_workspace(command):
        return Finding(verdict=Verdict.ASK, reason=f"`{command.name}` changes files of the workspace", edits=True)
    return asked(f"no rule speaks of `{command.name}`")


def _change(command: Command) -> Finding:
    """`cd` to one directory that has been found to be inside."""
    if command.words[1].text.startswith("-"):
        return asked("where it changes to is not certain")
    return allowed("it stays in the workspace")


def _allowing(command: Command, settings: Settings) -> Rule | None:
    """Return the allowance for one command."""
    texts = _allowed_texts(command)
    for rule, matches in settings.shell_rules[Verdict.ALLOW]:
        if is_exact(rule.what) and not matches(command.raw):
            continue
        if any(matches(text) for text in texts):
            return rule
    return None


def _allowed_texts(command: Command) -> list[str]:
    """List the texts that an allowance may be meant for: the command as written, and what its wrappers run."""
    name = command.name
    if name in _NEVER_BY_PREFIX or not name or any(character.isspace() for character in name):
        return []
    if name == "find" and not read_only.reason(command):
        return []
    safe = all(wrappers.is_safe(assignment) for assignment in command.assignments)
    texts = [command.raw]
    if safe:
        texts.append(_joined(command.words))
        for inner in wrappers.unwrapped(command.argv):
            if inner[0] in _NEVER_BY_PREFIX or inner[0] in ("find", "cd"):
                break
            texts.append(" ".join(inner))
    return texts


def _joined(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)
