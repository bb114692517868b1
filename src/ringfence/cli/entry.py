"""`ringfence COMMAND`: find the command's module, run it, report errors in one line.

Import budget: this module and `run` stay free of argparse, re, typing and msgspec; see session/run.py.
"""

import os
import sys

from ringfence.model.errors import HostError, RingfenceError

TYPE_CHECKING = False  # for type checkers only: `types` is not needed to run
if TYPE_CHECKING:
    from types import ModuleType

COMMANDS = {
    "run": "run",
    "shell": "run",
    "plan": "plan",
    "explain": "explain",
    "doctor": "doctor",
    "learn": "learn",
    "allow": "allow",
    "deny": "allow",
    "secrets": "secrets",
    "init": "init",
    "log": "log",
    "policy": "policy",
    "diff": "changes",
    "apply": "changes",
    "discard": "changes",
    "rollback": "changes",
    "snapshot": "changes",
    "runs": "changes",
    "srt": "srt",
    "claude": "agent",
    "codex": "agent",
    "agent": "agent",
    "hook": "hook",
    "setup": "setup",
    "trust": "trust",
    "completion": "completion",
}


def main() -> None:
    """Entry point of the console script; never returns.

    The interpreter's own shutdown costs 3 ms and has nothing left to do, so it is skipped.
    """
    open_standard_descriptors()
    status = dispatch(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        status = status or 1
    os._exit(status)


def open_standard_descriptors() -> None:
    """Put /dev/null where 0, 1 or 2 is closed, before anything of ours takes that number.

    SECURITY: the command inherits 0, 1 and 2 whatever they are (docs/threats.md, P5).
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)


def dispatch(words: "list[str]") -> int:
    """Run one command line; return its exit status."""
    try:
        name = words[0] if words else "--help"
        if name in ("-h", "--help", "help"):
            from . import help as text

            return text.show(words[1:])
        if name in ("-V", "--version"):
            from ringfence import __version__

            sys.stdout.write(f"ringfence {__version__}\n")
            return 0
        module = COMMANDS.get(name)
        if module is None:
            from . import help as text

            return text.unknown(name)
        return int(load(module).main(name, words[1:]))
    except RingfenceError as error:
        return report(error)
    except BrokenPipeError:
        # Nobody reads our output any more, as in `ringfence log | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        return report(HostError(f"this machine refused: {error}", hint="`ringfence doctor` tests this host"))


def load(name: str) -> "ModuleType":
    """Import one command's module."""
    from importlib import import_module

    return import_module(f"ringfence.cli.{name}")


def report(error: RingfenceError) -> int:
    """One line on standard error, the hint on another, and the status that belongs to the class of error."""
    sys.stderr.write(f"ringfence: {error}\n")
    if error.hint:
        sys.stderr.write(f"  hint: {error.hint}\n")
    return error.exit_status
