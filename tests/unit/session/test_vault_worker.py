"""What the vault's process says of its own errors: kind and place, never their text, which may quote a value."""

import pytest

from ringfence.session.vault_worker import placed

VALUE = "ghp_0123456789abcdefghij"


def quoting(depth: int) -> None:
    if depth:
        quoting(depth - 1)
    raise ValueError(f"cannot parse {VALUE}")


def said(depth: int) -> str:
    with pytest.raises(ValueError, match="cannot parse") as caught:
        quoting(depth)
    return placed(caught.type, caught.value.__traceback__)


def test_an_error_without_its_text() -> None:
    assert said(0).startswith("ValueError at test_vault_worker.py:")
    assert " quoting < " in said(0) and VALUE not in said(0) and "\n" not in said(0)


def test_of_a_deep_one_the_innermost_places() -> None:
    assert said(100).count(" < ") == 7 and VALUE not in said(100)
