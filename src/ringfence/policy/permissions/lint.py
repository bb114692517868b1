"""What is wrong with rules that can be read: void, dead, shadowed, or far wider than they look."""

import msgspec

from ringfence.model.decision import Source, Verdict

from .bash_rules import is_exact, matcher, program_of
from .risks import launches
from .rules import Rule
from .settings import RENAMED, Settings

# Those of Claude Code 2.1.329, and those of earlier clients, which rules may still name.
_TOOLS = frozenset(
    "Agent Artifact AskUserQuestion Bash ClaudeDesign CronCreate CronDelete CronList Edit EndConversation "
    "EnterPlanMode EnterWorktree ExitPlanMode ExitWorktree Glob Grep ListAgents ListMcpResourcesTool LSP Monitor "
    "NotebookEdit OfferChromeSetup PowerShell Projects propose_skills PushNotification Read ReadMcpResourceDirTool "
    "ReadMcpResourceTool ReadNotifications RemoteTrigger ReportFindings ScheduleWakeup SendFeedback SendMessage "
    "SendUserFile SendUserMessage SetGoal ShareOnboardingGuide ShowOnboardingRolePicker Skill SubagentHandback "
    "TaskCreate TaskGet TaskList TaskStop TaskUpdate TodoWrite ToolSearch WaitForMcpServers WebFetch WebSearch "
    "Workflow Write BashOutput Cd LS MultiEdit NotebookRead REPL SlashCommand TaskOutput".split()
).union(RENAMED)


class Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to look at; `code` names its class."""

    code: str
    rule: str
    source: Source
    message: str


def lint(settings: Settings) -> list[Complaint]:
    """Return the complaints about the rules in force, in the order of the rules."""
    found = []
    for rule in settings.rules:
        for code, message in _about(rule, settings):
            found.append(Complaint(code=code, rule=rule.text, source=rule.source, message=message))
    return found + _balance(settings)


def _about(rule: Rule, settings: Settings) -> list[tuple[str, str]]:
    if rule.ignored:
        return [("void", f"it has no effect: {rule.ignored}")]
    found = []
    known = rule.tool in _TOOLS or "*" in rule.tool or rule.tool.startswith("mcp__")
    if not known:
        meant = next((tool for tool in _TOOLS if tool.lower() == rule.tool.lower()), "")
        found.append(("unknown-tool", f"no tool has this name{f'; `{meant}` has' if meant else ''}"))
    if rule.verdict is Verdict.ALLOW:
        found += _too_wide(rule)
        beaten = _beaten(rule, settings)
        if beaten is not None:
            word = "denied" if beaten.verdict is Verdict.DENY else "asked about"
            found.append(("shadowed", f"what it allows is {word} by `{beaten.text}` ({beaten.source})"))
    twin = _twin(rule, settings)
    if twin is not None:
        found.append(("repeated", f"`{twin.text}` ({twin.source}) says it already"))
    return found


def _too_wide(rule: Rule) -> list[tuple[str, str]]:
    """Allowances of a launcher are allowances of everything it can launch."""
    if rule.tool != "Bash":
        wide = rule.tool in ("Edit", "WebFetch", "Monitor", "PowerShell") and not rule.what
        return [("wide", "it allows every use of the tool")] if wide else []
    if not rule.what:
        return [("wide", "it allows every command")]
    if is_exact(rule.what):
        return []
    program = program_of(rule.what).rpartition("/")[2]
    if not program:
        return [("wide", "it begins with a pattern: any program may be meant")]
    words = rule.what.removesuffix(" *").split()
    reason = launches(program) if len(words) == 1 else ""
    return [("launcher", f"`{program}` {reason}; name what it may be used for")] if reason else []


def _beaten(rule: Rule, settings: Settings) -> Rule | None:
    """Return the denial or question that leaves nothing of the allowance."""
    for verdict in (Verdict.DENY, Verdict.ASK):
        for other in settings.about(verdict, rule.tool):
            if other.parameter is None and (not other.what or _covers(other, rule)):
                return other
    return None


def _covers(wider: Rule, narrower: Rule) -> bool:
    """Tell whether everything that `narrower` is about is what `wider` is about, as far as their texts show."""
    if wider.what == narrower.what:
        return True
    if wider.tool != "Bash":
        return False
    sample = narrower.what.removesuffix(":*").removesuffix(" *")
    return "*" not in sample and matcher(wider.what)(sample) and (is_exact(narrower.what) or wider.what[-1] == "*")


def _twin(rule: Rule, settings: Settings) -> Rule | None:
    """Return a rule with the same verdict that makes this one unnecessary; of two that are equal, the first."""
    own = False
    for other in settings.about(rule.verdict, rule.tool):
        own = own or other is rule
        if other.parameter is not None or rule.parameter is not None:
            continue
        if (not other.what or _covers(other, rule)) and not (own and other.what == rule.what):
            return other
    return None


def _balance(settings: Settings) -> list[Complaint]:
    """Complain about settings that allow more than they forbid: they have grown by clicking."""
    allows = [rule for rule in settings.rules if rule.verdict is Verdict.ALLOW and not rule.ignored]
    others = [rule for rule in settings.rules if rule.verdict is not Verdict.ALLOW]
    if len(allows) <= max(len(others), 10):
        return []
    message = f"{len(allows)} allowances stand against {len(others)} denials and questions; prune what is not used"
    return [Complaint(code="grown", rule="", source=allows[-1].source, message=message)]
