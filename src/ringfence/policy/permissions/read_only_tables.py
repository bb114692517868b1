"""Commands that only read, as data: each with the reason why it is harmless, and the options for which that holds.

Measured on Claude Code 2.1.329; what is not listed is asked about. A program that anyone can be made to run another
with (a pager, a pre-processor, `--compress-program`) has its options listed one by one.
"""

from .flags import Flags, flags

# Any argument, as long as nothing in it is computed: these have no option that writes, sends or runs.
FREE = {
    name: reason
    for reason, names in {
        "prints what files hold": "cat head tail nl tac rev cut paste column fold expand unexpand fmt pr tsort strings "
        "hexdump od",
        "transforms its input": "tr numfmt",
        "compares files": "comm cmp diff",
        "counts or measures": "wc du df stat",
        "handles names of files": "readlink realpath basename dirname ls",
        "prints its arguments": "echo seq expr",
        "does nothing": "true false sleep",
        "tells about this machine or user": "cal uptime id groups uname nproc free locale type",
    }.items()
    for name in names.split()
}

# Nothing but the bare word.
BARE = {
    "pwd": "prints the directory",
    "whoami": "prints the user",
    "arch": "prints the machine's kind",
    "xargs": "passes its input to echo",
}

# Whole commands.
EXACT = frozenset(
    ("node -v", "node --version", "python --version", "python3 --version", "ip addr", "claude -h", "claude --help")
)

_SUMS = flags("btcwz", "binary text check ignore-missing quiet status strict warn tag zero help version")
_GREP = flags(
    "EFGPiIvwxcLloqsbHhnTZzaUrRu",
    "extended-regexp fixed-strings basic-regexp perl-regexp ignore-case no-ignore-case invert-match word-regexp "
    "line-regexp count color files-without-match files-with-matches only-matching quiet silent no-messages byte-offset "
    "with-filename no-filename line-number initial-tab null null-data text binary recursive dereference-recursive "
    "line-buffered help version unix-byte-offsets",
    short_value="efmABCdD",
    long_value="regexp file max-count after-context before-context context color colour label binary-files directories "
    "devices include exclude exclude-from exclude-dir group-separator",
    attached="ABCm",
    numbers="A B C m after-context before-context context max-count",
)

TABLES: dict[str, tuple[str, Flags]] = {
    "file": (
        "tells the kind of a file",
        flags(
            "bikLhnpsr0lcv",
            "brief mime mime-type mime-encoding apple raw keep-going print0 dereference no-dereference no-buffer "
            "preserve-date special-files list help version",
            short_value="F",
            long_value="separator exclude exclude-quiet",
        ),
    ),
    "base64": (
        "encodes or decodes a file",
        flags(
            "dDih",
            "decode ignore-garbage help version",
            short_value="wb",
            long_value="wrap break",
            numbers="w b wrap break",
        ),
    ),
    "date": (
        "prints the time; options that set it are not known",
        flags(
            "IRu",
            "utc universal rfc-email debug help version",
            short_value="dr",
            long_value="date reference rfc-3339 iso-8601",
        ),
    ),
    "hostname": (
        "prints the name of the machine; an argument would set it",
        flags(
            "fiIsdAavV",
            "fqdn long short domain ip-address all-ip-addresses all-fqdns alias verbose version",
            operands=0,
        ),
    ),
    "ps": (
        "lists processes, not their environment",
        flags("eAfFadjlwNTH", "forest no-headers help version", short_value="ptuUgGC", long_value="pid ppid user"),
    ),
    "pgrep": (
        "finds processes",
        flags(
            "flaonvxcLiw",
            "full list-full list-name oldest newest inverse exact count ignore-case lightweight help version",
            short_value="PuUgGstrFd",
            long_value="parent uid euid group pgroup session terminal runstates pidfile delimiter ns nslist",
        ),
    ),
    "lsof": ("lists open files", flags("aitnPlRUbCNOsVv", "", short_value="pucdgAk")),
    "ss": (
        "lists sockets; `-K` would close them",
        flags(
            "hVnalotupiesmbEHO46xwS0",
            "help version numeric all listening options extended memory processes info summary ipv4 ipv6 tcp udp unix "
            "raw events no-header oneline bpf",
            short_value="fA",
            long_value="family query",
        ),
    ),
    "netstat": ("lists connections", flags("arinslg", "", short_value="f")),
    "man": (
        "shows a manual page",
        flags("adfhkw", "all whatis apropos help", short_value="sS"),
    ),
    "help": ("explains a builtin", flags("d", "")),
    "sort": (
        "sorts its input; options that write or run are not known",
        flags(
            "bcCdfghiMmnRrsuVz",
            "ignore-leading-blanks dictionary-order ignore-case general-numeric-sort human-numeric-sort "
            "ignore-nonprinting month-sort numeric-sort random-sort reverse version-sort check merge stable unique "
            "zero-terminated help version",
            short_value="ktS",
            long_value="key field-separator buffer-size sort parallel batch-size",
            numbers="parallel batch-size",
        ),
    ),
    "grep": ("searches text", _GREP),
    "egrep": ("searches text", _GREP),
    "fgrep": ("searches text", _GREP),
    "rg": (
        "searches text; options that run programs are not known",
        flags(
            "nilcovwSFaqLHhu",
            "line-number ignore-case files-with-matches files-without-match count only-matching invert-match "
            "word-regexp "
            "smart-case fixed-strings text quiet follow hidden no-ignore json heading no-heading column "
            "stats debug type-list help version color",
            short_value="tTgABCemdf",
            long_value="type type-not glob after-context before-context context regexp max-count max-depth color",
            attached="ABCm",
            numbers="A B C m d after-context before-context context max-count max-depth",
        ),
    ),
    "tree": (
        "lists files; `-o` would write, `-R` would run itself",
        flags(
            "adflpsughDFqNQrtUcvXJCASni",
            "dirsfirst noreport gitignore prune fromfile inodes device du si filesfirst ignore-case matchdirs "
            "help version",
            short_value="LIPH",
            long_value="filelimit infofile charset timefmt sort gitfile",
            numbers="L filelimit",
        ),
    ),
    "uniq": (
        "passes its input on; a second operand would be written",
        flags(
            "cdDuiz",
            "count repeated unique ignore-case zero-terminated help version",
            short_value="fsw",
            long_value="skip-fields skip-chars check-chars",
            numbers="f s w skip-fields skip-chars check-chars",
            operands=0,
        ),
    ),
    "which": ("tells where a program is", flags("a", "")),
    "tput": ("asks what the terminal can do", flags("V", "", short_value="T")),
    "md5sum": ("prints a digest", _SUMS),
    "sha1sum": ("prints a digest", _SUMS),
    "sha256sum": ("prints a digest", _SUMS),
}

_FD = flags(
    "HIsiFaLp0q1gh",
    "hidden no-ignore case-sensitive ignore-case fixed-strings absolute-path follow full-path print0 quiet glob prune "
    "strip-cwd-prefix no-ignore-vcs no-ignore-parent regex help version",
    short_value="dteESocj",
    long_value="max-depth min-depth exact-depth type extension exclude size changed-within changed-before owner "
    "ignore-file search-path base-directory color threads max-results and format batch-size path-separator",
    numbers="d j max-depth min-depth exact-depth threads max-results batch-size",
)
TABLES |= dict.fromkeys(("fd", "fdfind"), ("finds files; options that run programs are not known", _FD))

XARGS = flags("0trx", "", short_value="nPLsd", numbers="n P L s", dashes=False)
XARGS_COMMANDS = frozenset("echo printf wc grep egrep fgrep head tail".split())
"""What `xargs` may run: commands that stay harmless whatever arguments their input adds."""

JQ = flags(
    "rneCMscSjaRh",
    "raw-output null-input exit-status color-output monochrome-output slurp compact-output sort-keys join-output "
    "ascii-output raw-input tab seq stream unbuffered args jsonargs help version arg argjson",
    long_value="indent",
    dashes=False,
)
JQ_PROGRAM_REFUSED = (r"\benv\b", r"\$ENV\b", r"\bsystem\s*\(", r"\binclude\b", r"\bimport\b", "`")

FIND_REFUSED = frozenset("-exec -execdir -ok -okdir -delete -fls -files0-from -rm".split())
"""What makes `find` more than a search."""
