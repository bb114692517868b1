"""The second reading of a shell command, by bashkit, held against the first.

Two parsers with different authors and techniques seldom err alike. What both agree on is taken as said; where they
differ, the commands that only the second one sees are handed back, so that denials apply to both readings, together
with the doubt that makes it a question.
"""

from functools import lru_cache

import bashkit

from .command import Command, Context, Script
from .words import plain_word

_UNKNOWN = "\x00?"

_CONTEXTS = {"substitution": Context.SUBSTITUTION, "function_body": Context.FUNCTION}
# Commands that one of the two reports as something else than a simple command.
_NOT_SIMPLE = frozenset("[ [[ time declare typeset export readonly local unset !".split())


@lru_cache(maxsize=1)
def _analyser() -> bashkit.Bash:
    return bashkit.Bash()


def disagreement(script: Script) -> tuple[tuple[Command, ...], str]:
    """Return the commands that only the second parser sees in `script`, and in words what the two differ in."""
    try:
        found = _analyser().analyze(script.text)
    except (bashkit.BashError, ValueError, RuntimeError) as error:
        return (), f"one parser cannot read it ({str(error)[:60]})"
    if found.truncated:
        return (), "one parser read only a part of it"
    theirs = [command for command in found.commands if not command.is_assignment_only]
    ours = [shape for command in script.commands if (shape := _shape(command)) and _simple(shape[0])]
    extra = []
    for command in theirs:
        name = command.name
        shape = (name if name is not None else _UNKNOWN, *(a if a is not None else _UNKNOWN for a in command.args))
        # A command in the background is reported once more, without its name; that it is one is an obstacle already.
        if not _simple(shape[0]) or (shape == (_UNKNOWN,) and script.obstacles):
            continue
        match = next((own for own in ours if _same(own, shape)), None)
        if match is None:
            extra.append(_command(shape, command.context))
        else:
            ours.remove(match)
    if extra or ours:
        return tuple(extra), "two parsers read it differently"
    return (), ""


def _simple(name: str) -> bool:
    return name not in _NOT_SIMPLE


def _shape(command: Command) -> tuple[str, ...]:
    """The words, without `time`, which is a command to one parser and a keyword to the other."""
    words = command.words[1:] if command.name == "time" else command.words
    return tuple(word.text if word.fixed else _UNKNOWN for word in words)


def _same(own: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Compare word by word; what either cannot know agrees with anything."""
    return len(own) == len(theirs) and all(
        left == right or _UNKNOWN in (left, right) for left, right in zip(own, theirs, strict=True)
    )


def _command(shape: tuple[str, ...], context: str) -> Command:
    words = tuple(plain_word(text) for text in shape)
    return Command(raw=" ".join(shape), words=words, context=_CONTEXTS.get(context, Context.DIRECT))
