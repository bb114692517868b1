"""Show records to people and programs; whether they can be believed is `verify`'s to say."""

import json
from collections.abc import Iterator

import msgspec

from .chain import canonical
from .snapshot import take_snapshot
from .writer import timestamp

_KIND_WIDTH = 9
_FIRST = ("target", "method", "scheme", "host", "port", "path", "status")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit, as `ringfence log --json` prints it."""

    v: int
    seq: int
    time: str
    run: str
    kind: str
    code: str
    fields: dict[str, str | int | bool | list[str] | None]
    prev: str
    hash: str


def read(directory: str, *, run: str = "", kind: str = "", since_ns: int = 0) -> Iterator[Record]:
    """Yield the records in `directory`, oldest first.

    Only those of run `run` (or a prefix of it), of `kind`, and not before `since_ns`, where these are given.
    Lines that are no records are passed over. A directory that does not exist holds none.
    Raises `SandboxError` if the lock is not to be had, and `OSError` if a file cannot be read.
    """
    since = timestamp(since_ns)
    try:
        snapshot = take_snapshot(directory)
    except FileNotFoundError:
        return
    try:
        for _, _, line in snapshot.lines():
            record = parse_record(line)
            if record and record.run.startswith(run) and kind in ("", record.kind) and record.time >= since:
                yield record
    finally:
        snapshot.close()


def parse_record(line: bytes) -> Record | None:
    """Parse one line; None if it is no record."""
    try:
        # Not msgspec's decoder: file names that are not UTF-8 are recorded with lone surrogates, which it refuses.
        return msgspec.convert(json.loads(line), Record)
    except (ValueError, RecursionError):  # msgspec.ValidationError is a ValueError
        return None


def render(record: Record) -> str:
    """Render one record as one line of plain text, safe to show on a terminal."""
    moment = record.time[:19].replace("T", " ")
    words = [moment, record.run or "-", f"{record.kind:<{_KIND_WIDTH}}", record.code]
    line = "  ".join(_plain(word) for word in words if word)
    names = [*(name for name in _FIRST if name in record.fields), *sorted(record.fields.keys() - set(_FIRST))]
    fields = " ".join(f"{_plain(name)}={_value(record.fields[name])}" for name in names)
    return f"{line}  {fields}".rstrip()


def _value(value: str | int | bool | list[str] | None) -> str:
    if isinstance(value, str):
        return _plain(value) if value and not set(value) & set(' "=[],') else _quoted(value)
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return canonical(value)


def _quoted(text: str) -> str:
    return f'"{text}"' if text.isprintable() and '"' not in text and "\\" not in text else canonical(text)


def _plain(text: str) -> str:
    """Give `text` as it is, or quoted with escapes.

    SECURITY: names are chosen by the contained side. Control characters would drive the terminal, and direction
    overrides (Unicode category Cf) would disguise what stands there; neither is printable.
    """
    return text if text.isprintable() else canonical(text)
