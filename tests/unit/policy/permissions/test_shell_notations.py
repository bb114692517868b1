"""Denials hold in every notation: of files that redirections open, and of what stands in substitutions.

Each line once let a denied file or command pass, or stands beside one that did.
"""

import re

import pytest

from ringfence.policy.permissions.shell_parse import parse
from tests.permission_cases import settings, verdict

OPENED = [
    "a > FILE",
    "[ a ] > FILE",
    "[[ a ]] > FILE",
    "! [ a ] > FILE",
    "[[ a ]] && [[ b ]] > FILE",
    "a $([ b ] > FILE)",
    "if [ a ]; then [ b ]; fi > FILE",
    "while [ a ]; do [ b ]; done > FILE",
    "case a in b) [ c ] > FILE;; esac",
    "case a in b) ;; esac > FILE",
    "((1)) > FILE",
    "(( a = 1 )) 2> FILE",
    "f() { a; } > FILE",
    "f() { a; } 2> b > FILE; f",
    "function f { a; } > FILE",
    "f() (a) > FILE",
    "f() [ a ] > FILE",
    "f() if a; then b; fi > FILE",
    "cat <<E > FILE\nx\nE",
    "cat <<'E' >> FILE\nx\nE",
    "cat <<E 2> FILE && b\nx\nE",
    "cat <<E 2>&1 > FILE\nx\nE",
    "cat <<E > FILE | b\nx\nE",
    "while read x; do a; done <<E > FILE\nx\nE",
    "export A=1 > FILE",
    "A=1 > FILE",
    "select x in a; do b; done > FILE",
    "for ((;;)); do a; done > FILE",
    "coproc a > FILE",
    '[ a ] > $"FILE"',
    "a > ''$\"FILE\"",
]


@pytest.mark.parametrize("command", OPENED)
def test_a_denied_file_is_not_written(command: str) -> None:
    rules = settings(deny=["Edit(secret.txt)"], mode="bypassPermissions")
    assert verdict(rules, "Bash", command.replace("FILE", "secret.txt")) == "deny"


@pytest.mark.parametrize("command", OPENED)
def test_a_protected_file_is_asked_about_whatever_is_allowed(command: str) -> None:
    assert verdict(settings(allow=["Bash"]), "Bash", command.replace("FILE", ".bashrc")) == "ask"


@pytest.mark.parametrize("command", OPENED)
def test_a_denied_file_is_not_read(command: str) -> None:
    rules = settings(deny=["Read(.env)"], mode="bypassPermissions")
    read = re.sub(r">+(?= (?:'')?(?:\$\")?FILE)", "<", command)
    assert verdict(rules, "Bash", read.replace("FILE", ".env")) == "deny"


PLACES = [
    *("a IT", 'a "IT"', "A=IT b", "A=IT", "A[1]=IT", "A=(IT b)", "A[IT]=1", "export A=IT", "unset IT", "IT a"),
    *("a ${x:-IT}", 'a "${x:-IT}"', "a ${x[IT]}", "a ${x:IT:1}", "a $((1+IT))", "a $[1+IT]", "let x=IT"),
    *("(( x = IT ))", "[[ IT ]]", "[ IT ]", "[[ a =~ IT ]]", "[ a ] > IT", "a > IT", "a 2> IT", "a <<< IT"),
    *("a <<E\nIT\nE", 'a <<E\nx "IT" y\nE', "a <<E\n\\b IT\nE", "a <<E | b IT\nx\nE", "a <<E > IT\nx\nE"),
    *("for x in IT; do a; done", "for ((i=IT;;)); do a; done", "case IT in a) b;; esac", "case a in IT) b;; esac"),
    *("f() { IT; }", "f() { a IT; }", "function f { IT; }", "coproc X { IT; }", "(IT)", "{ IT; }", "! IT", "time IT"),
    *("if IT; then a; fi", "while IT; do a; done", "a {b,IT}", "a xITy", 'a $"IT"', "a 'x'IT", "a\nIT\n", "a &IT"),
]
RUN = [
    *("$(dny x)", "`dny x`", "$(cat .env)", "`cat .env`", "$(<.env)", "$(if cat .env; then a; fi)", "$([ a ] < .env)"),
    *("$( (cat .env) )", "$({ cat .env; })", "$(a; f() { cat .env; }; f)"),
]


@pytest.mark.parametrize("place", PLACES)
def test_what_a_substitution_runs_is_seen(place: str) -> None:
    rules = settings(deny=["Bash(dny *)", "Read(.env)"], mode="bypassPermissions")
    assert [run for run in RUN if verdict(rules, "Bash", place.replace("IT", run)) != "deny"] == []


@pytest.mark.parametrize("place", ["a IT", "a ${x:-IT}", "A=(IT)", "case IT in a) b;; esac", "a < IT"])
@pytest.mark.parametrize("run", ["<(dny x)", ">(dny x)", "<(cat .env)"])
def test_what_a_process_substitution_runs_is_seen(place: str, run: str) -> None:
    rules = settings(deny=["Bash(dny *)", "Read(.env)"], mode="bypassPermissions")
    assert verdict(rules, "Bash", place.replace("IT", run)) == "deny"


@pytest.mark.parametrize(
    "command",
    [
        "bash <<'E'\n\\dny x\nE",
        "bash <<E\n\\\ndny x\nE",
        "cat <<E | bash\n\\a\ndny x\nE",
        "bash <<-'E'\n\t\\a\n\tdny x\n\tE",
        'a "${b:-\'}"; dny x #\'}"',
        "''$\"dny\" x",
        'd$"ny" x',
        "$!dny x",
        "d$@ny x",
        "${!}dny x",
        "`:`dny x",
        "d$(: $(:))ny x",
        "time $b dny x",
        "sudo $b dny x",
        'Z=bash; $Z -c "dny x"',
        '$b bash -c "dny x"',
        'alias z=bash; z -c "dny x"',
        'cp /bin/bash z; ./z -c "dny x"',
        '{bash,-c,"dny x"}',
        "eval dny x\n'",
        " \\dny x\n(",
        "${b:-dny x}\n(",
    ],
)
def test_a_denied_command_is_seen(command: str) -> None:
    assert verdict(settings(deny=["Bash(dny *)"], mode="bypassPermissions"), "Bash", command) == "deny"


@pytest.mark.parametrize("command", ['a "$b" dny x', "a '' dny x", "a ${b} dny x", "a `b` dny x"])
def test_what_is_an_argument_is_not_run(command: str) -> None:
    assert verdict(settings(deny=["Bash(dny *)"], mode="bypassPermissions"), "Bash", command) == "allow"


def test_a_pattern_behind_an_escaped_backslash_is_one() -> None:
    assert verdict(settings(mode="acceptEdits"), "Bash", "rm a\\\\*") == "ask"


@pytest.mark.parametrize(
    ("text", "doubts", "unread"),
    [
        ("a 'b'" + " " * 9995, 0, False),
        ("a 'b'" + " " * 9996, 1, False),
        ("a" * 200_000, 1, False),
        ("a" * 200_001, 1, True),
    ],
)
def test_how_long_a_command_may_be(text: str, doubts: int, unread: bool) -> None:
    script = parse(text)
    assert (len(script.doubts), script.unread) == (doubts, unread)
