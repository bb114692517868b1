"""Values in files: who may have touched the file, and one field of what is in it."""

import os
import stat

import msgspec

FILE_BYTES = 1 << 20
OPEN_TO_ALL = "anybody may write to it"
HINTS = {
    OPEN_TO_ALL: "`chmod 600` it, then look whether the value is still yours",
    "there is no such file": "write it, or name another source",
    "it is not a file": "name a file; a directory, socket or device is none",
    "it cannot be read": "it must be readable for the user who runs ringfence",
}


def read(path: str) -> tuple[bytes, str] | str:
    """The contents, and what is unwise about the mode (empty: nothing); or why there is none, in one line."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return "there is no such file"
    except OSError:
        return "it cannot be read"
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return "it is not a file"
        # SECURITY: whoever chooses the value chooses as whom the sandbox speaks to the host it goes to.
        if status.st_mode & stat.S_IWOTH:
            return OPEN_TO_ALL
        data = os.pread(descriptor, FILE_BYTES + 1, 0)
    finally:
        os.close(descriptor)
    if len(data) > FILE_BYTES:
        return f"it has more than {FILE_BYTES} bytes"
    return data, loose(status.st_mode)


def loose(mode: int) -> str:
    """What is unwise about a mode, in one line."""
    if mode & stat.S_IWGRP:
        return "can be written by its group"
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        return "can be read by others"
    return ""


def field(data: bytes, path: str) -> bytes | None:
    """The text or number at `path` in JSON, TOML, or lines of `name = value` under `[section]`; None without one."""
    found = _at(_parsed(data), path)
    if isinstance(found, str):
        return found.encode()
    return str(found).encode() if isinstance(found, int) and not isinstance(found, bool) else None


def _parsed(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        pass
    import tomllib

    text = data.decode(errors="replace")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return _lines(text)


def _lines(text: str) -> dict[str, object]:
    """`name = value` below `[section]`: as configuration of aws, npm and pip, and files of variables."""
    tree: dict[str, object] = {}
    section = tree
    for line in text.splitlines():
        word = line.strip()
        if word.startswith("[") and word.endswith("]"):
            section = {}
            tree[word[1:-1].strip()] = section
        elif "=" in word and word[0] not in "#;":
            name, _, value = word.removeprefix("export ").partition("=")
            value = value.strip()
            section[name.strip()] = (
                value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
            )
    return tree


def _at(tree: object, path: str) -> object:
    """Follow `a.b`; a name may itself contain dots."""
    if not path:
        return tree
    parts = path.split(".")
    if isinstance(tree, list):
        number = int(parts[0]) if parts[0].isdecimal() else len(tree)
        return _at(tree[number], ".".join(parts[1:])) if number < len(tree) else None
    if isinstance(tree, dict):
        for count in range(len(parts), 0, -1):
            name = ".".join(parts[:count])
            if name in tree and (found := _at(tree[name], ".".join(parts[count:]))) is not None:
                return found
    return None
