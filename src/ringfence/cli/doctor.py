"""`ringfence doctor`: what this machine offers, and what to change."""

import os
from collections.abc import Iterable, Sequence

from ringfence.model.errors import HostError
from ringfence.report import hardening
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
    found = hardening.assess(os.getcwd())
    if given.has("json"):
        put_json(found)
    else:
        put(*rendered(found))
    return 0 if found.works else HostError.exit_status


def rendered(found: hardening.Assessment) -> Iterable[str]:
    """The assessment for people: every finding, what enforces each limit, one sentence at the end."""
    for finding in found.findings:
        yield from finding_lines(finding)
    yield ""
    yield paint("what enforces each limit here", "bold")
    yield from table(found.limits.items(), styles=("name",))
    yield ""
    if found.works:
        weaker = sum(finding.status is Status.DEGRADED for finding in found.findings)
        note = f", with {weaker} weaker than they could be" if weaker else ""
        yield paint(f"`ringfence run` works here{note}.", "good")
    else:
        yield paint("`ringfence run` does not work here: change what is marked `missing`.", "bad")


def finding_lines(finding: Finding) -> Iterable[str]:
    """One finding, and below it what to change."""
    status = paint(f"{finding.status.value:<8}", _STYLES[finding.status])
    yield f"{status}  {safe(finding.name):<19}  {safe(finding.detail)}"
    if finding.remedy:
        yield paint(f"          change: {safe(finding.remedy)}", "dim")
