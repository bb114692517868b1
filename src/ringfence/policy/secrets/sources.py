"""Where values come from, as people write it, to `SecretSource`."""

import re

from msgspec import UNSET

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.secrets import Origin, SecretSource
from ringfence.policy.entries import Places
from ringfence.policy.parse import shown

from .tables import SourceTable

_FORMS = {
    Origin.KEYRING: (re.compile(r"[^/\x00-\x1f]+/[^\x00-\x1f]+"), "write `SERVICE/USER`"),
    Origin.HASHICORP_VAULT: (re.compile(r"[^#\s]+#[^#\s]+"), "write `PATH#FIELD`, as in `secret/data/app#token`"),
    Origin.AWS: (re.compile(r"[^#\s]+(#[^#\s]+)?"), "write `SECRET-ID` or `SECRET-ID#FIELD`"),
    Origin.ONE_PASSWORD: (re.compile(r"op://[^/\x00-\x1f]+(/[^/\x00-\x1f]+){2,3}"), "write `op://VAULT/ITEM/FIELD`"),
}
# What begins like a well-known token, and could otherwise pass for the name of a variable or of a key.
_TOKEN = re.compile(
    r"(gh[pousr]_|github_pat_|gl[a-z]{2,4}-|npm_|hf_|sk-|pypi-|xox[abpse]-|A[KS]IA|AIza)[A-Za-z0-9_-]{16}"
)


def source(table: SourceTable, name: str, place: Source, places: Places) -> SecretSource:
    """Return the one place that `table` names; raise `UsageError` for none, several, or one that cannot be."""
    named = [origin for origin in Origin if getattr(table, origin.value) is not UNSET]
    if len(named) != 1:
        hint = "name one of " + ", ".join(f"`{origin.value}`" for origin in Origin)
        raise UsageError(f"`secrets.{name}.source` names {len(named)} places", place=str(place), hint=hint)
    (origin,) = named
    if table.field is not UNSET and origin is not Origin.FILE:
        hint = "`field` picks a value out of a JSON or TOML `file`"
        raise UsageError(f"`field` has no meaning beside `{origin.value}`", place=str(place), hint=hint)
    said = getattr(table, origin.value)
    if origin is Origin.COMMAND:
        return SecretSource(origin=origin, argv=_command(said, name, place))
    if _TOKEN.match(str(said)):  # SECURITY: it would stand in errors, records and what `list` and `plan` print
        hint = "take it out of the file, count it as known to others, and name where the value is kept, not the value"
        raise UsageError(f"`secrets.{name}.source` holds what looks like a token", place=str(place), hint=hint)
    locator = _path(said, place, places) if origin is Origin.FILE else str(said)
    form, hint = _FORMS.get(origin, (None, ""))
    if form and not form.fullmatch(locator):
        raise UsageError(f"{shown(locator)} is no place in `{origin.value}`", place=str(place), hint=hint)
    return SecretSource(origin=origin, locator=locator, field=table.field or "")


def _command(words: tuple[str, ...], name: str, place: Source) -> tuple[str, ...]:
    if not words:
        hint = 'write the program and its arguments, as in `["pass", "show", "github"]`'
        raise UsageError(f"`secrets.{name}.source.command` is empty", place=str(place), hint=hint)
    # SECURITY: a relative path would be looked up in the directory of the run, which a checkout fills.
    if "/" in words[0] and not words[0].startswith("/"):
        hint = "write its absolute path, or a name that is found on PATH"
        raise UsageError(f"{shown(words[0])} is a relative path to a program", place=str(place), hint=hint)
    return words


def _path(text: str, place: Source, places: Places) -> str:
    if not text.startswith(("/", "~/")) or ".." in text.split("/"):
        hint = "begin it with `/` or `~/`, and write it without `..`"
        raise UsageError(f"{shown(text)} is not the absolute path of a file", place=str(place), hint=hint)
    return places.home.rstrip("/") + text[1:] if text.startswith("~/") else text
