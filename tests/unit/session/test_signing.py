"""Which requests for a signature are granted, and what the record says of them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ringfence.inside import sign
from ringfence.model import guest_network
from ringfence.model.errors import HostError
from ringfence.model.git import Pushes, Signing
from ringfence.session.signing import REFUSALS_RECORDED, Signer, sign_outside
from tests.unit.session.test_signable import COMMIT, TAG

KEY = Signing(key="/keys/sign", max_signatures=3)
Fields = Mapping[str, str | int | bool | list[str] | None]


class Asked(Signer):
    """A signer without key and sandbox: what it signed and what it recorded."""

    def __init__(self, signing: Signing = KEY, *pushes: Pushes, fails: bool = False) -> None:
        super().__init__(signing, pushes, self.sign_nothing)
        self.fails = fails
        self.texts: list[bytes] = []
        self.records: list[tuple[str, str, dict[str, object]]] = []
        self.report = self.keep

    def keep(self, kind: str, code: str, fields: Fields, /) -> None:
        self.records.append((kind, code, dict(fields)))

    def signatures(self) -> list[dict[str, object]]:
        return [fields for kind, code, fields in self.records if (kind, code) == ("signature", "")]

    def denials(self) -> list[dict[str, object]]:
        return [fields for kind, code, fields in self.records if (kind, code) == ("denial", "signing-denied")]

    def sign_nothing(self, signing: Signing, text: bytes) -> bytes:
        if self.fails:
            raise HostError("no agent")
        self.texts.append(text)
        return b"signature"

    def ask(self, text: str = COMMIT, kind: str = "ssh git") -> tuple[int, bytes]:
        return self.answer(f"{kind}\n{text}".encode())


def test_a_commit_is_signed_and_recorded() -> None:
    asked = Asked()
    assert asked.ask() == (0, b"signature")
    assert asked.texts == [COMMIT.encode()]
    (fields,) = asked.signatures()
    assert fields["tree"] == "a" * 40 and fields["parents"] == ["b" * 40] and fields["subject"] == "Subject"
    assert fields["author"] == "An Author <author@example.com>" and str(fields["digest"]).startswith("sha256:")


def test_a_tag_is_signed_and_recorded() -> None:
    asked = Asked()
    assert asked.ask(TAG) == (0, b"signature")
    (fields,) = asked.signatures()
    assert fields["target"] == "tag v1.0" and fields["object"] == "a" * 40


@pytest.mark.parametrize(
    ("signing", "text", "kind", "reason"),
    [
        (Signing(), COMMIT, "ssh git", "names no key"),
        (KEY, COMMIT, "ssh file", "namespace"),
        (KEY, COMMIT, "ssh git ", "namespace"),
        (KEY, COMMIT, "openpgp git", "signs as `ssh`"),
        (KEY, COMMIT, "", "signs as `ssh`"),
        (Signing(key="/keys/sign", tags=False), TAG, "ssh git", "no tags"),
        (KEY, "anything", "ssh git", "neither a commit nor a tag"),
    ],
)
def test_what_is_refused_is_recorded(signing: Signing, text: str, kind: str, reason: str) -> None:
    asked = Asked(signing)
    status, said = asked.ask(text, kind)
    assert status == 1 and reason in said.decode() and not asked.texts
    (fields,) = asked.denials()
    assert reason in str(fields["reason"])


def test_there_are_as_many_signatures_as_policy_says() -> None:
    asked = Asked()
    assert [asked.ask()[0] for _ in range(5)] == [0, 0, 0, 1, 1]
    assert len(asked.texts) == 3 and len(asked.denials()) == 2


def test_a_limit_of_none_forbids() -> None:
    asked = Asked(Signing(key="/keys/sign", max_signatures=0))
    assert asked.ask()[0] == 1 and asked.denials()


def test_a_flood_of_refusals_is_recorded_to_a_limit_and_then_counted() -> None:
    asked = Asked()
    for _ in range(REFUSALS_RECORDED + 50):
        asked.ask("x")
    assert len(asked.denials()) == REFUSALS_RECORDED
    asked.close()
    assert asked.denials()[-1]["count"] == REFUSALS_RECORDED + 50
    assert asked.ask()[0] == 1 and not asked.texts, "nothing is signed after the end"


@pytest.mark.parametrize(
    ("pushes", "allowed"),
    [
        ((), True),
        ((Pushes(),), True),
        ((Pushes(authors=("author@example.com",)),), True),
        ((Pushes(authors=("*@EXAMPLE.com",), committers=("a*r@*.com",)),), True),
        ((Pushes(authors=("*@example.org",)),), False),
        ((Pushes(committers=("release@example.com",)),), False),
        ((Pushes(authors=("*@example.org",)), Pushes(authors=("author@*",))), True),
    ],
)
def test_where_policy_says_who_pushes_nobody_else_signs(pushes: tuple[Pushes, ...], allowed: bool) -> None:
    for text in (COMMIT, TAG):
        assert (Asked(KEY, *pushes).ask(text)[0] == 0) is allowed


def test_a_key_that_does_not_work_is_recorded() -> None:
    asked = Asked(fails=True)
    status, said = asked.ask()
    assert status == 1 and b"no agent" in said
    assert [code for _, code, _ in asked.records] == ["", "signing-failed"]


def test_what_cannot_be_recorded_is_not_signed() -> None:
    asked = Asked()

    def full(*_: object) -> None:
        raise HostError("the disk is full")

    asked.report = full
    assert asked.ask()[0] == 1 and not asked.texts


def test_both_sides_know_the_same_place() -> None:
    assert sign.ADDRESS == guest_network.SIGNING


@pytest.mark.require("ssh-keygen")
def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=f"there is no key `{tmp_path}/sign`"):
        sign_outside(Signing(key=f"{tmp_path}/sign"), b"text")
