"""Read the value of a secret from the place that policy names.

Theory of operation. Each origin has one reader. A reader gives the value, or says in one line what is missing and what
to do about it: an absent secret is a value of ours, not an exception. Readers run in the vault's process before it is
confined; programs are started by whoever calls (`Outside.execute`), never from here.

SECURITY: no text made here contains a value or a part of one, and none goes on a command line: what a program is told
is the secret's name in its store. What a program, a server or a parser says about a failure is dropped, since it may
quote what it failed on.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence

import msgspec

from ringfence.model.secrets import Origin, SecretSource

from . import sources_files
from .value import Value

VALUE_BYTES = 64 << 10
TIMEOUT_S = 20.0
CONTROL = bytes({*range(0x20), 0x7F} - set(b"\t\r\n"))


EMPTY = {
    Origin.ENVIRONMENT: "set it to the value, or unset it where the secret is `optional`",
    Origin.FILE: "write the value into the file",
    Origin.COMMAND: "the command must print the value, and nothing else",
}

# A program of the `keyring` package's own would end with the same status whatever is wrong, and with a traceback.
KEYRING = """import sys, keyring, keyring.errors as errors
try:
    found = keyring.get_password(*sys.argv[1:])
except errors.NoKeyringError:
    sys.exit(3)
except errors.KeyringLocked:
    sys.exit(4)
sys.exit(5) if found is None else sys.stdout.buffer.write(found.encode())
"""

_Read = bytes | tuple[bytes, str]  # with what is unwise about it


class Missing(msgspec.Struct, frozen=True):
    """There is no value: why, in one line, and what to do about it."""

    reason: str
    hint: str = ""


class Found(msgspec.Struct, frozen=True):
    """A value that was read, and what is unwise about the way it is kept, in one line."""

    value: Value
    warning: str = ""


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """What readers may use: variables, the home directory, and a way to run a program.

    `execute(words, timeout_s)` gives exit status and standard output; raises FileNotFoundError or PermissionError for
    what is no program, TimeoutError for one that did not end in time.
    """

    environment: Mapping[str, str]
    home: str
    execute: Callable[[Sequence[str], float], tuple[int, bytes]]


def read(source: SecretSource, outside: Outside) -> Found | Missing:
    """The value at `source`, without the line end that files and programs add."""
    found = _READERS[source.origin](source, outside)
    if isinstance(found, Missing):
        return found
    data, warning = found if isinstance(found, tuple) else (found, "")
    data = data.rstrip(b"\r\n")
    if not data:
        return Missing("it is empty", EMPTY.get(source.origin, "store the value there, or name another source"))
    if len(data) > VALUE_BYTES:
        return Missing(f"it has more than {VALUE_BYTES} bytes", "name the field that holds the secret: `field`")
    if len(data.translate(None, CONTROL)) < len(data):
        return Missing("it has control characters", "name the field that holds the secret: `field`")
    try:
        data.decode()
    except UnicodeDecodeError:
        return Missing("it is not UTF-8 text")
    return Found(Value(data), warning)


def described(source: SecretSource) -> str:
    """A source in one short text, as it is written in policy."""
    locator = source.locator or " ".join(source.argv)
    return f"{source.origin.value} {locator}" + (f"#{source.field}" if source.field else "")


def _environment(source: SecretSource, outside: Outside) -> _Read | Missing:
    if source.locator not in outside.environment:
        remedy = "set it in the shell that starts ringfence; `optional = true` in policy lets a run begin without it"
        return Missing(f"the variable `{source.locator}` is not set", remedy)
    return os.fsencode(outside.environment[source.locator])


def _file(source: SecretSource, outside: Outside) -> _Read | Missing:
    path = source.locator
    place = outside.home + path[1:] if path.startswith("~/") else path
    found = sources_files.read(place)
    if isinstance(found, str):
        return Missing(f"`{path}`: {found}", sources_files.HINTS.get(found, ""))
    data, warning = found
    if source.field:
        field = sources_files.field(data, source.field)
        if field is None:
            return Missing(
                f"`{path}` has no field `{source.field}`", "fields are `a.b` of JSON, TOML or `[a]` `b = ...`"
            )
        data = field
    return data, f"`{path}` {warning}: `chmod 600` it" if warning else ""


def _command(source: SecretSource, outside: Outside) -> _Read | Missing:
    return _program(source.argv, outside, hint="run it yourself to see why")


def _keyring(source: SecretSource, outside: Outside) -> _Read | Missing:
    from importlib.util import find_spec

    service, _, user = source.locator.partition("/")
    if not find_spec("keyring"):
        return Missing("the `keyring` package is not installed", "install `ringfence[keyring]`")
    words = [sys.executable, "-P", "-c", KEYRING, service, user]
    told = {
        3: Missing("there is no keyring", "it needs the bus of your session: `DBUS_SESSION_BUS_ADDRESS` tells where"),
        4: Missing("the keyring is locked", "unlock it, as by logging in to the desktop"),
        5: Missing(f"the keyring has nothing for `{source.locator}`", f"`keyring set {service} {user}` stores it"),
    }
    return _program(words, outside, hint=f"`keyring get {service} {user}` shows why", name="keyring", told=told)


def _one_password(source: SecretSource, outside: Outside) -> _Read | Missing:
    if not source.locator.startswith("op://"):
        return Missing(f"`{source.locator}` is no reference of 1Password", "write `op://VAULT/ITEM/FIELD`")
    return _program(["op", "read", "--no-newline", source.locator], outside, hint="`op signin`, or check the reference")


def _aws(source: SecretSource, outside: Outside) -> _Read | Missing:
    name, _, field = source.locator.partition("#")
    words = ["aws", "secretsmanager", "get-secret-value", f"--secret-id={name}"]
    hint = "`aws sts get-caller-identity` tells who you are; check the name and the region"
    found = _program([*words, "--query=SecretString", "--output=text"], outside, hint=hint)
    if found == b"None\n":
        return Missing(f"`{name}` holds no text", "store the value as text, not as binary data")
    if isinstance(found, Missing) or not field:
        return found
    value = sources_files.field(found, field)
    return Missing(f"`{name}` has no field `{field}`", "it is JSON: `a.b`") if value is None else value


def _hashicorp_vault(source: SecretSource, outside: Outside) -> _Read | Missing:
    from . import sources_services  # not at the top: http.client and ssl take 20 ms, before the command starts

    path, _, field = source.locator.partition("#")
    found = sources_services.read(path, field, outside.environment, outside.home)
    return found if isinstance(found, bytes) else Missing(*found)


def _program(
    words: Sequence[str], outside: Outside, *, hint: str, name: str = "", told: Mapping[int, Missing] = {}
) -> bytes | Missing:
    """What a program prints; `told` are statuses that it ends with where it says what is missing."""
    name = name or (words[0] if words else "")
    try:
        status, data = outside.execute(words, TIMEOUT_S)
    except TimeoutError:
        return Missing(f"`{name}` did not end within {TIMEOUT_S:.0f} s", "it may be waiting for you: unlock it first")
    except (FileNotFoundError, PermissionError):
        return Missing(f"`{name}` is not installed, or cannot be executed", "install it, or name it by its path")
    if status in told:
        return told[status]
    if status:
        how = f"exit status {status}" if status > 0 else f"signal {-status}"
        return Missing(f"`{name}` ended with {how}", hint)
    return data


_READERS: dict[Origin, Callable[[SecretSource, Outside], _Read | Missing]] = {
    Origin.ENVIRONMENT: _environment,
    Origin.FILE: _file,
    Origin.COMMAND: _command,
    Origin.KEYRING: _keyring,
    Origin.HASHICORP_VAULT: _hashicorp_vault,
    Origin.AWS: _aws,
    Origin.ONE_PASSWORD: _one_password,
}
