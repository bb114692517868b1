"""Adds rules about tool calls to the user's own policy file, whose comments and layout stay."""

import fcntl
import os
import tempfile
from collections.abc import Sequence

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ringfence.model.errors import HostError, UsageError
from ringfence.policy import parse
from ringfence.session import places


def allow_calls(rules: Sequence[str]) -> None:
    """Allow what `rules` say from now on; raise UsageError or HostError where the file cannot be edited or written."""
    path = places.user_policy()
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        held = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)  # as `ringfence allow` does: of two at once, both have their effect
            edited = with_rules(read(path), rules, path)
            parse.parse(edited, file=path, scope="user")
            replace(os.path.realpath(path), edited)
        finally:
            os.close(held)
    except OSError as error:
        raise HostError(f"cannot write `{path}`: {error.strerror}") from error


def replace(path: str, text: str) -> None:
    """Put `text` in place of the file at once."""
    descriptor, temporary = tempfile.mkstemp(prefix=".policy-", dir=os.path.dirname(path))
    with open(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.replace(temporary, path)


def read(path: str) -> str:
    """The file's text; that of an empty policy where there is none."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return "version = 1\n"
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read policy: {error}", place=path) from error


def with_rules(text: str, rules: Sequence[str], path: str) -> str:
    """The policy `text` with `rules` in `permissions.allow`."""
    try:
        document = tomlkit.parse(text)
        table = document.setdefault("permissions", tomlkit.table())
        listed = table.setdefault("allow", tomlkit.array().multiline(True))
        for rule in rules:
            if rule not in listed:
                listed.append(rule)
    except (TOMLKitError, TypeError, AttributeError) as error:
        raise UsageError(f"cannot edit policy: {error}", place=path, hint="add the line by hand") from error
    return tomlkit.dumps(document)
