"""What a caller may choose for one run. Light: the hot path imports it."""

import os

from ringfence.model.errors import UsageError

FLAGS = {
    "--directory": "directory",
    "-C": "directory",
    "--policy": "policy",
    "--workspace": "workspace",
    "--apply": "apply",
    "--seccomp": "seccomp",
    "--timeout": "timeout",
    "--env": "env",
    "--read": "read",
    "--write": "write",
    "--deny-read": "deny_read",
    "--deny-write": "deny_write",
    "--preset": "presets",
    "--network": "network",
    "--allow": "allow",
    "--ask": "ask",
    "--deny": "deny",
    "--publish": "publish",
    "--secret": "secrets",
    "--trust": "trust",
    "--trust-digest": "trust_digest",
}
SYSTEM_DIRECTORIES = ("/", "/usr", "/etc", "/dev", "/proc", "/sys", "/run", "/tmp", "/var", "/home", "/var/tmp")
LISTS = ("env", "read", "write", "deny_read", "deny_write", "presets", "allow", "ask", "deny", "publish", "secrets")
SWITCHES = {"-v": "verbose", "--verbose": "verbose", "--no-user-policy": "no_user_policy", "--json": "json"}
SWITCHES["--no-supervisor"] = "no_supervisor"
UNSHAPING = ("directory", "verbose", "json", "no_supervisor")  # of no consequence for a plan


class Options:
    """Options of `run` and its relatives; empty values mean "as policy says"."""

    __slots__ = (
        "allow",
        "apply",
        "ask",
        "deny",
        "deny_read",
        "deny_write",
        "directory",
        "env",
        "fallback",
        "hooks",
        "json",
        "learn",
        "mounts",
        "network",
        "no_supervisor",
        "no_user_policy",
        "policy",
        "policy_text",
        "presets",
        "publish",
        "read",
        "seccomp",
        "secrets",
        "serving",
        "timeout",
        "trust",
        "trust_digest",
        "verbose",
        "workspace",
        "write",
    )

    def __init__(self) -> None:
        self.directory = self.policy = self.policy_text = self.workspace = self.apply = self.seccomp = self.timeout = ""
        self.network = self.trust = self.trust_digest = ""
        self.allow: list[str] = []
        self.ask: list[str] = []
        self.deny: list[str] = []
        self.publish: list[str] = []
        self.secrets: list[str] = []
        self.env: list[str] = []
        self.read: list[str] = []
        self.write: list[str] = []
        self.deny_read: list[str] = []
        self.deny_write: list[str] = []
        self.presets: list[str] = []
        # Of an agent (integrations/agents.py): a policy below every file, what its view has besides, hooks to answer.
        self.fallback = ""
        self.mounts: list[tuple[str, str, str, str]] = []
        self.hooks = False
        self.serving = False  # for the boundary of a session (session/warm.py)
        self.verbose = self.no_user_policy = self.json = self.learn = self.no_supervisor = False

    def key(self) -> str:
        """A text that differs whenever the options that shape a plan differ."""
        return repr([getattr(self, name) for name in self.__slots__ if name not in UNSHAPING])


def parse(words: "list[str]") -> "tuple[Options, list[str]]":
    """Split `words` into our options and the command, which begins at the first other word or after `--`.

    A child's flags are never taken for ours, because ours end where the command begins.
    """
    options = Options()
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            return options, words[at + 1 :]
        if not word.startswith("-") or word == "-":
            return options, words[at:]
        name, has_value, value = word.partition("=")
        if name in SWITCHES and not has_value:
            setattr(options, SWITCHES[name], True)
        elif name in FLAGS:
            if not has_value:
                at += 1
                if at >= len(words):
                    raise UsageError(f"option `{name}` needs a value")
                value = words[at]
            _take(options, FLAGS[name], value)
        else:
            raise UsageError(f"unknown option `{name}`", hint=_nearest(name))
        at += 1
    return options, []


def _nearest(name: str) -> str:
    """The option that may have been meant, or where to look."""
    from difflib import get_close_matches

    near = get_close_matches(name, [*FLAGS, *SWITCHES], 1)
    return f"did you mean `{near[0]}`?" if near else "`--help` lists them; a command may follow `--`"


def _take(options: Options, name: str, value: str) -> None:
    if name in LISTS:
        getattr(options, name).append(value)
    else:
        setattr(options, name, value)


def logical_directory(options: Options, directory: str) -> str:
    """The path by which the user came to `directory`, where $PWD is a true one; else an empty string."""
    logical = os.environ.get("PWD", "")
    if options.directory or not logical.startswith("/"):
        return ""
    if logical != directory and os.path.realpath(logical) != directory:
        return ""
    return os.path.normpath(logical)


def workspace_of(directory: str) -> str:
    """The tree to work on: the nearest directory at or above `directory` that holds `.git`, else `directory`.

    The search stops below the home directory, so that a repository of dotfiles is never taken for a project, and below
    the system's directories. SECURITY: a `.git` of somebody else, who can write above us (as in /tmp), does not count,
    as for git itself (safe.directory).
    """
    home = os.path.realpath(os.environ.get("HOME", "/"))
    trusted = {os.geteuid(), 0, os.stat(directory).st_uid}
    place = directory
    while place not in SYSTEM_DIRECTORIES and place != home and not home.startswith(place + "/"):
        try:
            if os.lstat(place + "/.git").st_uid in trusted:
                return place
        except OSError:
            pass
        place = os.path.dirname(place)
    return directory
