"""Removals that nobody should have to undo, and secrets that nobody should have to see: asked about in every mode.

`rm` and `rmdir` of `/`, what is directly in it, a home directory, the workspace or what it is in, in any notation
whose meaning is known; the same for `find ... -delete`. What a variable holds at run time is not known:
`"$X"/` is `/` when it is empty.
"""

import re
from collections.abc import Sequence

from . import launched
from .command import Command, Script, Word
from .paths import Places, absolute, is_critical

_REMOVERS = frozenset(("rm", "rmdir"))
_VARIABLE_ROOT = re.compile(r"\$(?:\w+|\{\w+\})/+\*?")
_EVERYTHING = re.compile(r"(?:\./)?\*")
_FIND_OPTION = re.compile(r"-[HLP]|--|-D|-O\w*")
_CHOOSE_NOTHING = frozenset("-depth -d -xdev -mount ( ) ! -not".split())
_SECRET = re.compile(r"\$\{?\w*(?:SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY)\w*", re.I)
_SHOWS = frozenset("echo printf cat".split())


def removes(script: Script, parts: Sequence[tuple[Command, str]], places: Places) -> str:
    """Say which critical removal the script holds; empty if none is seen."""
    cwds = {id(command): cwd for command, cwd in parts}
    if not any(word in script.text for word in ("rm", "find")):
        return ""
    for run in launched.runs(script, guess=False):
        name = run.argv[0].rpartition("/")[2].lstrip("\\")
        cwd = cwds.get(id(run.command), places.cwd) or places.cwd
        if name in _REMOVERS:
            targets = run.argv[1:]
            computed = [word for word in run.command.words if _is_computed(word)]
            if computed:
                return f"what `{computed[0].raw}` removes is decided when it runs"
        elif name == "find" and "-delete" in run.argv:
            targets = (*_find_roots(run.argv[1:]),)
        else:
            continue
        for target in targets:
            # `cd sub && rm -rf *`: from where the line began as well, which is where it happens if `cd` fails.
            if _is_critical(target, cwd, places) or (name in _REMOVERS and _is_critical(target, places.cwd, places)):
                return f"`{target}` is critical: removing it takes away more than a workspace can lose"
    return ""


def moves(command: Command, cwd: str, places: Places) -> str:
    """Name the critical directory that `mv` would take away, empty if none is seen."""
    if command.name != "mv":
        return ""
    turned = any(re.match(r"-\w*t|--t", text) for text in command.argv)  # `-t`: the target stands first
    sources = command.argv[1 : None if turned else -1]
    return next((text for text in sources if _is_critical(text, cwd, places)), "")


def _is_computed(word: Word) -> bool:
    return not word.fixed and ("$(" in word.text or "`" in word.text)


def _find_roots(words: Sequence[str]) -> list[str]:
    """Return what `find` removes as a whole: where it starts, unless a test before `-delete` chooses."""
    found = []
    at = 0
    while at < len(words) and (words[at][:1] not in ("-", "(", "!") or _FIND_OPTION.fullmatch(words[at])):
        if not words[at].startswith("-"):
            found.append(words[at])
        at += 2 if words[at] == "-D" else 1
    before = words[at : words.index("-delete", at)] if "-delete" in words[at:] else words[at:]
    tests = [word for word in before if word not in _CHOOSE_NOTHING]
    return (found or ["."]) if not tests else [word for word in found if word.startswith(("/", "~"))]


def _is_critical(target: str, cwd: str, places: Places) -> bool:
    if _VARIABLE_ROOT.fullmatch(target):
        return True
    known = re.sub(r"\$\{HOME\}|\$HOME\b", places.home, target)
    known = re.sub(r"\$\{PWD\}|\$PWD\b", cwd, known)
    known = re.sub(r"\*+", "*", known)
    if _EVERYTHING.fullmatch(known):
        return is_critical(cwd, places)
    path = absolute(known, places, cwd)
    if known.endswith("/*"):
        return is_critical(absolute(known[:-2], places, cwd), places)
    return is_critical(path, places)


def prints_secret(script: Script) -> str:
    """Say which variable with a secret in it the script would print; what is printed is sent to the model."""
    for command in script.commands:
        if command.name in _SHOWS:
            for word in command.words[1:]:
                match = None if word.fixed else _SECRET.search(word.text)
                if match:
                    return f"`{match[0]}` is the name of a secret, and would be printed"
    return ""
