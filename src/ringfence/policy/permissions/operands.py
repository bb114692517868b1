"""Which files a command reads and writes, by its words, as far as its name tells.

For the programs listed here, what they are pointed at counts as much as what they are: reading outside the workspace is
asked about, however harmless the reader. Programs that are not listed have no operands that are known.
"""

import re
from collections.abc import Sequence

import msgspec

from . import option_files, sed_scripts
from .command import Redirect, Word
from .words import plain_word

NULL = "/dev/null"

_ALL_READ = frozenset(
    "cat head tail nl tac rev cut paste column fold expand unexpand fmt comm cmp diff wc stat file strings hexdump od "
    "base64 md5sum sha1sum sha256sum sort uniq ls pr tsort numfmt".split()
)
# What else gives a program its pattern or script, so that every operand is a file: among letters, none of which takes a
# value, and with its value behind it as well; GNU's long options abbreviated.
_GREP = re.compile(r"-[^-ABCDdm]*[ef].*|--(?:reg(?:e(?:xp?)?)?|file?)(?:=.*)?", re.S)
_AWK = re.compile(r"-[a-zA-Z]*[efE]|-[efE].+|--(?:e[a-z]*|fi(?:le?)?|so[a-z]*)(?:=.*)?", re.S)
_GIVEN_OTHERWISE = {
    "grep": _GREP,
    "egrep": _GREP,
    "fgrep": _GREP,
    "git grep": _GREP,
    "rg": re.compile(r"-[^-ABCEMTdgjmrt]*[ef].*|--(?:regexp|file)(?:=.*)?|--files", re.S),
    "awk": _AWK,
    "gawk": _AWK,
    "jq": re.compile(r"-[a-zA-Z]*[ef]|--from-file"),
}
_SED = re.compile(r"-[a-zA-Z]*[ef]|-[^-il]*[ef].*|--(?:e[a-z]*|fi[a-z]*)(?:=.*)?", re.S)
_ALL_WRITE = frozenset("touch mkdir rm rmdir tee".split())

_HERE = plain_word(".")


class Operand(msgspec.Struct, frozen=True, kw_only=True):
    """One file that a command opens."""

    word: Word
    writes: bool = False
    reads: bool = True


def operands(words: Sequence[Word]) -> list[Operand]:
    """List what `words`, the command itself or what its wrapper runs, opens by name."""
    if not words:
        return []
    name, rest = words[0].text.rpartition("/")[2], list(words[1:])
    found = [operand for operand in _by_place(name, rest) if operand.word.text != "-"]
    writes = name in ("cp", "mv")
    return found + [Operand(word=word, writes=writes) for word in option_files.named(name, rest)]


def _by_place(name: str, rest: Sequence[Word]) -> list[Operand]:
    """What `name` opens by where its words stand; `-` is standard input."""
    if name == "git" and rest:
        name, rest = f"git {rest[0].text}", rest[1:]
    if name == "find":
        return [Operand(word=word) for word in _find_roots(rest) or [_HERE]]
    if name in _ALL_READ:
        found = _files(rest)
        # Behind the first file another reader takes no word for an option.
        behind = rest[rest.index(found[0]) + 1 :] if found else ()
        found += [word for word in behind if re.search(r"[$/]", word.text)]
        return [Operand(word=word) for word in found or [_HERE] * (name == "ls")]
    if name == "tr":
        sets = 1 if any(re.match(r"-\w*[ds]|--[ds]", word.text) for word in rest) else 2
        return [Operand(word=word) for word in _after_first(rest)[sets:]]
    if name == "sed":
        return _sed(rest)
    if name in _GIVEN_OTHERWISE:
        given = any(_GIVEN_OTHERWISE[name].fullmatch(word.text) for word in rest)
        found = _files(rest) if given else _files(rest)[1:]
        return [Operand(word=word) for word in (found or [_HERE] * (name == "rg"))]
    if name in _ALL_WRITE:
        return [Operand(word=word, writes=True, reads=False) for word in _files(rest)]
    if name in ("cp", "mv"):
        found = _files(rest)
        # With more than two, what stands between may be taken for the target by another reader.
        return [
            Operand(word=word, writes=name == "mv" or at > 0, reads=at == 0 or word is not found[-1])
            for at, word in enumerate(found)
        ]
    if name in ("cd", "git diff"):
        return [Operand(word=word) for word in _files(rest)]
    return []


def redirected(redirect: Redirect) -> Operand | None:
    """Return the file that a redirection opens; None for descriptors, here-documents and /dev/null."""
    if redirect.target is None or redirect.duplicates or redirect.operator == "<<<":
        return None
    if redirect.target.text == NULL:
        return None
    return Operand(word=redirect.target, writes=redirect.writes, reads=redirect.operator in ("<", "<>"))


def _after_first(words: Sequence[Word]) -> list[Word]:
    """The operands, of which everything behind the first is one."""
    first = next((at for at, word in enumerate(words) if not word.text.startswith("-")), len(words))
    return list(words[first:])


def _files(words: Sequence[Word]) -> list[Word]:
    """What is no option; `-` is none, and after `--` nothing is."""
    found, options = [], True
    for word in words:
        if options and word.text == "--":
            options = False
        elif not options or not word.text.startswith("-") or word.text == "-":
            found.append(word)
    return found


def _find_roots(words: Sequence[Word]) -> list[Word]:
    """Return where `find` starts, before its first test, and whatever else leads out of the directory."""
    found: list[Word] = []
    for word in words:
        if word.text.startswith("-") and word.text not in ("-H", "-L", "-P") and not word.text.startswith("-O"):
            break
        if word.text in ("(", "!"):
            break
        if not word.text.startswith("-"):
            found.append(word)
    return found + [word for word in words if word.text.startswith(("/", "~", "../"))]


def _sed(words: Sequence[Word]) -> list[Operand]:
    texts = [word.text for word in words]
    given = any(_SED.fullmatch(text) for text in texts)
    files = _files(words) if given else _files(words)[1:]
    writes = not sed_scripts.is_quiet(texts)
    return [Operand(word=word, writes=writes) for word in files]
