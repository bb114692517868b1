"""Files of signers and public keys: what is read, and that nothing in a line is passed over."""

import base64

import pytest

from ringfence.model.git import Signer
from ringfence.policy.signers import KINDS, is_path, read_signers

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOJvPI25RpwZdYyTqF7dvkuvKTRtu92VdgAbU6kZ4J7z"
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDd"


@pytest.mark.parametrize(
    "line",
    [
        KEY,
        f"{KEY} comment with ssh-rsa in it",
        f"me@example.com {KEY}",
        f"me@example.com,*@example.org {KEY} x",
        f'* namespaces="git" {KEY}',
        f'* namespaces="file,git" {KEY}',
        f'* Namespaces="git",valid-after="" {KEY}',
        f"\n# a comment\n\n  {KEY}  \n",
    ],
)
def test_a_key(line: str) -> None:
    assert read_signers(line) == (Signer(KEY),)


def test_keys_in_their_order() -> None:
    assert read_signers(f"{RSA}\nme {KEY}\n") == (Signer(RSA), Signer(KEY))
    assert read_signers("") == read_signers("# nobody\n") == ()


def test_a_key_for_another_use_is_none() -> None:
    assert read_signers(f'me namespaces="file" {KEY}\nme namespaces="" {KEY}') == ()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("19700102", 86400), ("19700102Z", 86400), ("197001020001", 86460), ("19700102000102Z", 86462)],
)
def test_times(text: str, seconds: int) -> None:
    assert read_signers(f'me valid-after="{text}" {KEY}') == (Signer(KEY, after=seconds),)
    assert read_signers(f'me valid-before="{text}" {KEY}') == (Signer(KEY, before=seconds),)


@pytest.mark.parametrize(
    "line",
    [
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 ====",
        f"ssh-rsa {KEY.split()[1]}",
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIA",
        "ssh-dss AAAAB3NzaC1kc3MAAACBAP",
        f"me cert-authority {KEY}",
        f'me command="x" {KEY}',
        f'me valid-before="soon" {KEY}',
        f'me valid-before="20201301" {KEY}',
        f'me valid-before="2020" {KEY}',
        f'valid-before="20200101" x=y {KEY}',
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_what_is_no_signer(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_signers(f"{KEY}\n{line}\n")


def test_paths_and_keys_are_told_apart() -> None:
    assert [is_path(text) for text in ("/x", "~/x", KEY, "x/y", *KINDS)] == [True, True, *[False] * (2 + len(KINDS))]


@pytest.mark.parametrize("kind", [f"ecdsa-sha2-nistp{bits}" for bits in (256, 384, 521)])
def test_keys_of_every_kind(kind: str) -> None:
    blob = base64.b64encode(len(kind).to_bytes(4, "big") + kind.encode() + b"\0rest").decode()
    assert read_signers(f"me {kind} {blob}") == (Signer(f"{kind} {blob}"),)
