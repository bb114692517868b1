"""Names as file systems other than this one would read them.

A name that is harmless here can be `.git` on another disk: macOS folds case and drops some code points, Windows drops
trailing dots and spaces, cuts at `:` and knows short names (CVE-2014-9390, CVE-2019-1352, CVE-2019-1353). A checkout is
carried between machines, so protected names are compared in the form that all of those forms share.
"""

import re
import unicodedata

# The code points HFS+ ignores, as listed in git's utf8.c (next_hfs_char).
_IGNORED = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF],
)
_SHORT_GIT = re.compile(r"(git~\d+|gi7eba~\d+)")  # NTFS 8.3 names of `.git`: git's path.c, is_ntfs_dotgit


def canonical(name: str) -> str:
    """Reduce one path component to the form in which protected names are compared."""
    if name.isascii() and name.islower() and name[-1] not in ". " and "~" not in name and ":" not in name:
        return name
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name.translate(_IGNORED)).casefold())
    folded = folded.split(":", 1)[0].rstrip(". ") or folded
    return ".git" if _SHORT_GIT.fullmatch(folded) else folded


def canonical_path(path: str) -> tuple[str, ...]:
    """Reduce each component of a relative path."""
    return tuple(canonical(name) for name in path.split("/"))


def shown(text: str) -> str:
    """Make `text` safe to print on one line: control, format and surrogate characters are escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, see PEP 383
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
