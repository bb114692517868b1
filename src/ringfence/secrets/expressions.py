"""Regular expressions in linear time: RE2 over bytes, with types.

Python's own `re` takes exponential time on some texts, and text comes from whoever wants to keep us busy.
"""

from collections.abc import Iterator
from typing import Protocol

import re2

_MEMORY_BYTES = 256 << 20
"""A limit, not a use: where it is too low for an automaton, RE2 falls back to a hundredth of its speed."""


class Found(Protocol):
    """One match."""

    def start(self) -> int:
        """Return where it begins."""

    def end(self) -> int:
        """Return where it ends."""

    def group(self, number: int = 0) -> bytes:
        """Return the text of a group."""


class Expression(Protocol):
    """A compiled expression; `pos` and `endpos` bound what is looked at."""

    def search(self, text: bytes, pos: int = 0, endpos: int | None = None) -> Found | None:
        """Return the first match."""

    def match(self, text: bytes, pos: int = 0, endpos: int | None = None) -> Found | None:
        """Return the match that begins at `pos`."""

    def finditer(self, text: bytes) -> Iterator[Found]:
        """Yield every match."""


def compiled(pattern: bytes) -> Expression:
    """Compile an expression over bytes."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False  # it would quote the expression
    expression: Expression = re2.compile(pattern, options)
    return expression
