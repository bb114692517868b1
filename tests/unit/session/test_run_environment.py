"""What of the launching environment enters: never the value of a variable that a secret fills or is read from."""

import pytest

from ringfence.sandbox.artefact import FIELDS, Artefact
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
