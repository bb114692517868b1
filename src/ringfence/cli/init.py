"""`ringfence init`: write a commented policy file for this project, or for the user."""

import os
from collections.abc import Sequence

from ringfence.model.errors import HostError, UsageError
from ringfence.policy import parse
from ringfence.policy.document import PresetName
from ringfence.policy.presets import PRESETS
from ringfence.policy.template import render
from ringfence.session import options as options_module
from ringfence.session import places
from ringfence.session import run as session

from . import arguments, catalogue
from . import help as help_text
from .terminal import paint, put, safe

# Names at the top of a project that tell which ecosystem it belongs to.
SIGNS: dict[PresetName, tuple[str, ...]] = {
    "python": ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "Pipfile", "tox.ini", "environment.yml"),
    "node": ("package.json", "deno.json", "bun.lockb", ".nvmrc"),
    "rust": ("Cargo.toml", "rust-toolchain.toml"),
    "go": ("go.mod", "go.work"),
    "java": (
        "pom.xml",
        "build.gradle",
        "build.gradle.kts",
        "settings.gradle",
        "settings.gradle.kts",
        "mvnw",
        "gradlew",
    ),
    "ruby": ("Gemfile", ".ruby-version", "Rakefile"),
}

USER_POLICY = """\
# Your own ringfence policy. Reference: docs/policy.md, or `ringfence policy schema`.
#
# It applies in every project. Unlike a project's ringfence.toml it can also grant; /etc/ringfence/policy.toml and the
# command line count before it. What is not named here, in a preset or built in is not in the view.

version = 1

# A secret stays outside: inside a placeholder stands for it, which becomes the value where it is put in. Presets such
# as "github" bring their own, here for GITHUB_TOKEN.
# secrets.example.source = { env = "EXAMPLE_TOKEN" }
# secrets.example.inject = [{ host = "api.example.com", header = "authorization" }]
# secrets.example.variables = ["EXAMPLE_TOKEN"]
# What git may do at a host; without an entry no preset lets anything be pushed.
# git.remotes = [{ host = "github.com", repositories = ["owner/name"], push = { refs = ["refs/heads/agent/*"] } }]
# Search what goes out for secrets: "deny", "ask" or "allow".
# leaks = { known = "deny", found = "ask" }

[filesystem]
# Readable besides the workspace and the system. The home directory is hidden unless named here.
# read = ["~/datasets", { path = "/srv/models", reason = "weights for the tests" }]
# Writable besides the workspace.
# write = ["~/.cache/pre-commit"]
# Hidden in every workspace, in gitignore's notation: a name without a slash is meant at any depth.
deny-read = [
    { path = ".env", reason = "credentials of the development environment" },
    { path = ".env.local", reason = "credentials of the development environment" },
]

[network]
# Off until a host is named here or with --allow, or a preset with hosts (`ringfence policy presets`) in `extends`.
# allow = ["example.com", "*.example.org:443", "host-loopback:5432"]
# ask = ["example.net"]
# deny = ["metrics.example.com"]
# What becomes of all other hosts: "deny" or "ask".
# unknown = "ask"

[env]
# Variables are removed unless a preset or this list names them; a name may end in `*`.
# pass = ["DJANGO_SETTINGS_MODULE"]

[workspace]
# overlay: changes are kept apart and applied at the end, filtered. direct: no copy. readonly: nothing can be changed.
# mode = "overlay"
# exit: apply at the end. ask: keep them for `ringfence apply`.
# apply = "ask"

[limits]
# Sizes such as "512MiB", times such as "30s", "5m" or "2h"; 0 for no limit.
# memory = "8GiB"
# processes = 2048
# wall-time = "1h"
"""


def main(name: str, words: Sequence[str]) -> int:
    """Detect, then print or write; raise UsageError where a file is in the way."""
    given = arguments.parse(catalogue.find(name), words)
    if given is None:
        return help_text.show([name])
    options = options_module.Options()
    options.directory = given.text("directory")
    workspace = options_module.workspace_of(session.working_directory(options))
    home = os.path.realpath(places.home())
    if not (given.has("user") or imports(given)) and (
        workspace == home or home.startswith(workspace.rstrip("/") + "/")
    ):
        hint = "change to a project directory, or write your own policy with `ringfence init --user`"
        raise UsageError(f"`{workspace}` cannot be a workspace: it contains the home directory", hint=hint)
    found = {} if given.has("user") else detect(workspace)
    imported = from_settings(given, workspace)
    own = given.has("user") or bool(imported)
    text = imported or (USER_POLICY if own else render(list(found)))
    path = places.user_policy() if own else places.project_policy(workspace)
    parse.parse(text, file=path, scope="user" if own else "project")
    if given.has("print"):
        put(text.rstrip("\n"))
        return 0
    write(path, text, replace=given.has("force"))
    put(paint(f"wrote {safe(path)}", "good"))
    if not own:
        put(*described(found))
    put("  next: `ringfence policy check`, then `ringfence plan`")
    return 0


def imports(given: arguments.Arguments) -> list[str]:
    """The options that name another tool's settings."""
    return [name for name in ("from-srt", "from-claude-settings") if given.has(name)]


def from_settings(given: arguments.Arguments, workspace: str) -> str:
    """The policy that another tool's settings come to; empty where none are named. It grants, so it is the user's."""
    named = imports(given)
    if not named:
        return ""
    if len(named) > 1:
        raise UsageError("settings of two tools at once", hint="import one, then add the other's by hand")
    from ringfence.integrations import claude_import, srt_import

    path = os.path.abspath(os.path.expanduser(given.text(named[0])))
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UsageError(f"cannot read settings: {error.strerror}", place=path) from None
    convert = srt_import.policy_text if named[0] == "from-srt" else claude_import.policy_text
    return convert(data, path, home=os.path.realpath(places.home()), workspace=workspace)


def detect(workspace: str) -> dict[PresetName, str]:
    """The ecosystems of a project, each with the file that says so."""
    found: dict[PresetName, str] = {}
    for preset, signs in SIGNS.items():
        sign = next((name for name in signs if os.path.lexists(f"{workspace}/{name}")), "")
        if sign:
            found[preset] = sign
    return found


def described(found: dict[PresetName, str]) -> list[str]:
    """What was detected, and why."""
    if not found:
        return ["  no ecosystem detected; every preset applies unless the file names some"]
    return [line for preset, sign in found.items() for line in (f"  preset {preset}: there is a {sign}", offer(preset))]


def offer(preset: PresetName) -> str:
    """What a project's file cannot allow, and how its owner can: the preset's hosts."""
    hosts = dict.fromkeys(host.host for host in PRESETS[preset].hosts if host.verdict == "allow")
    return f"    with `ringfence run --preset {preset}`, or `extends` in your own policy: {', '.join(hosts)}"


def write(path: str, text: str, *, replace: bool) -> None:
    """Write all of it or nothing: a file that is there stays, unless it is to be replaced.

    SECURITY: what is in the way may be a link that a checkout brought along; neither step follows it.
    """
    temporary = f"{path}.{os.getpid()}.new"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.rename(temporary, path)
            else:
                os.link(temporary, path)
        finally:
            if os.path.lexists(temporary):
                os.unlink(temporary)
    except OSError as error:
        if isinstance(error, FileExistsError) and os.path.lexists(path):  # and not a file in a directory's place
            hint = "--force replaces it, --print shows what would be written"
            raise UsageError(f"`{path}` exists", hint=hint) from None
        hint = "--print shows what would be written; -C DIR or XDG_CONFIG_HOME (with --user) say where else it may lie"
        raise HostError(f"cannot write `{path}`: {error.strerror}", hint=hint) from error
