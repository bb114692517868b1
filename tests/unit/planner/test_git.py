"""Which git directory outside the workspace counts: only one that points back, and looks like one."""

import msgspec
import pytest

from ringfence.model.errors import UsageError
from ringfence.model.git import Signing
from ringfence.model.plan import MountKind, Plan
from ringfence.planner.git import SIGNER, SIGNERS, signing_settings
from ringfence.planner.view import reach
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse
from tests.fake_host import HOME, MAIN, WORKSPACE, Host, Link, Node, at, filesystem, plan, repository, request, worktree

MODULE = f"{HOME}/super/.git/modules/project"


def submodule(config: str) -> dict[str, Node]:
    files = {f"{WORKSPACE}/.git": "gitdir: ../super/.git/modules/project\n", **repository(MODULE)}
    return {**files, f"{MODULE}/config": config}


def found(files: dict[str, Node]) -> tuple[str, ...]:
    made = plan("", Host(files))
    note = any("git will not find" in text for text in made.notes)
    assert note is (not made.workspace.repositories), "either it is shown, or the user is told"
    return made.workspace.repositories


def test_a_linked_worktree_has_its_repository() -> None:
    assert found({**repository(MAIN), **worktree()}) == (MAIN,)
    assert at(plan("", Host({**repository(MAIN), **worktree()})), MAIN).kind is MountKind.OVERLAY


@pytest.mark.parametrize("mode", ["overlay", "direct"])
def test_the_workspace_comes_before_its_repository_wherever_they_lie(mode: str) -> None:
    """The backend takes the first overlay for the workspace; what protects the repository still lies over it."""
    work = f"{HOME}/zzz/work"
    files = {**repository(MAIN), **worktree(back=f"{work}/.git"), f"{MAIN}/hooks/update": "x"}
    files[f"{work}/.git"] = files.pop(f"{WORKSPACE}/.git")
    text = f'{filesystem(write=[f"{HOME}/zzz"], deny_write=[f"{MAIN}/hooks"])}[workspace]\nmode = "{mode}"\n'
    found = plan(text, Host(files), request(work))
    order = [str(mount.target) for mount in found.mounts]
    assert order.index(f"{HOME}/zzz") < order.index(work) < order.index(MAIN) < order.index(f"{MAIN}/hooks")
    assert not reach(found, f"{MAIN}/hooks/update").writable and reach(found, f"{MAIN}/index").writable


def test_a_worktree_of_a_bare_repository() -> None:
    bare = f"{HOME}/bare.git"
    assert found({**repository(bare), **worktree(directory=f"{bare}/worktrees/project")}) == (bare,)


@pytest.mark.parametrize(
    "line",
    [
        "worktree = ../../../../project",
        f"\tworktree={WORKSPACE}",
        f'  WorkTree = "{WORKSPACE}"',
        f"worktree = /else\n[other]\n[CORE]\nworktree = {WORKSPACE}",
    ],
)
def test_a_submodule_has_its_git_directory(line: str) -> None:
    assert found(submodule(f"[core]\n{line}\n")) == (MODULE,)


@pytest.mark.parametrize(
    "config",
    ["", f"[core]\nworktree = {WORKSPACE}2\n", f"worktree = {WORKSPACE}\n", f"[user]\nworktree = {WORKSPACE}\n"],
)
def test_a_submodule_must_point_back(config: str) -> None:
    assert found(submodule(config)) == ()


@pytest.mark.parametrize(
    "files",
    [
        worktree(back=f"{HOME}/other/.git"),
        worktree(common=f"{HOME}/main"),
        worktree(common="../../.."),
        worktree(common="../../../..\n"),
        worktree(common="a\nb"),
        worktree(common=""),
        worktree(directory=f"{WORKSPACE}/inner/worktrees/project"),
        {f"{WORKSPACE}/.git": f"gitdir: {HOME}/.ssh\n"},
        {f"{WORKSPACE}/.git": "gitdir: /\n"},
        {f"{WORKSPACE}/.git": "gitdir:\n"},
        {f"{WORKSPACE}/.git": "nonsense"},
        {f"{WORKSPACE}/.git": Link(MAIN)},
        {f"{WORKSPACE}/.git": Link("/etc")},
    ],
)
def test_a_hostile_git_file_exposes_nothing(files: dict[str, Node]) -> None:
    host = {**repository(MAIN), **repository(f"{WORKSPACE}/inner"), **files}
    assert found(host) == ()
    sources = {mount.source for mount in plan("", Host(host)).mounts if mount.source}
    assert not {source for source in sources if source.startswith(f"{HOME}/main") or source in ("/", "/etc", HOME)}


def test_a_checkout_beside_cannot_pass_the_home_off_as_a_repository() -> None:
    beside = f"{HOME}/worktrees/beside"
    assert found(worktree(directory=beside)) == ()
    assert found({**worktree(directory=beside), **repository(HOME)}) == ()


def test_a_repository_around_the_workspace_is_not_shown() -> None:
    top, inner = f"{HOME}/bare.git", f"{HOME}/bare.git/topic"
    files = worktree(directory=f"{top}/worktrees/topic", back=f"{inner}/.git")
    files[f"{inner}/.git"] = files.pop(f"{WORKSPACE}/.git")
    assert plan("", Host({**repository(top), **files}), request(inner)).workspace.repositories == ()


def test_a_directory_reached_through_a_link_does_not_count() -> None:
    files = worktree(directory=f"{HOME}/way/worktrees/project")
    moved = {path.replace(f"{HOME}/way", f"{WORKSPACE}/evil"): node for path, node in files.items()}
    hostile = {**repository(f"{WORKSPACE}/evil"), **moved, f"{HOME}/way": Link(f"{WORKSPACE}/evil")}
    assert found(hostile) == ()


def test_an_ordinary_repository_needs_nothing() -> None:
    made = plan("", Host(repository(f"{WORKSPACE}/.git")))
    assert made.workspace.repositories == () and not made.notes


KEY = f"{HOME}/.ssh/sign"
PUBLIC = {f"{KEY}.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 user@host\n", KEY: "PRIVATE"}
SIGNING = '[git.signing]\nkey = "~/.ssh/sign"\n'


def settings(made: Plan) -> str:
    return at(made, f"{HOME}/.gitconfig").text


def test_git_inside_signs_by_asking_and_no_key_is_in_the_view() -> None:
    made = plan(SIGNING, Host(PUBLIC))
    assert 'signingKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"' in settings(made)
    assert "format = ssh" in settings(made) and "gpgSign" not in settings(made)
    assert '-I -S /run/ringfence/inside/sign.py ssh-keygen "$@";;' in at(made, SIGNER).text
    assert "AAAAC3NzaC1lZDI1NTE5" in at(made, SIGNERS).text
    assert reach(made, KEY).source is None and "PRIVATE" not in str(made)
    assert made.signing is not None and made.signing.key == KEY


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("~/.ssh/sign", filesystem(read=[f"{HOME}/.ssh"])),
        ("~/.ssh/sign", filesystem(write=[f"{HOME}/.ssh"])),
        (f"{WORKSPACE}/keys/sign", ""),
    ],
)
def test_a_key_that_would_be_in_the_view_is_refused(key: str, more: str) -> None:
    place = key.replace("~", HOME)
    host = Host({f"{place}.pub": PUBLIC[f"{KEY}.pub"], place: "PRIVATE"})
    with pytest.raises(UsageError, match="readable inside"):
        plan(f'[git.signing]\nkey = "{key}"\n{more}', host)
    assert plan(more, host).signing is None


def test_a_key_of_another_type_is_written_the_long_way() -> None:
    made = plan(SIGNING, Host({f"{KEY}.pub": "ecdsa-sha2-nistp256 AAAA\n"}))
    assert 'signingKey = "key::ecdsa-sha2-nistp256 AAAA"' in settings(made)


def test_an_openpgp_key_is_named() -> None:
    made = plan('[git.signing]\nkey = "0xABCDEF0123456789"\nformat = "openpgp"\n', Host())
    assert 'signingKey = "0xABCDEF0123456789"' in settings(made) and '[gpg "openpgp"]' in settings(made)
    assert all(mount.target != SIGNERS for mount in made.mounts)


@pytest.mark.parametrize(("tags", "signed"), [("true", 2), ("false", 1)])
def test_what_the_user_has_signed_unasked(tags: str, signed: int) -> None:
    signing = Signing(key=KEY, tags=tags == "true")
    host = Host(PUBLIC)
    policy = merge([parse("version = 1\n", file="policy", scope="user")], home=HOME, workspace=WORKSPACE)
    facts = msgspec.structs.replace(host.facts(policy, request()), git_signs=("commit", "tag"))
    facts = msgspec.structs.replace(facts, paths=facts.paths | {f"{KEY}.pub": host.fact(f"{KEY}.pub")})
    assert signing_settings(signing, facts).count("gpgSign = true") == signed


@pytest.mark.parametrize("text", [None, "", "ssh-ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n", 'a "b\n"'])
def test_without_a_public_key_nothing_is_planned(text: str | None) -> None:
    with pytest.raises(UsageError, match="no public key") as caught:
        plan(SIGNING, Host({} if text is None else {f"{KEY}.pub": text}))
    assert f"`ssh-keygen -f {KEY}` makes both" in caught.value.hint


def test_without_policy_git_is_told_nothing_of_signing() -> None:
    made = plan("", Host(PUBLIC))
    assert "gpg" not in settings(made) and made.signing is None
    assert all(mount.target != SIGNER for mount in made.mounts)
