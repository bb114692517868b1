"""The commands about agents, as data."""

from .command import Command
from .run_options import SHAPING, VERBOSE, Option, switch

STATE = Option(
    names=("--state",),
    value="KIND",
    choices=("private", "shared", "fresh"),
    meaning="the agent's login and history: per workspace, one for all, or for this run only",
)
_LAUNCH = (STATE, *SHAPING, VERBOSE)
_AS_IT_IS = (
    "The agent's own program, its own options and its own screen. ringfence's options stand before a `--`; without one",
    "every word is the agent's. It sees the workspace, its own state (a copy, with your login), and of the network the",
    "hosts of its model. Files are applied as it writes them, except what could run later without being asked for.",
)

AGENT_COMMANDS = (
    Command(
        name="claude",
        summary="run Claude Code inside the boundary",
        usage=("ringfence claude [ARGUMENT...]", "ringfence claude [OPTIONS] -- [ARGUMENT...]"),
        details=(
            *_AS_IT_IS,
            "Its permission rules hold, decided by ringfence's hook, which cannot be switched off from inside.",
        ),
        options=_LAUNCH,
        arguments=(0, -1),
        examples=(
            ("ringfence claude", "an interactive session"),
            ("ringfence claude --preset python -- -p 'make the tests pass'", "without a person, with PyPI to read"),
        ),
    ),
    Command(
        name="codex",
        summary="run Codex inside the boundary",
        usage=("ringfence codex [ARGUMENT...]", "ringfence codex [OPTIONS] -- [ARGUMENT...]"),
        details=(*_AS_IT_IS, "Its own sandbox is off, because it cannot start inside another."),
        options=_LAUNCH,
        arguments=(0, -1),
        examples=(("ringfence codex exec 'make the tests pass'", "without a person"),),
    ),
    Command(
        name="agent",
        summary="run another agent inside the boundary",
        usage=("ringfence agent NAME [ARGUMENT...]", "ringfence agent NAME [OPTIONS] -- [ARGUMENT...]"),
        details=(*_AS_IT_IS, "`ringfence policy presets` shows what each is given."),
        options=_LAUNCH,
        arguments=(1, -1),
        words=("claude", "codex", "aider", "gemini", "opencode", "cursor-agent"),
        examples=(("ringfence agent aider --model sonnet", "aider, with its own options"),),
    ),
    Command(
        name="hook",
        summary="answer an agent's hook",
        usage=("ringfence hook claude-code | codex [--contain]", "ringfence hook permission-prompt"),
        details=(
            "Reads the event from standard input and answers as policy says; whatever goes wrong is a refusal (2).",
            "`ringfence setup` installs it. Inside the boundary agents have a hook already. `permission-prompt` is an",
            "MCP server whose tool `approve` asks on the terminal, for Claude Code without a person in front of it.",
        ),
        options=(switch("--contain", meaning="have commands that may run be run by `ringfence run`"),),
        arguments=(1, 1),
        words=("claude-code", "codex", "permission-prompt"),
        examples=(("ringfence hook claude-code < event.json", "what would be answered"),),
    ),
    Command(
        name="setup",
        summary="install the hook in an agent that runs outside of any boundary",
        usage=("ringfence setup claude-code --user | --managed [--contain] [--print] [--undo]",),
        details=(
            "Shows the change, then makes it. --undo gives back what was there, byte for byte if nobody has changed it",
            "since. A user's hook can be switched off by a checkout's settings; a managed one cannot.",
        ),
        options=(
            switch("--user", meaning="in your own settings"),
            switch("--managed", meaning="in the machine's settings, for every user; needs root"),
            switch("--contain", meaning="have commands that may run be run by `ringfence run`"),
            switch("--print", meaning="only show the change"),
            switch("--undo", meaning="take it out again"),
        ),
        arguments=(1, 1),
        words=("claude-code",),
        examples=(("ringfence setup claude-code --user --print", "what would be changed"),),
    ),
)
