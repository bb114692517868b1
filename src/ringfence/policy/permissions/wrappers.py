"""Commands that run the rest of the line: which to look through, when allowing and when denying.

Allowing looks through few, and only in the notations listed: `timeout -k 1 5 npm test` is `npm test`. `env` and `sudo`
are not among them, since what runs behind them is not the same command any more. Denying looks through every program
whose purpose is to run another one, however its options are written: a wrong guess there denies too much, not too
little.
"""

import re
from collections.abc import Sequence

from .command import Assignment, Command

_DURATION = re.compile(r"\d+(?:\.\d+)?[smhd]?")
_LEVEL = re.compile(r"-?\d+")

SAFE_ENVIRONMENT = frozenset(
    "NODE_ENV CI LANG LANGUAGE LC_ALL LC_CTYPE LC_TIME TZ TERM COLUMNS LINES "
    "NO_COLOR FORCE_COLOR CLICOLOR CLICOLOR_FORCE COLORTERM LS_COLORS LSCOLORS GREP_COLOR GREP_COLORS "
    "GCC_COLORS TIME_STYLE "
    "BLOCK_SIZE BLOCKSIZE CHARSET RUST_LOG RUST_BACKTRACE GOOS GOARCH GOEXPERIMENT CGO_ENABLED GO111MODULE "
    "PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTEST_DISABLE_PLUGIN_AUTOLOAD PYTEST_DEBUG ANTHROPIC_API_KEY".split()
)
"""Variables that change how a program reports or for which platform it builds, and nothing that it loads or runs."""

_WRAPPERS = frozenset("timeout nice stdbuf command builtin time nohup noglob xargs".split())
_SAFE_VALUE = re.compile(r"[A-Za-z0-9_./:-]+")
_PATH_VALUE = re.compile(r"^\.*/|//|:[/.]|(?:^|/)\.\.(?:/|$)")
# Another language may be another encoding, in which the same bytes are other characters.
_LANGUAGES = frozenset(("LANG", "LC_ALL", "LC_CTYPE"))
_LANGUAGE = re.compile(r"C|POSIX|(?:[\w-]+\.)?UTF-?8", re.I)


def is_safe(assignment: Assignment) -> bool:
    """Tell whether a variable set for one command leaves it the command that it is."""
    value = assignment.value.raw
    if not assignment.plain or assignment.name not in SAFE_ENVIRONMENT or not _SAFE_VALUE.fullmatch(value):
        return False
    return not _PATH_VALUE.search(value) and (
        assignment.name not in _LANGUAGES or _LANGUAGE.fullmatch(value) is not None
    )


def unwrapped(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Return what `words` runs after each wrapper that an allowance looks through, the outermost first."""
    found = []
    rest = tuple(words)
    while rest and (inner := _inner(rest)) is not None:
        rest = inner
        found.append(rest)
    return found


def _inner(words: tuple[str, ...]) -> tuple[str, ...] | None:
    name, rest = words[0], words[1:]
    if name == "timeout":
        rest = _timeout(rest)
    elif name == "nice":
        rest = _nice(rest)
    elif name == "stdbuf":
        rest = _stdbuf(rest)
    elif name in ("command", "builtin"):
        rest = rest[1:] if rest[:1] == ("--",) or (name, *rest[:1]) == ("command", "-p") else rest
    elif name not in _WRAPPERS:
        return None
    if not rest or rest[0].startswith("-") or "=" in rest[0] or rest[0] == name == "time":
        return None
    if name == "xargs" and rest[0] in _WRAPPERS:
        return None
    return rest


def _timeout(words: tuple[str, ...]) -> tuple[str, ...]:
    while words and words[0].startswith("-"):
        if words[0] in ("--foreground", "--preserve-status", "-v", "--verbose"):
            words = words[1:]
        elif re.fullmatch(r"-k\d\S*|-s[A-Z]\w*|--kill-after=\S+|--signal=\S+", words[0]):
            words = words[1:]
        elif words[0] in ("-k", "-s", "--kill-after", "--signal"):
            words = words[2:]
        else:
            return ()
    return words[1:] if words and _DURATION.fullmatch(words[0]) else ()


def _nice(words: tuple[str, ...]) -> tuple[str, ...]:
    if words[:1] == ("-n",):
        return words[2:] if all(map(_LEVEL.fullmatch, words[1:2])) else ()
    return words[1:] if words and re.fullmatch(r"-\d+", words[0]) else words


def _stdbuf(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or not words[0].startswith("-"):
        return ()
    while words and re.fullmatch(r"-[ioe][L\d]", words[0]):
        words = words[1:]
    return words


# Programs whose purpose is to run the rest of their line, with the number of operands that stand before it.
LAUNCHERS = {
    "sudo": 0, "doas": 0, "pkexec": 0, "run0": 0, "env": 0, "exec": 0, "time": 0, "nice": 0, "nohup": 0, "timeout": 1,
    "stdbuf": 0, "command": 0, "builtin": 0, "noglob": 0, "nocorrect": 0, "xargs": 0, "watch": 0, "setsid": 0,
    "ionice": 0, "chrt": 1, "taskset": 1, "unshare": 0, "nsenter": 0, "strace": 0, "ltrace": 0, "valgrind": 0,
    "flock": 1, "chroot": 1, "setpriv": 0, "coproc": 0, "runuser": 0, "prlimit": 0, "unbuffer": 0, "fakeroot": 0,
    "systemd-run": 0, "xvfb-run": 0, "dbus-run-session": 0, "rlwrap": 0, "ssh": 1, "npx": 0, "bunx": 0,
    "npm": 1, "pnpm": 1, "yarn": 1, "bundle": 1, "uv": 1, "poetry": 1, "pipx": 1,
    "perf": 1,
}  # fmt: skip
# Programs that run a command behind one of their own subcommands only, or not at all.
_PACKAGES, _PROJECTS = ("npm", "pnpm", "yarn", "bundle"), ("uv", "poetry", "pipx")
_STRICT = frozenset((*_PACKAGES, *_PROJECTS, "perf"))
_ANYTHING = re.compile(r".*", re.S)
_OPERAND = (
    {
        "taskset": re.compile(r"[0-9a-fA-Fx,-]*\d[0-9a-fA-Fx,-]*"),
        "chrt": re.compile(r"\d+"),
        "perf": re.compile("stat|record"),
    }
    | dict.fromkeys(_PACKAGES, re.compile("exec|dlx|x"))
    | dict.fromkeys(_PROJECTS, re.compile("run"))
)
ALTERNATIVES = 64
"""As many as this are found at most; who finds so many has not found all."""


def launched(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Return every command that a launcher at the start of `words` may run, guessing generously."""
    found: list[tuple[str, ...]] = []
    pending = [tuple(words)]
    while pending and len(found) < ALTERNATIVES:
        rest = pending.pop(0)
        name = rest[0].rpartition("/")[2] if rest else ""
        if name in LAUNCHERS:
            new = [inner for inner in dict.fromkeys(_behind(name, rest[1:])) if inner not in found]
            found += new
            pending += new
    return found


def _behind(name: str, words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """What may begin the command behind a launcher's own words: `-Eu` may take the next one, or not."""
    found: list[tuple[str, ...]] = []
    pending = [(words, LAUNCHERS[name])]
    seen: set[tuple[int, int]] = set()
    while pending and len(found) < ALTERNATIVES:
        rest, operands = pending.pop()
        if not rest or (len(rest), operands) in seen:
            continue
        seen.add((len(rest), operands))
        word = rest[0]
        if word == "--" or (word == "-" and name == "env"):
            pending.append((rest[1:], operands))
        elif word.startswith("-") and len(word) > 1:
            pending.append((rest[1:], operands))
            if "=" not in word:
                pending.append((rest[2:], operands))
        elif "=" in word and name in ("env", "sudo", "doas") and not word.startswith("/"):
            pending.append((rest[1:], operands))
        elif operands and _OPERAND.get(name, _ANYTHING).fullmatch(word):
            pending.append((rest[1:], operands - 1))
        elif not (operands and name in _STRICT):
            found.append(rest)
    return found


def bare_assignments(command: Command) -> bool:
    """Tell whether a command without words only sets one harmless variable of the shell."""
    return len(command.assignments) == 1 and is_safe(command.assignments[0])
