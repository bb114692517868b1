"""`ringfence policy test`: files that say what is expected of permission rules, for CI.

A file is TOML: the settings it is about, and calls with the verdict each must get. Nothing is executed.
"""

import os
import time
import tomllib
from typing import Literal

import msgspec

from ringfence.model.decision import Decision
from ringfence.model.errors import HostError, UsageError
from ringfence.policy.permissions import scopes
from ringfence.policy.permissions.engine import decide
from ringfence.policy.permissions.modes import mode_of
from ringfence.policy.permissions.settings import Settings
from ringfence.sandbox import facts
from ringfence.session.path_facts import DiskFacts

from . import arguments
from .permission_calls import call_of
from .permission_settings import scope_of
from .terminal import paint, put, safe


class Expectation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One call and the verdict it must get; `because` is for the reader."""

    tool: str
    input: dict[str, object] | str
    verdict: Literal["allow", "ask", "deny"]
    because: str = ""


class Expectations(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole file; `settings` are SCOPE=FILE, relative to it, `cwd` the directory that the calls are made in."""

    version: Literal[1]
    expect: list[Expectation]
    settings: list[str] = []
    mode: Literal["default", "manual", "acceptEdits", "plan", "dontAsk", "auto", "bypassPermissions"] = "default"
    cwd: str = "."
    home: str = ""
    trusted: bool = True


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one expectation."""

    file: str
    number: int
    expected: Expectation
    decision: Decision
    seconds: float

    @property
    def met(self) -> bool:
        """Whether the verdict is the one expected."""
        return self.decision.verdict.name.lower() == self.expected.verdict


def main(given: arguments.Arguments, paths: list[str]) -> int:
    """Check every file; 0 if all expectations are met, 1 if not, UsageError for a file that cannot be read."""
    if not paths:
        raise UsageError("no file is named", hint="ringfence policy test FILE...")
    outcomes = [outcome for path in paths for outcome in _outcomes(path)]
    failed = [outcome for outcome in outcomes if not outcome.met]
    for outcome in failed:
        put(*_failure(outcome))
    if given.text("junit"):
        _write(given.text("junit"), junit(outcomes))
    put(f"{len(outcomes) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _outcomes(path: str) -> list[Outcome]:
    document = _read(path)
    settings, disk = _settings(document, path), DiskFacts()
    found = []
    for number, expected in enumerate(document.expect, 1):
        start = time.perf_counter()
        decision = decide(settings, call_of(expected.tool, expected.input), disk)
        seconds = time.perf_counter() - start
        found.append(Outcome(file=path, number=number, expected=expected, decision=decision, seconds=seconds))
    return found


def _read(path: str) -> Expectations:
    try:
        with open(path, "rb") as file:
            return msgspec.convert(tomllib.load(file), Expectations)
    except FileNotFoundError:
        raise UsageError(f"there is no `{path}`", hint="ringfence policy test FILE...") from None
    except OSError as error:
        raise HostError(f"`{path}` cannot be read: {error.strerror}", hint="check its permissions") from None
    except (ValueError, RecursionError) as error:
        hint = "`version`, `settings`, and `[[expect]]` with `tool`, `input` and `verdict`: docs/permissions.md has one"
        raise UsageError(f"expectations are not understood: {str(error)[:200]}", place=path, hint=hint) from None


def _settings(document: Expectations, path: str) -> Settings:
    folder = os.path.dirname(os.path.abspath(path))
    cwd = os.path.normpath(os.path.join(folder, document.cwd))
    home = os.path.normpath(os.path.join(folder, document.home)) if document.home else facts.home_directory()
    read = []
    for named in document.settings:
        scope, _, file = named.partition("=")
        read.append(scope_of(f"{scope}={os.path.join(folder, file)}", cwd))
    request = scopes.Request(cwd=cwd, home=home, mode=mode_of(document.mode), trusted=document.trusted)
    return scopes.merge(read, request, DiskFacts())


def _failure(outcome: Outcome) -> list[str]:
    expected, decision = outcome.expected, outcome.decision
    said = f"expected {expected.verdict}, got {decision.verdict.name.lower()}"
    lines = [f"{paint('fail', 'bad')}  {safe(outcome.file)} #{outcome.number}: {said}"]
    lines.append(f"  {expected.tool} {safe(str(expected.input))[:160]}")
    lines.append(f"  {safe(decision.reason)}" + (f", `{safe(decision.rule)}`" if decision.rule else ""))
    return lines + ([f"  expected because {safe(expected.because)}"] if expected.because else [])


def junit(outcomes: list[Outcome]) -> str:
    """Return the outcomes in the form that CI systems read (JUnit's XML)."""
    from xml.sax.saxutils import escape, quoteattr

    failures = sum(not outcome.met for outcome in outcomes)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<testsuite name="ringfence policy test" tests="{len(outcomes)}" failures="{failures}">',
    ]
    for outcome in outcomes:
        name = quoteattr(safe(f"{outcome.expected.tool} {outcome.expected.input}")[:200])
        case = f'  <testcase classname={quoteattr(outcome.file)} name={name} time="{outcome.seconds:.6f}"'
        if outcome.met:
            lines.append(f"{case}/>")
        else:
            message = quoteattr(f"expected {outcome.expected.verdict}, got {outcome.decision.verdict.name.lower()}")
            reason = escape(safe(outcome.decision.reason))
            lines.append(f"{case}><failure message={message}>{reason}</failure></testcase>")
    return "\n".join([*lines, "</testsuite>", ""])


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise HostError(f"`{path}` cannot be written: {error.strerror}", hint="name another file") from None
