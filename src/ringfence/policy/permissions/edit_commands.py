"""Commands that change files the way an editor does: settled in the modes that accept edits.

Only plain notations count, and for `cp` and `mv` none with options: `cp -r` copies links and special files, `mv -t`
turns its operands around. What the operands lead to has been judged before.
"""

import re

from . import sed_scripts
from .command import Command

_ANY_OPTION = frozenset(("rm", "mkdir", "rmdir"))
_NO_OPTION = frozenset(("touch", "cp", "mv"))


def edits_workspace(command: Command) -> bool:
    """Tell whether the command does nothing but change the files it names."""
    name, rest = command.name, command.argv[1:]
    if command.assignments or command.words[0].raw != name:
        return False
    if any(not word.fixed or word.expands for word in command.words):
        return False
    if name == "touch" and not all(re.match(r"[\w./]", word) for word in rest):
        return False  # what another `touch` takes for a date, or another shell for more than a name
    if name in _NO_OPTION:
        return not any(word.startswith("-") for word in rest)
    if name == "sed":
        return sed_scripts.edits_files(rest)
    return name in _ANY_OPTION
