"""Pushes of which each commit must be signed: real git and ssh-keygen, and signatures that are not what they seem."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.model.git import GitRemote, Pushes, Signer
from ringfence.policy.signers import read_signers
from tests.attacks.git_cases import FILE
from tests.integration.git_bench import Bench, bench_fixture, template_fixture
from tests.integration.git_proxy import HERE, HOST, egress, proxying

__all__ = ["bench_fixture", "template_fixture"]

pytestmark = pytest.mark.require("git", "ssh-keygen")
KINDS = {"ed25519": (), "ecdsa": ("-b", "384"), "rsa": ("-b", "2048")}
COMMIT = "git commit -q --allow-empty -S -m signed"


@pytest.fixture(name="key")
def key_fixture(tmp_path: Path) -> Callable[..., Path]:
    """What makes a key of some name and kind."""

    def made(name: str = "own", kind: str = "ed25519") -> Path:
        path = tmp_path / name
        if not path.exists():
            argv = ["ssh-keygen", "-q", "-t", kind, *KINDS[kind], "-N", "", "-C", name, "-f", str(path)]
            subprocess.run(argv, check=True, timeout=60)
        return path

    return made


def signers(*keys: Path, line: str = "{}") -> tuple[Signer, ...]:
    """Those whose signatures count."""
    return tuple(one for key in keys for one in read_signers(line.format(key.with_suffix(".pub").read_text())))


def signing(key: Path) -> str:
    """Have git sign with a key."""
    return f"git config gpg.format ssh && git config user.signingKey {key}"


def pushed(bench: Bench, counting: tuple[Signer, ...], refs: str = "HEAD:refs/heads/agent/x") -> str:
    """Push; what git said, empty where the push came to be."""
    before = bench.refs()
    pushes = Pushes(refs=("refs/heads/agent/**",), signed=True, signers=counting)
    remote = GitRemote(host=HOST, repositories=("o/*",), source=HERE, push=pushes)
    with proxying(egress([remote]), ("127.0.0.1", bench.server.port)) as (url, supervisor):
        done = bench.push(refs, f"http://{HOST}/o/p.git", http_proxy=url)
    if done.returncode == 0:
        assert bench.refs() != before and supervisor.of("push")[0].fields["verdict"] == "allow"
        return ""
    assert bench.refs() == before and bench.server.pushes() == 0
    assert supervisor.of("denial")[0].code == "push-denied"
    assert "remote: ringfence: " in done.stderr
    return done.stderr


def stepped(bench: Bench, *steps: str, **environment: str) -> str:
    """Carry shell out in the clone."""
    done = bench.shell(" && ".join(steps), **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("kind", KINDS)
def test_commits_signed_by_a_key_of_each_kind_pass(kind: str, bench: Bench, key: Callable[..., Path]) -> None:
    own = key(kind=kind)
    merge = "git merge -q -S --no-ff --no-edit side"
    stepped(bench, signing(own), COMMIT, "git checkout -q -b side HEAD~1", COMMIT, "git checkout -q main", merge)
    assert pushed(bench, signers(key("another"), own)) == ""


def test_a_commit_that_the_server_has_need_not_be_signed(bench: Bench, key: Callable[..., Path]) -> None:
    assert pushed(bench, signers(key()), "origin/main:refs/heads/agent/x") == ""


@pytest.mark.parametrize("last", [FILE, COMMIT])
def test_one_unsigned_commit_is_enough(last: str, bench: Bench, key: Callable[..., Path]) -> None:
    stepped(bench, signing(key()), COMMIT, FILE, last)
    assert "it is not signed" in pushed(bench, signers(key()))


def test_another_key(bench: Bench, key: Callable[..., Path]) -> None:
    stepped(bench, signing(key("another")), COMMIT)
    shown = subprocess.run(["ssh-keygen", "-lf", str(key("another"))], capture_output=True, text=True).stdout.split()[1]
    assert f"signed by a key that the rule does not name ({shown})" in pushed(bench, signers(key()))


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ('me@example.com namespaces="git,file" {}', True),
        ('me@example.com valid-after="20200101",valid-before="20990101Z" {}', True),
        ('me@example.com valid-before="20200101" {}', False),
        ('me@example.com valid-after="209901011200" {}', False),
    ],
)
def test_a_key_counts_as_long_as_it_says(line: str, counts: bool, bench: Bench, key: Callable[..., Path]) -> None:
    stepped(bench, signing(key()), COMMIT, GIT_COMMITTER_DATE="2019-01-01T00:00:00Z")
    told = pushed(bench, signers(key(), line=line))
    assert (told == "") is counts
    assert counts or "a key that does not count at this time" in told


def test_openpgp_does_not_count(bench: Bench, key: Callable[..., Path], tmp_path: Path) -> None:
    fake = tmp_path / "gpg"
    fake.write_text(
        "#!/bin/sh\ncat >/dev/null; echo '[GNUPG:] SIG_CREATED ' >&2\n"
        "printf '%s\\n' '-----BEGIN PGP SIGNATURE-----' '' aGVsbG8= '-----END PGP SIGNATURE-----'\n"
    )
    fake.chmod(0o755)
    stepped(bench, f"git config gpg.program {fake} && git config user.signingKey x", COMMIT)
    assert "not one of SSH, which alone can be checked" in pushed(bench, signers(key()))


def raw(bench: Bench) -> str:
    """The commit at HEAD as git keeps it."""
    return bench.shell("git cat-file commit HEAD").stdout


def put(bench: Bench, content: str) -> None:
    """Make HEAD a commit of this content."""
    (bench.place / "content").write_text(content)
    stepped(bench, "git update-ref HEAD $(git hash-object -t commit -w --literally ../content)")


def other_text(content: str) -> str:
    return content.replace("signed", "signEd")


def header_before(content: str) -> str:
    return content.replace("\ngpgsig ", "\nx-more y\ngpgsig ")


def twice(content: str) -> str:
    head, blank, text = content.partition("\n\n")
    return f"{head}\n{head[head.index('gpgsig ') :]}{blank}{text}"


def both_hashes(content: str) -> str:
    return content.replace("\ngpgsig ", "\ngpgsig-sha256 x\ngpgsig ")


def in_the_text(content: str) -> str:
    head, _, text = content.partition("\n\n")
    start = head.index("gpgsig ")
    return f"{head[: start - 1]}\n\n{text}\n{head[start:]}\n"


def cut(content: str) -> str:
    return content.replace("\n -----END", "AA==\n -----END")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_text, "its signature is of something else"),
        (header_before, "its signature is of something else"),
        (twice, "it has more than one signature"),
        (both_hashes, "it has more than one signature"),
        (in_the_text, "it is not signed"),
        (cut, "its signature is not well formed"),
    ],
)
def test_a_good_signature_of_something_else(
    change: Callable[[str], str], reason: str, bench: Bench, key: Callable[..., Path]
) -> None:
    stepped(bench, signing(key()), COMMIT)
    assert change(raw(bench)) != raw(bench)
    put(bench, change(raw(bench)))
    assert reason in pushed(bench, signers(key()))


def by_hand(bench: Bench, key: Path, text: str, namespace: str = "git") -> str:
    """What ssh-keygen makes of a text, as a header of a commit has it."""
    (bench.place / "text").write_text(text)
    stepped(bench, f"ssh-keygen -q -Y sign -n {namespace} -f {key} ../text")
    lines = (bench.place / "text.sig").read_text().strip().split("\n")
    (bench.place / "text.sig").unlink()
    return "gpgsig " + "\n ".join(lines) + "\n"


@pytest.mark.parametrize(
    ("namespace", "reason"), [("git", ""), ("file", "of another namespace"), ("git2", "of another namespace")]
)
def test_a_signature_that_was_given_for_another_use(
    namespace: str, reason: str, bench: Bench, key: Callable[..., Path]
) -> None:
    stepped(bench, FILE)
    head, blank, text = raw(bench).partition("\n\n")
    made = by_hand(bench, key(), raw(bench), namespace)
    put(bench, f"{head}\n{made}".rstrip("\n") + blank + text)
    told = pushed(bench, signers(key()))
    assert reason in told if reason else told == ""


def test_the_signature_of_another_commit(bench: Bench, key: Callable[..., Path]) -> None:
    """Taken from a commit that the key's owner has signed elsewhere, as every clone of it shows."""
    stepped(bench, signing(key()), COMMIT)
    donor = raw(bench)
    stepped(bench, FILE)
    head, blank, text = raw(bench).partition("\n\n")
    put(bench, head + "\n" + donor.partition("\n\n")[0][donor.index("gpgsig ") :] + blank + text)
    assert "its signature is of something else" in pushed(bench, signers(key()))
