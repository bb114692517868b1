"""Files that options name: what they hold is shown, in whole, by what matches or in a complaint about it.

The client looks at operands only. GNU's long options may be abbreviated, so every beginning of a name counts.
"""

from collections.abc import Iterator, Sequence

import msgspec

from .command import Word

_NAMED = {
    "grep": "file exclude-from",
    "egrep": "file exclude-from",
    "fgrep": "file exclude-from",
    "rg": "file ignore-file",
    "sed": "file",
    "awk": "file",
    "gawk": "file",
    "jq": "from-file",
    "wc": "files0-from",
    "cp": "target-directory",
    "mv": "target-directory",
    "du": "files0-from exclude-from",
    "sort": "files0-from",
    "diff": "from-file to-file exclude-from",
    "hexdump": "format-file",
    "file": "files-from magic-file",
    "date": "file",
    "tree": "fromfile fromtabfile infofile gitfile",
    "git": "ignore-revs-file exclude-from contents",
}
_LETTERS = {
    "grep": "f",
    "egrep": "f",
    "fgrep": "f",
    "rg": "f",
    "sed": "f",
    "awk": "f",
    "gawk": "f",
    "jq": "f",
    "cp": "t",
    "mv": "t",
    "du": "X",
    "diff": "X",
    "hexdump": "f",
    "file": "fm",
    "date": "f",
    "xargs": "a",
}


def named(name: str, words: Sequence[Word]) -> Iterator[Word]:
    """Yield the files that the options of `name` name; `words` are its arguments."""
    names, letters = _NAMED.get(name, "").split(), _LETTERS.get(name, "")
    if not names and not letters and name != "strings":
        return
    for at, word in enumerate(words):
        after = words[at + 1 : at + 2]
        option, equals, value = word.text.partition("=")
        if name == "strings" and word.text.startswith("@"):
            yield _piece(word, word.text[1:])
        elif option.startswith("--") and any(known.startswith(option[2:]) for known in names) and len(option) > 2:
            yield from [_piece(word, value)] if equals else after
        elif word.text[:1] == "-" and word.text[1:2] and word.text[1:2] in letters:
            yield from [_piece(word, word.text[2:])] if len(word.text) > 2 else after


def _piece(word: Word, text: str) -> Word:
    return msgspec.structs.replace(word, raw=text, text=text)
