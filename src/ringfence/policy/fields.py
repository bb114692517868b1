"""What the tables of a policy file are made of: kinds of values, and the description that each key carries."""

from typing import Annotated

import msgspec
from msgspec import Meta

# Each ends in `$(?!\n)` because Python's `$` also matches before a last newline, and JSON Schema has no `\Z`.
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)"
VARIABLE_OR_PREFIX = r"^[A-Za-z_][A-Za-z0-9_]*\*?$(?!\n)"
SIZE = r"^[0-9]{1,15} ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$(?!\n)"
METHOD = r"^[A-Z][A-Z0-9-]*$(?!\n)"
TIME = r"^[0-9]{1,9} ?(s|m|h|d)$(?!\n)"

# The largest value that fits the kernel's signed 64-bit sizes.
Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]
NoNul = Annotated[str, Meta(min_length=1, pattern=r"^[^\x00]*$")]

# SECURITY: a project's reasons are shown on the operator's terminal, so they may not hold control characters.
Line = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)")]

Count = Whole
Size = Whole | Annotated[str, Meta(pattern=SIZE)]
Time = Whole | Annotated[str, Meta(pattern=TIME)]
Ports = tuple[Annotated[int, Meta(ge=0, le=2**31 - 1)] | str, ...]

A_COUNT = "a whole number, 0 for no limit"
A_SIZE = 'bytes as a whole number, or a string such as "4GiB" or "500MB"; 0 for no limit'
A_TIME = 'seconds as a whole number, or a string such as "30s", "5m" or "2h"; 0 for no limit'


def key(description: str, valid: str, *, entry: str = "") -> Meta:
    """Describe a key: one sentence for the reference, what a value (and each `entry` of it) may be for errors."""
    return Meta(description=description, extra={"valid": valid, "entry": entry})


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True):
    """A table of a policy file; a key that no field names is an error."""
