"""A policy file in the making, from another tool's settings: every line says which setting it is from."""

import re
from collections.abc import Sequence

import msgspec

from ringfence.model.errors import UsageError
from ringfence.policy import layers, parse

_HEAD = """\
# ringfence policy, made from `{source}` by `ringfence init {option}`. Reference: docs/policy.md.
# Behind each line stands the setting that it is from.
"""
_PLACE = re.compile(r":(\d+)$")


class Draft:
    """Collects entries, single values, remarks, and what cannot be said in a policy."""

    def __init__(self, source: str, option: str) -> None:
        self.source = source
        self.option = option
        self.lists: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self.values: dict[tuple[str, str], tuple[str, str]] = {}
        self.remarks: list[str] = []
        self.refused: list[tuple[str, str]] = []

    def entry(self, table: str, key: str, text: str, setting: str) -> None:
        """Add `text`, in TOML's notation, to the list `table.key`; once is enough."""
        listed = self.lists.setdefault((table, key), [])
        if text not in [other for other, _ in listed]:
            listed.append((text, setting))

    def value(self, table: str, key: str, text: str, setting: str) -> None:
        """Set `table.key` to `text`, in TOML's notation."""
        self.values[table, key] = (text, setting)

    def remark(self, setting: str, what: str) -> None:
        """Say what became of a setting that needs no line, or that is stricter here."""
        self.remarks.append(f"# {setting}: {what}")

    def refuse(self, setting: str, why: str) -> None:
        """Note a setting without which the policy would not be what its author means."""
        self.refused.append((setting, why))

    def text(self, *, home: str, workspace: str) -> str:
        """The file, which is sound; raise UsageError that names what cannot be kept."""
        if self.refused:
            (first, why), others = self.refused[0], [f"`{setting}`" for setting, _ in self.refused[1:]]
            also = f", nor can {', '.join(dict.fromkeys(others))}" if others else ""
            hint = "take it out of the settings, or write the policy by hand: `ringfence init --user`"
            raise UsageError(f"`{first}` cannot be kept: {why}{also}", place=self.source, hint=hint)
        text = "\n".join(self._lines()) + "\n"
        try:
            layers.merge([parse.parse(text, file="policy", scope="user")], home=home, workspace=workspace)
        except UsageError as error:
            at = _PLACE.search(error.place or "")
            setting = text.splitlines()[int(at[1]) - 1].rpartition("  # ")[2] if at else "settings"
            raise UsageError(
                f"`{setting}` cannot be kept: {error.message}", place=self.source, hint=error.hint
            ) from None
        return text

    def _lines(self) -> list[str]:
        lines = _HEAD.format(source=plain(self.source), option=self.option).splitlines()
        lines += ["#", *self.remarks] if self.remarks else []
        lines += ["", "version = 1"]
        for table in sorted({table for table, _ in (*self.lists, *self.values)}):
            lines += ["", f"[{table}]"]
            lines += [f"{key} = {text}  # {of}" for (name, key), (text, of) in self.values.items() if name == table]
            for (name, key), listed in self.lists.items():
                if name == table:
                    lines += [f"{key} = [", *(f"    {text},  # {setting}" for text, setting in listed), "]"]
        return lines


def toml(value: str | int | bool | Sequence[str]) -> str:
    """A value in TOML; JSON's escapes are a subset of basic strings', but for DEL."""
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")


def table(**values: str | bool | Sequence[str]) -> str:
    """An inline table of what is not empty."""
    return "{ " + ", ".join(f"{key} = {toml(value)}" for key, value in values.items() if value) + " }"


def plain(text: str) -> str:
    """Text that cannot end a comment."""
    return text if text.isprintable() else ascii(text)
