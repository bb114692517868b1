"""What agents may have besides the workspace: their own programs, keys that they are given, the hosts of their models.

A key in a variable stays outside where requests to its host are looked into (secrets/presets.py). A login in the
agent's state is within the agent's reach: it can be used, though only towards these hosts. Nothing here lets an agent
update itself: that would change on the host what runs outside of any boundary.
"""

from .document import PresetName
from .preset_entries import PresetHost
from .preset_hosts import HOSTS

_KEY = "the key of the model API"
_MODEL = "which model is asked"
_LOGIN = "renew the login"
_ORGANISATION = "settings that an organisation sets"
_ACCOUNT = "who is logged in, and what is left of the quota"


def _get(reason: str, host: str, *paths: str) -> PresetHost:
    return PresetHost(host, reason, methods=("GET", "HEAD"), paths=paths)


def _post(reason: str, host: str, *paths: str) -> PresetHost:
    return PresetHost(host, reason, methods=("POST",), paths=paths)


UNTESTED: frozenset[PresetName] = frozenset({"rust", "ruby", "aider", "cursor-agent"})
"""Presets made from what makers document: no test runs their program."""

AGENT_READS: dict[PresetName, tuple[tuple[str, str], ...]] = {
    "claude": (("~/.local/share/claude", "the program, where its own installer puts it"),),
    "opencode": (("~/.opencode/bin", "the program, where its own installer puts it"),),
    "cursor-agent": (("~/.local/share/cursor-agent", "the program, where its own installer puts it"),),
}

AGENT_VARIABLES: dict[PresetName, tuple[tuple[str, str], ...]] = {
    "claude": (
        ("ANTHROPIC_API_KEY", _KEY),
        ("ANTHROPIC_AUTH_TOKEN", "the same, for a gateway"),
        ("CLAUDE_CODE_OAUTH_TOKEN", "a login that lasts, from `claude setup-token`"),
        ("ANTHROPIC_BASE_URL", "another model API; `ringfence claude` lets its host be reached"),
        ("ANTHROPIC_CUSTOM_HEADERS", "what a gateway asks for"),
        ("ANTHROPIC_MODEL", _MODEL),
        ("ANTHROPIC_SMALL_FAST_MODEL", _MODEL),
        ("ANTHROPIC_DEFAULT_*", _MODEL),
        ("CLAUDE_CODE_SUBAGENT_MODEL", _MODEL),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "length of answers"),
        ("MAX_THINKING_TOKENS", "length of thought"),
        ("BASH_DEFAULT_TIMEOUT_MS", "patience with commands"),
        ("BASH_MAX_TIMEOUT_MS", "patience with commands"),
        ("ENABLE_TOOL_SEARCH", "which tools are shown at once"),
    ),
    "codex": (
        ("OPENAI_API_KEY", _KEY),
        ("CODEX_API_KEY", _KEY),
        ("OPENAI_BASE_URL", "another model API; `ringfence codex` lets its host be reached"),
        ("OPENAI_ORGANIZATION", "who is billed"),
        ("OPENAI_PROJECT", "who is billed"),
    ),
    "aider": (
        ("OPENAI_API_KEY", _KEY),
        ("OPENAI_API_BASE", "another model API; `ringfence agent aider` lets its host be reached"),
        ("ANTHROPIC_API_KEY", _KEY),
        ("AIDER_*", "options, such as which model is asked"),
    ),
    "gemini": (
        ("GEMINI_API_KEY", _KEY),
        ("GOOGLE_API_KEY", _KEY),
        ("GEMINI_MODEL", _MODEL),
        ("GOOGLE_GEMINI_BASE_URL", "another model API; `ringfence agent gemini` lets its host be reached"),
        ("GOOGLE_CLOUD_PROJECT", "who is billed"),
    ),
    "opencode": (("ANTHROPIC_API_KEY", _KEY), ("OPENAI_API_KEY", _KEY)),
    "cursor-agent": (("CURSOR_API_KEY", _KEY),),
}

AGENT_HOSTS: dict[PresetName, tuple[PresetHost, ...]] = {
    "claude": (
        *HOSTS["anthropic"],
        _get(_ACCOUNT, "api.anthropic.com", "/api/oauth/profile", "/api/oauth/usage", "/api/hello"),
        _get(_ORGANISATION, "api.anthropic.com", "/api/claude_code/settings", "/api/claude_code/policy_limits"),
        _post(_LOGIN, "platform.claude.com", "/v1/oauth/token"),
    ),
    "codex": (
        *HOSTS["openai"],
        _post("the same, by a ChatGPT account", "chatgpt.com", "/backend-api/codex/responses"),
        _get(
            "the same, by a ChatGPT account", "chatgpt.com", "/backend-api/codex/responses", "/backend-api/codex/models"
        ),
        _post(_LOGIN, "auth.openai.com", "/oauth/token"),
    ),
    "aider": (*HOSTS["openai"], *HOSTS["anthropic"]),
    "gemini": (
        *HOSTS["google-ai"],
        _post("the same, by a Google account", "cloudcode-pa.googleapis.com", "/v1internal:*"),
        _get(_ACCOUNT, "cloudcode-pa.googleapis.com", "/v1internal:*"),
        _post(_LOGIN, "oauth2.googleapis.com", "/token"),
    ),
    "opencode": (
        *HOSTS["anthropic"],
        *HOSTS["openai"],
        _get("the list of models", "models.dev", "/api.json"),
    ),
    "cursor-agent": (PresetHost("api2.cursor.sh", "the maker's service: models, login, settings"),),
}
