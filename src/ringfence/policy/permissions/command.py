"""What a shell command says, without the shell's notation: a neutral form that both parsers are brought to.

A `Script` is flat: its simple commands in the order they are written, each with where it stands, and the `obstacles`,
the constructs for which nobody but a person should vouch. Nothing here depends on a parser.
"""

from enum import Enum
from functools import cached_property

import msgspec


class Context(Enum):
    """Where a simple command stands."""

    DIRECT = "direct"
    SUBSTITUTION = "substitution"  # `$( )`, backquotes, `<( )`
    FUNCTION = "function body"


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One word. `text` is its value after quotes are removed, `raw` the notation.

    `fixed` is False where the shell computes it at run time; `text` then keeps the computed pieces as they are written.
    `expands` names what stands unquoted in it: `*` (a pattern), `~`, `{` (braces), `$HOME`.
    """

    raw: str
    text: str
    fixed: bool = True
    expands: frozenset[str] = frozenset()


class Redirect(msgspec.Struct, frozen=True, kw_only=True):
    """One redirection: `operator` without descriptor; `target` is None for here-documents."""

    operator: str
    target: Word | None = None
    text: str = ""

    @property
    def writes(self) -> bool:
        """Whether it opens a file for writing."""
        return self.operator in (">", ">>", ">|", "&>", "&>>", "<>") or (self.operator == ">&" and not self.duplicates)

    @property
    def duplicates(self) -> bool:
        """Whether it only joins descriptors, as `2>&1` does."""
        return self.operator in (">&", "<&") and self.target is not None and self.target.text.isdigit()


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A variable set for one command, or on its own. `plain` is False for `+=` and `name[i]=`."""

    name: str
    value: Word
    plain: bool = True


class Command(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One simple command; `raw` is its source text without redirections."""

    raw: str
    words: tuple[Word, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    context: Context = Context.DIRECT

    @property
    def name(self) -> str:
        """The program as written, empty where there is none."""
        return self.words[0].text if self.words else ""

    @cached_property
    def argv(self) -> tuple[str, ...]:
        """The values of all words."""
        return tuple(word.text for word in self.words)


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a command line says. `obstacles` are reasons to ask, in words; `doubts` are errors of a parser.

    `looped` are the values that `for` gives its variables, one after the other. `unread` where no parser was tried.
    """

    text: str
    commands: tuple[Command, ...] = ()
    looped: tuple[Assignment, ...] = ()
    obstacles: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    unread: bool = False
