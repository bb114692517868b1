"""Parts of the engine by themselves, where a decision shows too little of them.

Longer than 400 lines: nearly all of it is tables, one case a line.
"""

import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.policy.permissions import read_only
from ringfence.policy.permissions.argument_code import texts_in
from ringfence.policy.permissions.bash_rules import matcher, program_of
from ringfence.policy.permissions.command import Redirect, Word
from ringfence.policy.permissions.edit_commands import edits_workspace
from ringfence.policy.permissions.engine import decide
from ringfence.policy.permissions.findings import Finding, Weight, by_rule
from ringfence.policy.permissions.flags import Flags, flags, operands_of
from ringfence.policy.permissions.known_values import Known
from ringfence.policy.permissions.lint import lint
from ringfence.policy.permissions.modes import settle
from ringfence.policy.permissions.operands import operands, redirected
from ringfence.policy.permissions.rules import parse_rule
from ringfence.policy.permissions.settings import Mode
from ringfence.policy.permissions.shell_parse import parse
from tests.permission_cases import call, settings, verdict

HERE = Source(scope="user", file="s.json", line=1)


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["bash", "-c", "a", "b"], ["a"]),
        (["bash", "-c", "-x", "a"], ["a"]),
        (["git", "-c", "alias.x=!dny"], ["dny"]),
        (["git", "-c"], []),
        (["git", "rebase", "-x", "dny x", "HEAD"], ["dny x"]),
        (["git", "bisect", "run", "dny", "x"], ["dny x"]),
        (["python", "-c", "f(' dny x ')"], ["dny x"]),
        (["python", "-c", "'x'"], ["x"]),
    ],
)
def test_the_text_that_a_program_is_given_to_run(words: list[str], texts: list[str]) -> None:
    assert list(texts_in(words)) == texts


@pytest.mark.parametrize(
    ("what", "yes", "no"),
    [
        ("git:*", ["git", "git x", "git\tx", "git\nx"], ["gitx", "git\rx", "a git"]),
        ("git * main:*", ["git x main", "git x main y"], ["git main", "git x mainy"]),
        ("git*", ["git", "gitx", "git x\ny"], ["a git"]),
        ("git * x*", ["git a x", "git a xy"], ["git x", "git a"]),
        ("git x", ["git x", " git x "], ["git x y", "git"]),
        ("*x", ["x", "ax"], ["xa"]),
    ],
)
def test_what_a_rule_of_commands_matches(what: str, yes: list[str], no: list[str]) -> None:
    assert [text for text in (*yes, *no) if matcher(what)(text)] == yes


@pytest.mark.parametrize(
    ("what", "program"), [("git:*", "git"), (" git push:* x", "git"), ("git", "git"), ("*x y", ""), ("g*", "")]
)
def test_the_program_of_a_rule(what: str, program: str) -> None:
    assert program_of(what) == program


@pytest.mark.parametrize(
    ("operator", "target", "writes", "duplicates"),
    [
        (">", "1", True, False),
        (">>", "x", True, False),
        (">|", "x", True, False),
        ("&>", "x", True, False),
        ("&>>", "x", True, False),
        (">&", "x", True, False),
        (">&", "1", False, True),
        ("<&", "0", False, True),
        ("<", "0", False, False),
    ],
)
def test_redirections(operator: str, target: str, writes: bool, duplicates: bool) -> None:
    redirect = Redirect(operator=operator, target=Word(raw=target, text=target))
    assert (redirect.writes, redirect.duplicates) == (writes, duplicates)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("rm a", True),
        ("rm -r a", True),
        ("cp a b", True),
        ("cp -r a b", False),
        ('rm "$x"', False),
        ("rm *", False),
        ("rm ~", False),
        ("A=1 rm a", False),
        ("'rm' a", False),
        ("cat a", False),
    ],
)
def test_commands_that_edit(command: str, expected: bool) -> None:
    assert edits_workspace(parse(command).commands[0]) is expected


@pytest.mark.parametrize(
    "command",
    ["rm -rf /tmp/..$HOME", "rm -rf /tmp/..${PWD}", "find ! -delete", "find -D -delete", "find \\( -delete \\)"],
)
def test_what_is_critical_in_more_notations(command: str) -> None:
    assert verdict(settings(mode="bypassPermissions"), "Bash", command) == "ask"


@pytest.mark.parametrize(
    "command",
    [
        "rm 'a`b'",
        "rm 'a$(b)'",
        "other / -delete find",
        'cd "$X" && rm -rf $PWD/a',
        "find -D / x -delete",
        "find x -name y -delete",
        "rm -- a",
    ],
)
def test_what_is_not_critical(command: str) -> None:
    assert verdict(settings(mode="bypassPermissions"), "Bash", command) == "allow"


def test_the_value_of_an_option_of_find_is_no_directory() -> None:
    decision = decide(settings(mode="bypassPermissions"), call("Bash", "find -D tree / -delete"))
    assert decision.reason.startswith("`/` is critical")


TABLE = flags("ab", "color depth", short_value="nc", long_value="count color", attached="A", numbers="count n")


@pytest.mark.parametrize(
    ("table", "words", "operands"),
    [
        (TABLE, ["--count=5", "x"], ["x"]),
        (TABLE, ["--count=y"], None),
        (TABLE, ["--count", "5", "x"], ["x"]),
        (TABLE, ["--count", "y"], None),
        (TABLE, ["--count", "\u0663"], None),
        (TABLE, ["-n", "5", "x"], ["x"]),
        (TABLE, ["-n", "y"], None),
        (TABLE, ["-n"], None),
        (TABLE, ["-c", "-a"], None),
        (TABLE, ["-c", "-", "x"], None),
        (TABLE, ["-nc", "x"], None),
        (TABLE, ["-ab", "x"], ["x"]),
        (TABLE, ["-A3", "x"], ["x"]),
        (TABLE, ["-Ax"], None),
        (TABLE, ["-B3"], None),
        (TABLE, ["--color", "x"], ["x"]),
        (TABLE, ["--color=x"], []),
        (TABLE, ["--depth=1"], None),
        (TABLE, ["--dep"], None),
        (TABLE, ["--", "-z"], ["-z"]),
        (flags(dashes=False), ["--", "x"], None),
        (flags(numeric=True), ["-5", "x"], ["x"]),
        (flags(), ["-5"], None),
        (flags(operands=1), ["x"], ["x"]),
        (flags(operands=1), ["x", "y"], None),
    ],
)
def test_operands_behind_known_options(table: Flags, words: list[str], operands: list[str] | None) -> None:
    assert operands_of(table, words) == operands


def readings(*lines: str, guess: bool = True) -> list[tuple[str, ...]]:
    """How the last of some commands may read, after the others."""
    known = Known()
    commands = [parse(line).commands[0] for line in lines]
    for command in commands[:-1]:
        known.learn(command)
    return list(dict.fromkeys(known.readings(commands[-1], guess=guess)))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("z=dny", "$z x y"), [("$z", "x", "y"), ("dny", "x", "y")]),
        (("z=a", "z=b", "$z x"), [("$z", "x"), ("a", "x"), ("b", "x")]),
        (("dny $HOME",), [("dny", "$HOME")]),
        (("$a dny x",), [("$a", "dny", "x"), ("dny", "x")]),
        (("{dny,a,b} x y",), [("{dny,a,b}", "x", "y"), ("dny", "a", "b", "x", "y")]),
        (("cp /bin/dny z", "./z x"), [("./z", "x"), ("/bin/dny", "x")]),
        (("mv /bin/dny z", "./z x"), [("./z", "x"), ("/bin/dny", "x")]),
        (("install /bin/dny z", "./z x"), [("./z", "x"), ("/bin/dny", "x")]),
        (("echo /bin/dny z", "./z x"), [("./z", "x")]),
        (("printf -v", "x"), [("x",)]),
        (("printf -v z dny", "$z x"), [("$z", "x"), ("dny", "x")]),
        (("printf -v z %s dny", "$z x"), [("$z", "x"), ("%s", "dny", "x"), ("dny", "x")]),
    ],
)
def test_how_a_command_may_read(lines: tuple[str, ...], expected: list[tuple[str, ...]]) -> None:
    assert readings(*lines) == expected


def test_a_value_of_what_is_not_known_stays_as_it_is_written() -> None:
    known = Known()
    known.let("a", "$b")
    known.let("a", "c")
    assert known.variables["a"] == ["$b", "c"]
    assert list(known.substituted("$a")) == ["$b", "c"]
    assert known.substitute("$HOME$c", 0, guess=True) == "$HOME"


@pytest.mark.parametrize(
    ("rule", "tool", "given", "expected"),
    [
        ("Agent(model:*)", "Agent", {"subagent_type": "x"}, "allow"),
        ("Agent(model:Opus)", "Agent", {"subagent_type": "x", "model": "Opus"}, "deny"),
        ("Agent(model:opus)", "Agent", {"subagent_type": "x", "model": "Opus"}, "allow"),
    ],
)
def test_a_field_that_is_not_given_is_not_what_a_rule_says(
    rule: str, tool: str, given: dict[str, object], expected: str
) -> None:
    assert verdict(settings(deny=[rule]), tool, given) == expected


@pytest.mark.parametrize(
    ("deny", "url", "reason"),
    [
        ([], "https://a.example/", "no rule speaks of the host `a.example`"),
        ([], "a b", "the URL names no host that a rule could be about"),
        (["WebFetch(domain:a.example)"], "https://a.example/", "`a.example` is denied by a rule"),
        (["WebFetch(domain:a.example)"], "x://a.example/", "`x://a.example/` is denied by a rule"),
    ],
)
def test_what_is_said_of_a_host(deny: list[str], url: str, reason: str) -> None:
    assert decide(settings(deny=deny), call("WebFetch", {"url": url})).reason == reason


@pytest.mark.parametrize(("verdict_", "weight"), [("ALLOW", Weight.OPEN), ("DENY", Weight.OPEN), ("ASK", Weight.FIRM)])
def test_how_far_a_rule_reaches(verdict_: str, weight: Weight) -> None:
    rule = parse_rule("Bash(x)", verdict=Verdict[verdict_], source=HERE, anchor="/")
    assert by_rule(rule).weight is weight


def test_no_mode_settles_an_edit_of_what_is_protected() -> None:
    finding = Finding(verdict=Verdict.ASK, reason="x", edits=True, weight=Weight.SAFETY)
    assert settle(finding, Mode.ACCEPT_EDITS).verdict is Verdict.ASK
    assert settle(finding, Mode.AUTO).verdict is Verdict.ASK


def test_allowances_that_have_grown_are_placed_at_the_last() -> None:
    rules = settings(allow=[f"Bash(a{at})" for at in range(11)])
    (complaint,) = lint(rules)
    assert (complaint.code, complaint.source) == ("grown", rules.rules[-1].source)


def opened(command: str) -> list[str]:
    """The files that a command opens by where its words stand or by its options."""
    return [operand.word.text for operand in operands(parse(command).commands[0].words)]


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("git grep x a", ["a"]),
        ("git diff a", ["a"]),
        ("foo grep x a", []),
        ("foo diff a", []),
        ("cat - a -- -b", ["a", "-b"]),
        ("find -H sub", ["sub"]),
        ("find -L sub", ["sub"]),
        ("find -P sub", ["sub"]),
        ("find \\( -name x \\)", ["."]),
        ("find ! -name x", ["."]),
        ("find a -newer /b", ["a", "/b"]),
        ("grep --f=x y", ["x"]),
        ("grep -fxy z", ["xy", "z"]),
        ("grep -f x z", ["x", "x", "z"]),
        ("grep xf yfile a", ["yfile", "a"]),
        ("strings @x", ["@x", "x"]),
        ("ls", ["."]),
        ("cp a b", ["a", "b"]),
    ],
)
def test_the_files_that_a_command_opens(command: str, files: list[str]) -> None:
    assert sorted(opened(command)) == sorted(files)


@pytest.mark.parametrize("command", ["x 2>&1", "x <&0", "x > /dev/null", "x <<< y"])
def test_a_redirection_that_opens_no_file(command: str) -> None:
    assert redirected(parse(command).commands[0].redirects[0]) is None


@pytest.mark.parametrize(
    "command",
    [
        "grep $HOME a",
        "printf $HOME",
        "test -d $HOME",
        "[ 1 -eq 2 ]",
        "[ -5 -eq 3 ]",
        "[ -t 1 ]",
        "[[ -v x ]]",
        "[ a = 'b*' ]",
        "test a != b",
        "test a -ef b",
        "test a -nt b",
        "test a -ot b",
        "test -f a",
        "printf %s 'a[1]'",
        "printf %s x %d 'a[1]'",
        "git log --format=%H",
        "git log --oneline",
        "docker ps",
        "jq . a",
        "ps -e",
        "ps aux",
        "which cat",
        "history 5",
        "xargs echo",
        "xargs -I {} echo {}",
        "find . -name x",
    ],
)
def test_what_only_reads(command: str) -> None:
    assert read_only.reason(parse(command).commands[0])


@pytest.mark.parametrize(
    "command",
    [
        "A=1",
        "\\cat a",
        "pwd echo",
        "whoami echo",
        "jq . $HOME",
        "docker logs 'a$x'",
        "docker",
        "[ a -eq 2 ]",
        "[ 1 -eq a ]",
        "[ -5 x ]",
        "[ -t x ]",
        "[ -v x ]",
        "[[ -v x[0] ]]",
        "[[ a == b* ]]",
        "[[ a = b* ]]",
        "[[ a != b* ]]",
        "test a = b",
        "test -f",
        "test -x -y",
        "test -eq 5",
        "test 'a[1]' -eq 1",
        "printf %d 'a[1]'",
        "printf -- %d 'a[1]'",
        "printf %s 'a[$(id)]'",
        "printf -v x y",
        "git log --format=x",
        "git log --pretty=x a",
        "git log --format x",
        "find . -fprint x",
        "find . -fprint0 x",
        "find . -fprintf x y",
        "find 'a$x'",
        "jq",
        "jq . a -",
        "jq . a -r",
        "ps auxe",
        "which -",
        "history 5 6",
        "history x",
        "xargs -I x echo x",
        "xargs rm",
        "grep x '$(id)'",
    ],
)
def test_what_may_do_more_than_read(command: str) -> None:
    assert read_only.reason(parse(command).commands[0]) == ""


@pytest.mark.parametrize(
    ("allow", "mode", "command", "expected"),
    [
        ([], "acceptEdits", 'echo a > "$x"', "ask"),
        ([], "acceptEdits", "echo a > =x", "ask"),
        ([], "acceptEdits", "echo a > a/../b", "ask"),
        ([], "acceptEdits", "echo a > a/..b", "allow"),
        (["Read(~/**)"], "default", "ls ~", "allow"),
        (["Bash(eval:*)"], "default", "timeout 5 eval x", "ask"),
        (["Bash(cd:*)"], "default", "timeout 5 cd /x", "ask"),
        (["Bash(git:*)"], "default", "timeout 5 git push", "allow"),
    ],
)
def test_one_command(allow: list[str], mode: str, command: str, expected: str) -> None:
    assert verdict(settings(allow=allow, mode=mode), "Bash", command) == expected


def test_why_a_command_is_allowed() -> None:
    assert decide(settings(), call("Bash", "ls 2>&1")).reason.startswith("it only reads")
    assert decide(settings(allow=["Bash(find:*)"]), call("Bash", "find . -name x")).rule == "Bash(find:*)"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/bin/sh <<< 'dny x'", "deny"),
        ("source /dev/stdin <<< 'dny x'", "deny"),
        (". /dev/stdin <<< 'dny x'", "deny"),
        ("at now <<< 'dny x'", "deny"),
        ("cat /dev/stdin <<< 'dny x'", "allow"),
    ],
)
def test_what_is_read_and_run(command: str, expected: str) -> None:
    assert verdict(settings(deny=["Bash(dny *)"], mode="bypassPermissions"), "Bash", command) == expected


def test_a_denial_with_a_pattern_leaves_nothing_of_an_exact_allowance() -> None:
    (complaint,) = lint(settings(allow=["Bash(git a x)"], deny=["Bash(git * x)"]))
    assert complaint.code == "shadowed"


@pytest.mark.parametrize(
    "command",
    [
        "grep -ex secret",
        "grep -fx secret",
        "grep -rex secret",
        "grep -e x secret",
        "grep --regexp=x secret",
        "grep --regexp x secret",
        "grep --reg=x secret",
        "grep --fil=x secret",
        "egrep -ex secret",
        "fgrep -nfx secret",
        "rg -ex secret",
        "rg -nfx secret",
        "rg --regexp=x secret",
        "awk -fx secret",
        "awk -nf x secret",
        "awk --fi=x secret",
        "gawk --source=x secret",
        "gawk -ex secret",
        "jq -f x secret",
        "sed -ep secret",
        "sed -ne p secret",
        "sed -nep secret",
        "sed --exp=p secret",
        "sed --fi=p secret",
        "sed -e p secret",
    ],
)
def test_no_way_to_give_a_pattern_hides_the_file_behind_it(command: str) -> None:
    assert verdict(settings(deny=["Read(secret)"], mode="bypassPermissions"), "Bash", command) == "deny"


@pytest.mark.parametrize(
    "command",
    [
        "grep secret a",
        "grep -dread secret a",
        "grep -rn secret a",
        "rg -tshell secret a",
        "awk -vname=1 secret a",
        "sed p a",
    ],
)
def test_a_pattern_is_no_file(command: str) -> None:
    assert verdict(settings(deny=["Read(secret)"], mode="bypassPermissions"), "Bash", command) == "allow"


BYPASS = settings(mode="bypassPermissions")


@pytest.mark.parametrize(
    "command",
    [
        "/bin/rm -rf /",
        "\\rm -rf /",
        "rm /",
        "rm -rf / ; find x",
        "rm -rf `x`",
        "rm -rf $(x)",
        "rm -rf /w/home/*",
        "find / -name x -delete",
        "find ~ -name x -delete",
        "find / -delete",
        "rm -rf *",
        "cd sub && rm -rf *",
        "cd sub && rm -rf .",
    ],
)
def test_what_is_asked_about_where_nothing_is_asked(command: str) -> None:
    assert verdict(BYPASS, "Bash", command) == "ask"


@pytest.mark.parametrize(
    "command",
    [
        "find / -name x",
        "cd sub && rm -rf x*",
        "mv a /w/home",
        "mv a b",
        'x "$API_TOKEN"',
        "echo '$API_TOKEN'",
        "echo $HOME",
    ],
)
def test_what_is_not_asked_about_there(command: str) -> None:
    assert verdict(BYPASS, "Bash", command) == "allow"


@pytest.mark.parametrize(
    ("allow", "ask", "tool", "given", "expected"),
    [
        ([], [], "Read", {"file_path": 3}, "ask"),
        ([], [], "Read", {}, "ask"),
        ([], [], "Write", {}, "ask"),
        ([], [], "Glob", {"pattern": "*"}, "allow"),
        ([], [], "Grep", {"pattern": "x"}, "allow"),
        (["WebFetch"], [], "WebFetch", {"url": "https://a.example/"}, "allow"),
        (["WebFetch"], ["WebFetch(domain:a.example)"], "WebFetch", {"url": "https://a.example/"}, "ask"),
        (["WebFetch(domain:a.example)"], [], "WebFetch", {"url": "x://a.example/"}, "ask"),
    ],
)
def test_other_tools_by_what_they_are_given(
    allow: list[str], ask: list[str], tool: str, given: dict[str, object], expected: str
) -> None:
    assert verdict(settings(allow=allow, ask=ask), tool, given) == expected


@pytest.mark.parametrize("url", ["x://a.evil.example/", "x://evil.example/", "https://evil.example%2f/"])
def test_a_denied_host_is_looked_for_in_what_is_no_certain_url(url: str) -> None:
    assert verdict(settings(deny=["WebFetch(domain:*.evil.example)"]), "WebFetch", url) == "deny"
