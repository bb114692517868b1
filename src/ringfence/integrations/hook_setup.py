"""Puts our hook into Claude Code's own settings, and takes it out again exactly.

What stood there before is kept beside the audit. Undoing gives it back byte for byte where nobody has changed the file
since; where somebody has, only our entries are taken out.
"""

import difflib
import hashlib
import json
import os
import re
import shlex
import shutil
import tempfile
from typing import Any

import msgspec

from ringfence.model.errors import HostError, UsageError
from ringfence.session import places

from . import claude_files, managed_settings

TIMEOUT_S = 120
"""Longer than cli/hook.py's alarm."""

OURS = r".*ringfence'? hook claude-code( --contain)? \|\| exit 2"
MANAGED_ONLY = {"allowManagedHooksOnly": True, "disableAllHooks": False}
"""What managed settings say besides."""


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What was there before: `before` is None for no file; `after` the digest of what was put there.

    `folder`: the file's directory was made for it.
    """

    path: str
    before: str | None
    after: str
    folder: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A settings file as it is and as it would be; None for no file."""

    path: str
    before: str | None
    after: str | None

    @property
    def difference(self) -> str:
        """The change as a unified diff, empty where there is none."""
        before, after = ((text or "").splitlines(keepends=True) for text in (self.before, self.after))
        told = difflib.unified_diff(before, after, fromfile=self.path, tofile=self.path)
        return "".join(line if line.endswith("\n") else line + "\n" for line in told)


def settings_file(*, managed: bool) -> str:
    """The file that is changed: a link leads to where it is really kept."""
    return os.path.realpath(claude_files.MANAGED if managed else claude_files.user_settings())


def installing(path: str, *, managed: bool, contain: bool) -> Change:
    """The change that installs our hook; raise UsageError for a file that is not understood."""
    before = read(path)
    settings = parsed(path, before)
    without(settings)
    hooks = settings.setdefault("hooks", {})
    command = hook_command(contain=contain)
    one = {"type": "command", "command": command, "timeout": TIMEOUT_S}
    for event, groups in managed_settings.claude_hooks(command).items():
        if not isinstance(groups, list) or not isinstance(hooks, dict):
            raise UsageError("`hooks` is not a table of events", place=path, hint="correct it, then try again")
        hooks.setdefault(event, []).append(groups[0] | {"hooks": [one]})
    if managed:
        settings |= MANAGED_ONLY
    return Change(path=path, before=before, after=encoded(path, settings))


def undoing(path: str) -> Change:
    """The change that takes our hook out; raise UsageError where it was never installed."""
    kept = remembered(path)
    now = read(path)
    if kept is not None and now is not None and digest(now) == kept.after:
        return Change(path=path, before=now, after=kept.before)
    settings = parsed(path, now)
    if not without(settings):
        raise UsageError(
            f"no hook of ringfence is in `{path}`", hint="`ringfence setup claude-code --user` installs it"
        )
    earlier = parsed(path, kept.before) if kept is not None else {}
    for key, value in MANAGED_ONLY.items() if kept is not None else ():
        if settings.get(key) == value:
            del settings[key]
            settings |= {key: earlier[key]} if key in earlier else {}
    return Change(path=path, before=now, after=encoded(path, settings))


def carry_out(change: Change, *, undo: bool) -> None:
    """Write the change, and remember what was there before; raise HostError where it cannot be written."""
    try:
        if not undo:
            remember(change)
        write(change.path, change.after)
        if undo:
            forget(change)
    except OSError as error:
        raise HostError(f"cannot write `{change.path}`: {error.strerror}", hint="managed settings need root") from error


def hook_command(*, contain: bool) -> str:
    """The command line of our hook on the host; raise HostError where ringfence is not on PATH."""
    program = shutil.which("ringfence")
    if program is None:
        raise HostError("no program `ringfence` on PATH", hint="install it where the agent will find it")
    words = [os.path.abspath(program), "hook", "claude-code", *(["--contain"] if contain else [])]
    return shlex.join(words) + " || exit 2"


def without(settings: dict[str, Any]) -> bool:
    """Take our hooks out of `settings`, and what is then empty; tell whether there were any."""
    hooks = settings.get("hooks")
    if not isinstance(hooks, dict):
        return False
    found = False
    for event, groups in list(hooks.items()):
        kept = [left for group in groups if (left := others(group)) is not None] if isinstance(groups, list) else groups
        found = found or kept != groups
        hooks[event] = kept
        if kept == [] and groups != []:
            del hooks[event]
    if found and not hooks:
        del settings["hooks"]
    return found


def others(group: Any) -> Any:
    """A group of hooks without ours; None where nothing else is in it."""
    hooks = group.get("hooks") if isinstance(group, dict) else None
    if not isinstance(hooks, list):
        return group
    kept = [one for one in hooks if not is_ours(one)]
    return group if kept == hooks else group | {"hooks": kept} if kept else None


def is_ours(hook: object) -> bool:
    """Whether a hook is the one that we install."""
    command = hook.get("command") if isinstance(hook, dict) else None
    return isinstance(command, str) and re.fullmatch(OURS, command) is not None


def read(path: str) -> str | None:
    """The file's text; None where there is no file."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"settings cannot be read: {error}", place=path) from None


def encoded(path: str, settings: dict[str, Any]) -> str:
    """The text of `settings`; raise UsageError for what was read and cannot be written."""
    try:
        text = json.dumps(settings, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        text.encode()
    except ValueError as error:
        raise UsageError(f"settings cannot be written again: {error}", place=path) from None
    return text


def parsed(path: str, text: str | None) -> dict[str, Any]:
    """The settings in `text`."""
    try:
        settings = json.loads(text) if text and text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"settings are not valid JSON: {error}", place=path, hint="correct it, then try again"
        ) from None
    if not isinstance(settings, dict):
        raise UsageError("settings are not a JSON object", place=path, hint="correct it, then try again")
    return settings


def write(path: str, text: str | None) -> None:
    """Replace the file at once, keeping its mode; None removes it."""
    if text is None:
        os.unlink(path)
        return
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    mode = os.stat(path).st_mode & 0o7777 if os.path.exists(path) else 0o644
    descriptor, temporary = tempfile.mkstemp(prefix=".settings-", dir=folder)
    with open(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
    os.replace(temporary, path)


def digest(text: str) -> str:
    """A fingerprint of a file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def memory(path: str) -> str:
    """Where is kept what stood in `path` before."""
    return f"{places.state()}/setup/{digest(path)[:16]}.json"


def remembered(path: str) -> Installed | None:
    """What is known of an installation in `path`."""
    text = read(memory(path))
    try:
        return None if text is None else msgspec.json.decode(text, type=Installed)
    except msgspec.DecodeError as error:
        hint = "remove it; the hook can then be taken out, but not what stood there before be given back"
        raise UsageError(f"what stood there before is not known: {error}", place=memory(path), hint=hint) from None


def remember(change: Change) -> None:
    """Keep what stood there, without our hook where it was in that already."""
    earlier = remembered(change.path)
    if earlier is not None and change.before is not None and digest(change.before) == earlier.after:
        before = earlier.before
    else:
        settings = parsed(change.path, change.before)
        before = encoded(change.path, settings) if without(settings) else change.before
    folder = (earlier is not None and earlier.folder) or not os.path.lexists(os.path.dirname(change.path))
    kept = Installed(path=change.path, before=before, after=digest(change.after or ""), folder=folder)
    os.makedirs(os.path.dirname(memory(change.path)), mode=0o700, exist_ok=True)
    write(memory(change.path), msgspec.json.encode(kept).decode())


def forget(change: Change) -> None:
    """Remove what was kept, and the directory that was made for the file, if it is empty again."""
    kept = remembered(change.path)
    if kept is not None:
        os.unlink(memory(change.path))
    if kept is not None and kept.folder and change.after is None and not os.listdir(os.path.dirname(change.path)):
        os.rmdir(os.path.dirname(change.path))
