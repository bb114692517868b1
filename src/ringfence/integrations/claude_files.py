"""Claude Code's settings files on the host: where they are, and what they say about permissions."""

import os

from ringfence.model.errors import UsageError
from ringfence.policy.permissions import claude_settings
from ringfence.policy.permissions.scopes import Scope
from ringfence.session import places

MANAGED = "/etc/claude-code/managed-settings.json"


def user_settings() -> str:
    """The user's own settings file."""
    moved = os.environ.get("CLAUDE_CONFIG_DIR", "")
    return f"{moved if moved.startswith('/') else places.home() + '/.claude'}/settings.json"


def scopes_of(workspace: str, *, trusted: bool) -> tuple[Scope, ...]:
    """What is set on the host; raise UsageError for a file that cannot be read or understood.

    A checkout's settings are read only where it is `trusted`.
    """
    places_of = [("managed", MANAGED), ("user", user_settings())]
    if trusted:
        places_of += [("local", f"{workspace}/.claude/settings.local.json")]
        places_of += [("project", f"{workspace}/.claude/settings.json")]
    return tuple(
        claude_settings.read_settings(text, scope=scope, file=path, cwd=workspace)
        for scope, path in places_of
        if (text := _text(path)) is not None
    )


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(claude_settings.MAX_TEXT + 1)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"settings cannot be read: {error}", place=path, hint="they must be readable UTF-8") from None
