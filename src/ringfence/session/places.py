"""Where ringfence keeps its files on the host (XDG base directory specification). Light: the hot path imports it."""

import os

MANAGED_POLICY = "/etc/ringfence/policy.toml"


def home() -> str:
    """The home directory: $HOME where it is an absolute path to a directory, else the account's."""
    named = os.environ.get("HOME", "")
    if named.startswith("/") and os.path.isdir(named):
        return named
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/nonexistent"


def _base(variable: str, default: str) -> str:
    value = os.environ.get(variable, "")
    if not value.startswith("/"):
        value = f"{home()}/{default}"
    return value + "/ringfence"


def state() -> str:
    """Runs and audit."""
    return _base("XDG_STATE_HOME", ".local/state")


def cache() -> str:
    """What can be deleted at any time."""
    return _base("XDG_CACHE_HOME", ".cache")


def user_policy() -> str:
    """The user's own policy file."""
    return _base("XDG_CONFIG_HOME", ".config") + "/policy.toml"


def audit() -> str:
    """The audit's directory."""
    return state() + "/audit"


def runs() -> str:
    """The runs' directory."""
    return state() + "/runs"


def project_policy(workspace: str) -> str:
    """The project's policy file, which can only tighten."""
    return workspace + "/ringfence.toml"
