"""What the vault reads before it is confined: whose variables count, what is kept, what is told."""

import os
from pathlib import Path

from ringfence.model.secrets import Origin, Secret, Secrets, SecretSource
from ringfence.session.vault_messages import Keep, encode
from ringfence.session.vault_service import environment, opened

VALUE = "ghp_0123456789abcdefghijABCDEFGHIJ012345"


def secret(name: str, variable: str) -> Secret:
    return Secret(name=name, source=SecretSource(origin=Origin.ENVIRONMENT, locator=variable))


def test_the_variables_of_who_asks_go_before_our_own(tmp_path: Path) -> None:
    copy = tmp_path / "environ"
    copy.write_bytes(b"PATH=/elsewhere\0ODD\0EMPTY=\0EQUALS=a=b\0BYTES=\xff\0")
    found = environment([os.open(copy, os.O_RDONLY)])
    assert found["PATH"] == "/elsewhere" and found["EQUALS"] == "a=b" and found["EMPTY"] == ""
    assert os.fsencode(found["BYTES"]) == b"\xff" and "ODD" not in found
    assert found["HOME"] == os.environ["HOME"]
    assert environment([]) == dict(os.environ)


def test_what_is_told_holds_placeholders_and_no_value() -> None:
    secrets = Secrets(secrets=(secret("a", "A"), secret("b", "B"), secret("c", "C")))
    keeper, kept = opened(Keep(secrets=secrets), {"A": VALUE, "B": "short"})
    assert set(kept.placeholders) == {"a"} == set(keeper.placeholders)
    assert [(one.name, one.reason.partition(" ")[0]) for one in kept.missing] == [("b", "it"), ("c", "the")]
    assert len(kept.placeholders["a"]) == len(VALUE) and kept.placeholders["a"] != VALUE
    assert VALUE.encode() not in encode(kept) and b"short" not in encode(kept).replace(b"too short", b"")


def test_a_successor_has_the_same_placeholders() -> None:
    secrets = Secrets(secrets=(secret("a", "A"),))
    _, first = opened(Keep(secrets=secrets), {"A": VALUE})
    _, second = opened(Keep(secrets=secrets, placeholders=first.placeholders), {"A": VALUE[::-1].replace("_", "x")})
    assert second.placeholders == first.placeholders
