"""The types of a policy file, published: as JSON Schema for editors and as the reference in docs/policy.md."""

from typing import Any

import msgspec
from msgspec import UNSET

from .document import Document
from .presets import DEFAULT_LAYER
from .units import size_text

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy file, for editors that check TOML by schema."""
    return {"$schema": _DIALECT, "title": "ringfence policy", **msgspec.json.schema(Document)}


def reference() -> str:
    """Render a Markdown table for each table of a policy file: key, valid values, default, meaning."""
    definitions = json_schema()["$defs"]
    parts = [
        _table(
            "Top level", definitions["Document"], {"version": 1, "extends": list(DEFAULT_LAYER.document.extends or ())}
        )
    ]
    for name, field in definitions["Document"]["properties"].items():
        target = _target(field)
        if target:
            parts.append(_table(f"`[{name}]`", definitions[target], _defaults(name)))
    for title, target in (
        ("Entries of the path lists", "PathEntry"),
        ("Entries of `filesystem.mounts`", "MountEntry"),
        ("Entries of `network.allow`, `ask` and `deny`", "HostEntry"),
        ("`[network.gateways.NAME]`", "GatewayTable"),
        ("`[secrets.NAME]`", "SecretTable"),
        ("`source` of a secret: one of these", "SourceTable"),
        ("Entries of `inject`", "InjectTable"),
        ("Entries of `capture`", "CaptureTable"),
        ("`[[secret-files]]`", "SecretFileTable"),
        ("`[[git.remotes]]`", "RemoteTable"),
        ("`push` of a remote", "PushTable"),
        ("`[git.signing]`", "SigningTable"),
    ):
        parts.append(_table(title, definitions[target], {}))
    return "\n".join(parts)


def _defaults(table: str) -> dict[str, Any]:
    """Return the scalars that the built-in default sets in a table."""
    said = getattr(DEFAULT_LAYER.document, table)
    found: dict[str, Any] = {} if said is UNSET else msgspec.to_builtins(said)
    return found


def _table(title: str, definition: dict[str, Any], defaults: dict[str, Any]) -> str:
    lines = [f"### {title}", "", "| key | values | default | meaning |", "|---|---|---|---|"]
    for name, field in definition["properties"].items():
        if _target(field) and title == "Top level":
            continue
        default = defaults.get(name, field.get("default", UNSET))
        if isinstance(default, int) and (name == "memory" or name.endswith("-size")):
            default = size_text(default)
        shown = "" if default in (UNSET, "") else f"`{_literal(default)}`"
        lines.append(f"| `{name}` | {_values(field)} | {shown} | {field['description']} |")
    return "\n".join([*lines, ""])


def _literal(value: Any) -> str:
    return msgspec.json.encode(value).decode().replace(",", ", ")


def _target(field: dict[str, Any]) -> str:
    """Return the name of the table type that a field refers to, or nothing."""
    references = [field, *field.get("allOf", ())]
    return next((part["$ref"].rsplit("/", 1)[1] for part in references if "$ref" in part), "")


def _values(field: dict[str, Any]) -> str:
    """Say in words what a field of the schema accepts."""
    if "enum" in field:
        return ", ".join(f"`{_literal(value)}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_values(part) for part in field["anyOf"]))
    if "$ref" in field:
        return "table"
    kind = {"array": "list", "object": "table", "integer": "number"}.get(field["type"], field["type"])
    return f"{kind} of {_values(field['items'])}" if kind == "list" else str(kind)
