"""What is known of one command."""

import msgspec

from .run_options import Option


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command. `arguments` is (least, most) of its positional words; -1 where the rest is a command line."""

    name: str
    summary: str
    usage: tuple[str, ...]
    details: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    arguments: tuple[int, int] = (0, 0)
    words: tuple[str, ...] = ()
    takes: str = ""
    examples: tuple[tuple[str, str], ...] = ()
