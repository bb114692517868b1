"""`ringfence run` and `ringfence shell`: contain one command."""

import os
import sys

from ringfence.session import options as options_module
from ringfence.session import run as session

from . import entry

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms on the hot path
if TYPE_CHECKING:
    from ringfence.session.run import Finished


NOT_FOUND = 127  # what a shell says of a program that is not there, and the first process as well


def main(name: str, words: "list[str]") -> int:
    """Run the command; its exit status is ours."""
    if words[:1] in (["-h"], ["--help"]):
        from . import help as text

        return text.show([name])
    options, argv = options_module.parse(words)
    if name == "shell":
        argv = argv or [os.environ.get("SHELL") or "/bin/sh"]
    finished = prepared(options, argv).carry_out()
    if name == "run" and entry.is_supervised(words):
        from ringfence.session import resident

        resident.leave_one()
    return concluded(options, finished)


def prepared(options: options_module.Options, argv: "list[str]") -> "session.Run":
    """The run of a command."""
    run = session.prepared_run(options, argv)
    remark(options, run)
    return run


def remark(options: options_module.Options, run: "session.Run") -> None:
    """Tell somebody who looks on what was asked for and has no effect, and later when policy asks something."""
    if not (options.verbose or sys.stderr.isatty()):
        return
    run.notice = notice
    if options.read or options.write or options.env or "VIRTUAL_ENV" in os.environ or "CONDA_PREFIX" in os.environ:
        from . import unmet

        view = unmet.View(run.artefact.visible, dict(run.artefact.environment))
        say(*unmet.wishes(options, view, os.environ))


def say(*lines: str) -> None:
    """Write lines of ours; what a path in them contains does not steer the terminal."""
    if lines:
        from .terminal import safe

        sys.stderr.writelines(f"ringfence: {safe(line)}\n" for line in lines)
        sys.stderr.flush()


def concluded(options: options_module.Options, finished: "Finished") -> int:
    """Say what is to be said of a run that has ended; return its status."""
    if options.verbose or sys.stderr.isatty():
        summarise(finished)
        if finished.status == NOT_FOUND:
            from . import unmet

            directory, *argv = finished.words
            say(*filter(None, [unmet.interpreter(argv[0], directory, unmet.View(finished.visible, {}))]))
    return finished.status


def notice(line: str) -> None:
    """Say one line while the command runs, which may have left the terminal raw."""
    sys.stderr.write(f"\r\n{line}\r\n" if sys.stderr.isatty() else f"{line}\n")
    sys.stderr.flush()


def summarise(finished: "Finished") -> None:
    """At most one final line each on limits reached, on trust, on what was denied and on what was held back."""
    if finished.limits:
        sys.stderr.write(f"ringfence: limit reached: {', '.join(dict.fromkeys(finished.limits))}\n")
    if finished.standing.startswith("not trusted"):
        sys.stderr.write("ringfence: not trusted, so hidden: what `ringfence trust` shows\n")
    if finished.denials:
        sys.stderr.write(f"ringfence: {refused(finished.denials)}; `ringfence log --run {finished.run}` shows all\n")
    if finished.unreached:
        from ringfence.session import shell_proxy

        if variable := shell_proxy.variable():
            target = finished.unreached[0]
            how = "policy's `network.parent-proxy` names a proxy to connect by"
            sys.stderr.write(f"ringfence: no way to {target}; {variable} of this shell is not used: {how}\n")
    ending = finished.ending
    if ending and ending.kept:
        path, why = ending.kept[0]
        more = f" and {len(ending.kept) - 1} more" if len(ending.kept) > 1 else ""
        sys.stderr.write(f"ringfence: held back {path} ({why}){more}; `ringfence diff {finished.run}` shows all\n")
    elif ending and ending.pending:
        sys.stderr.write(f"ringfence: changes are staged; `ringfence apply {finished.run}` brings them in\n")


def refused(denials: "list[tuple[str, str]]") -> str:
    """What was denied, why, and what would allow it, of the denial that says most; how many more there are."""
    from ringfence.report import refusals

    code, target = refusals.telling(denials)
    more = f" and {len(denials) - 1} more" if len(denials) > 1 else ""
    told = refusals.advice(code, target)
    return f"denied {code}: {target}{more}{told and f': {told}'}"
