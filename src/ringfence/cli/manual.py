"""The manual page, from the same data as `--help`: man(7) source, in which a line's text never becomes a request."""

from collections.abc import Iterable

from .catalogue import COMMANDS, GLOBAL, Command
from .help import GROUPS, STATUSES
from .run_options import SHAPING, VERBOSE, Option

_RUN = (*SHAPING, VERBOSE)
_FILES = (
    ("/etc/ringfence/policy.toml", "managed policy; it beats all others"),
    ("~/.config/ringfence/policy.toml", "your own policy"),
    ("ringfence.toml", "a project's policy, at the top of the workspace; it can only tighten"),
    ("~/.local/state/ringfence", "the audit, and the changes of runs"),
)


_DESCRIPTION = (
    "Runs a command inside a boundary: files, network, processes and secrets are denied unless policy names them, and",
    "the kernel enforces it. What the command changes in the workspace is kept apart, and applied through a filter.",
    "Nothing needs to be configured first.",
)


def page(version: str) -> str:
    """The whole page."""
    lines = ['.\\" Written by scripts/man; do not edit.', f'.TH RINGFENCE 1 "" "ringfence {version}" "User Commands"']
    lines += [".SH NAME", _text("ringfence - contain coding agents and other commands")]
    lines += [".SH SYNOPSIS", *_usage(("ringfence run [OPTIONS] [--] COMMAND [ARGUMENT...]",))]
    lines += _usage(("ringfence COMMAND [OPTIONS]",))
    lines += [".SH DESCRIPTION", *map(_text, _DESCRIPTION)]
    lines += [".SH OPTIONS", *_options(GLOBAL)]
    for title, names in GROUPS:
        lines += [f'.SH "{title.upper()}"']
        lines += [line for name in names for command in COMMANDS if command.name == name for line in _command(command)]
    lines += [".SH OPTIONS OF A RUN", _text("Of `run`, and of every command that says so."), *_options(_RUN)]
    lines += [".SH EXIT STATUS", *_rows(STATUSES), ".SH FILES", *_rows(_FILES)]
    return "\n".join(lines) + "\n"


def _command(command: Command) -> Iterable[str]:
    yield f".SS {_escaped(command.name)}"
    yield _text(command.summary[:1].upper() + command.summary[1:] + ".")
    yield from _usage(command.usage)
    if command.details:
        yield ".PP"
        yield from map(_text, command.details)
    shapes = set(SHAPING) <= set(command.options)
    yield from _options(option for option in command.options if not shapes or option not in _RUN)
    if shapes:
        yield ".PP"
        yield _text("It takes the options of a run.")
    for example, meaning in command.examples:
        yield ".PP"
        yield _text(meaning[:1].upper() + meaning[1:] + ("" if meaning.endswith("?") else ":"))
        yield from (".RS", ".nf", _text(example), ".fi", ".RE")


def _usage(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        yield from (".PP", ".nf", f"\\fB{_escaped(line)}\\fR", ".fi")


def _options(options: Iterable[Option]) -> Iterable[str]:
    for option in options:
        names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in option.names)
        value = f" \\fI{_escaped(option.value)}\\fR" if option.value else ""
        choices = f" ({', '.join(option.choices)})" if option.choices else ""
        yield from (".TP", names + value, _text(option.meaning + choices))


def _rows(rows: Iterable[tuple[str, str]]) -> Iterable[str]:
    for left, right in rows:
        yield from (".TP", f"\\fB{_escaped(left)}\\fR", _text(right))


def _text(line: str) -> str:
    """A line of text: one that begins with a dot or a quote is no request."""
    return ("\\&" if line.startswith((".", "'")) else "") + _escaped(line)


def _escaped(text: str) -> str:
    """Text in which dashes, carets and their like stay as they can be copied."""
    text = text.replace("\\", "\\e")
    for character, escape in (("-", "\\-"), ("~", "\\(ti"), ("^", "\\(ha"), ("`", "\\(ga"), ("'", "\\(aq")):
        text = text.replace(character, escape)
    return text
