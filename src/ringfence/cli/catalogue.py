"""Every command with its options and examples, as data: what help, completion, parsing and the documents share."""

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


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command. `arguments` is (least, most) of its positional words; -1 where the rest is a command line."""

    name: str
    summary: str
    usage: tuple[str, ...]
    details: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    arguments: tuple[int, int] = (0, 0)
    words: tuple[str, ...] = ()
    takes: str = ""
    examples: tuple[tuple[str, str], ...] = ()


def _switch(*names: str, meaning: str) -> Option:
    return Option(names=names, meaning=meaning)


_JSON = _switch("--json", meaning="print JSON")
_DIRECTORY = Option(names=("-C", "--directory"), value="DIR", meaning="work in DIR", takes="directory")

# What shapes the boundary: the same for `run`, `shell`, `plan` and `explain` (session/options.py parses them).
SHAPING = (
    _DIRECTORY,
    Option(names=("--policy",), value="FILE", meaning="one more policy file; it counts as your word", takes="file"),
    _switch("--no-user-policy", meaning="leave ~/.config/ringfence/policy.toml out"),
    Option(
        names=("--workspace",),
        value="MODE",
        choices=("overlay", "direct", "readonly"),
        meaning="how the workspace takes writes; `overlay` unless policy says otherwise",
    ),
    Option(
        names=("--apply",),
        value="WHEN",
        choices=("exit", "ask"),
        meaning="when the overlay's changes are applied: at `exit`, or by `ringfence apply`",
    ),
    Option(names=("--read",), value="PATH", meaning="make PATH readable (repeatable)", takes="file"),
    Option(names=("--write",), value="PATH", meaning="make PATH writable (repeatable)", takes="file"),
    Option(names=("--deny-read",), value="PATTERN", meaning="hide what matches (repeatable)", takes="file"),
    Option(names=("--deny-write",), value="PATTERN", meaning="protect what matches (repeatable)", takes="file"),
    Option(names=("--env",), value="NAME", meaning="pass a variable; NAME may end in `*` (repeatable)"),
    Option(
        names=("--preset",),
        value="NAME",
        choices=("python", "node", "rust", "go"),
        meaning="include a preset (repeatable)",
    ),
    Option(
        names=("--seccomp",),
        value="PROFILE",
        choices=("default", "debug", "nested"),
        meaning="system calls: `debug` allows debuggers, `nested` another sandbox inside",
    ),
    Option(names=("--timeout",), value="TIME", meaning="end the run after TIME, such as `90s` or `5m`"),
)
_VERBOSE = _switch("-v", "--verbose", meaning="say at the end what was denied and held back, even without a terminal")
_LAUNCH = (*SHAPING, _VERBOSE)

COMMANDS = (
    Command(
        name="run",
        summary="run a command inside the boundary",
        usage=("ringfence run [OPTIONS] [--] COMMAND [ARGUMENT...]",),
        details=(
            "Options end where the command begins; its own flags are never taken for ours. The command sees the",
            "workspace (the git repository you are in, else the current directory), the system's programs, a private",
            "home and no network. What it changes is kept apart and applied when it ends, except what could run later",
            "without being asked for, which is held back. The exit status is the command's own.",
        ),
        options=_LAUNCH,
        arguments=(1, -1),
        takes="command",
        examples=(
            ("ringfence run npm test", "run the tests without handing over keys or network"),
            ("ringfence run --deny-read .env -- python3 -c 'print(1)'", "hide `.env`, wherever it is"),
            ("ringfence run --workspace readonly make", "look, but change nothing"),
            ("ringfence run --apply ask ./agent", "keep the changes until `ringfence apply`"),
        ),
    ),
    Command(
        name="shell",
        summary="start a shell inside the boundary",
        usage=("ringfence shell [OPTIONS] [--] [SHELL [ARGUMENT...]]",),
        details=("The shell is $SHELL, or /bin/sh.",),
        options=_LAUNCH,
        arguments=(0, -1),
        takes="command",
        examples=(("ringfence shell", "see the world as a contained command does"),),
    ),
    Command(
        name="plan",
        summary="show what a run would be given, without running",
        usage=("ringfence plan [--json] [OPTIONS] [--] [COMMAND [ARGUMENT...]]",),
        details=("Mounts, environment, limits and process, each with its reason and the line that asked for it.",),
        options=(_JSON, *SHAPING),
        arguments=(0, -1),
        takes="command",
        examples=(
            ("ringfence plan", "the plan for this directory"),
            ("ringfence plan --json -- npm test", "the whole plan as JSON"),
        ),
    ),
    Command(
        name="explain",
        summary="tell whether a path, host or variable can be reached, and why",
        usage=("ringfence explain [--json] [OPTIONS] [path | host | env] TARGET",),
        details=(
            "TARGET is a path, a HOST[:PORT] or URL, or a variable as `$NAME` or `env NAME`. The kind can be written",
            "before it. The answer names the line of policy that decides, and the line that would change it.",
        ),
        options=(_JSON, *SHAPING),
        arguments=(1, 2),
        words=("path", "host", "env"),
        takes="file",
        examples=(
            ("ringfence explain ~/.ssh/id_ed25519", "can a contained command read the key?"),
            ("ringfence explain example.com:443", "can it connect there?"),
            ("ringfence explain env AWS_SECRET_ACCESS_KEY", "does it see the variable?"),
        ),
    ),
    Command(
        name="doctor",
        summary="test what this machine offers, and say what to change",
        usage=("ringfence doctor [--json]",),
        details=(
            "Each part of the boundary is started for real. Exit status 0 if `ringfence run` works here, else 3.",
            "`degraded` means that something weaker stands in, and says what; `missing` that runs are refused.",
        ),
        options=(_JSON,),
        examples=(("ringfence doctor", "after installation, or when a run fails to start"),),
    ),
    Command(
        name="init",
        summary="write a commented policy file for this project",
        usage=("ringfence init [--user] [--print] [--force] [-C DIR]",),
        details=(
            "Writes `ringfence.toml` at the top of the workspace. A project's file can only tighten; with --user the",
            "file is your own, ~/.config/ringfence/policy.toml, which can also grant.",
        ),
        options=(
            _switch("--user", meaning="write your own policy file instead of the project's"),
            _switch("--print", meaning="print the file instead of writing it"),
            _switch("--force", meaning="replace a file that is there"),
            _DIRECTORY,
        ),
        examples=(("ringfence init --print", "look before writing"), ("ringfence init --user", "your own policy")),
    ),
    Command(
        name="log",
        summary="show the audit, or verify it",
        usage=(
            "ringfence log [--run RUN] [--kind KIND] [--since TIME] [-n COUNT] [--json]",
            "ringfence log verify [--anchor SEQ:HASH] [--json]",
        ),
        details=(
            "`log verify` checks the whole chain: exit status 0 if nothing was changed, dropped, moved or cut off,",
            "1 otherwise. Keep the anchor it prints elsewhere, and compare with it the next time.",
        ),
        options=(
            Option(names=("--run",), value="RUN", meaning="only this run, or runs that begin so", takes="run"),
            Option(names=("--kind",), value="KIND", meaning="only events of this kind", takes="kind"),
            Option(names=("--since",), value="TIME", meaning="only later than `30m`, `2h`, `1d` ago, or a date"),
            Option(names=("-n", "--lines"), value="COUNT", meaning="only the last COUNT"),
            Option(names=("--anchor",), value="SEQ:HASH", meaning="verify: the chain must pass through this record"),
            _JSON,
        ),
        arguments=(0, 1),
        words=("verify",),
        examples=(
            ("ringfence log --kind denial --since 1h", "what was refused in the last hour"),
            ("ringfence log verify", "has anybody tampered with it?"),
        ),
    ),
    Command(
        name="policy",
        summary="check, show and describe policy",
        usage=(
            "ringfence policy check [--scope SCOPE] [FILE...]",
            "ringfence policy show [--json] [OPTIONS]",
            "ringfence policy presets [--json]",
            "ringfence policy schema",
        ),
        details=(
            "check: the files in force here, or those named; exit status 2 with `file:line` for what is wrong.",
            "show: the policy in force, each value with its origin. presets: what each preset adds, and why.",
            "schema: the JSON Schema of a policy file, for editors.",
        ),
        options=(
            Option(
                names=("--scope",),
                value="SCOPE",
                choices=("managed", "user", "project"),
                meaning="check: whose word FILE is; by its name if left out",
            ),
            _JSON,
            *SHAPING,
        ),
        arguments=(1, -1),
        words=("check", "show", "presets", "schema"),
        takes="file",
        examples=(
            ("ringfence policy check ringfence.toml", "is it sound?"),
            ("ringfence policy show", "what is in force here, and who says so"),
        ),
    ),
    Command(
        name="runs",
        summary="list the runs whose changes are kept",
        usage=("ringfence runs [--all] [--json] [-C DIR]",),
        options=(_switch("--all", meaning="of every workspace, not only this one"), _JSON, _DIRECTORY),
        examples=(("ringfence runs", "the runs of this workspace, oldest first"),),
    ),
    Command(
        name="diff",
        summary="show what a run changed",
        usage=("ringfence diff [RUN] [--stat] [--json] [-C DIR]",),
        details=("RUN is the latest of this workspace if left out; a beginning that fits only one run is enough.",),
        options=(_switch("--stat", meaning="only one line per path"), _JSON, _DIRECTORY),
        arguments=(0, 1),
        takes="run",
        examples=(("ringfence diff --stat", "the latest run's changes at a glance"),),
    ),
    Command(
        name="apply",
        summary="bring a run's changes into the workspace",
        usage=("ringfence apply [RUN] [PATH...] [--held PATH]... [--json] [-C DIR]",),
        details=(
            "Without PATH everything that is not held back. A path that the host changed in the meantime is left",
            "alone and reported: exit status 1. What is held back needs --held with its name.",
        ),
        options=(
            Option(names=("--held",), value="PATH", meaning="let PATH through, which was held back (repeatable)"),
            _JSON,
            _DIRECTORY,
        ),
        arguments=(0, -1),
        takes="run",
        examples=(
            ("ringfence apply", "everything that may be applied of the latest run"),
            ("ringfence apply --held .github/workflows/ci.yml", "after you have read it"),
        ),
    ),
    Command(
        name="discard",
        summary="throw a run's changes away",
        usage=("ringfence discard RUN [--json] [-C DIR]",),
        options=(_JSON, _DIRECTORY),
        arguments=(1, 1),
        takes="run",
        examples=(("ringfence discard 20250131-2359", "a beginning is enough"),),
    ),
    Command(
        name="rollback",
        summary="put the workspace back as it was before a run was applied",
        usage=("ringfence rollback RUN [--json] [-C DIR]",),
        details=("What was changed on the host after the apply is left alone and reported: exit status 1.",),
        options=(_JSON, _DIRECTORY),
        arguments=(1, 1),
        takes="run",
        examples=(("ringfence rollback 20250131-2359", "a beginning is enough"),),
    ),
    Command(
        name="srt",
        summary="run a command under sandbox-runtime settings",
        usage=("ringfence srt [-s SETTINGS] -c COMMAND", "ringfence srt [-s SETTINGS] [--] PROGRAM [ARGUMENT...]"),
        details=("Accepts the settings files of sandbox-runtime as they are.",),
        options=(
            Option(names=("-s", "--settings"), value="SETTINGS", meaning="the settings file", takes="file"),
            Option(names=("-c",), value="COMMAND", meaning="a command line for the shell"),
            _VERBOSE,
            _switch("-d", "--debug", meaning="the same, as sandbox-runtime calls it"),
        ),
        arguments=(0, -1),
        takes="command",
        examples=(("ringfence srt -s settings.json -c 'npm test'", "as with srt"),),
    ),
    Command(
        name="completion",
        summary="print shell completion",
        usage=("ringfence completion bash | zsh | fish",),
        arguments=(1, 1),
        words=("bash", "zsh", "fish"),
        examples=(
            ('eval "$(ringfence completion bash)"', "in ~/.bashrc"),
            ("ringfence completion fish > ~/.config/fish/completions/ringfence.fish", "for fish"),
        ),
    ),
)

HELP = Option(names=("-h", "--help"), meaning="show this help")
GLOBAL = (HELP, Option(names=("-V", "--version"), meaning="show the version"))


def find(name: str) -> Command:
    """The command called `name`; raise KeyError if there is none."""
    for command in COMMANDS:
        if command.name == name:
            return command
    raise KeyError(name)
