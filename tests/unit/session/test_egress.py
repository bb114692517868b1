"""What the supervisor records of connections: nothing of those that reach the proxy, names for synthetic addresses."""

from types import SimpleNamespace

import pytest

from ringfence.session.egress import Way


def way(names: dict[str, str] | None) -> Way:
    made = Way.__new__(Way)
    made.artefact = SimpleNamespace(ports=[80, 443], literals=["10.0.0.1", "fd00::1"])  # type: ignore[assignment] # all it asks
    made.answering = SimpleNamespace(names=names) if names is not None else None  # type: ignore[assignment] # likewise
    return made


@pytest.mark.parametrize(
    ("target", "recorded"),
    [
        ("198.18.0.2:53", ""),
        ("198.18.0.2:54", "198.18.0.2:54"),
        ("198.18.1.0:443", ""),
        ("[::ffff:198.18.1.0]:80", ""),
        ("198.18.1.0:22", "a.example:22"),
        ("198.19.9.9:22", "198.19.9.9:22"),
        ("10.0.0.1:80", ""),
        ("10.0.0.1:81", "10.0.0.1:81"),
        ("[fd00::1]:443", ""),
        ("192.0.2.1:80", "192.0.2.1:80"),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_what_is_recorded(target: str, recorded: str) -> None:
    assert way({"198.18.1.0": "a.example"}).outward(target) == recorded


def test_a_name_that_is_not_known_yet_is_an_address() -> None:
    assert way(None).outward("198.18.1.0:22") == "198.18.1.0:22"
