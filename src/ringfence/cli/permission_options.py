"""The options of `ringfence policy decide` and its kin, as data for the catalogue."""

from .run_options import Option, switch

MODES = ("default", "manual", "acceptEdits", "plan", "dontAsk", "auto", "bypassPermissions")

PERMISSIONS = (
    Option(
        names=("--claude-settings",),
        value="SCOPE=FILE",
        meaning="a settings file of Claude Code and whose word it is (repeatable); else ringfence's own",
        takes="file",
    ),
    Option(names=("--mode",), value="MODE", choices=MODES, meaning="the permission mode, if not the settings'"),
    Option(names=("--cwd",), value="DIR", meaning="the directory the calls are made in", takes="directory"),
    Option(names=("--home",), value="DIR", meaning="the home directory that `~` means", takes="directory"),
    switch("--untrusted", meaning="the checkout is not trusted: its settings can only deny and ask"),
    Option(names=("--allowed-tools",), value="RULE", meaning="an allowance of the command line (repeatable)"),
    Option(names=("--junit",), value="FILE", meaning="test: write the outcomes as JUnit's XML", takes="file"),
)

USAGE = (
    "ringfence policy decide [PERMISSION OPTIONS]",
    "ringfence policy explain [--json] [PERMISSION OPTIONS] TOOL INPUT",
    "ringfence policy test [--junit FILE] FILE...",
    "ringfence policy lint [--json] [PERMISSION OPTIONS]",
    "ringfence policy diff [--json] [PERMISSION OPTIONS] SCOPE=FILE SCOPE=FILE LOG",
    "ringfence policy replay [--json] [PERMISSION OPTIONS] LOG",
)

DETAILS = (
    "decide: tool calls as JSON lines in, decisions out. explain: one call, its rule, and what would change it.",
    "test: expectation files for CI. lint: void, shadowed, over-broad rules. diff: which calls of LOG two settings",
    "decide differently. replay: which calls are decided otherwise than recorded. Exit status 1 if there are any.",
)

EXAMPLES = (
    (
        "ringfence policy explain --claude-settings user=$HOME/.claude/settings.json Bash 'git push'",
        "may the agent push?",
    ),
    ("ringfence policy lint --claude-settings project=.claude/settings.json", "which rules allow more than they say?"),
)

ACTIONS = ("decide", "explain", "test", "lint", "diff", "replay")
