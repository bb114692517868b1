"""Recognising what a target is."""

from pathlib import Path
from typing import Any

import pytest

from ringfence.cli import explain
from ringfence.model.errors import UsageError
from ringfence.report.refusals import REFUSALS


@pytest.mark.parametrize(
    ("target", "kind", "name"),
    [
        (["~/.ssh/id_rsa"], "path", "~/.ssh/id_rsa"),
        ([".env"], "path", ".env"),
        (["src/main.py"], "path", "src/main.py"),
        (["Makefile"], "path", "Makefile"),
        (["$HOME"], "env", "HOME"),
        (["env", "HOME"], "env", "HOME"),
        (["ENV", "$HOME"], "env", "HOME"),
        (["example.com"], "host", "example.com"),
        (["example.com:443"], "host", "example.com:443"),
        (["docs.rs"], "host", "docs.rs"),
        (["localhost"], "host", "localhost"),
        (["not-there-yet.txt"], "path", "not-there-yet.txt"),
        (["tsconfig.json:80"], "host", "tsconfig.json:80"),
        (["build:8080"], "host", "build:8080"),
        (["192.0.2.1"], "host", "192.0.2.1"),
        (["::1"], "host", "::1"),
        (["[::1]:80"], "host", "[::1]:80"),
        (["https://example.com/path?x"], "host", "https://example.com/path?x"),
        (["POST https://example.com/path"], "host", "POST https://example.com/path"),
        (["POST", "https://example.com/path"], "host", "POST https://example.com/path"),
        (["host", "GET https://example.com/"], "host", "GET https://example.com/"),
        (["GET example.com/path"], "host", "GET example.com/path"),
        (["path", "example.com"], "path", "example.com"),
        (["host", "build"], "host", "build"),
        (["namespace-denied"], "denial", "namespace-denied"),
        (["denial", "new-code"], "denial", "new-code"),
    ],
)
def test_the_kind_is_recognised(target: list[str], kind: str, name: str) -> None:
    assert explain.classify(target) == (kind, name)


@pytest.mark.parametrize(
    ("target", "kind", "note"),
    [
        (["not-there.md"], "host", "for a file of that name: `ringfence explain ./not-there.md`"),
        (["host", "not-there.md"], "host", ""),
        (["example.com"], "host", ""),
        (["API_KEY"], "path", "for the variable: `ringfence explain env API_KEY`"),
        (["OTHER"], "path", ""),
    ],
)
def test_what_else_may_be_meant_is_said(target: list[str], kind: str, note: str) -> None:
    assert explain.other_reading(target, kind, {"API_KEY": "x"}) == ((note,) if note else ())


def test_a_file_that_is_there_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.md").touch()
    monkeypatch.chdir(tmp_path)
    assert explain.classify(["notes.md"]) == ("path", "notes.md")


def test_a_file_named_like_a_code_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "io-uring").touch()
    monkeypatch.chdir(tmp_path)
    assert explain.classify(["io-uring"]) == ("path", "io-uring")


def test_a_code_says_why_and_what_allows_it() -> None:
    nothing: Any = None  # no policy is asked
    found = explain.explain_denial(nothing, "process-access")
    assert found.answers["allowed"].status == "no" and found.answers["allowed"].reason == REFUSALS["process-access"].why
    assert found.notes == ("`--seccomp debug` allows it for processes inside",)
    with pytest.raises(UsageError, match="no denial has the code `new-code`"):
        explain.explain_denial(nothing, "new-code")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="no kind `port`"):
        explain.classify(["port", "80"])


def test_options_stand_on_both_sides() -> None:
    options, target = explain.split(["--deny-read", ".env", "env", "HOME", "--json", "--read=/srv"])
    assert (target, options.json, options.deny_read, options.read) == (["env", "HOME"], True, [".env"], ["/srv"])


def test_two_dashes_end_the_options() -> None:
    options, target = explain.split(["--json", "--", "--read"])
    assert (target, options.json) == (["--read"], True)


@pytest.mark.parametrize(
    ("text", "parts"),
    [("a:80", ("a", "80")), ("[::1]:80", ("::1", "80")), ("::1", ("::1", "")), ("a:b", ("a:b", "")), ("a", ("a", ""))],
)
def test_host_and_port(text: str, parts: tuple[str, str]) -> None:
    assert explain.split_port(text) == parts
