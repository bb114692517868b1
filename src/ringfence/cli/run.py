"""`ringfence run` and `ringfence shell`: contain one command."""

import os
import sys

from ringfence.session import options as options_module
from ringfence.session import run as session

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms on the hot path
if TYPE_CHECKING:
    from ringfence.session.run import Finished


def main(name: str, words: "list[str]") -> int:
    """Run the command; its exit status is ours."""
    if words[:1] in (["-h"], ["--help"]):
        from . import help as text

        return text.show([name])
    options, argv = options_module.parse(words)
    if name == "shell":
        argv = argv or [os.environ.get("SHELL") or "/bin/sh"]
    finished = contained(options, argv)
    if options.verbose or sys.stderr.isatty():
        summarise(finished)
    return finished.status


def contained(options: options_module.Options, argv: "list[str]") -> "Finished":
    """Run the command; somebody who looks on is told when policy asks something."""
    run = session.prepared_run(options, argv)
    if options.verbose or sys.stderr.isatty():
        run.notice = notice
    return run.carry_out()


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
        code, target = finished.denials[0]
        more = f" and {len(finished.denials) - 1} more" if len(finished.denials) > 1 else ""
        line = f"denied {code}: {target}{more}; `ringfence log --run {finished.run}` shows all"
        if target == "look-up of a name":
            line = f"denied {code}: {target}{more}; the network is off: `--allow HOST` opens it to a host"
        sys.stderr.write(f"ringfence: {line}\n")
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
