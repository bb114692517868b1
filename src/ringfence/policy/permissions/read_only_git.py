"""Subcommands of git that only read, as data, with the options for which that holds.

Measured on Claude Code 2.1.329. Options before the subcommand (`-c`, `-C`, `--git-dir`) are not known: each can make
git run another program. Neither are `--output`, `--ext-diff`, `--textconv`, `--upload-pack` and abbreviations of them.
"""

from functools import partial

from .flags import Flags, flags

FORMATS = frozenset("oneline short medium full fuller email raw".split())
"""Formats of commits by name that configuration cannot define otherwise in any git (git-config(1), `pretty.<name>`)."""

_flags = partial(flags, numeric=True)

GIT: dict[str, tuple[str, Flags]] = {
    "status": (
        "shows what changed",
        _flags(
            "bsv",
            "ahead-behind branch column ignored long porcelain renames short verbose",
        ),
    ),
    "log": (
        "shows commits",
        _flags(
            "ps",
            "abbrev-commit all boundary branches cherry-pick color date-order decorate first-parent "
            "follow graph left-right merges name-only name-status no-color no-decorate no-ext-diff "
            "no-merges no-patch no-walk numstat oneline patch pickaxe-all pickaxe-regex remotes "
            "reverse shortstat source stat tags topo-order walk-reflogs",
            short_value="nGS",
            long_value="after author before date diff-filter format grep max-count pretty since skip until",
            numbers="n max-count skip",
        ),
    ),
    "diff": (
        "shows changes",
        _flags(
            "BCDMRlpsu",
            "binary break-rewrites cached check color color-words dirstat exit-code find-copies "
            "find-copies-harder find-renames full-index function-context histogram ignore-all-space "
            "ignore-blank-lines ignore-space-at-eol ignore-space-change irreversible-delete minimal "
            "name-only name-status no-color no-ext-diff no-index no-renames numstat patch-with-stat "
            "patience pickaxe-all pickaxe-regex quiet shortstat staged stat summary word-diff",
            short_value="SG",
            long_value="diff-algorithm diff-filter word-diff-regex ws-error-highlight",
        ),
    ),
    "show": (
        "shows an object",
        _flags(
            "mps",
            "abbrev-commit color color-words decorate first-parent graph name-only name-status "
            "no-color no-decorate no-ext-diff no-patch numstat oneline patch quiet raw shortstat stat "
            "word-diff",
            short_value="n",
            long_value="date diff-filter format pretty word-diff-regex",
            numbers="n",
        ),
    ),
    "blame": (
        "shows who wrote a line",
        _flags(
            "CMeflnpstw",
            "incremental line-porcelain porcelain root score-debug show-email show-name show-number show-stats",
            long_value="ignore-rev ignore-revs-file",
        ),
    ),
    "branch": (
        "lists branches",
        _flags(
            "ailrv",
            "all color column ignore-case list merged no-merged remotes show-current verbose",
            long_value="contains no-merged points-at sort",
            operands=0,
        ),
    ),
    "tag": (
        "lists tags",
        _flags(
            "il",
            "column ignore-case list",
            long_value="contains points-at sort",
            operands=0,
        ),
    ),
    "remote": (
        "lists remotes",
        flags(
            "v",
            "verbose",
            operands=0,
        ),
    ),
    "ls-files": (
        "lists tracked files",
        _flags(
            "cdfikmostuvz",
            "cached debug deleted directory eol error-unmatch exclude-standard full-name ignored "
            "killed modified others recurse-submodules stage unmerged",
            long_value="exclude exclude-from exclude-per-directory",
        ),
    ),
    "ls-remote": (
        "lists a remote's refs",
        _flags(
            "hqt",
            "get-url heads quiet refs symref tags",
            long_value="sort",
            operands=0,
        ),
    ),
    "grep": (
        "searches tracked files",
        _flags(
            "EFGHLPchilnoqvw",
            "and basic-regexp break cached color count extended-regexp files-with-matches "
            "files-without-match fixed-strings full-name heading ignore-case invert-match line-number "
            "not only-matching or perl-regexp quiet recurse-submodules untracked word-regexp",
            short_value="eABCm",
            numbers="A B C m",
        ),
    ),
    "rev-parse": (
        "resolves names",
        _flags(
            "",
            "abbrev-ref absolute-git-dir git-common-dir git-dir is-bare-repository "
            "is-inside-work-tree show-cdup show-prefix show-toplevel symbolic symbolic-full-name "
            "verify",
            long_value="short",
        ),
    ),
    "rev-list": (
        "lists commits",
        _flags(
            "",
            "abbrev-commit all branches count first-parent graph merges oneline remotes reverse "
            "source tags walk-reflogs",
            short_value="n",
            long_value="after author before grep max-count pretty since skip until",
            numbers="n max-count skip",
        ),
    ),
    "describe": (
        "names a commit",
        _flags(
            "",
            "always broken contains dirty exact-match long tags",
            long_value="abbrev exclude match",
            numbers="abbrev",
        ),
    ),
    "reflog": (
        "shows where refs were",
        _flags(
            "",
            "all",
            operands=0,
        ),
    ),
    "cat-file": (
        "shows an object",
        _flags(
            "epst",
            "batch-check",
        ),
    ),
    "for-each-ref": (
        "lists refs",
        _flags(
            "",
            "",
            long_value="format points-at sort",
        ),
    ),
    "shortlog": (
        "sums up commits",
        _flags(
            "cens",
            "committer email numbered summary",
            long_value="group",
        ),
    ),
    "merge-base": (
        "finds a common ancestor",
        _flags(
            "",
            "all fork-point independent is-ancestor octopus",
        ),
    ),
    "stash list": ("lists stashes", _flags()),
    "stash show": ("shows a stash", _flags("p", "stat patch name-only name-status")),
    "worktree list": ("lists worktrees", _flags("v", "porcelain verbose")),
    "reflog show": ("shows where refs were", _flags()),
    "branch --list": ("lists branches", _flags("avri", "")),
    "branch -l": ("lists branches", _flags("avri", "")),
    "tag --list": ("lists tags", _flags("i", "")),
    "tag -l": ("lists tags", _flags("i", "")),
    "config --get": ("reads one value", _flags("z", "show-origin", long_value="default")),
}

DOCKER: dict[str, tuple[str, Flags]] = {
    "ps": (
        "lists containers",
        flags("aqls", "all quiet latest size no-trunc", short_value="fn", long_value="format filter last"),
    ),
    "images": (
        "lists images",
        flags("aq", "all quiet digests no-trunc tree", short_value="f", long_value="format filter"),
    ),
    "logs": (
        "shows what a container printed",
        flags("ft", "follow timestamps details", short_value="n", long_value="tail since until"),
    ),
    "inspect": ("describes an object", flags("s", "size", short_value="f", long_value="format type")),
}
