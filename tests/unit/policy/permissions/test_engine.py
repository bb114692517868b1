"""Decisions about tools other than the shell, their order, and what a decision says."""

import pytest

from ringfence.policy.permissions.engine import decide
from tests.permission_cases import call, settings, verdict


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/w/proj/a", "allow"),
        ("a", "allow"),
        ("/w/proj-evil/a", "ask"),
        ("/w/proj/../other", "ask"),
        ("/etc/passwd", "ask"),
        ("~/x", "ask"),
        ("/w/proj/.env", "deny"),
        ("/w/proj/sub/.ENV", "deny"),
        ("/proc/self/root/w/proj/.env", "deny"),
        ("/proc/self/cwd/.env", "deny"),
        ("~/.ssh/id", "deny"),
        ("/w/home/.ssh", "deny"),
        ("", "ask"),
        ("a\x00b", "ask"),
    ],
)
def test_reading(path: str, expected: str) -> None:
    rules = settings(deny=["Read(.env)", "Read(~/.ssh/**)"])
    assert verdict(rules, "Read", {"file_path": path}) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/w/proj/src/a", "allow"),
        ("/w/proj/vendor/src/a", "ask"),
        ("/w/proj/docs/a", "ask"),
        ("/w/home/.claude/docs/a", "ask"),
        ("/w/other/a", "allow"),
        ("/w/proj/q.log", "allow"),
        ("/w/proj/x/q.log", "allow"),
        ("/w/proj/.git/hooks/x", "ask"),
        ("/w/proj/src/.git/x", "ask"),
        ("/w/proj/src/.MCP.json", "ask"),
        ("/w/proj/src/git~1/x", "ask"),
        ("/w/proj/src/secret", "deny"),
    ],
)
def test_writing(path: str, expected: str) -> None:
    rules = settings(
        allow=["Edit(src/**)", "Edit(//w/other/**)", "Edit(*.log)", "Edit(.git/**)", "Write(docs/**)"],
        deny=["Read(secret)"],
    )
    assert verdict(rules, "Write", {"file_path": path}) == expected


@pytest.mark.parametrize(
    ("mode", "inside", "protected", "outside"),
    [
        ("default", "ask", "ask", "ask"),
        ("acceptEdits", "allow", "ask", "ask"),
        ("auto", "allow", "deny", "deny"),
        ("plan", "deny", "deny", "ask"),
        ("dontAsk", "deny", "deny", "deny"),
        ("bypassPermissions", "allow", "allow", "allow"),
    ],
)
def test_what_each_mode_makes_of_edits(mode: str, inside: str, protected: str, outside: str) -> None:
    rules = settings(mode=mode)
    assert verdict(rules, "Write", "/w/proj/a") == inside
    assert verdict(rules, "Write", "/w/proj/.mcp.json") == protected
    assert verdict(rules, "Write", "/w/other/a") == outside


@pytest.mark.parametrize(
    ("tool", "path", "expected"),
    [
        ("Read", "/etc/passwd", "allow"),
        ("Edit", "/w/proj/a", "allow"),
        ("Edit", "/w/proj/.git/a", "ask"),
        ("Write", "/w/proj/a", "ask"),
        ("NotebookEdit", "/w/proj/a", "deny"),
    ],
)
def test_a_rule_for_a_whole_file_tool_is_about_that_tool_alone(tool: str, path: str, expected: str) -> None:
    rules = settings(allow=["Read", "Edit"], deny=["NotebookEdit"])
    assert verdict(rules, tool, path) == expected
    assert verdict(rules, "Bash", "cat /etc/passwd") == "ask"
    assert verdict(rules, "Bash", "echo a > b") == "ask"


def test_what_may_not_be_read_may_not_be_written() -> None:
    assert verdict(settings(deny=["Read"], mode="bypassPermissions"), "Write", "/w/proj/a") == "deny"


def test_plan_mode_edits_nothing_that_a_rule_allows() -> None:
    assert verdict(settings(allow=["Edit(**)"], mode="plan"), "Write", "/w/proj/a") == "deny"


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ("mcp__s__get_a", "allow"),
        ("mcp__s__put_b", "deny"),
        ("mcp__other__x", "ask"),
        ("mcp__sx__get_a", "ask"),
        ("WebSearch", "ask"),
        ("TodoWrite", "allow"),
        ("Unheard", "ask"),
    ],
)
def test_other_tools(tool: str, expected: str) -> None:
    rules = settings(allow=["mcp__s", "mcp__*", "*"], deny=["mcp__s__put_*"])
    assert verdict(rules, tool, {}) == expected


@pytest.mark.parametrize(("name", "expected"), [("Explore", "deny"), ("explore", "allow"), ("general", "allow")])
def test_agents_by_name(name: str, expected: str) -> None:
    rules = settings(deny=["Agent(Explore)"], mode="bypassPermissions")
    assert verdict(rules, "Agent", {"subagent_type": name}) == expected
    assert verdict(rules, "Task", {"subagent_type": name}) == expected
    assert verdict(settings(deny=["Task(Explore)"], mode="bypassPermissions"), "Agent", name) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"command": "ls", "description": "", "run_in_background": True}, "deny"),
        ({"command": "ls", "description": "", "run_in_background": False}, "allow"),
        ({"command": "ls", "description": "", "timeout": 5000}, "ask"),
        ({"command": "ls", "description": ""}, "allow"),
        ({"command": "ls"}, "deny"),
    ],
)
def test_parameters(given: dict[str, object], expected: str) -> None:
    rules = settings(deny=["Bash(run_in_background:true)"], ask=["Bash(timeout:5*)"])
    assert verdict(rules, "Bash", given) == expected


def test_the_order_is_deny_ask_allow_whatever_is_narrower() -> None:
    assert verdict(settings(allow=["Bash(git push origin)"], deny=["Bash(git *)"]), "Bash", "git push origin") == "deny"
    assert verdict(settings(allow=["Bash(git push origin)"], ask=["Bash(git *)"]), "Bash", "git push origin") == "ask"
    assert verdict(settings(ask=["Read(a)"], deny=["Read"]), "Read", "/w/proj/a") == "deny"


@pytest.mark.parametrize(
    ("deny", "tool", "value"),
    [
        ("WebFetch(domain:a.example)", "WebFetch", "https://a.example/"),
        ("Read(a)", "Read", "/w/proj/a"),
        ("Edit(a)", "Write", "/w/proj/a"),
        ("Bash(dny *)", "Bash", "dny x"),
        ("Agent(Explore)", "Agent", "Explore"),
    ],
)
def test_a_question_about_everything_does_not_hide_a_denial(deny: str, tool: str, value: str) -> None:
    assert verdict(settings(ask=["*", tool], deny=[deny]), tool, value) == "deny"
    assert verdict(settings(ask=["*"]), tool, value) == "ask"


def test_a_decision_names_rule_and_place() -> None:
    decision = decide(settings(deny=["Bash(dny *)"]), call("Bash", "timeout 5 dny x"))
    assert decision.rule == "Bash(dny *)"
    assert str(decision.source) == "/w/home/.claude/settings.json:1"
    assert "denied by a rule" in decision.reason


def test_a_rule_that_is_not_needed_is_not_named() -> None:
    rules = settings(allow=["Read", "Bash(pfs *)"])
    assert decide(rules, call("Read", "/w/proj/a")).rule == ""
    assert decide(rules, call("Read", "/etc/a")).rule == "Read"
    assert decide(rules, call("Bash", "ls; pfs a")).rule == "Bash(pfs *)"


def test_what_could_not_be_read_is_said() -> None:
    decision = decide(settings(mode="bypassPermissions"), call("Bash", "base64 -d x | $SHELL"))
    assert "the boundary holds it" in decision.reason
    assert decision.errors
    assert "boundary" not in decide(settings(mode="bypassPermissions"), call("Bash", "other x")).reason


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com/", "allow"),
        ("https://evil.example.com/", "deny"),
        ("https://ask.example.com/", "ask"),
        ("https://docs.python.org/3/", "allow"),
        ("https://other.example.net/", "ask"),
        ("https://evil.example.com%2ex/", "deny"),
        ("file:///etc/passwd", "ask"),
        ("http://169.254.169.254/", "ask"),
    ],
)
def test_fetching(url: str, expected: str) -> None:
    rules = settings(
        allow=["WebFetch(domain:example.com)"],
        ask=["WebFetch(domain:ask.example.com)"],
        deny=["WebFetch(domain:evil.example.com)"],
    )
    assert verdict(rules, "WebFetch", {"url": url}) == expected


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("rm -rf *", "ask"),
        ("rm -rf ./*", "ask"),
        ("rm -rf /*", "ask"),
        ("rm -rf ~/*", "ask"),
        ("rm -rf $HOME/*", "ask"),
        ('rm -rf "$X"/*', "ask"),
        ("cd / && rm -rf *", "ask"),
        ("cd / && rm -rf etc", "ask"),
        ("cd sub && rm -rf etc", "allow"),
        ("rm -rf $(pwd)", "ask"),
        ("mv ~ /tmp/x", "allow"),
        ("rm -rf sub/*", "allow"),
        ("rm -rf $X/build", "allow"),
        ("rm -rf sub", "allow"),
        ("rm -rf **", "ask"),
        ("find -L . -delete", "ask"),
        ("find -- . -delete", "ask"),
        ("find -O3 -D tree . -delete", "ask"),
        ("find . -delete -name '*.o'", "ask"),
        ("find -L . -name '*.o' -delete", "allow"),
    ],
)
def test_critical_removals_are_asked_about_in_every_mode(command: str, said: str) -> None:
    assert verdict(settings(mode="bypassPermissions"), "Bash", command) == said


@pytest.mark.parametrize("command", ["mv ~ x", "mv -t x ~", "mv --target-directory=x ~", "mv -vt x a ~"])
def test_no_allowance_moves_what_is_critical(command: str) -> None:
    assert verdict(settings(allow=["Bash"]), "Bash", command) == "ask"


def test_a_command_that_is_none_is_asked_about_in_every_mode() -> None:
    inputs: list[dict[str, object]] = [{}, {"command": 5}, {"command": None}]
    for given in inputs:
        assert verdict(settings(allow=["Bash"], mode="bypassPermissions"), "Bash", given) == "ask"


def test_a_denial_of_the_whole_tool_is_not_about_commands() -> None:
    rules = settings(deny=["Read"], mode="bypassPermissions")
    assert (verdict(rules, "Bash", "cat a"), verdict(rules, "Read", "a")) == ("allow", "deny")


def test_a_program_whose_name_holds_a_blank_is_no_prefix() -> None:
    assert verdict(settings(allow=["Bash(my tool *)"]), "Bash", "'my tool' x") == "ask"
    assert verdict(settings(allow=["Bash(my tool *)"]), "Bash", "my tool x") == "allow"


def test_moving_what_is_obeyed_later_is_never_an_edit() -> None:
    rules = settings(mode="acceptEdits")
    for command in ("cp .git/config x", "mv .envrc x", "cp x .git/config"):
        assert verdict(rules, "Bash", command) == "ask"


def test_a_file_opened_for_both_is_no_edit() -> None:
    assert verdict(settings(allow=["Bash(pfs *)"], mode="acceptEdits"), "Bash", "pfs <> x") == "ask"


def test_an_allowance_of_one_skill_counts_where_a_classifier_would_judge() -> None:
    rules = settings(allow=["Skill(one)"], mode="auto")
    assert (verdict(rules, "Skill", {"skill": "one"}), verdict(rules, "Skill", {"skill": "two"})) == ("allow", "deny")


def test_from_a_directory_that_is_not_known_every_denial_of_a_file_may_be_meant() -> None:
    rules = settings(deny=["Read(secrets/**)"], mode="bypassPermissions")
    for command in ("cd $X; cat k", "cd $X; cd b; cat k", "cd -; cat k"):
        assert verdict(rules, "Bash", command) == "deny"
    assert verdict(rules, "Bash", "cd b; cat k") == "allow"


def test_notations_that_lead_elsewhere_are_asked_about_when_they_are_written() -> None:
    rules = settings(allow=["Edit(//dev/**)", "Edit(//w/**)"])
    assert verdict(rules, "Write", "/dev/tcp/h/1") == verdict(rules, "Write", "//w/proj/a") == "ask"
    assert verdict(rules, "Read", "//w/proj/a") == verdict(rules, "Write", "/w/proj/a") == "allow"
