"""Path rules against git itself, and what must hold for any pattern."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.model.decision import Source
from ringfence.policy.effective import PathRule
from ringfence.policy.patterns import Pattern, compile_rule, escape

HERE = Source(scope="user")
NAMES = ["a", "b", "ab", "abc", "A", ".a", "a.b", "-", "]", "a*", "[a]", "x y", "\\"]
PATTERNS = [
    "a", "a/", "b/", "./a", "a/b", "a/*", "*/a", "*", "?", "??", "*.b", ".*", "a*", "*b*", "[ab]", "[!ab]", "[^a]b",
    "[a-b]b", "[]]", "[]-]", "[a-]", "[\\]]", "\\[a]", "a\\*", "\\\\", "**", "**/a", "**/a/b", "a/**", "a/**/b",
    "**/b/**", "a/**/**/b", "a**", "**b", "a/b*/c", "*/*/a", "./*", "./**", "x y", "\\a", "a?c", "ab*c", "*a*b*",
    "./a/b/", "*/",
]  # fmt: skip


def compiled(text: str, *, workspace: str = "/w", ignore_case: bool = False, literal: bool = False) -> Pattern:
    anchored = f"{escape(workspace)}{text[1:]}" if text.startswith("./") else text
    rule = PathRule(pattern=anchored, source=HERE, literal=literal)
    return compile_rule(rule, workspace=workspace, ignore_case=ignore_case)


@pytest.fixture(scope="module")
def paths() -> list[str]:
    found = list(NAMES)
    found += [f"{first}/{second}" for first in NAMES for second in NAMES]
    return found + [f"{first}/{second}/{third}" for first in "ab" for second in ("a", "b", "abc") for third in NAMES]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, paths: list[str]) -> Path:
    """Give a repository in which every path is a directory: a slash at the end of a pattern says nothing more."""
    root = tmp_path_factory.mktemp("ignored")
    subprocess.run(["git", "init", "-q", root], check=True, timeout=60)
    for path in paths:
        (root / path).mkdir(parents=True, exist_ok=True)
    return root


@pytest.mark.require("git")
@pytest.mark.parametrize("text", PATTERNS)
def test_matching_agrees_with_git(repository: Path, paths: list[str], text: str) -> None:
    (repository / ".gitignore").write_text((text[1:] if text.startswith("./") else text) + "\n")
    answer = subprocess.run(
        ["git", "-C", repository, "-c", "core.ignorecase=false", "check-ignore", "--no-index", "-z", "--stdin"],
        input="\0".join(paths).encode(),
        capture_output=True,
        timeout=60,
    )
    assert answer.returncode in (0, 1), answer.stderr
    ignored = set(answer.stdout.decode().split("\0")) - {""}
    pattern = compiled(text)
    assert {path for path in paths if pattern.matches(f"/w/{path}")} == ignored


SEGMENTS = st.text("ab*?[]!-\\.Aé", min_size=1, max_size=6)
TEXTS = st.lists(SEGMENTS | st.just("**"), min_size=1, max_size=4).map("/".join)
PATHS = st.lists(st.text("abA.é]-*", min_size=1, max_size=4), max_size=5).map(lambda names: "/".join(["/w", *names]))


def sound(text: str, *, ignore_case: bool) -> Pattern | None:
    try:
        return compiled(text, ignore_case=ignore_case)
    except ValueError:
        return None


@settings(max_examples=400, deadline=None)
@given(TEXTS, PATHS, st.text("abA", min_size=1, max_size=3))
def test_what_is_below_a_match_is_matched(text: str, path: str, name: str) -> None:
    pattern = sound(text, ignore_case=False)
    if pattern is not None and pattern.matches(path):
        assert pattern.matches(f"{path}/{name}")
        assert (path + "/").startswith(pattern.prefix.rstrip("/") + "/")


@settings(max_examples=400, deadline=None)
@given(TEXTS, PATHS)
def test_ignoring_case_only_ever_matches_more(text: str, path: str) -> None:
    exact, folded = sound(text, ignore_case=False), sound(text, ignore_case=True)
    if exact is not None and folded is not None and exact.matches(path):
        assert folded.matches(path)


@settings(max_examples=300, deadline=None)
@given(PATHS)
def test_a_path_matches_itself_in_any_letter_case(path: str) -> None:
    rule = PathRule(pattern=path, source=HERE, literal=True)
    pattern = compile_rule(rule, workspace="/w")
    assert pattern.literal_path == path
    assert all(pattern.matches(form) for form in (path, path.upper(), path.lower(), path.swapcase()))
    assert compiled(escape(path)).literal_path == path


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_is_a_pattern_or_a_value_error(text: str, name: str) -> None:
    pattern = sound(text, ignore_case=True)
    if pattern is not None:
        pattern.matches(f"/w/{name}")
