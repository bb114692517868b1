"""Whose signatures a push needs: keys of policy, of files outside, of `git.signing`; never of what can be changed."""

import pytest

from ringfence.model.errors import UsageError
from ringfence.model.git import Signer
from tests.fake_host import HOME, WORKSPACE, Host, plan

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOJvPI25RpwZdYyTqF7dvkuvKTRtu92VdgAbU6kZ4J7z"
OTHER = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDd"
SIGNING = '[git.signing]\nkey = "~/.ssh/sign"\n'
OPENPGP = '[git.signing]\nkey = "0xABCDEF0123456789"\nformat = "openpgp"\n'
OWN = {f"{HOME}/.ssh/sign.pub": f"{OTHER} me@host\n"}


def remote(signers: str = "", signed: str = "true") -> str:
    more = f", signers = {signers}" if signers else ""
    push = f'push = {{ refs = ["refs/heads/x"], signed = {signed}{more} }}'
    return f'[[git.remotes]]\nhost = "git.example"\nrepositories = ["a/b"]\n{push}\n'


def found(text: str, files: dict[str, str] | None = None) -> tuple[Signer, ...]:
    made = plan(text, Host(dict(files or {})))
    assert made.egress is not None
    (one,) = made.egress.git_remotes
    assert one.push is not None
    return one.push.signers


def test_keys_of_policy() -> None:
    assert found(remote(f'["{KEY} me"]')) == (Signer(KEY),)


def test_keys_of_a_file() -> None:
    files = {f"{HOME}/signers": f'me valid-before="19700102" {KEY}\nyou {OTHER}\n'}
    assert found(remote('["~/signers"]'), files) == (Signer(KEY, before=86400), Signer(OTHER))
    assert found(remote(f'["{HOME}/signers", "{KEY}"]'), files)[2] == Signer(KEY)


def test_the_key_that_signs_counts_where_no_other_is_named() -> None:
    assert found(SIGNING + remote(), OWN) == (Signer(OTHER),)
    assert found(SIGNING + remote(f'["{KEY}"]'), OWN) == (Signer(KEY),)


def test_files_are_not_read_where_nothing_must_be_signed() -> None:
    assert found(remote('["~/signers"]', signed="false")) == (Signer("~/signers"),)


@pytest.mark.parametrize(
    ("text", "files", "message"),
    [
        (remote(), {}, "by nobody"),
        (OPENPGP + remote(), {}, "by nobody"),
        (remote('["~/absent"]'), {}, f"`{HOME}/absent` names nobody"),
        (remote('["~/empty"]'), {f"{HOME}/empty": "# nobody\n"}, "names nobody"),
        (remote('["~/file"]'), {f"{HOME}/file": f'x namespaces="file" {KEY}'}, "names nobody"),
        (remote('["~/odd"]'), {f"{HOME}/odd": f"x cert-authority {KEY}"}, "an option other than"),
    ],
)
def test_a_push_that_nobody_could_sign_is_an_error(text: str, files: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        found(text, files)
    assert caught.value.hint and caught.value.place


@pytest.mark.parametrize("mode", ["overlay", "direct"])
def test_a_file_that_can_be_changed_inside_is_an_error(mode: str) -> None:
    files = {f"{WORKSPACE}/signers": KEY}
    with pytest.raises(UsageError, match="could be changed inside"):
        found(remote(f'["{WORKSPACE}/signers"]') + f'[workspace]\nmode = "{mode}"\n', files)
    assert found(remote(f'["{WORKSPACE}/signers"]') + '[workspace]\nmode = "readonly"\n', files)
