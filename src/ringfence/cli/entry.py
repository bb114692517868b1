"""`ringfence COMMAND`: find the command's module, run it, report errors in one line.

Import budget: this module and `run` stay free of argparse, re, typing and msgspec; see session/run.py.
"""

import gc
import os
import sys

from ringfence.model.errors import HostError, RingfenceError

TYPE_CHECKING = False  # for type checkers only: `types` is not needed to run
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

GARBAGE = 20_000  # objects between two searches for cycles: imports make thousands, and none
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
    gc.set_threshold(GARBAGE)
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
    if words[:1] == ["run"] and is_supervised(words):
        from ringfence.session import resident

        if (status := resident.ask(words)) is not None:
            return status
    return guarded(lambda: carried_out(words))


def is_supervised(words: "list[str]") -> bool:
    """Whether the resident supervisor may be asked: the user has not turned it off, no stream needs our session."""
    if os.environ.get("RINGFENCE_SUPERVISOR", "1") == "0" or "--no-supervisor" in words:
        return False
    return os.getuid() == os.geteuid() and not any(os.isatty(descriptor) for descriptor in (0, 1, 2))


def carried_out(words: "list[str]") -> int:
    """The exit status of a command line that is carried out in this process; raise RingfenceError."""
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


def guarded(call: "Callable[[], int]") -> int:
    """The exit status of a call; an error of ours is reported, and has its own."""
    try:
        return call()
    except RingfenceError as error:
        return report(error)
    except BrokenPipeError:
        # Nobody reads our output any more, as in `ringfence log | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        at = f"`{error.filename}`: " if error.filename else ""
        why = error.strerror or str(error)
        return report(HostError(f"this machine refused: {at}{why}", hint="`ringfence doctor` tests this host"))


def load(name: str) -> "ModuleType":
    """Import one command's module; `importlib` itself would cost 0.4 ms."""
    module: ModuleType = __import__(f"ringfence.cli.{name}", fromlist=["main"])
    return module


def report(error: RingfenceError) -> int:
    """One line on standard error, the hint on another, and the status that belongs to the class of error.

    SECURITY: a name in it may be a checkout's, with line ends and what steers a terminal in it (docs/threats.md, P4).
    """
    try:
        from .terminal import safe

        message, hint = safe(str(error)), safe(error.hint)
    except OSError:  # where no file can be opened any more
        message, hint = ascii(str(error))[1:-1], ascii(error.hint)[1:-1]
    sys.stderr.write(f"ringfence: {message}\n")
    if hint:
        sys.stderr.write(f"  hint: {hint}\n")
    return error.exit_status
