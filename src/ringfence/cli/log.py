"""`ringfence log` and `ringfence log verify`: the audit for people and programs."""

import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from ringfence.audit import read, verify
from ringfence.audit.chain import BROKEN, ROTATION, TORN, Link
from ringfence.model.errors import HostError, UsageError
from ringfence.model.event import EventKind
from ringfence.policy.fields import TIME
from ringfence.policy.units import time_s
from ringfence.session import places

from . import arguments, catalogue, log_text
from . import help as help_text
from .terminal import paint, put, safe

# Records that the audit makes of itself, see docs/audit.md.
OWN_KINDS = (ROTATION, TORN, BROKEN)
NOBODY = ("pid", 0)  # who it was is not known


def main(name: str, words: Sequence[str]) -> int:
    """Show records, or verify the chain; raise HostError where the audit cannot be read."""
    given = arguments.parse(catalogue.find(name), words)
    if given is None:
        return help_text.show([name])
    try:
        if given.words == ["verify"]:
            return check(given)
        if given.words:
            hint = "`ringfence log --run RUN` shows one run, `ringfence log verify` checks the chain"
            raise UsageError(f"unexpected word `{safe(given.words[0])}`", hint=hint)
        return show(given)
    except BrokenPipeError:
        raise  # standard output's, not the audit's
    except OSError as error:
        hint = f"look with `ls -la {places.audit()}`"
        raise HostError(f"cannot read the audit: {error.strerror}", hint=hint) from error


def show(given: arguments.Arguments) -> int:
    """Print the records asked for, oldest first."""
    refuse(given, ("anchor",), "log")
    kind = given.text("kind") or ("denial" if given.has("denied") else "")
    kinds = [item.value for item in EventKind]
    if kind and kind not in (*kinds, *OWN_KINDS):
        raise UsageError(f"no kind `{safe(kind)}`", hint="one of " + ", ".join(f"`{item}`" for item in kinds))
    since_ns = moment(given.text("since"), time.time_ns()) if given.has("since") else 0
    found: Iterable[read.Record] = read.read(places.audit(), run=given.text("run"), kind=kind, since_ns=since_ns)
    if given.has("lines"):
        found = deque(found, maxlen=count(given.text("lines")))
    pages = log_text.Pages() if sys.stdout.isatty() and not given.has("json") else None
    for record in known(found, given.text("run")):
        if pages:
            put(*pages.lines(told(record)))
        else:
            sys.stdout.write((as_json(record) if given.has("json") else coloured(record)) + "\n")
    sys.stdout.flush()
    return 0


def known(found: Iterable[read.Record], run: str) -> Iterable[read.Record]:
    """The records found; UsageError where there is none, and none of any kind of the run that was named."""
    first = True
    for record in found:
        first = False
        yield record
    if run and first and not any(True for _ in read.read(places.audit(), run=run)):
        raise UsageError(f"no record of a run `{safe(run)}`", hint="`ringfence log --kind launch` lists the runs")


def refuse(given: arguments.Arguments, keys: Iterable[str], command: str) -> None:
    """Raise UsageError for an option that belongs to the other half of the command."""
    for key in keys:
        if given.has(key):
            raise UsageError(f"`--{key}` has no meaning for `ringfence {command}`", hint="see `ringfence log --help`")


def count(text: str) -> int:
    """A number of records."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"`{safe(text)}` is not a number of records", hint="such as `-n 20`")
    return int(text)


def moment(text: str, now_ns: int) -> int:
    """Unix time in nanoseconds for a duration before `now_ns`, such as `2h`, or a date such as `2025-01-31T12:00`."""
    if re.search(TIME, text):
        return max(0, now_ns - time_s(text) * 10**9)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        hint = "a duration such as `30m`, `2h` or `1d`, or a date such as `2025-01-31` or `2025-01-31T12:00`"
        raise UsageError(f"`{safe(text)}` is not a time", hint=hint) from None
    return max(0, int(found.astimezone().timestamp() * 10**9))


def as_json(record: read.Record) -> str:
    """One record as one line of JSON; names that are not UTF-8 keep their bytes as escaped lone surrogates."""
    import json

    return json.dumps(msgspec.to_builtins(record), ensure_ascii=True)


def coloured(record: read.Record) -> str:
    """One record as one line; the kind stands out where something was refused or lost."""
    line = read.render(told(record))
    style = log_text.STYLES.get(record.kind, "")
    return line.replace(record.kind, paint(record.kind, style), 1) if style else line


def told(record: read.Record) -> read.Record:
    """The record without fields that say nothing."""
    said = {name: value for name, value in record.fields.items() if value not in ("", None) and (name, value) != NOBODY}
    return msgspec.structs.replace(record, fields=said)


def check(given: arguments.Arguments) -> int:
    """Verify the chain: 0 if it is whole, 1 if somebody tampered with it."""
    refuse(given, ("run", "kind", "since", "lines"), "log verify")
    report = verify.verify(places.audit(), anchor(given.text("anchor")) if given.has("anchor") else None)
    if given.has("json"):
        put(msgspec.json.encode({"ok": report.ok, **msgspec.to_builtins(report)}).decode())
    else:
        put(*described(report))
    return 0 if report.ok else 1


def anchor(text: str) -> Link:
    """The number and hash of a record, as an earlier report gave them."""
    number, _, hash_ = text.partition(":")
    if not (number.isascii() and number.isdigit() and len(number) <= 18 and re.fullmatch(r"[0-9a-f]{64}", hash_)):
        raise UsageError(f"`{safe(text)}` is not an anchor", hint="as printed by `ringfence log verify`: SEQ:HASH")
    return int(number), hash_


def counted(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def described(report: verify.Report) -> Iterable[str]:
    """What was found, for people."""
    for problem in report.problems:
        where = f"{problem.file}:{problem.line}" if problem.line else problem.file
        style = "warn" if problem.warning else "bad"
        yield f"{paint(problem.kind.value, style)}  {safe(where)}: {safe(problem.message)}"
    size = f"{counted(report.records, 'record')} in {counted(report.files, 'file')}"
    if not report.ok:
        yield paint(f"the audit was tampered with ({size})", "bad")
        return
    yield paint(f"the audit is whole: {size}", "good")
    yield f"  anchor: {report.last[0]}:{report.last[1]}"
