"""Which files of a checkout take effect without being asked for, on this machine and within the boundary.

The names are those that the workspace filter holds back (`model/surfaces.py`), less what nothing loads from a checkout
or what runs only when asked for, and with what steers an agent by its words alone: text that agents read by themselves.
"""

from ringfence.model.surfaces import SURFACES, Matcher, Surface, listed

# Left out: what shells and tools load from the home directory only; `make` and wrappers, which run when asked for;
# build servers' files, which run there; stores of other systems and of package managers, of which only settings count.
_LOADERS = frozenset({"ringfence", "agent", "editor", "directory", "version-control", "package-manager", "interpreter"})
_LEFT_OUT = frozenset(
    """.aider* .hg .svn .bzr .jj .sl .gitconfig .config/git gradle-wrapper.properties gradle-wrapper.jar
    maven-wrapper.properties maven-wrapper.jar .config/dotnet-tools.json .sqliterc .psqlrc .direnv .devenv .vs .yarn
    .cargo .bundle""".split()
)

_STEERING = (
    *listed(
        "agent",
        "agents read it by themselves and follow what it says",
        """claude.md claude.local.md agents.md agents.override.md agent.md gemini.md qwen.md crush.md crush.local.md
        warp.md codex.md opencode.md junie.md replit.md .goosehints .rules .windsurfrules.md copilot-instructions.md
        .github/copilot-instructions.md .github/instructions .github/prompts .github/chatmodes .github/skills
        .aider.conf.yml .aider.model.settings.yml .aider.model.metadata.json .aiderignore .mcp mcp_config.json""",
    ),
    *listed("agent", "agents and their tools take settings from it, such as where the model is", ".env .env.local"),
    *listed("directory", "directory hooks of the shell load it when someone enters the directory", ".config/mise"),
    *listed(
        "version-control",
        "version control runs hooks and helpers named in it",
        ".hg/hgrc .jj/repo/config.toml .sl/config",
        "git",
    ),
    *listed(
        "package-manager",
        "package managers take registries, hooks, wrappers or interpreters from it",
        """.yarn/releases .yarn/plugins .yarn/sdks .cargo/config .cargo/config.toml .cargo/credentials.toml
        .bundle/config .bundle/plugin""",
    ),
)

# Rewritten by their programs all the time, so that nobody could keep trusting them: never shown, and in no digest.
_RESTLESS = listed(
    "editor",
    "its program rewrites it all the time",
    ".idea/workspace.xml .idea/shelf .idea/usage.statistics.xml .claude/worktrees",
)

# Where package managers put other people's packages: what is meant for those packages' own authors is never shown.
_DEPENDENCIES = frozenset("node_modules bower_components site-packages dist-packages .venv venv .tox .nox".split())

_PATTERNS = tuple(one for one in SURFACES if one.loader in _LOADERS and one.pattern not in _LEFT_OUT) + _STEERING
_TRUSTED = Matcher(_PATTERNS)
_NEVER = Matcher(_RESTLESS)
LONGEST = max(len(one.pattern.split("/")) for one in (*_PATTERNS, *_RESTLESS))


def surface_at(parts: tuple[str, ...], *, link: bool = False) -> Surface | None:
    """The surface that begins at the canonical path `parts`; `link`: also one that a link there would hold."""
    return _TRUSTED.match(parts[-LONGEST:], prefix=link)


def never_shown(parts: tuple[str, ...], surface: Surface | None) -> bool:
    """Whether the path is out of every checkout's reach, trusted or not."""
    meant_for_others = surface is not None and surface.loader == "agent" and not _DEPENDENCIES.isdisjoint(parts)
    return meant_for_others or _NEVER.match(parts) is not None
