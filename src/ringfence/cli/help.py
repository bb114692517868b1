"""`ringfence --help`, `ringfence COMMAND --help`, and what to say of a command that does not exist."""

import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from .catalogue import COMMANDS, GLOBAL, HELP, Command, find
from .run_options import Option
from .terminal import paint, put

GROUPS = (
    ("Contain", ("run", "shell", "srt")),
    ("Agents", ("claude", "codex", "agent", "setup", "hook")),
    ("Understand", ("plan", "explain", "doctor", "log")),
    ("Configure", ("init", "policy", "trust", "completion")),
    ("Network", ("allow", "deny", "learn", "secrets")),
    ("Changes", ("runs", "diff", "apply", "discard", "rollback", "snapshot")),
)
MOST_CHOICES = 6
STATUSES = (
    ("0-255", "the contained command's own, 128 + N where signal N ended it; 126 and 127 as in a shell"),
    ("1", "`log verify`: tampering found; `apply`, `rollback`: some paths were left alone"),
    ("2", "the request or a policy file is wrong"),
    ("3", "this machine lacks something; `ringfence doctor` says what"),
    ("125", "the boundary could not be built or was lost"),
)


def show(words: Sequence[str]) -> int:
    """Print the help of the command named by the first word, or of ringfence; return the exit status."""
    if not words or words[0].startswith("-"):
        put(*overview())
        return 0
    try:
        command = find(words[0])
    except KeyError:
        return unknown(words[0])
    put(*described(command))
    return 0


def unknown(name: str) -> int:
    """Report a command that does not exist, with the nearest that does."""
    near = get_close_matches(name, [command.name for command in COMMANDS], 1)
    hint = f"did you mean `ringfence {near[0]}`?" if near else "`ringfence --help` lists the commands"
    if name.startswith("-"):
        hint = "options stand behind the command; `ringfence --help` lists the commands"
    else:
        hint += f" (to contain a program of that name: `ringfence run {name}`)"
    sys.stderr.write(f"ringfence: no command `{_plain(name)}`\n  hint: {_plain(hint)}\n")
    return 2


def overview() -> list[str]:
    """What ringfence is and what it can do, on one screen."""
    lines = [
        "ringfence runs coding agents and commands inside a boundary: deny by default, enforced by the kernel.",
        "",
        "usage: ringfence run [OPTIONS] [--] COMMAND [ARGUMENT...]",
        "       ringfence COMMAND [OPTIONS]",
    ]
    for title, names in GROUPS:
        lines += ["", paint(title, "bold"), *_columns([(name, find(name).summary) for name in names], width=12)]
    lines += ["", paint("Options", "bold"), *_options(GLOBAL)]
    lines += ["", paint("Exit status", "bold"), *_columns(STATUSES, width=12)]
    lines += ["", paint("Examples", "bold"), *_examples([example for c in COMMANDS[:5] for example in c.examples[:1]])]
    return [*lines, "", "`ringfence COMMAND --help` tells more. Nothing needs to be configured first."]


def described(command: Command) -> list[str]:
    """One command: usage, what it does, options, examples."""
    lines = ["usage: " + "\n       ".join(command.usage), "", command.summary[:1].upper() + command.summary[1:] + "."]
    lines += ["", *command.details] if command.details else []
    lines += ["", paint("Options", "bold"), *_options((*command.options, HELP))]
    return [*lines, "", paint("Examples", "bold"), *_examples(command.examples)]


def _options(options: Iterable[Option]) -> list[str]:
    rows = []
    for option in options:
        names = ", ".join(option.names) + (f" {option.value}" if option.value else "")
        # More than a line's worth is for completion, and the option's meaning says where they are listed.
        choices = f" ({', '.join(option.choices)})" if 0 < len(option.choices) <= MOST_CHOICES else ""
        rows.append((names, option.meaning + choices))
    return _columns(rows, width=24)


def _columns(rows: Iterable[tuple[str, str]], *, width: int) -> list[str]:
    return [f"  {paint(left.ljust(width), 'name')}  {right}" for left, right in rows]


def _examples(examples: Iterable[tuple[str, str]]) -> list[str]:
    return [line for text, meaning in examples for line in (f"  {text}", paint(f"      {meaning}", "dim"))]


def _plain(text: str) -> str:
    return text if text.isprintable() else ascii(text)
