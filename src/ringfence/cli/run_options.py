"""The options that shape a run, as data: the same for `run`, `shell`, `plan` and `explain`."""

import msgspec


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One option. `value` is the placeholder of its value, empty for a switch; `takes` tells completion what fits."""

    names: tuple[str, ...]
    meaning: str
    value: str = ""
    choices: tuple[str, ...] = ()
    takes: str = ""

    @property
    def key(self) -> str:
        """The name under which a parsed value is found: the longest, without dashes."""
        return max(self.names, key=len).lstrip("-")


def switch(*names: str, meaning: str) -> Option:
    """Describe an option without a value."""
    return Option(names=names, meaning=meaning)


JSON = switch("--json", meaning="print JSON")
DIRECTORY = Option(names=("-C", "--directory"), value="DIR", meaning="work in DIR", takes="directory")

# What shapes the boundary: the same for `run`, `shell`, `plan` and `explain` (session/options.py parses them).
SHAPING = (
    DIRECTORY,
    Option(names=("--policy",), value="FILE", meaning="one more policy file; it counts as your word", takes="file"),
    switch("--no-user-policy", meaning="leave ~/.config/ringfence/policy.toml out"),
    Option(
        names=("--workspace",),
        value="MODE",
        choices=("overlay", "direct", "readonly"),
        meaning="how the workspace takes writes; `overlay` unless policy says otherwise",
    ),
    Option(
        names=("--apply",),
        value="WHEN",
        choices=("exit", "live", "ask"),
        meaning="apply changes at `exit`, files also `live` once closed, or when you `ask` for it",
    ),
    Option(names=("--read",), value="PATH", meaning="make PATH readable (repeatable)", takes="file"),
    Option(names=("--write",), value="PATH", meaning="make PATH writable (repeatable)", takes="file"),
    Option(names=("--deny-read",), value="PATTERN", meaning="hide what matches (repeatable)", takes="file"),
    Option(names=("--deny-write",), value="PATTERN", meaning="protect what matches (repeatable)", takes="file"),
    Option(names=("--env",), value="NAME", meaning="pass a variable; NAME may end in `*` (repeatable)"),
    Option(
        names=("--preset",),
        value="NAME",
        choices=(
            *("python", "node", "rust", "go", "java", "ruby", "github", "gitlab"),
            *("anthropic", "openai", "google-ai", "mistral", "openrouter"),
            *("claude", "codex", "aider", "gemini", "opencode", "cursor-agent"),
            *("daily", "refactor", "triage", "pipeline"),
        ),
        meaning="include a preset, with its hosts (repeatable); `ringfence policy presets` lists them",
    ),
    Option(names=("--allow",), value="HOST[:PORTS]", meaning="let HOST be reached (repeatable)"),
    Option(names=("--ask",), value="HOST[:PORTS]", meaning="be asked before HOST is reached (repeatable)"),
    Option(names=("--deny",), value="HOST[:PORTS]", meaning="keep HOST out of reach (repeatable)"),
    Option(
        names=("--publish",),
        value="PORT[:PORT]",
        meaning="a port of this host's loopback that leads to one inside (repeatable)",
    ),
    Option(
        names=("--secret",),
        value="NAME@HOST",
        meaning="keep the variable NAME outside; requests to HOST get its value in `Authorization` (repeatable)",
    ),
    Option(
        names=("--network",),
        value="MODE",
        choices=("off", "allow-list"),
        meaning="`off`, whatever policy allows; `allow-list` unless it is off",
    ),
    Option(
        names=("--seccomp",),
        value="PROFILE",
        choices=("default", "debug", "nested"),
        meaning="system calls: `debug` allows debuggers, `nested` another sandbox inside",
    ),
    Option(
        names=("--trust",),
        value="MODE",
        choices=("off", "hide", "refuse"),
        meaning="`hide` what an untrusted checkout puts in force by itself, or `refuse` to run in it",
    ),
    Option(
        names=("--trust-digest",), value="DIGEST", meaning="trust what is there, if this is its digest; else refuse"
    ),
    Option(names=("--timeout",), value="TIME", meaning="end the run after TIME, such as `90s` or `5m`"),
)
SUPERVISOR = switch("--no-supervisor", meaning="carry the run out without the resident supervisor")
VERBOSE = switch("-v", "--verbose", meaning="say at the end what was denied and held back, even without a terminal")
