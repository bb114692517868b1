"""The only place where a question becomes an allowance: what each mode does with what the rules leave open.

| mode | a question that is open | one of safety | one that is firm |
|---|---|---|---|
| default, acceptEdits | asked | asked | asked |
| auto | denied | denied | asked |
| plan | denied (asked, if a file tool reaches outside) | denied | denied |
| dontAsk | denied | denied | denied |
| bypassPermissions | allowed | allowed | asked |

Denials are denials in every mode. `acceptEdits` and `auto` settle edits in the workspace, which the engine marks as
such; `auto` sends the rest to a classifier, and without its answer the client denies.
"""

from ringfence.model.decision import Decision, Verdict

from .findings import Finding, Weight
from .settings import Mode

_EDITING = (Mode.ACCEPT_EDITS, Mode.AUTO)
_SILENT = {Mode.PLAN: "plan mode changes nothing", Mode.DONT_ASK: "nobody is asked in this mode"}
_UNJUDGED = "no classifier is there to judge it"


def settle(finding: Finding, mode: Mode) -> Decision:
    """Decide what `finding` comes to in `mode`."""
    if mode is Mode.PLAN and finding.verdict is Verdict.ALLOW and finding.tool_edit:
        return finding.decision(Verdict.DENY, _SILENT[mode])
    if finding.verdict is not Verdict.ASK:
        return finding.decision()
    if mode is Mode.PLAN and finding.outside and finding.weight is Weight.OPEN:
        return finding.decision()
    if mode in _SILENT or (mode is Mode.AUTO and finding.weight is not Weight.FIRM and not finding.edits):
        return finding.decision(Verdict.DENY, f"{finding.reason}; {_SILENT.get(mode, _UNJUDGED)}")
    if mode is Mode.BYPASS and finding.weight is not Weight.FIRM:
        return finding.decision(Verdict.ALLOW, _bypassed(finding))
    if finding.edits and finding.weight is Weight.OPEN and mode in _EDITING:
        return finding.decision(Verdict.ALLOW, f"edits in the workspace are accepted in {mode.value} mode")
    return finding.decision()


def _bypassed(finding: Finding) -> str:
    unknown = "; what it runs is not known from its text, the boundary holds it" if finding.notes else ""
    return f"nothing is asked in {Mode.BYPASS.value} mode{unknown}"


def accepts_edits(mode: Mode) -> bool:
    """Tell whether files of the workspace are changed without asking."""
    return mode in _EDITING


def mode_of(name: str) -> Mode | None:
    """Return the mode of that name, `manual` being another name for `default`."""
    return next((mode for mode in Mode if mode.value == ("default" if name == "manual" else name)), None)
