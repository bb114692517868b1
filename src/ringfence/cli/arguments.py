"""Split a command's words by what the catalogue says of it."""

from collections.abc import Sequence

import msgspec

from ringfence.model.errors import UsageError

from .catalogue import HELP, Command
from .run_options import Option


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """What was given: values by the option's key (a switch has the value `""`), and the other words in order."""

    values: dict[str, list[str]]
    words: list[str]

    def has(self, key: str) -> bool:
        """Whether the option was given."""
        return key in self.values

    def text(self, key: str) -> str:
        """The last value given, or an empty string."""
        return self.values[key][-1] if key in self.values else ""

    def texts(self, key: str) -> list[str]:
        """Every value given."""
        return self.values.get(key, [])


def parse(command: Command, words: Sequence[str]) -> Arguments | None:
    """Options may stand anywhere before `--`; None where help was asked for, UsageError for what is not understood."""
    known = {name: option for option in command.options for name in option.names}
    values: dict[str, list[str]] = {}
    others: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            others += words[at:]
            break
        if word in HELP.names:
            return None
        if not word.startswith("-") or word == "-":
            others.append(word)
            continue
        name, has_value, value = word.partition("=")
        option = known.get(name)
        if option is None:
            raise UsageError(f"unknown option `{name}`", hint=hint(command, name, list(known)))
        if option.value and not has_value:
            if at >= len(words):
                raise UsageError(f"option `{name}` needs a value", hint=hint(command, "", []))
            value = words[at]
            at += 1
        elif has_value and not option.value:
            raise UsageError(f"option `{name}` takes no value", hint=hint(command, "", []))
        values.setdefault(option.key, []).append(checked(option, name, value))
    check_count(command, others)
    return Arguments(values=values, words=others)


def checked(option: Option, name: str, value: str) -> str:
    """`value`, if it is one of the option's choices or the option has none."""
    if option.choices and value not in option.choices:
        hint_text = "choose one of " + ", ".join(f"`{choice}`" for choice in option.choices)
        raise UsageError(f"`{value}` is not a value of `{name}`", hint=hint_text)
    return value


def check_count(command: Command, words: Sequence[str]) -> None:
    """Refuse too few or too many words; raise UsageError."""
    least, most = command.arguments
    if len(words) < least and "RUN" in command.usage[0].split():
        message = f"`ringfence {command.name}` needs the name of a run"
        raise UsageError(message, hint=f"`ringfence runs` lists them; {command.usage[0]}")
    if len(words) < least:
        several = len(command.usage) > 1 and command.words
        choices = f"it is one of {', '.join(f'`{word}`' for word in command.words)}" if several else command.usage[0]
        raise UsageError(f"`ringfence {command.name}` needs more words", hint=choices)
    if 0 <= most < len(words):
        raise UsageError(f"unexpected word `{words[most]}`", hint=command.usage[0])


def hint(command: Command, wrong: str, names: Sequence[str]) -> str:
    """The nearest of `names`, or where to look."""
    from difflib import get_close_matches

    near = get_close_matches(wrong, names, 1) if wrong else []
    return f"did you mean `{near[0]}`?" if near else f"see `ringfence {command.name} --help`"
