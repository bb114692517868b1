"""`ringfence doctor`: what this machine offers, and what to change."""

import os
import sys
from collections.abc import Iterable, Sequence

from ringfence.model.errors import HostError, UsageError
from ringfence.report import hardening, mending
from ringfence.sandbox.doctor import Finding, Status

from . import arguments, catalogue
from . import help as help_text
from .terminal import paint, put, put_json, safe, table

_STYLES = {Status.OK: "good", Status.DEGRADED: "warn", Status.MISSING: "bad"}


def main(name: str, words: Sequence[str]) -> int:
    """Probe this machine; 0 where runs work, else 3."""
    given = arguments.parse(catalogue.find(name), words)
    if given is None:
        return help_text.show([name])
    if given.has("mend"):
        if given.has("json"):
            raise UsageError("`--mend` and `--json` exclude each other", hint="`doctor --json` lists what it would do")
        if not mend(unasked=given.has("yes")):
            return 1
        put("")
    elif given.has("yes"):
        raise UsageError("`--yes` belongs to `--mend`", hint="ringfence doctor --mend --yes")
    found = hardening.assess(os.getcwd())
    if given.has("json"):
        put_json(found)
    else:
        put(*rendered(found))
    return 0 if found.works else HostError.exit_status


def mend(*, unasked: bool) -> bool:
    """Show each thing that can be put right and do it if the user says so; False where one was declined.

    Raises UsageError, after all of them were shown, where nobody can be asked; HostError where one cannot be done.
    """
    found = mending.find()
    if not found:
        put(paint("nothing of ringfence's own needs mending", "good"))
        return True
    can_ask = sys.stdin.isatty() and sys.stdout.isatty()
    declined = False
    for one in found:
        put(*mend_lines(one))
        if unasked or (can_ask and agreed()):
            mending.carry_out(one)
            put(*(f"  {paint('done', 'good')}  {safe(str(step))}" for step in one.steps), "")
        else:
            declined = True
    if declined and not can_ask:
        hint = "`ringfence doctor --mend --yes` does all of it"
        raise UsageError("nothing was changed: there is no terminal to ask on", hint=hint)
    return not declined


def agreed() -> bool:
    """Ask on the terminal."""
    sys.stdout.write("do this? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def mend_lines(one: mending.Mend) -> Iterable[str]:
    """What is wrong, every step, how to take it back, and what to do then."""
    yield f"{paint(safe(one.name), 'bold')}: {safe(one.detail)}"
    for step in one.steps:
        yield f"  {safe(str(step))}" + (paint(f"   (undo: {safe(step.undo)})", "dim") if step.undo else "")
    if one.then:
        yield paint(f"  then: {safe(one.then)}", "dim")


def rendered(found: hardening.Assessment) -> Iterable[str]:
    """The assessment for people: every finding, what enforces each limit, one sentence at the end."""
    for finding in found.findings:
        yield from finding_lines(finding)
    yield ""
    yield paint("what enforces each limit here", "bold")
    yield from table(found.limits.items(), styles=("name",))
    if found.mends:
        count = "one thing" if len(found.mends) == 1 else f"{len(found.mends)} things"
        yield ""
        yield paint(f"{count} can be put right: `ringfence doctor --mend` shows each and asks", "warn")
    yield ""
    if found.works:
        weaker = sum(finding.status is Status.DEGRADED for finding in found.findings)
        note = f"; weaker than it could be: {weaker}, marked `degraded`" if weaker else ""
        yield paint(f"`ringfence run` works here{note}.", "good")
    else:
        yield paint("`ringfence run` does not work here: change what is marked `missing`.", "bad")


def finding_lines(finding: Finding) -> Iterable[str]:
    """One finding, and below it what to change."""
    status = paint(f"{finding.status.value:<8}", _STYLES[finding.status])
    yield f"{status}  {safe(finding.name):<19}  {safe(finding.detail)}"
    if finding.remedy:
        yield paint(f"          change: {safe(finding.remedy)}", "dim")
