"""Policy text to a `Layer`, or one error that says where and what is valid.

Everything a file can get wrong on its own is refused here; what depends on the home directory, the workspace
or the other layers is refused by `layers.merge`. Unknown keys are searched for first, so that a misspelt key
is reported as such and not as a missing one.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError

from .document import Document, KeyPath, Layer
from .locate import locate

# SECURITY: a project's file is hostile input; tomllib takes time that grows faster than its input.
MAX_TEXT = 256 * 1024

_LATER_TIERS = ("gvisor", "vm", "container", "seatbelt")
_LATER_TABLES = ("approvals", "monitor")


def parse(text: str, *, file: str, scope: str, spelled: dict[KeyPath, str] | None = None) -> Layer:
    """Read policy `text` that was found in `file` and speaks for `scope`; raise `UsageError` for what is wrong.

    `spelled` maps keys and entries to what a person wrote instead, for text that was made from that.
    """
    if len(text) > MAX_TEXT:
        raise UsageError(f"policy is longer than {MAX_TEXT} characters", place=str(Source(scope=scope, file=file)))
    try:
        raw = tomllib.loads(text)
        lines = locate(text)
    except RecursionError:
        raise UsageError("policy is nested too deeply", place=str(Source(scope=scope, file=file))) from None
    except ValueError as error:
        raise _syntax_error(error, text, Source(scope=scope, file=file)) from None
    layer = Layer(scope=scope, file=file, lines=lines, spelled=spelled or {}, document=Document(version=1))
    checker = _Checker(layer, raw)
    checker.keys(raw, Document, ())
    return msgspec.structs.replace(layer, document=checker.document())


def _syntax_error(error: ValueError, text: str, where: Source) -> UsageError:
    """Give tomllib's message our shape, with its position as the place."""
    if not isinstance(error, tomllib.TOMLDecodeError):
        # The one other thing tomllib lets through: Python's limit on the digits of a number.
        return UsageError("not valid TOML: a number is too long", place=str(where))
    message, _, position = str(error).partition(" (at ")
    found = re.match(r"line (\d+)", position)
    last = text.rstrip("\n").count("\n") + 1
    line = int(found.group(1)) if found else last
    place = Source(scope=where.scope, file=where.file, line=line)
    return UsageError(f"not valid TOML: {message[:1].lower()}{message[1:]}", place=str(place))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the entry of `known` that `name` was most likely meant to be, or nothing."""
    found = difflib.get_close_matches(name.lower().replace("_", "-"), list(known), cutoff=0.6)
    return found[0] if found else ""


class _Checker:
    """The errors of one document: `layer` gives places, `raw` is what tomllib made of the text."""

    def __init__(self, layer: Layer, raw: dict[str, Any]) -> None:
        self.layer = layer
        self.raw = raw

    def keys(self, value: Any, hint: Any, path: KeyPath) -> None:
        """Raise for the first key below `value`, a value of type `hint`, that no field names."""
        struct = _struct(hint)
        if struct is None:
            return
        if isinstance(value, list):
            for index, item in enumerate(value):
                self.keys(item, hint, (*path, index))
        elif isinstance(value, dict) and (mapping := _mapping(hint)):
            for name, item in value.items():
                self.keys(item, get_args(mapping)[1], (*path, name))
        elif isinstance(value, dict):
            hints = _fields(struct)
            for key, item in value.items():
                if key not in hints:
                    raise self.unknown_key(key, hints, path)
                self.keys(item, hints[key], (*path, key))

    def unknown_key(self, key: str, known: Iterable[str], table: KeyPath) -> UsageError:
        meant = nearest(key, known)
        if table == () and key in _LATER_TABLES:
            hint = f"`{key}` is not available in this version"
        elif table[2:] == ("source",) and key == "value":
            hint = "a value does not belong in policy; name where it is kept: " + ", ".join(
                f"`{n}`" for n in known if n != "field"
            )
        elif meant:
            hint = f"did you mean `{meant}`?"
        else:
            hint = "valid here: " + ", ".join(f"`{name}`" for name in known)
        place = self.layer.source(*table, key)
        within = f" in `{dotted(table)}`" if table else ""
        return UsageError(f"unknown key {shown(key)}{within}", place=str(place), hint=hint)

    def document(self) -> Document:
        """Convert the whole document; msgspec's message is used for its path only."""
        try:
            return msgspec.convert(self.raw, Document)
        except msgspec.ValidationError as error:
            raise self.bad_value(str(error)) from None

    def bad_value(self, message: str) -> UsageError:
        path = self.path_of(message)
        if path == ():
            return UsageError(
                "`version` is missing",
                place=str(Source(scope=self.layer.scope, file=self.layer.file, line=1)),
                hint="begin the file with `version = 1`",
            )
        value = _walk(self.raw, path)
        place = str(self.layer.source(*path))
        if " missing required field " in message:
            missing = message.split("`")[1]
            return UsageError(f"`{dotted(path)}` lacks `{missing}`", place=place)
        valid = _valid(path)
        # SECURITY: whoever takes a secret's source for its value writes the value there, and errors end up in logs.
        found = "text" if path[2:3] == ("source",) and isinstance(value, str) else shown(value)
        return UsageError(f"`{dotted(path)}` is {found}, not {valid}", place=place, hint=_remedy(path, value))

    def path_of(self, message: str) -> KeyPath:
        """Read the path out of a message of msgspec; unknown keys are gone, so it holds only names of ours."""
        found = re.search(r" - at `(?:key` in `)?\$\.?([^`]*)`$", message)
        steps = re.findall(r"[^.\[\]]+|\[\d+\]|\[\.\.\.\]", found.group(1)) if found else []
        path: KeyPath = ()
        for step in steps:
            number = step[1:-1] if step[0] == "[" else ""
            path += (int(number) if number.isdigit() else self.wrong_entry(path) if number else step,)
        about_key = found is not None and found[0].startswith(" - at `key`")
        return (*path, self.wrong_entry(path)) if about_key else path

    def wrong_entry(self, path: KeyPath) -> str:
        """Find the wrong entry of a table that is free in its keys, which msgspec does not name."""
        mapping = _mapping(_hint(path))
        return next(str(key) for key, value in _walk(self.raw, path).items() if not _is_sound({key: value}, mapping))


def _is_sound(value: dict[str, Any], mapping: Any) -> bool:
    try:
        msgspec.convert(value, mapping)
    except msgspec.ValidationError:
        return False
    return True


def _remedy(path: KeyPath, value: Any) -> str:
    """Say what to write instead of `value`, where more can be said than what is valid."""
    if path == ("isolation", "tier") and value in _LATER_TIERS:
        return f"the tier `{value}` is not built in this version; use `process`"
    if path[:2] == ("env", "pass") and value == "*":
        return "passing every variable would pass every secret; name the variables or a prefix such as `LC_*`"
    if path[:2] == ("env", "pass") and isinstance(value, str) and "=" in value:
        return "the name alone: its value is that of the shell which starts ringfence, or what `env.set` says"
    if path[2:] == ("source",) and isinstance(value, str):
        return 'name where the value is kept, not the value: `{ env = "TOKEN" }`, `{ file = "~/token" }`'
    if path == ("version",):
        return "this ringfence reads version 1 of the format"
    if value == [] and _valid(path).startswith("a list"):
        return f"name at least one, or leave `{path[-1]}` out"
    choices = _choices(_hint(path))
    meant = nearest(value, choices) if isinstance(value, str) else ""
    return f"did you mean `{meant}`?" if meant else ""


def dotted(path: KeyPath) -> str:
    """Write a path the way people do: `filesystem.read[0].path`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def shown(value: Any) -> str:
    """Show a value in an error: one line, short, nothing that a terminal would act on."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    text = str(value).lower() if isinstance(value, bool) else str(value) or '""'
    text = text if text.isprintable() else ascii(text)[1:-1]
    return f"`{text[:60]}…`" if len(text) > 60 else f"`{text}`"


def _fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Map each key of a table to the type of its field."""
    hints = get_type_hints(struct, include_extras=True)
    return {field.encode_name: hints[field.name] for field in msgspec.structs.fields(struct)}


def _struct(hint: Any) -> type[msgspec.Struct] | None:
    """Find the table type in a hint such as `Annotated[tuple[MountEntry, ...] | UnsetType, ...]`."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    return next((found for part in get_args(hint) if (found := _struct(part))), None)


def _mapping(hint: Any) -> Any:
    """Find the type of a table that is free in its keys in a hint, which has no other tables above it."""
    if get_origin(hint) is dict:
        return hint
    return next((found for part in get_args(hint) if (found := _mapping(part))), None)


def _choices(hint: Any) -> tuple[str, ...]:
    """Collect the values of the closed sets in a hint."""
    if get_origin(hint) is Literal:
        return tuple(value for value in get_args(hint) if isinstance(value, str))
    return tuple(choice for part in get_args(hint) for choice in _choices(part))


def _hint(path: KeyPath) -> Any:
    """Return the type of the field at `path`; entries have the type of what they are entries of."""
    hint: Any = Document
    inside = False  # a table that is free in its keys
    for step in path:
        struct = _struct(hint)
        if isinstance(step, str) and struct is not None and (inside or not _mapping(hint)):
            hint, inside = _fields(struct)[step], False
        elif isinstance(step, str):
            inside = True
    return hint


def _valid(path: KeyPath) -> str:
    """Return the description of valid values that the field at `path` carries for itself or its entries."""
    extra = _hint(path).__metadata__[-1].extra
    return str(extra["entry" if _is_entry(path) else "valid"])


def _is_entry(path: KeyPath) -> bool:
    return _hint(path) is _hint(path[:-1])


def _walk(value: Any, path: KeyPath) -> Any:
    for step in path:
        value = value[step]
    return value
