"""The options of a run as a policy layer of their own, in the words of a policy file."""

import os
from collections.abc import Mapping, Sequence

import msgspec

from ringfence.model.errors import UsageError
from ringfence.policy import parse
from ringfence.policy.document import KeyPath, Layer

from .options import Options

OPTION_OF: dict[KeyPath, str] = {
    ("isolation", "seccomp"): "--seccomp",
    ("network", "mode"): "--network",
    ("env", "pass"): "--env",
    ("limits", "wall-time"): "--timeout",
    ("workspace", "mode"): "--workspace",
    ("workspace", "apply"): "--apply",
    ("trust", "mode"): "--trust",
}
"""Keys whose option has another name; the others are called as their option is."""


def layers(options: Options) -> list[Layer]:
    """The options as a policy layer of their own, in the words of a policy file."""
    tables: dict[str, dict[str, str | list[str]]] = {
        "isolation": {"seccomp": options.seccomp},
        "filesystem": {
            "read": [os.path.expanduser(p) for p in options.read],
            "write": [os.path.abspath(os.path.expanduser(p)) for p in options.write],
            "deny-read": options.deny_read,
            "deny-write": options.deny_write,
        },
        "network": {
            "mode": options.network,
            "allow": options.allow,
            "ask": options.ask,
            "deny": options.deny,
            "publish": options.publish,
        },
        "env": {"pass": options.env},
        "limits": {"wall-time": options.timeout},
        "workspace": {"mode": options.workspace, "apply": options.apply},
        "trust": {"mode": options.trust},
    }
    lines = ["version = 1"]
    spelled = spellings((), "preset", options.presets)
    if options.presets:
        lines.append(f"extends = {_toml(options.presets)}")
    for name, table in tables.items():
        chosen = [f"{key} = {_toml(value)}" for key, value in table.items() if value]
        lines += [f"[{name}]", *chosen] if chosen else []
        for key, value in table.items():
            spelled |= spellings((name,), key, value)
    secrets = destinations(options.secrets)
    lines += secret_tables(secrets)
    spelled |= secret_spellings(secrets)
    if len(lines) == 1:
        return []
    return [parse.parse("\n".join(lines) + "\n", file="command line", scope="cli", spelled=spelled)]


def spellings(table: KeyPath, key: str, value: str | Sequence[str]) -> dict[KeyPath, str]:
    """What the user wrote for a key and its entries: the options."""
    path = (*table, key) if table else ("extends",)
    option = OPTION_OF.get(path, f"--{key}")
    if isinstance(value, str):
        return {path: f"{option} {_plain(value)}"} if value else {}
    each: dict[KeyPath, str] = {(*path, index): f"{option} {_plain(item)}" for index, item in enumerate(value)}
    return each | ({path: option} if value else {})


def _plain(word: str) -> str:
    """A word as it can stand in a line of text."""
    return word if word.isprintable() else ascii(word)[1:-1]


def destinations(named: Sequence[str]) -> dict[str, list[str]]:
    """The hosts of each variable, of words `NAME@HOST[:PORT]`."""
    hosts: dict[str, list[str]] = {}
    for text in named:
        variable, at, host = text.partition("@")
        if not (at and host and variable.isidentifier() and variable.isascii()):
            raise UsageError(
                f"`--secret {text}` is not `NAME@HOST`", hint="NAME is a variable: `--secret TOKEN@api.host`"
            )
        if host.endswith(":80"):  # where nothing but plain HTTP is spoken
            message = f"`--secret {text}` would never be put in: values leave only within TLS"
            raise UsageError(message, hint=f"`--secret {text.removesuffix(':80')}`, for port 443")
        hosts.setdefault(variable, []).append(host)
    return hosts


def secret_tables(hosts: Mapping[str, Sequence[str]]) -> list[str]:
    """Lines of a policy file that put a variable's value into the header `authorization` at each of its hosts."""
    lines = []
    for variable, listed in hosts.items():
        inject = ", ".join(f'{{ {_destination(host)}, header = "authorization" }}' for host in listed)
        lines += [f"[secrets.{_toml(_secret(variable))}]", f"source = {{ env = {_toml(variable)} }}"]
        lines += [f"inject = [{inject}]", f"variables = [{_toml(variable)}]"]
    return lines


def secret_spellings(hosts: Mapping[str, Sequence[str]]) -> dict[KeyPath, str]:
    """What the user wrote for each secret and each of its hosts."""
    found: dict[KeyPath, str] = {}
    for variable, listed in hosts.items():
        written = [f"--secret {variable}@{_plain(host)}" for host in listed]
        found["secrets", _secret(variable)] = written[0]
        found |= {("secrets", _secret(variable), "inject", index): text for index, text in enumerate(written)}
    return found


def _secret(variable: str) -> str:
    return variable.lower().replace("_", "-").strip("-")


def _destination(text: str) -> str:
    """Host, and port where there is one, as keys of an injection."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        return f"host = {_toml(text)}"
    return f"host = {_toml(host)}, ports = [{port}]"


def _toml(value: str | Sequence[str]) -> str:
    """A string or list of strings in TOML; JSON's escapes are a subset of basic strings'."""
    if isinstance(value, str) and value.isdecimal():
        return value
    return msgspec.json.encode(value).decode()
