"""Commits and tags signed outside, with keys that never enter: real git, ssh-keygen and gpg, and who tries for more."""

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.commands import Commands
from tests.paths import wait_until

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "git", "ssh-keygen"), pytest.mark.timeout(400)]
PYTHON = "/usr/bin/python3"
RAW = """
import socket, sys
def ask(head, text, cut=False):
    link = socket.create_connection(("127.0.0.1", 3126), 60)
    link.sendall(head + b"\\n" + text)
    if cut:
        return link.close()
    link.shutdown(socket.SHUT_WR)
    said = b""
    while data := link.recv(65536):
        said += data
    return said.partition(b"\\n")[2] if said.startswith(b"1 ") else b"SIGNED" + said
who = b"N <n@example.com> 1 +0000"
tree = b"tree " + b"a" * 40 + b"\\n"
commit = tree + b"author " + who + b"\\ncommitter " + who + b"\\n\\nx"
"""


class Signing:
    """A user with a signing key, a repository in the workspace, and policy that has commits signed."""

    def __init__(self, ringfence: Commands) -> None:
        self.ringfence = ringfence
        self.home = ringfence.home
        self.key = self.home / ".ssh/signing"
        self.outside("mkdir", "-m", "700", "-p", str(self.key.parent), str(self.home / ".config/ringfence"))
        self.outside("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.key))
        self.outside("git", "init", "-q", ".")
        (self.home / ".gitconfig").write_text("[user]\nname = Someone\nemail = someone@example.com\n")
        (self.home / "signers").write_text(f"someone@example.com {self.key.with_suffix('.pub').read_text()}")
        self.policy()

    def policy(self, more: str = "", key: str = "~/.ssh/signing") -> None:
        text = f'version = 1\n[git.signing]\nkey = "{key}"\n{more}\n'
        (self.home / ".config/ringfence/policy.toml").write_text(text)

    def outside(
        self, *words: str, check: bool = True, variables: Mapping[str, str] = {}
    ) -> subprocess.CompletedProcess[str]:
        done = self.ringfence(before=words, **variables)
        assert done.returncode == 0 or not check, done.stderr
        return done

    def shell(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.ringfence("run", "--", "sh", "-c", script, **variables)

    def python(self, script: str) -> subprocess.CompletedProcess[str]:
        return self.ringfence("run", "--", PYTHON, "-c", RAW + script)

    def verifies(self, *words: str) -> bool:
        """Whether git outside, with the operator's own list of signers, takes a signature for good."""
        settings = ["-c", f"gpg.ssh.allowedSignersFile={self.home}/signers"]
        return self.outside("git", *settings, *words, check=False).returncode == 0

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.ringfence.state / "audit/audit.jsonl").read_text().splitlines()
        return [one["fields"] | {"code": one["code"]} for one in map(json.loads, lines) if one["kind"] == kind]

    def refusals(self) -> list[str]:
        return [one["reason"] for one in self.events("denial") if one["code"] == "signing-denied"]


@pytest.fixture
def work(ringfence: Commands) -> Signing:
    return Signing(ringfence)


def test_commits_and_tags_are_signed_and_verified(work: Signing) -> None:
    done = work.shell("git commit -q --allow-empty -S -m First; git tag -s -m Release v1; git log -1 --show-signature")
    assert 'Good "git" signature for someone@example.com' in done.stdout, done.stderr
    assert work.verifies("verify-commit", "HEAD") and work.verifies("verify-tag", "v1")
    commit, tag = work.events("signature")
    assert commit["tree"] == work.outside("git", "log", "-1", "--format=%T").stdout.strip()
    assert commit["subject"] == "First" and commit["author"] == "Someone <someone@example.com>"
    assert tag["target"] == "tag v1" and tag["object"] == work.outside("git", "rev-parse", "HEAD").stdout.strip()


def test_merges_amendments_and_rebases_are_signed(work: Signing) -> None:
    script = """set -e
    git config --global commit.gpgSign true
    git commit -q --allow-empty -m base; git branch side; echo a > a; git add a; git commit -qm a
    git checkout -q side; echo b > b; git add b; git commit -qm b; git merge -q --no-edit master
    git commit -q --amend -m "other words"; git checkout -q master; git rebase -q --force-rebase side
    git commit -q --allow-empty --allow-empty-message -m ''; git tag -s -m t tag; git checkout -q -b third HEAD~1
    git commit -q --allow-empty -m c; git merge -q --no-edit --no-ff tag; git log --format=%G?"""
    done = work.shell(script)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"G"}
    assert not work.refusals() and len(work.events("signature")) >= 8


@pytest.mark.parametrize("setting", ["commit", "tag"])
def test_what_the_user_has_signed_unasked_is_signed_inside(work: Signing, setting: str) -> None:
    with (work.home / ".gitconfig").open("a") as file:
        file.write(f"[{setting}]\n\tgpgSign = true\n")
    assert work.shell("git commit -q --allow-empty -m one && git tag -m tag v1").returncode == 0
    assert [one["target"].split()[0] for one in work.events("signature")] == [setting]


def test_no_key_and_no_agent_is_inside(work: Signing) -> None:
    private = work.key.read_text().splitlines()[1]
    search = f"grep -rsl {private} / --exclude-dir=proc --exclude-dir=sys --exclude-dir=usr"
    control = work.outside("grep", "-rsl", private, str(work.home)).stdout
    assert str(work.key) in control
    done = work.shell(f"env | grep AUTH; ls -A ~/.ssh; {search}; true", SSH_AUTH_SOCK=str(work.home / "agent"))
    assert done.stdout == ""


@pytest.mark.require("gpg", "gpgconf")
def test_openpgp(work: Signing) -> None:
    work.outside("mkdir", "-m", "700", str(work.home / ".gnupg"))
    words = ("gpg", "--batch", "--passphrase", "", "--quick-generate-key", "Someone <someone@example.com>", "ed25519")
    work.outside(*words, "sign")
    try:
        work.policy('format = "openpgp"', key="someone@example.com")
        done = work.shell("git commit -q --allow-empty -S -m First && git tag -s -m Release v1")
        assert done.returncode == 0, done.stderr
        assert work.verifies("verify-commit", "HEAD") and work.verifies("verify-tag", "v1")
        assert [one["format"] for one in work.events("signature")] == ["openpgp", "openpgp"]
    finally:
        work.outside("gpgconf", "--kill", "gpg-agent", check=False)


@pytest.mark.require("ssh-agent")
def test_a_key_with_a_passphrase_is_used_by_the_agent_outside(work: Signing) -> None:
    said = work.outside("ssh-agent", "-s").stdout.replace("\n", "").split(";")
    agent = dict(part.split("=", 1) for part in said if "=" in part)
    try:
        work.outside("ssh-add", "-q", str(work.key), variables=agent)
        work.outside("ssh-keygen", "-q", "-p", "-N", "a passphrase", "-f", str(work.key))
        assert work.shell("git commit -q --allow-empty -S -m First", **agent).returncode == 0
        assert work.verifies("verify-commit", "HEAD")
        work.outside("ssh-add", "-q", "-D", variables=agent)
        refused = work.shell("git commit -q --allow-empty -S -m Second", **agent)
        assert refused.returncode and "signing-denied" in refused.stderr, "nobody is asked for the passphrase"
        assert work.events("signature")[-1]["code"] == "signing-failed"
    finally:
        work.outside("ssh-agent", "-k", check=False, variables=agent)


def test_a_key_without_its_public_half_is_an_error_before_the_start(work: Signing) -> None:
    work.key.with_suffix(".pub").unlink()
    done = work.shell("true")
    assert done.returncode == 2 and "ssh-keygen -y" in done.stderr


# ---- who tries for more than policy grants


def test_arbitrary_bytes_are_not_signed(work: Signing) -> None:
    """A login challenge, a file, another format: outside the key signs them all, from inside only a commit."""
    (work.home / "challenge").write_text("x")
    os.chown(work.home / "challenge", work.ringfence.account.pw_uid, work.ringfence.account.pw_gid)
    for namespace in ("file", "ssh-userauth"):
        work.outside("rm", "-f", f"{work.home}/challenge.sig")
        work.outside("ssh-keygen", "-Y", "sign", "-n", namespace, "-f", str(work.key), f"{work.home}/challenge")
        assert (work.home / "challenge.sig").exists(), "positive control: the key itself would sign anything"
    script = """
challenge = b"\\0\\0\\0\\x20" + b"s" * 32 + b"\\x32\\0\\0\\0\\4user\\0\\0\\0\\x0essh-connection"
challenge += b"\\0\\0\\0\\x09publickey\\n\\n"
for head, text in [
    (b"ssh git", challenge), (b"ssh file", commit), (b"ssh ssh-userauth", commit), (b"openpgp git", commit),
    (b"ssh git\\0file", commit), (b"", b""), (b"ssh git", b""), (b"ssh git", tree + commit),
    (b"ssh git", commit + b"\\0"),
    (b"ssh git", commit + b"x" * (2 << 20)), (b"ssh " + b"g" * 100000, commit), (b"ssh git", b"SSHSIG" + commit),
]:
    try:
        print(ask(head, text)[:60])
    except OSError:
        print("cut off")  # by who would not read any more of it
ask(b"ssh git", commit[:30], cut=True)
print(ask(b"ssh git", commit)[:6])
"""
    *attempts, last = work.python(script).stdout.splitlines()
    assert last == "b'SIGNED'", "positive control: a commit is signed, whatever came before"
    assert len(attempts) == 12 and not any("SIGNED" in line for line in attempts)
    assert len(work.refusals()) >= 12 and len(work.events("signature")) == 1


def test_no_release_tag_where_policy_signs_commits_only(work: Signing) -> None:
    work.policy("tags = false")
    done = work.shell("git commit -q --allow-empty -S -m First && git tag -s -m Release v1")
    assert "policy has no tags signed" in done.stderr
    assert not work.verifies("verify-tag", "v1"), "git goes on, with a tag that is not signed"
    assert work.verifies("verify-commit", "HEAD") and work.refusals() == ["policy has no tags signed"]


def test_a_flood_ends_at_the_limit(work: Signing) -> None:
    work.policy("max-signatures = 3")
    done = work.python('print(sum(ask(b"ssh git", commit + b"%d" % n).startswith(b"SIGNED") for n in range(300)))')
    assert done.stdout == "3\n" and len(work.events("signature")) == 3
    denials = [one for one in work.events("denial") if one["code"] == "signing-denied"]
    assert len(denials) == 101 and denials[-1]["count"] == 297


def test_policy_may_forbid(work: Signing) -> None:
    work.policy("max-signatures = 0")
    done = work.shell("git commit -q --allow-empty -S -m First")
    assert done.returncode and "signing-denied" in done.stderr and work.refusals()


def test_nobody_inside_can_take_the_signers_place(work: Signing) -> None:
    for address in ("127.0.0.1", "0.0.0.0"):
        assert "Address already in use" in work.python(f"socket.socket().bind(({address!r}, 3126))").stderr


def test_the_socket_is_held_outside(work: Signing) -> None:
    """Posture: it listens inside, and no process there has it among its descriptors."""
    look = "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -o '[a-z]*:\\[' | sort -u; cat /proc/net/tcp"
    held, _, sockets = work.shell(look).stdout.partition("  sl")
    assert held == "pipe:[\n" and " 0100007F:0C36 00000000:0000 0A " in sockets
    (work.home / ".config/ringfence/policy.toml").unlink()
    assert ":0C36" not in work.shell(look).stdout


def test_without_policy_nothing_listens(work: Signing) -> None:
    (work.home / ".config/ringfence/policy.toml").unlink()
    assert "Connection refused" in work.python('ask(b"ssh git", commit)').stderr
    assert "[gpg" not in work.shell("cat ~/.gitconfig").stdout


def test_nothing_is_signed_once_the_supervisor_is_gone(work: Signing) -> None:
    script = """
import os, time
print(os.getpid(), flush=True)
for n in range(100):
    time.sleep(0.1)
    sys.stdout.write(str(ask(b"ssh git", commit)[:6]) + "\\n")
    sys.stdout.flush()
"""
    account = work.ringfence.account
    words = work.ringfence.words("run", "--", PYTHON, "-c", RAW + script)
    become: dict[str, Any] = {"user": account.pw_uid, "group": account.pw_gid} if os.geteuid() == 0 else {}
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True}
    place = work.ringfence.workspace
    with subprocess.Popen(words, cwd=place, env=work.ringfence.environment, **streams, **become) as run:
        assert run.stdout is not None
        assert int(run.stdout.readline()) and run.stdout.readline() == "b'SIGNED'\n", "positive control"
        run.kill()
        run.wait(60)
        assert set(run.stdout.read().splitlines()) <= {"b'SIGNED'"}, "the boundary has ended with its supervisor"
    signed = len(work.events("signature"))

    def is_noted() -> bool:  # by the first run that finds all of it gone
        return work.shell("true").returncode == 0 and bool(work.events("lost"))

    assert wait_until(is_noted) and len(work.events("signature")) == signed
