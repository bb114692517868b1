"""The grammar of rules: what is read, what is void, what refuses the file."""

import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.errors import UsageError
from ringfence.policy.permissions.bash_rules import matcher
from ringfence.policy.permissions.rules import Rule, parse_rule

PLACE = Source(scope="user", file="s.json", line=7)


def parse(text: str, verdict: Verdict = Verdict.DENY) -> Rule:
    return parse_rule(text, verdict=verdict, source=PLACE, anchor="/w")


@pytest.mark.parametrize(
    ("text", "tool", "what"),
    [
        ("Bash", "Bash", ""),
        ("Bash(*)", "Bash", ""),
        ("Bash(git push *)", "Bash", "git push *"),
        ("Bash(echo (a))", "Bash", "echo (a)"),
        ("Read(//etc/**)", "Read", "//etc/**"),
        ("mcp__s__t", "mcp__s__t", ""),
        ("mcp__s__get_*", "mcp__s__get_*", ""),
        ("*", "*", ""),
        ("bash(x)", "bash", "x"),
        ("Read( a b )", "Read", "a b"),
        ("Bash( a b )", "Bash", " a b "),
        (" Read ", "Read", ""),
        ("WebFetch(domain:*.example.com)", "WebFetch", "domain:*.example.com"),
    ],
)
def test_a_rule_is_a_tool_and_what_of_it(text: str, tool: str, what: str) -> None:
    rule = parse(text)
    assert (rule.tool, rule.what, rule.ignored) == (tool, what, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Bash(",
        "Bash)",
        "Bash()",
        "(x)",
        "Bash(x",
        "Bash(x()",
        "1Bash",
        "Bash x",
        "WebFetch(example.com)",
        "WebFetch(domain:a b)",
        "B*(x)",
    ],
)
def test_what_is_no_rule_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert "s.json:7" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "text", ["*", "B*", "mcp__*", "mcp__s*", "Write(a)", "Glob(a)", "NotebookEdit(a)", "mcp__s__t(x:1)"]
)
def test_an_allowance_without_effect_is_marked(text: str) -> None:
    assert parse(text, Verdict.ALLOW).ignored


@pytest.mark.parametrize("text", ["mcp__s__*", "mcp__a-b__get_*", "mcp__s__t", "mcp__s"])
def test_an_allowance_of_one_servers_tools_has_effect(text: str) -> None:
    assert parse(text, Verdict.ALLOW).ignored == ""


def test_a_condition_that_means_nothing_makes_a_denial_wider() -> None:
    assert parse("mcp__s__t(x:1)").what == ""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Bash(run_in_background:true)", "run_in_background"),
        ("Bash(timeout:5)", "timeout"),
        ("Bash(description:x)", "description"),
        ("Bash(dangerouslyDisableSandbox:true)", "dangerouslyDisableSandbox"),
        ("Bash(command:x)", ""),
        ("Bash(git:*)", ""),
        ("Agent(model:x)", "model"),
        ("Agent(git:*)", "git"),
        ("WebSearch(query:x)", "query"),
        ("Read(file_path:x)", ""),
        ("Read(x:y)", ""),
        ("Edit(x:y)", ""),
        ("Cd(x:y)", ""),
        ("LS(path:x)", "path"),
        ("LS(Path:x)", ""),
        ("LS(path:)", ""),
    ],
)
def test_parameters_are_those_beside_the_main_field(text: str, name: str) -> None:
    rule = parse(text)
    assert (rule.parameter.name if rule.parameter else "") == name
    assert parse(text, Verdict.ALLOW).parameter is None


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        ("exact two", ["exact two", "exact two "], ["exact", "exact  two", "exact two x"]),
        ("pre:*", ["pre", "pre x", "pre\tx"], ["preX", "xpre", ""]),
        ("pre *", ["pre", "pre x", "pre\nx"], ["preX"]),
        ("pre*", ["pre", "preX y"], ["xpre"]),
        ("mid * end", ["mid a end", "mid a b end"], ["mid end", "mid a"]),
        ("* --v", ["x --v", "x y --v"], ["--v"]),
        ("a:b", ["a:b"], ["a b"]),
        ("git * push *", ["git x push", "git x push y"], ["git push"]),
        ("a.b*", ["a.bc"], ["axbc"]),
    ],
)
def test_patterns_of_commands(rule: str, yes: list[str], no: list[str]) -> None:
    matches = matcher(rule)
    assert [text for text in yes if not matches(text)] == []
    assert [text for text in no if matches(text)] == []
