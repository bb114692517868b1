"""The agents that ringfence knows, as data: program, state, what is theirs to read, how they are told.

Which hosts, variables and files outside the workspace each may have is in its preset of the same name
(policy/agent_presets.py). `tested` says whether the real program is driven in the tests; the others are made from what
their makers document (`source`) and from what the program itself says.
"""

import msgspec

from ringfence.model.errors import UsageError
from ringfence.policy.document import Agent as AgentName


class StateDirectory(msgspec.Struct, frozen=True, kw_only=True):
    """A directory below the home where an agent keeps login, history and settings.

    Inside it is ringfence's own copy. `login` are files copied from the host's whenever that has newer ones; `first` is
    a JSON file (its place below the home, and the keys that are copied) for a copy that has none yet. `steering` are
    names that run code or instruct the agent: inside they are the host's own, read-only, or empty; those that end in
    `/` are directories. `variable` moves the directory, for the host and inside.
    """

    path: str
    variable: str = ""
    login: tuple[str, ...] = ()
    first: tuple[str, tuple[str, ...]] | None = None
    steering: tuple[str, ...] = ()


class KnownKey(msgspec.Struct, frozen=True, kw_only=True):
    """Where an agent remembers that its user wants the key in `variable` used: the key's last `tail` characters.

    They stand in the list under `keys` of the file that `StateDirectory.first` names.
    """

    variable: str
    keys: tuple[str, str]
    tail: int


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """One agent.

    `addresses` are variables that name another model API; `hooks` is the client that hooks speak as; `bypassing` are
    words on the operator's own command line by which the mode that asks nothing is chosen.
    """

    name: AgentName
    program: str
    install: str
    source: str
    state: tuple[StateDirectory, ...]
    variables: tuple[tuple[str, str], ...] = ()
    addresses: tuple[str, ...] = ()
    hooks: str = ""
    headless: tuple[str, ...] = ()
    bypassing: tuple[str, ...] = ()
    known_key: KnownKey | None = None
    tested: bool = False


_ONBOARDED = (
    "hasCompletedOnboarding",
    "lastOnboardingVersion",
    "theme",
    "oauthAccount",
    "customApiKeyResponses",
    "userID",
)

AGENTS: tuple[Agent, ...] = (
    Agent(
        name="claude",
        program="claude",
        install="npm install -g @anthropic-ai/claude-code",
        source="https://code.claude.com/docs/en/settings",
        state=(
            StateDirectory(
                path=".claude",
                variable="CLAUDE_CONFIG_DIR",
                login=(".credentials.json",),
                first=(".claude.json", _ONBOARDED),
                steering=(
                    *("settings.json", "CLAUDE.md", "agents/", "commands/", "skills/", "hooks/", "output-styles/"),
                    *("rules/", "plugins/", "workflows/"),
                ),
            ),
        ),
        variables=(("DISABLE_AUTOUPDATER", "1"), ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")),
        addresses=("ANTHROPIC_BASE_URL",),
        hooks="claude-code",
        headless=("-p", "--print"),
        bypassing=("--dangerously-skip-permissions", "--allow-dangerously-skip-permissions", "bypassPermissions"),
        known_key=KnownKey(variable="ANTHROPIC_API_KEY", keys=("customApiKeyResponses", "approved"), tail=20),
        tested=True,
    ),
    Agent(
        name="codex",
        program="codex",
        install="npm install -g @openai/codex",
        source="https://developers.openai.com/codex/enterprise/managed-configuration",
        state=(
            StateDirectory(
                path=".codex",
                variable="CODEX_HOME",
                login=("auth.json",),
                steering=("config.toml", "AGENTS.md", "hooks.json", "prompts/", "rules/"),
            ),
        ),
        addresses=("OPENAI_BASE_URL",),
        hooks="codex",
        headless=("exec", "e", "review"),
        bypassing=("--dangerously-bypass-approvals-and-sandbox", "--yolo"),
        tested=True,
    ),
    Agent(
        name="aider",
        program="aider",
        install="pipx install aider-chat",
        source="https://aider.chat/docs/config/options.html",
        state=(StateDirectory(path=".aider"),),
        # The last: it would ask a host that no rule allows for prices of models, for 15 seconds.
        variables=(
            ("AIDER_ANALYTICS", "false"),
            ("AIDER_CHECK_UPDATE", "false"),
            ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
        ),
        addresses=("OPENAI_API_BASE",),
        headless=("-m", "--message", "--message-file", "-f"),
        bypassing=("--yes-always", "--yes"),
    ),
    Agent(
        name="gemini",
        program="gemini",
        install="npm install -g @google/gemini-cli",
        source="https://geminicli.com/docs/reference/configuration/",
        state=(
            StateDirectory(
                path=".gemini",
                login=("oauth_creds.json", "google_accounts.json"),
                steering=("settings.json", "GEMINI.md", "commands/", "extensions/", "skills/", "policies/"),
            ),
        ),
        # Whether a checkout may count is `ringfence trust`'s question; what it says no to is not there to be seen.
        variables=(("GEMINI_CLI_TRUST_WORKSPACE", "true"),),
        addresses=("GOOGLE_GEMINI_BASE_URL",),
        headless=("-p", "--prompt"),
        bypassing=("-y", "--yolo", "yolo"),
        tested=True,
    ),
    Agent(
        name="opencode",
        program="opencode",
        install="npm install -g opencode-ai",
        source="https://opencode.ai/docs/config/",
        state=(
            StateDirectory(path=".local/share/opencode", login=("auth.json",)),
            StateDirectory(path=".local/state/opencode"),
            StateDirectory(
                path=".config/opencode",
                steering=(
                    "opencode.json",
                    "opencode.jsonc",
                    "AGENTS.md",
                    "agents/",
                    "commands/",
                    "plugins/",
                    "skills/",
                ),
            ),
        ),
        variables=(("OPENCODE_DISABLE_AUTOUPDATE", "true"), ("OPENCODE_DISABLE_MODELS_FETCH", "true")),
        headless=("run",),
        bypassing=("--auto",),
        tested=True,
    ),
    Agent(
        name="cursor-agent",
        program="cursor-agent",
        install="see the maker's installation page",
        source="https://cursor.com/docs/cli/reference/configuration",
        state=(
            StateDirectory(path=".cursor", steering=("mcp.json", "hooks.json", "rules/", "skills/", "commands/")),
            StateDirectory(path=".config/cursor", login=("auth.json",)),
        ),
        headless=("-p", "--print"),
        bypassing=("-f", "--force", "--yolo"),
    ),
)


def find(name: str) -> Agent:
    """The agent called `name`; raise UsageError with those that there are."""
    for agent in AGENTS:
        if agent.name == name:
            return agent
    raise UsageError(f"no preset for the agent `{name}`", hint="one of " + ", ".join(agent.name for agent in AGENTS))
