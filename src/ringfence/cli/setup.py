"""`ringfence setup claude-code`: install our hook in an agent that runs outside of any boundary, or take it out."""

from collections.abc import Sequence

from ringfence.integrations import hook_setup
from ringfence.model.errors import UsageError

from . import arguments, catalogue
from . import help as help_text
from .terminal import paint, put, safe


def main(name: str, words: Sequence[str]) -> int:
    """Show the change, then make it."""
    command = catalogue.find(name)
    given = arguments.parse(command, words)
    if given is None:
        return help_text.show([name])
    if given.words != ["claude-code"]:
        raise UsageError(f"`ringfence setup` knows no `{safe(given.words[0])}`", hint=command.usage[0])
    if given.has("user") == given.has("managed"):
        raise UsageError("one of `--user` and `--managed` is needed", hint=command.usage[0])
    managed, undo = given.has("managed"), given.has("undo")
    path = hook_setup.settings_file(managed=managed)
    if undo:
        change = hook_setup.undoing(path)
    else:
        change = hook_setup.installing(path, managed=managed, contain=given.has("contain"))
    put(*(safe(line) for line in change.difference.splitlines()))
    if change.before == change.after:
        put(f"{safe(path)} is as it should be")
    elif not given.has("print"):
        hook_setup.carry_out(change, undo=undo)
        put(f"{paint('ok', 'good')}  {safe(path)} {'has no hook of ringfence any more' if undo else 'has the hook'}")
    return 0
