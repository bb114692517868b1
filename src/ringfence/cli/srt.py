"""`ringfence srt`: run a command under a settings file of sandbox-runtime, as its own command `srt` does."""

import sys

from ringfence.integrations import srt, srt_settings
from ringfence.model.errors import UsageError
from ringfence.sandbox.facts import home_directory

from .run import summarise

HINT = "ringfence srt [-s SETTINGS.json] -c COMMAND, or ringfence srt [-s SETTINGS.json] [--] PROGRAM [ARGUMENT...]"


class Asked:
    """What stood on the command line."""

    def __init__(self) -> None:
        self.settings = ""
        self.command: str | None = None
        self.argv: list[str] = []
        self.verbose = False


def main(name: str, words: list[str]) -> int:
    """Run the command; its exit status is ours. Settings that are not sound end with 1 before anything runs."""
    if words[:1] in (["-h"], ["--help"]):
        from . import help as text

        return text.show([name])
    asked = parse(words)
    settings = srt_settings.load(asked.settings, home_directory())
    argv = asked.argv if asked.command is None else srt.shell_command(asked.command)
    place = asked.settings or f"{home_directory()}/{srt_settings.DEFAULT_NAME}"
    ready = srt.start(settings, argv, place=place)
    if asked.verbose:
        for note in ready.notes:
            sys.stderr.write(f"ringfence: {note}\n")
    finished = srt.carry_out(ready)
    if asked.verbose or sys.stderr.isatty():
        summarise(finished)
    return finished.status


def parse(words: list[str]) -> Asked:
    """Read our options up to the first other word or `--`; raise UsageError for what sandbox-runtime lacks too."""
    asked = Asked()
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        option, has_value, value = word.partition("=")
        if word == "--":
            break
        if word in ("-v", "--verbose", "-d", "--debug"):
            asked.verbose = True
        elif option in ("-s", "--settings", "-c"):
            if not has_value:
                value = _value(option, rest)
            if option == "-c":
                asked.command = value
            else:
                asked.settings = value
        else:
            raise UsageError(f"unknown option `{word}`", hint=HINT)
    asked.argv = rest
    if (asked.command is None) == (not asked.argv):
        raise UsageError("give one command, with -c or as words", hint=HINT)
    return asked


def _value(option: str, rest: list[str]) -> str:
    if not rest:
        raise UsageError(f"option `{option}` needs a value", hint=HINT)
    return rest.pop(0)
