"""What a path rule matches."""

import pytest

from ringfence.model.decision import Source
from ringfence.policy.effective import PathRule
from ringfence.policy.patterns import Pattern, compile_rule, escape, fold

HERE = Source(scope="user")


def pattern(text: str, *, literal: bool = False, ignore_case: bool = False) -> Pattern:
    return compile_rule(PathRule(pattern=text, source=HERE, literal=literal), workspace="/w", ignore_case=ignore_case)


@pytest.mark.parametrize(
    ("text", "matched", "not_matched"),
    [
        ("a", ["/w/a", "/w/x/a", "/w/x/y/a", "/w/a/below/it"], ["/w", "/w/ab", "/a", "/x/w/a", "/w/A"]),
        ("a/", ["/w/a", "/w/x/a/b"], ["/w/b"]),
        ("a/b", ["/w/a/b", "/w/a/b/c"], ["/w/x/a/b", "/w/a", "/w/b"]),
        ("/a", ["/a", "/a/b"], ["/w/a", "/"]),
        ("/", ["/", "/a", "/w/b"], []),
        ("*.key", ["/w/x.key", "/w/.key", "/w/d/x.key/y"], ["/w/x.keys", "/w/key"]),
        ("?", ["/w/a", "/w/é"], ["/w/ab"]),
        ("a*b*c", ["/w/abc", "/w/axbxbxc"], ["/w/ab", "/w/abcd"]),
        ("a**b", ["/w/ab", "/w/axb"], ["/w/a/b"]),
        ("**/a", ["/w/a", "/w/x/y/a"], ["/a"]),
        ("**", ["/w/a", "/w/a/b"], ["/w", "/x"]),
        ("a/**", ["/w/a/b", "/w/a/b/c"], ["/w/a", "/w/b"]),
        ("a/**/**", ["/w/a/b"], ["/w/a"]),
        ("a/**/b", ["/w/a/b", "/w/a/x/b", "/w/a/x/y/b/z"], ["/w/a/x", "/w/b"]),
        ("[a-c]x", ["/w/ax", "/w/cx"], ["/w/dx", "/w/x"]),
        ("[!a-c]x", ["/w/dx", "/w/!x"], ["/w/ax"]),
        ("[a-]x", ["/w/-x", "/w/ax"], ["/w/bx"]),
        ("a***b*", ["/w/ab", "/w/axbx"], ["/w/b"]),
        ("[^a]x", ["/w/bx"], ["/w/ax"]),
        ("[]a]", ["/w/]", "/w/a"], ["/w/b"]),
        ("[a-]", ["/w/-", "/w/a"], ["/w/b"]),
        ("[\\]\\-z]", ["/w/]", "/w/-", "/w/z"], ["/w/a"]),
        ("\\*", ["/w/*"], ["/w/a"]),
        ("\\[a]", ["/w/[a]"], ["/w/a"]),
        ("é", ["/w/é"], ["/w/e\u0301"]),
    ],
)
def test_matching(text: str, matched: list[str], not_matched: list[str]) -> None:
    compiled = pattern(text)
    assert [path for path in matched if not compiled.matches(path)] == []
    assert [path for path in not_matched if compiled.matches(path)] == []


def test_literal_rules_have_no_wildcards() -> None:
    compiled = pattern("a*[b]\\?", literal=True)
    assert compiled.matches("/w/d/a*[b]\\?")
    assert not compiled.matches("/w/axb\\x")
    assert pattern("**", literal=True).matches("/w/**")
    assert not pattern("**", literal=True).matches("/w/a")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (".env", ".ENV"),
        ("Secret*", "sECRETS"),
        ("É", "é"),
        ("é", "e\u0301"),
        ("e\u0301", "\u00c9"),
        ("straße", "STRASSE"),
        ("?", "ß"),
        (".git", ".g\u200cit"),
        ("[a-c]x", "BX"),
        ("[A-C]x", "bX"),
        ("[!A]", "a"),
        ("[!a]", "A"),
    ],
)
def test_denials_match_other_forms_of_a_name(text: str, name: str) -> None:
    assert pattern(text, ignore_case=True).matches(f"/w/{name}")
    assert pattern(text, ignore_case=True).matches(f"/W/{name}")


def test_other_forms_are_still_other_names() -> None:
    assert not pattern("[!ab]", ignore_case=True).matches("/w/b/a")
    assert not pattern(".env", ignore_case=True).matches("/w/.envrc")
    assert not pattern(".env").matches("/w/.ENV")


def test_folding() -> None:
    assert fold("ABC") == "abc"
    assert fold("E\u0301") == fold("\u00e9") == "\u00e9"
    assert fold("e\u200d\u0301") == "\u00e9"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a[", "not closed"),
        ("[", "not closed"),
        ("[a-", "not closed"),
        ("[a\\", "not closed"),
        ("[a/b]", "not closed"),
        ("a\\", "escapes nothing"),
        ("a\\/b", "escapes nothing"),
        ("[z-a]", "the range `z-a` is empty"),
        ("[[:alpha:]]", "classes"),
        ("", "empty"),
    ],
)
def test_malformed_patterns_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        pattern(text)


@pytest.mark.parametrize(
    ("text", "literal_path", "prefix"),
    [
        ("/a/b", "/a/b", "/a/b"),
        ("/a/\\*", "/a/*", "/a/*"),
        ("/a/*/c", None, "/a"),
        ("/a/**", None, "/a"),
        ("/", "/", "/"),
        ("/*", None, "/"),
        ("a", None, "/w"),
        ("a/b", "/w/a/b", "/w/a/b"),
    ],
)
def test_where_a_pattern_can_match(text: str, literal_path: str | None, prefix: str) -> None:
    assert pattern(text).literal_path == literal_path
    assert pattern(text).prefix == prefix


def test_escape_makes_a_path_literal() -> None:
    name = "/a*b?[c]\\d"
    assert pattern(escape(name)).literal_path == name


def test_hostile_patterns_stay_cheap() -> None:
    # Backtracking over each `*` or `**` would take longer than the universe has; the suite's time limit would end it.
    compiled = pattern("/".join(["**", "a*a*a*a*a*a*a*a*b"] * 10))
    assert not compiled.matches("/w/" + "/".join(["a" * 60] * 20))


def test_a_workspace_is_called_what_it_is_called() -> None:
    found = compile_rule(PathRule(pattern="a", source=HERE), workspace="/w[x]")
    assert found.matches("/w[x]/a") and found.matches("/w[x]/b/A") and not found.matches("/wx/a")
