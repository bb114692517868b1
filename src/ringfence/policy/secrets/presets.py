"""The secrets of presets: keys that agents and forges are given, put in where they belong and nowhere else.

All are optional: where the variable is not set, nothing changes. What carries them is documented by those who ask for
them; none of them may be seen anywhere but at the host of its service.
"""

import msgspec
from msgspec import UNSET

from ringfence.policy.document import PresetName

from .tables import InjectTable, SecretTable, SourceTable

# Of a forge's pages only these requests carry a token: those of git over HTTP (gitprotocol-http(5)) and its LFS.
GIT_PATHS = ("/**/info/refs", "/**/git-upload-pack", "/**/git-receive-pack", "/**/info/lfs/**")

Named = tuple[str, SecretTable]


def key(variable: str, *inject: InjectTable, reason: str) -> Named:
    """Return the optional secret that a variable holds, named after it."""
    table = SecretTable(
        source=SourceTable(env=variable), inject=inject, variables=(variable,), optional=True, reason=reason
    )
    return variable.lower().replace("_", "-"), table


def _header(host: str, header: str, paths: tuple[str, ...] = ()) -> InjectTable:
    return InjectTable(host=host, header=header, paths=paths)


_KEY = "the key of the model API"
_ANTHROPIC = "api.anthropic.com"
_OPENAI = "api.openai.com"
_GOOGLE = "generativelanguage.googleapis.com"
_BY_GOOGLE = (_header(_GOOGLE, "x-goog-api-key"), InjectTable(host=_GOOGLE, query="key"))
_FORGE = "a token of the forge, for its API and for git"

_ANTHROPIC_KEY = key("ANTHROPIC_API_KEY", _header(_ANTHROPIC, "x-api-key"), reason=_KEY)
_OPENAI_KEY = key("OPENAI_API_KEY", _header(_OPENAI, "authorization"), reason=_KEY)

PRESET_SECRETS: dict[PresetName, tuple[Named, ...]] = {
    "claude": (
        _ANTHROPIC_KEY,
        key("ANTHROPIC_AUTH_TOKEN", _header(_ANTHROPIC, "authorization"), reason="the same, for a gateway"),
        key("CLAUDE_CODE_OAUTH_TOKEN", _header(_ANTHROPIC, "authorization"), reason="a login that lasts"),
    ),
    "codex": (_OPENAI_KEY, key("CODEX_API_KEY", _header(_OPENAI, "authorization"), reason=_KEY)),
    "aider": (
        _OPENAI_KEY,
        _ANTHROPIC_KEY,
        key("AIDER_OPENAI_API_KEY", _header(_OPENAI, "authorization"), reason=_KEY),
        key("AIDER_ANTHROPIC_API_KEY", _header(_ANTHROPIC, "x-api-key"), reason=_KEY),
    ),
    "gemini": (key("GEMINI_API_KEY", *_BY_GOOGLE, reason=_KEY), key("GOOGLE_API_KEY", *_BY_GOOGLE, reason=_KEY)),
    "opencode": (_ANTHROPIC_KEY, _OPENAI_KEY),
    "cursor-agent": (key("CURSOR_API_KEY", _header("api2.cursor.sh", "authorization"), reason=_KEY),),
    "github": tuple(
        key(
            name,
            _header("api.github.com", "authorization"),
            _header("github.com", "authorization", GIT_PATHS),
            reason=_FORGE,
        )
        for name in ("GITHUB_TOKEN", "GH_TOKEN")
    ),
    "gitlab": (
        key(
            "GITLAB_TOKEN",
            _header("gitlab.com", "private-token", ("/api/**",)),
            _header("gitlab.com", "authorization", ("/api/**", *GIT_PATHS)),
            reason=_FORGE,
        ),
    ),
}
"""By preset; variables of one name are one secret, whichever preset brings it."""


MODELS: dict[PresetName, tuple[str, ...]] = {
    "anthropic": (_ANTHROPIC,),
    "openai": (_OPENAI,),
    "google-ai": (_GOOGLE,),
    "mistral": ("api.mistral.ai", "codestral.mistral.ai"),
    "openrouter": ("openrouter.ai",),
    "claude": (_ANTHROPIC,),
    "codex": (_OPENAI, "chatgpt.com"),
    "aider": (_OPENAI, _ANTHROPIC),
    "gemini": (_GOOGLE, "cloudcode-pa.googleapis.com"),
    "opencode": (_ANTHROPIC, _OPENAI),
    "cursor-agent": ("api2.cursor.sh",),
}
"""Hosts of models, by preset. They are told what programs print, and `env` prints placeholders."""

FOLLOWING: dict[str, tuple[str, ...]] = {
    "ANTHROPIC_BASE_URL": ("anthropic-api-key", "anthropic-auth-token", "claude-code-oauth-token"),
    "OPENAI_BASE_URL": ("openai-api-key", "codex-api-key"),
    "OPENAI_API_BASE": ("openai-api-key", "aider-openai-api-key"),
    "GOOGLE_GEMINI_BASE_URL": ("gemini-api-key", "google-api-key"),
}
"""Variables that name another model API, each with the secrets that go there then, and nowhere else."""


def moved(preset: PresetName, variable: str, host: str, port: int) -> str:
    """Return the tables of a preset's secrets that follow `variable` to `host`, as text of a policy file.

    SECURITY: a key that is put in at one place is put in at no other (docs/threats.md, S3). Without a host, because
    there is no TLS to put it into, they are taken back: the variable passes as it is.
    """
    lines: list[str] = []
    for name, table in PRESET_SECRETS[preset]:
        if name in FOLLOWING[variable]:
            lines += [f"[secrets.{name}]", *(_lines(table, host, port) if host else ["enabled = false"])]
    lines += ["[leaks]", f"mentions = [{_quoted(host)}]"] if host else []
    return "\n".join([*lines, ""])


def _lines(table: SecretTable, host: str, port: int) -> list[str]:
    """Return the keys of a table, each place in a request being at `host` alone. JSON's strings are TOML's as well."""
    places = [
        f"{{ host = {_quoted(host)}, ports = [{port}], {part} = {_quoted(str(name))} }}"
        for one in table.inject
        for part, name in (("header", one.header), ("query", one.query))
        if name is not UNSET
    ]
    (variable,) = table.variables
    return [
        f"source = {{ env = {_quoted(variable)} }}",
        f"inject = [{', '.join(dict.fromkeys(places))}]",
        f"variables = [{_quoted(variable)}]",
        "optional = true",
        f"reason = {_quoted(table.reason)}",
    ]


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
