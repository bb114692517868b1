"""Every command with its options and examples, as data: what help, completion, parsing and the documents share."""

from . import permission_options
from .agent_commands import AGENT_COMMANDS
from .change_commands import CHANGE_COMMANDS
from .command import Command
from .run_options import DIRECTORY, JSON, SHAPING, SUPERVISOR, VERBOSE, Option, switch

__all__ = ["COMMANDS", "GLOBAL", "HELP", "Command", "find"]

_LAUNCH = (*SHAPING, VERBOSE)

_RULE_OPTIONS = (
    Option(names=("--run",), value="RUN", meaning="only in this live run; nothing is written", takes="run"),
    switch("--print", meaning="show the policy file as it would be; nothing is written or put in force"),
)

COMMANDS = (
    Command(
        name="run",
        summary="run a command inside the boundary",
        usage=("ringfence run [OPTIONS] [--] COMMAND [ARGUMENT...]",),
        details=(
            "Options end where the command begins; its own flags are never taken for ours. The command sees the",
            "workspace (the git repository you are in, else the current directory), the system's programs, a private",
            "home, and of the network what you allow. What it changes is kept apart and applied when it ends, except",
            "what could run later without being asked for, which is held back. The exit status is the command's own.",
        ),
        options=(*_LAUNCH, SUPERVISOR),
        arguments=(1, -1),
        takes="command",
        examples=(
            ("ringfence run npm test", "run the tests without handing over keys or network"),
            ("ringfence run --deny-read .env -- python3 -c 'print(1)'", "hide `.env`, wherever it is"),
            ("ringfence run --allow api.example.com -- ./agent", "let it reach one host, and no other"),
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
        usage=("ringfence plan [--json | --backend NAME] [OPTIONS] [--] [COMMAND [ARGUMENT...]]",),
        details=("Mounts, environment, limits and process, each with its reason and the line that asked for it.",),
        options=(
            JSON,
            Option(
                names=("--backend",),
                value="NAME",
                choices=("bubblewrap", "seatbelt"),
                meaning="`seatbelt`: print the profile that macOS would be given (untested on hardware)",
            ),
            *SHAPING,
        ),
        arguments=(0, -1),
        takes="command",
        examples=(
            ("ringfence plan", "the plan for this directory"),
            ("ringfence plan --json -- npm test", "the whole plan as JSON"),
            ("ringfence plan --backend seatbelt > project.sb", "the same plan as a profile for `sandbox-exec`"),
        ),
    ),
    Command(
        name="explain",
        summary="tell whether a path, host or variable can be reached, or what a denial means",
        usage=("ringfence explain [--json] [OPTIONS] [path | host | env | denial] TARGET",),
        details=(
            "TARGET is a path, HOST[:PORT], URL or `METHOD URL`, a variable as `$NAME` or `env NAME`, or the code of",
            "a denial as `ringfence log` shows it. The kind can be written before it. The answer names the line of",
            "policy that decides, and the one that would change it.",
        ),
        options=(JSON, *SHAPING),
        arguments=(1, 2),
        words=("path", "host", "env", "denial"),
        takes="file",
        examples=(
            ("ringfence explain ~/.ssh/id_ed25519", "can a contained command read the key?"),
            ("ringfence explain example.com:443", "can it connect there?"),
            ("ringfence explain 'POST https://example.com/upload'", "can it send that request?"),
            ("ringfence explain env AWS_SECRET_ACCESS_KEY", "does it see the variable?"),
            ("ringfence explain namespace-denied", "why was that denied, and what allows it?"),
        ),
    ),
    Command(
        name="doctor",
        summary="test what this machine offers, and say what to change",
        usage=("ringfence doctor [--json]", "ringfence doctor --mend [--yes]"),
        details=(
            "Each part of the boundary is started for real. Exit status 0 if `ringfence run` works here, else 3.",
            "`degraded` means that something weaker stands in, and says what; `missing` that runs are refused.",
            "--mend puts right what of ringfence's own files and processes is not as it should be: each change is",
            "shown before it is made, with the command that takes it back. What needs root is told, and yours to do.",
        ),
        options=(
            switch("--mend", meaning="put right what can be, after showing each change and asking"),
            switch("-y", "--yes", meaning="with --mend: without asking"),
            JSON,
        ),
        examples=(
            ("ringfence doctor", "after installation, or when a run fails to start"),
            ("ringfence doctor --mend", "after a crash, or when it says that something can be put right"),
        ),
    ),
    Command(
        name="init",
        summary="write a commented policy file for this project",
        usage=(
            "ringfence init [--user] [--print] [--force] [-C DIR]",
            "ringfence init --from-srt FILE | --from-claude-settings FILE [--print] [--force]",
        ),
        details=(
            "Writes `ringfence.toml` at the top of the workspace. A project's file can only tighten; with --user the",
            "file is your own, ~/.config/ringfence/policy.toml, which can also grant. So it is with --from-...: each",
            "line names the setting that it is from, and one that cannot be kept is an error.",
        ),
        options=(
            switch("--user", meaning="write your own policy file instead of the project's"),
            Option(names=("--from-srt",), value="FILE", meaning="from settings of sandbox-runtime", takes="file"),
            Option(names=("--from-claude-settings",), value="FILE", meaning="from those of Claude Code", takes="file"),
            switch("--print", meaning="print the file instead of writing it"),
            switch("--force", meaning="replace a file that is there"),
            DIRECTORY,
        ),
        examples=(
            ("ringfence init --user", "your own policy"),
            ("ringfence init --from-srt ~/.srt-settings.json --print", "what would your settings be here?"),
        ),
    ),
    Command(
        name="learn",
        summary="run a command with the public network open, and propose the rules it needs",
        usage=(
            "ringfence learn [OPTIONS] [--] COMMAND [ARGUMENT...]",
            "ringfence learn --accept RUN [HOST...]",
        ),
        details=(
            "What no rule denies is reached and recorded, at public addresses only; denials stay. At the end the",
            "narrowest rules that cover it are shown with what was seen. Nothing is written until --accept.",
        ),
        options=(
            Option(names=("--accept",), value="RUN", meaning="add what RUN needed to your policy", takes="run"),
            *_LAUNCH,
        ),
        arguments=(0, -1),
        takes="command",
        examples=(
            ("ringfence learn -- npm ci", "which hosts does it need?"),
            ("ringfence learn --accept 2026 api.example.com", "take one of them over"),
        ),
    ),
    Command(
        name="allow",
        summary="allow hosts, in your policy and in runs that are going on",
        usage=("ringfence allow [--run RUN] [--print] HOST[:PORTS]...",),
        details=(
            "HOST is a name, `*.name` for what is below it, an address or `host-loopback:PORT`; without ports 80, 443.",
            "The rule is added to ~/.config/ringfence/policy.toml, and to the live runs of this workspace, where a",
            "connection that waits for an answer goes on. What a rule denies stays denied.",
        ),
        options=_RULE_OPTIONS,
        arguments=(1, -1),
        examples=(
            ("ringfence allow api.example.com '*.cdn.example.com'", "for every run from now on"),
            ("ringfence allow --run 2 example.com:8443", "for one run, and nothing is written"),
        ),
    ),
    Command(
        name="deny",
        summary="deny hosts, in your policy and in runs that are going on",
        usage=("ringfence deny [--run RUN] [--print] HOST[:PORTS]...",),
        details=("As `ringfence allow`; open connections to what is denied are closed.",),
        options=_RULE_OPTIONS,
        arguments=(1, -1),
        examples=(("ringfence deny '*.example.com'", "whatever else allows it"),),
    ),
    Command(
        name="secrets",
        summary="list, check, try and reload the secrets that stay outside",
        usage=(
            "ringfence secrets list | check [--json] [OPTIONS]",
            "ringfence secrets test HOST [--json] [OPTIONS]",
            "ringfence secrets reload [--run RUN]",
        ),
        details=(
            "list: each secret with its source, the requests it is put into, and what holds its placeholder inside.",
            "check: does each source give a value? test: one request to HOST with each secret that is put in there.",
            "reload: live runs of this workspace read every source anew; new connections get the new values.",
            "OPTIONS are those of `ringfence run`: what is said is of the secrets that such a run would have.",
            "Values are never printed. Exit status 1 where a needed value is missing, or the host refuses it.",
        ),
        options=(
            Option(names=("--run",), value="RUN", meaning="reload: only this live run", takes="run"),
            JSON,
            *SHAPING,
        ),
        arguments=(1, 2),
        words=("list", "check", "test", "reload"),
        examples=(
            ("ringfence secrets check", "is everything there?"),
            ("ringfence secrets list --preset github", "what would a run with this preset keep outside?"),
            ("ringfence secrets test api.github.com", "does the host take the token, and what may it do?"),
            ("GITHUB_TOKEN=$(gh auth token) ringfence secrets reload", "after the token was renewed"),
        ),
    ),
    Command(
        name="log",
        summary="show the audit, or verify it",
        usage=(
            "ringfence log [--run RUN] [--kind KIND | --denied] [--since TIME] [-n COUNT] [--json]",
            "ringfence log verify [--anchor SEQ:HASH] [--json]",
        ),
        details=(
            "`log verify` checks the whole chain: exit status 0 if nothing was changed, dropped, moved or cut off,",
            "1 otherwise. Keep the anchor it prints elsewhere, and compare with it the next time.",
        ),
        options=(
            Option(names=("--run",), value="RUN", meaning="only this run, or runs that begin so", takes="run"),
            Option(names=("--kind",), value="KIND", meaning="only events of this kind", takes="kind"),
            switch("--denied", meaning="only what was refused: the same as `--kind denial`"),
            Option(names=("--since",), value="TIME", meaning="only later than `30m`, `2h`, `1d` ago, or a date"),
            Option(names=("-n", "--lines"), value="COUNT", meaning="only the last COUNT"),
            Option(names=("--anchor",), value="SEQ:HASH", meaning="verify: the chain must pass through this record"),
            JSON,
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
            *permission_options.USAGE,
        ),
        details=(
            "check: the files in force here, or those named; exit status 2 with `file:line` for what is wrong.",
            "show: the policy in force, each value with its origin. presets: what each preset adds, and why.",
            "schema: the JSON Schema of a policy file, for editors.",
            *permission_options.DETAILS,
        ),
        options=(
            Option(
                names=("--scope",),
                value="SCOPE",
                choices=("managed", "user", "project"),
                meaning="check: whose word FILE is; by its name if left out",
            ),
            JSON,
            *permission_options.PERMISSIONS,
            *SHAPING,
        ),
        arguments=(1, -1),
        words=("check", "show", "presets", "schema", *permission_options.ACTIONS),
        takes="file",
        examples=(
            ("ringfence policy check ringfence.toml", "is it sound?"),
            ("ringfence policy show", "what is in force here, and who says so"),
            *permission_options.EXAMPLES,
        ),
    ),
    *CHANGE_COMMANDS,
    Command(
        name="srt",
        summary="run a command under sandbox-runtime settings",
        usage=("ringfence srt [-s SETTINGS] -c COMMAND", "ringfence srt [-s SETTINGS] [--] PROGRAM [ARGUMENT...]"),
        details=("Accepts the settings files of sandbox-runtime as they are.",),
        options=(
            Option(names=("-s", "--settings"), value="SETTINGS", meaning="the settings file", takes="file"),
            Option(names=("-c",), value="COMMAND", meaning="a command line for the shell"),
            VERBOSE,
            switch("-d", "--debug", meaning="the same, as sandbox-runtime calls it"),
        ),
        arguments=(0, -1),
        takes="command",
        examples=(("ringfence srt -s settings.json -c 'npm test'", "as with srt"),),
    ),
    Command(
        name="trust",
        summary="show what a checkout would put in force by itself, and trust it",
        usage=(
            "ringfence trust [PATH] [--show | --diff | --revoke] [--json]",
            "ringfence trust [PATH] [--yes | --trust-digest DIGEST]",
        ),
        details=(
            "Settings, hooks, servers and instructions of agents, editors, shells, git and package managers, with the",
            "scripts they call. You are asked once; any change to any of them asks again. Runs hide what nobody has",
            "trusted, where `trust.mode` says so. --diff exits with 1 if something changed since you trusted it.",
        ),
        options=(
            switch("--show", meaning="only show it, with its digest and who trusts it"),
            switch("--diff", meaning="only show what changed since you trusted it"),
            switch("--revoke", meaning="trust it no longer"),
            switch("-y", "--yes", meaning="trust it without being asked"),
            Option(
                names=("--trust-digest",), value="DIGEST", meaning="trust it without being asked, if this is its digest"
            ),
            JSON,
        ),
        arguments=(0, 1),
        takes="directory",
        examples=(
            ("ringfence trust", "read what would take effect here, then decide"),
            ("ringfence trust --diff", "what has a pull changed?"),
        ),
    ),
    *AGENT_COMMANDS,
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
