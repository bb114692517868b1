"""`ringfence policy decide | explain | lint | diff | replay`: permission rules, asked about tool calls.

`policy test` is in permission_tests.py.
"""

import os
import sys
from collections.abc import Iterator

import msgspec

from ringfence.integrations.hook_decisions import judged
from ringfence.model.decision import Decision, Verdict
from ringfence.model.errors import HostError, UsageError
from ringfence.policy.permissions import lint as linting
from ringfence.policy.permissions.command import Command
from ringfence.policy.permissions.engine import ToolCall, decide
from ringfence.policy.permissions.risks import risks_of
from ringfence.policy.permissions.settings import Settings
from ringfence.policy.permissions.shell_parse import parse
from ringfence.policy.permissions.suggest import rules_for
from ringfence.session.path_facts import DiskFacts

from . import arguments, permission_tests
from .permission_calls import Line, call_of, lines, put_line, verdict_of, written
from .permission_settings import settings_of
from .terminal import paint, put, put_json, safe, table

_STYLES = {Verdict.ALLOW: "good", Verdict.ASK: "warn", Verdict.DENY: "bad"}


def main(action: str, given: arguments.Arguments, rest: list[str]) -> int:
    """Carry out one of the actions on the words that follow it."""
    if action == "decide":
        return _decide(given, rest)
    if action == "explain":
        return _explain(given, rest)
    if action == "test":
        return permission_tests.main(given, rest)
    if action == "lint":
        return _lint(given, rest)
    return _diff(given, rest) if action == "diff" else _replay(given, rest)


def _decide(given: arguments.Arguments, rest: list[str]) -> int:
    """Answer each call on standard input with one line."""
    _no_words(rest, "ringfence policy decide [OPTIONS] < CALLS")
    settings, facts = settings_of(given), DiskFacts()
    for line in lines(sys.stdin, "standard input"):
        put_line(written(decide(settings, line.call, facts)))
    sys.stdout.flush()
    return 0


def _explain(given: arguments.Arguments, rest: list[str]) -> int:
    """Say what is decided about one call, by which rule, and what would change it."""
    if len(rest) < 2:
        hint = "the tool, then its input, as in `ringfence policy explain Bash 'git push'`"
        raise UsageError("no call is named", hint=hint)
    call = call_of(rest[0], " ".join(rest[1:]))
    settings = settings_of(given)
    decision = decide(settings, call, DiskFacts())
    proposed = rules_for(call, settings.places) if decision.verdict is Verdict.ASK else []
    commands = parse(call.text("command")).commands if call.tool == "Bash" else ()
    if given.has("json"):
        put_json(written(decision) | {"rules": proposed, "parts": [_part(command) for command in commands]})
        return 0
    put(paint(decision.verdict.name.lower(), _STYLES[decision.verdict]) + f"  {safe(decision.reason)}")
    put(*_grounds(decision, settings))
    if len(commands) > 1:
        put("parts")
        put(*table([(command.name or "-", command.raw) for command in commands], styles=("name",)))
    facts = [(fact.risk.value, fact.command, fact.reason) for command in commands for fact in risks_of(command.argv)]
    if facts:
        put("known risks")
        put(*table(dict.fromkeys(facts), styles=("warn",)))
    if proposed:
        put("the narrowest rules that would allow it")
        put(*(f"  {safe(rule)}" for rule in proposed))
    return 0


def _grounds(decision: Decision, settings: Settings) -> Iterator[str]:
    yield f"  mode    {settings.mode.value}"
    if decision.rule:
        yield f"  rule    {safe(decision.rule)}"
        yield f"  stands  {safe(str(decision.source))} ({decision.source.scope})"
    for unknown in decision.errors:
        yield f"  unknown {safe(unknown)}"


def _part(command: Command) -> dict[str, object]:
    return {
        "command": command.raw,
        "context": command.context.value,
        "risks": [{"risk": fact.risk.value, "reason": fact.reason} for fact in risks_of(command.argv)],
    }


def _lint(given: arguments.Arguments, rest: list[str]) -> int:
    """List what is wrong with the rules; 1 if there is anything."""
    _no_words(rest, "`--claude-settings project=FILE` names a file; without one the rules are ringfence's own")
    complaints = linting.lint(settings_of(given))
    if given.has("json"):
        put_json(complaints)
    elif complaints:
        put(*table([(item.code, str(item.source), f"{item.rule}: {item.message}") for item in complaints], indent=0))
    else:
        own = " in ringfence's own rules; `--claude-settings` is for an agent's"
        put(f"{paint('ok', 'good')}  nothing to complain about{'' if given.has('claude-settings') else own}")
    return 1 if complaints else 0


def _diff(given: arguments.Arguments, rest: list[str]) -> int:
    """Show which recorded calls two sets of settings decide differently; 1 if any."""
    if len(rest) != 3:
        raise UsageError("two settings and a log are needed", hint="ringfence policy diff SCOPE=A SCOPE=B LOG")
    before, after = settings_of(given, [rest[0]]), settings_of(given, [rest[1]])
    facts = DiskFacts()
    changed = 0
    for line in _recorded(rest[2]):
        old, new = decide(before, line.call, facts), decide(after, line.call, facts)
        if old.verdict is not new.verdict:
            changed += 1
            _put_change(line.call, old.verdict, new, given)
    return 1 if changed else 0


def _replay(given: arguments.Arguments, rest: list[str]) -> int:
    """Decide a recorded session again; show what comes out otherwise than recorded; 1 if anything does."""
    if len(rest) != 1:
        raise UsageError("no log is named", hint="ringfence policy replay [OPTIONS] LOG")
    facts, known = DiskFacts(), dict[tuple[str, str], Settings]()
    changed = 0
    for line in _recorded(rest[0]):
        key = (line.mode, line.cwd)
        settings = known.get(key) or known.setdefault(key, settings_of(given, mode=line.mode, made_in=line.cwd))
        settings = msgspec.structs.replace(settings, contained=True) if line.contained else settings
        new, _ = judged(settings, line.call, facts, contained=line.contained)
        old = verdict_of(line.verdict)
        if old is not None and old is not new.verdict:
            changed += 1
            _put_change(line.call, old, new, given)
    return 1 if changed else 0


def _recorded(path: str) -> Iterator[Line]:
    try:
        with open(path, encoding="utf-8") as file:
            yield from lines(file, path)
    except UnicodeDecodeError:
        raise UsageError("the log is not UTF-8", place=path) from None
    except FileNotFoundError:
        raise UsageError(f"there is no `{path}`", hint="a log holds one call a line, as JSON") from None
    except OSError as error:
        raise HostError(f"`{path}` cannot be read: {error.strerror}", hint="check its permissions") from None


def _put_change(call: ToolCall, old: Verdict, new: Decision, given: arguments.Arguments) -> None:
    if given.has("json"):
        put_line({"tool": call.tool, "input": call.input, "before": old.name.lower(), "after": written(new)})
        return
    what = call.text("command", "file_path", "notebook_path", "url") or os.fsdecode(str(call.input))
    arrow = f"{old.name.lower()} -> {paint(new.verdict.name.lower(), _STYLES[new.verdict])}"
    put(f"{arrow}  {call.tool}  {safe(what)[:120]}  ({safe(new.reason)})")


def _no_words(rest: list[str], usage: str) -> None:
    if rest:
        raise UsageError(f"unexpected word `{safe(rest[0])}`", hint=usage)
