"""Which commands only read, judged by their words; which files they read is judged elsewhere.

An answer is the reason why the command is harmless, or nothing. Whatever is not known for certain has no reason.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from .command import Command, Word
from .flags import NONE, Flags, operands_of
from .read_only_git import DOCKER, FORMATS, GIT
from .read_only_tables import (
    BARE,
    EXACT,
    FIND_REFUSED,
    FREE,
    JQ,
    JQ_PROGRAM_REFUSED,
    TABLES,
    XARGS,
    XARGS_COMMANDS,
)
from .sed_scripts import filters_input, prints_lines

# Commands whose operands are judged as paths, patterns included; to any other a pattern may become an option.
_PATTERNS = frozenset(
    "cat head tail nl tac rev cut column strings hexdump od cmp diff wc du df stat ls echo egrep fgrep grep tr "
    "readlink realpath basename dirname md5sum sha1sum sha256sum".split()
)
# Commands in whose words a `$` or a backquote may stand for itself.
_LITERAL = frozenset("docker printf find jq".split())
_OPERATORS = frozenset("bcdefghknprstuwxzGLNOS")
_SUBSCRIPT = re.compile(r"\w\[")
_FIND_TEXT = re.compile(r"-i?(?:name|regex)|-printf|-user|-group|-uid|-perm|-type|-size")
_COMPARISONS = frozenset("-eq -ne -lt -le -gt -ge".split())
_TERMINAL_CHANGES = frozenset(
    "init reset rs1 rs2 rs3 is1 is2 is3 iprog if rf clear flash mc0 mc4 mc5 mc5i mc5p pfkey pfloc pfx pfxl smcup "
    "rmcup".split()
)


def reason(command: Command, words: Sequence[str] = ()) -> str:
    """Say why the command (or `words`, what one of its wrappers runs) only reads; empty where it may do more."""
    argv = tuple(words) or command.argv
    if not argv:
        return ""
    if not all(map(_is_plain, command.words)):
        return ""
    name = argv[0]
    tail = command.words[len(command.words) - len(argv) :]
    if tail[0].raw.startswith("\\"):
        return ""
    if " ".join(argv) in EXACT:
        return "tells a version or address"
    if name not in _PATTERNS and any("*" in word.expands for word in tail):
        return ""
    if name in FREE:
        return FREE[name]
    if name in BARE:
        return BARE[name] if len(argv) == 1 or (name == "xargs" and _xargs(argv[1:])) else ""
    return _with_options(argv, tail)


def _with_options(argv: Sequence[str], tail: Sequence[Word]) -> str:
    """Judge a command whose options decide whether it only reads."""
    name = argv[0]
    rest = tuple(word.text if word.fixed else word.text.replace("$HOME", "~") for word in tail[1:])
    if name in ("[", "[["):
        return "tests a condition" if _plain_test(argv) else ""
    if name not in ("grep", "printf", "test") and not all(word.fixed for word in tail):
        return ""
    if (name not in _LITERAL or argv[:2] in (("docker", "logs"), ("docker", "inspect"))) and any(
        word.fixed and re.search(r"[$`]", word.text) for word in tail
    ):
        return ""  # what is meant literally here, another reader would expand
    if name == "docker" and any("~" in word.expands for word in tail):
        return ""
    if name in ("git", "jq") and any('\\"' in word.raw for word in tail):
        return ""
    special = _SPECIAL.get(name)
    if special is not None:
        return special(rest)
    why, table = TABLES.get(name, ("", NONE))
    return why if operands_of(table, rest) is not None else ""


def _is_plain(word: Word) -> bool:
    """A word that is the same to every reader: nothing in it is computed but `$HOME`."""
    return word.fixed or "$" not in word.text.replace("$HOME", "")


def _plain_test(argv: Sequence[str]) -> bool:
    """`[ ]` and `[[ ]]`. SECURITY: names of variables and numbers are evaluated, subscripts with what they run."""
    for at, word in enumerate(argv):
        after = argv[at + 1] if at + 1 < len(argv) else ""
        if word in _COMPARISONS and not all(re.fullmatch(r"-?\d+", side) for side in (argv[at - 1], after)):
            return False
        if argv[0] == "[" and len(argv) > 5 and word in ("-a", "-o"):
            return False
        if argv[0] == "[" and at == 1 and (word == "--" or (len(argv) == 4 and re.fullmatch(r"-\d+", word))):
            return False
        if word == "-t" and not after.isdigit():
            return False
        if word in ("-v", "-R") and (argv[0] == "[" or not re.fullmatch(r"\w+", after.strip("'\""))):
            return False
        if word in ("==", "=", "!=") and argv[0] == "[[" and re.search(r"[*?\[]", after):
            return False
    return True


def _test(rest: Sequence[str]) -> str:
    """`test`: what it takes for an operator must be one of those that only look."""
    if not _plain_test(("[", *rest)) or {"=", "==", "-a", "-o"}.intersection(rest):
        return ""
    for at, word in enumerate(rest):
        if _SUBSCRIPT.search(word):
            return ""
        if word.startswith("-") and word not in _COMPARISONS and word not in ("-nt", "-ot", "-ef"):
            if word[1:] not in _OPERATORS or at + 1 >= len(rest) or rest[at + 1].startswith("-"):
                return ""
    return "tests a condition"


def _printf(rest: Sequence[str]) -> str:
    """SECURITY: `-v` sets a variable and zsh evaluates what is to be a number, both with what subscripts run."""
    if rest[:1] != ("--",) and any(word.startswith("-") for word in rest[:1]):
        return ""
    subscripts = [word for word in rest if _SUBSCRIPT.search(word)]
    computed = any(re.search(r"[$`]", word) for word in subscripts)
    formats = rest[: 2 if rest[:1] == ("--",) else 1]
    numeric = any(re.search(r"%[^s%]", word) for word in rest[:2])
    dollars = any(re.search(r"[$~]", word) for word in rest) if numeric else any("$" in word for word in formats)
    return "" if computed or dollars or (subscripts and numeric) else "prints its arguments"


def _git(rest: Sequence[str]) -> str:
    # A format without `%` is the name of one, which configuration may define as anything.
    for at, word in enumerate(rest):
        option, equals, value = word.partition("=")
        if option in ("--pretty", "--format") and (equals or at + 1 < len(rest)):
            value = value if equals else rest[at + 1]
            if value and "%" not in value and value not in FORMATS:
                return ""
    words = [re.sub(r"(--sort=)-(?=[A-Za-z])", r"\1", word) for word in rest]  # the other way round
    for length in (2, 1):
        found = GIT.get(" ".join(words[:length]))
        if found is not None:
            return f"git {found[0]}" if operands_of(found[1], words[length:]) is not None else ""
    return ""


def _docker(rest: Sequence[str]) -> str:
    return _subcommand(DOCKER, rest)


def _subcommand(tables: dict[str, tuple[str, Flags]], rest: Sequence[str]) -> str:
    found = tables.get(rest[0]) if rest else None
    return found[0] if found is not None and operands_of(found[1], rest[1:]) is not None else ""


def _find(rest: Sequence[str]) -> str:
    refused = any(word in FIND_REFUSED or word.startswith("-fprint") for word in rest)
    for before, word in pairwise(("", *rest)):
        refused = refused or (re.search(r"[$`]", word) is not None and not _FIND_TEXT.fullmatch(before))
    return "finds files" if not refused else ""


def _jq(rest: Sequence[str]) -> str:
    operands = operands_of(JQ, rest)
    # Options behind the program are taken for it, or for a file, by another reader.
    if not operands or any(word.startswith("-") for word in rest[rest.index(operands[0]) :]):
        return ""
    if any(re.search(pattern, word) for pattern in JQ_PROGRAM_REFUSED for word in rest):
        return ""
    return "reads JSON"


def _sed(rest: Sequence[str]) -> str:
    return (
        "prints lines of files" if prints_lines(rest) else "replaces text in its input" if filters_input(rest) else ""
    )


def _ps(rest: Sequence[str]) -> str:
    why, table = TABLES["ps"]
    operands = operands_of(table, rest)
    # `e` among the letters of an operand shows the environment of every process; a value may be one to other readers.
    values = [word.partition("=")[2] if word.startswith("-") else word for word in rest]
    if operands is None or any("e" in word.lower() for word in values):
        return ""
    return why


def _date(rest: Sequence[str]) -> str:
    why, table = TABLES["date"]
    operands = operands_of(table, rest) if "--iso-8601" not in rest else None
    return why if operands is not None and all(word.startswith("+") for word in operands) else ""


def _man(rest: Sequence[str]) -> str:
    why, table = TABLES["man"]
    operands = operands_of(table, rest)
    return why if operands is not None and not any("/" in word for word in rest) else ""


def _lsof(rest: Sequence[str]) -> str:
    why, table = TABLES["lsof"]
    operands = operands_of(table, rest)
    return why if operands is not None and not any(word.startswith("+") and word != "+D" for word in operands) else ""


def _which(rest: Sequence[str]) -> str:
    why, table = TABLES["which"]
    operands = operands_of(table, rest)
    return (
        why
        if operands is not None and all(re.fullmatch(r"[\w./+~ -]+", word) and word != "-" for word in operands)
        else ""
    )


def _help(rest: Sequence[str]) -> str:
    why, table = TABLES["help"]
    operands = operands_of(table, rest)
    return why if operands is not None and not any("/" in word for word in rest) else ""


def _tput(rest: Sequence[str]) -> str:
    why, table = TABLES["tput"]
    operands = operands_of(table, rest)
    return why if operands is not None and not _TERMINAL_CHANGES.intersection(operands) else ""


def _history(rest: Sequence[str]) -> str:
    return "lists past commands" if not rest or (len(rest) == 1 and rest[0].isdigit()) else ""


def _ifconfig(rest: Sequence[str]) -> str:
    return "shows addresses" if len(rest) <= 1 and all(re.fullmatch(r"\w[\w.:-]*", word) for word in rest) else ""


def _sockets(rest: Sequence[str]) -> str:
    why, table = TABLES["ss"]
    operands = operands_of(table, rest)
    allowed = ("state", "dst", "established", "listening")
    return why if operands is not None and all(word in allowed or word[:1].isdigit() for word in operands) else ""


def _xargs(rest: Sequence[str]) -> bool:
    """Tell whether xargs runs something that stays harmless with any argument."""
    at = 0
    while at < len(rest) and rest[at].startswith("-"):
        at += 2 if len(rest[at]) == 2 and (rest[at][1] in XARGS.short_value or rest[at : at + 2] == ("-I", "{}")) else 1
    options = [word for word in rest[:at] if word not in ("-I", "{}")]
    if any(option == "-d" and len(value) != 1 for option, value in pairwise(options)):
        return False
    if ("-I" in rest[:at] and "{}" not in rest[:at]) or operands_of(XARGS, options) is None:
        return False
    return at >= len(rest) or rest[at] in XARGS_COMMANDS


_SPECIAL = {
    "printf": _printf,
    "test": _test,
    "git": _git,
    "docker": _docker,
    "find": _find,
    "jq": _jq,
    "sed": _sed,
    "ps": _ps,
    "date": _date,
    "man": _man,
    "lsof": _lsof,
    "tput": _tput,
    "which": _which,
    "help": _help,
    "history": _history,
    "ifconfig": _ifconfig,
    "ss": _sockets,
}
