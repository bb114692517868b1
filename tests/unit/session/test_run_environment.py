"""What of the launching environment enters: never the value of a variable that a secret fills or is read from."""

import pytest

from ringfence.sandbox.artefact import DEFAULT_PATH, FIELDS, Artefact, environment
from ringfence.session.run import Run


def entering(
    monkeypatch: pytest.MonkeyPatch, environment: list[tuple[str, str | None]], *withheld: str
) -> dict[str, str]:
    monkeypatch.setenv("TOKEN", "the real value")
    monkeypatch.setenv("TOKEN_FILE", "/x")
    values: dict[str, object] = dict.fromkeys(FIELDS, b"")
    values |= {"environment": environment, "withheld": list(withheld)}
    return dict(Run(Artefact(**values), ["true"], "/w").environment())


@pytest.mark.parametrize("name", ["TOKEN", "TOK*", "TOKEN*"])
def test_what_is_withheld_never_passes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert "TOKEN" in entering(monkeypatch, [(name, None)])
    assert "TOKEN" not in entering(monkeypatch, [(name, None)], "TOKEN")


def test_the_rest_of_a_pattern_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert entering(monkeypatch, [("TOK*", None)], "TOKEN") == {"TOKEN_FILE": "/x"}


@pytest.mark.parametrize(
    ("wanted", "present", "path"),
    [
        ([("PATH", None)], {}, DEFAULT_PATH),
        ([("PATH", None)], {"PATH": "/opt/bin:here"}, "/opt/bin"),
        ([("PATH", None)], {"PATH": ""}, ""),  # said, and says that there is none
        ([("PATH", "/set")], {}, "/set"),
        ([], {"PATH": "/opt/bin"}, None),  # policy lets none pass
    ],
)
def test_a_path_that_is_not_there_is_the_usual_one(
    wanted: list[tuple[str, str | None]], present: dict[str, str], path: str | None
) -> None:
    assert dict(environment(wanted, present)).get("PATH") == path
