"""git in a boundary: clone, push and refusal through the confined proxy, TLS inspected."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.lab import accounts, repositories
from tests.lab import Lab

HOST = "git.example.com"
POLICY = f"""version = 1
[[git.remotes]]
host = "{HOST}"
repositories = ["git/*"]
push = {{ refs = ["refs/heads/agent/**"], deny-paths = [".github/**"], max-bytes = "4MiB" }}
"""
VAULTED = f"""version = 1
[secrets.git]
source = {{ env = "GIT_TOKEN" }}
inject = [{{ host = "{HOST}", header = "authorization" }}]
variables = ["GIT_TOKEN"]
"""
SCRIPT = f"""
git config --global user.email agent@example.com; git config --global user.name agent
git clone -q https://{HOST}/git/project.git p && cd p && echo x > x && git add x && git commit -qm x
git push -q origin HEAD:refs/heads/agent/NAME-good
git push -q origin HEAD:refs/heads/NAME-bad
mkdir -p .github && echo y > .github/y && git add . && git commit -qm y
git push -q origin HEAD:refs/heads/agent/NAME-evil
git reset -q --hard HEAD~1 && head -c 6000000 /dev/urandom > big && git add big && git commit -qm big
git push -q origin HEAD:refs/heads/agent/NAME-big
true
"""

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "git")]


def events(kind: str) -> list[dict[str, Any]]:
    """The fields of the records of a kind."""
    lines = (Path(os.environ["XDG_STATE_HOME"]) / "ringfence/audit/audit.jsonl").read_text().splitlines()
    return [one["fields"] | {"code": one["code"]} for one in map(json.loads, lines) if one["kind"] == kind]


def pushed(lab: Lab, place: Path, name: str) -> "subprocess.CompletedProcess[str]":
    """Run the script inside."""
    (place / "policy.toml").write_text(POLICY)
    argv = ["ringfence", "run", "--policy", str(place / "policy.toml"), "--", "sh", "-c", SCRIPT.replace("NAME", name)]
    return lab.run(argv, cwd=place)


def check(lab: Lab, done: "subprocess.CompletedProcess[str]", name: str) -> None:
    """One push has reached the server, the others were told why not."""
    refs = set(repositories.refs(lab.place / "git/project.git"))
    assert f"refs/heads/agent/{name}-good" in refs, done.stderr
    assert not refs & {f"refs/heads/{name}-bad", f"refs/heads/agent/{name}-evil", f"refs/heads/agent/{name}-big"}
    assert f"remote: ringfence: refs/heads/{name}-bad: no rule allows pushing to this ref" in done.stderr
    assert "changes .github/y, which the rule denies" in done.stderr
    assert "larger than 4,194,304 bytes" in done.stderr


def test_pushes_from_a_boundary(lab: Lab, open_path: Path) -> None:
    done = pushed(lab, open_path, "own")
    check(lab, done, "own")
    assert [one["verdict"] for one in events("push")] == ["allow", "deny", "deny", "deny"]
    assert events("push")[0]["repository"] == "git/project"
    assert {one["code"] for one in events("denial")} == {"push-denied"}
    assert events("push")[1]["program"]


def test_the_vault_is_between_and_git_does_not_notice(lab: Lab, open_path: Path) -> None:
    """The proxy's own questions to the server carry the token as well, which only the vault has."""
    project = repositories.make(lab.place / "gitauth", "vaulted")
    (open_path / "policy.toml").write_text(
        VAULTED + POLICY.replace('"git/*"', '"gitauth/*"').replace("version = 1", "")
    )
    script = SCRIPT.replace("NAME", "vault").replace("/git/project.git", "/gitauth/vaulted.git")
    argv = [
        "ringfence",
        "run",
        "--policy",
        str(open_path / "policy.toml"),
        "--",
        "sh",
        "-c",
        f"{script}echo $GIT_TOKEN",
    ]
    done = lab.run(argv, cwd=open_path, environment={"GIT_TOKEN": accounts.GITHUB_TOKEN})
    assert "refs/heads/agent/vault-good" in repositories.refs(project), done.stderr
    assert set(repositories.refs(project)) == {"refs/heads/agent/vault-good", "refs/heads/main"}
    assert "changes .github/y, which the rule denies" in done.stderr
    assert done.stdout.strip() and accounts.GITHUB_TOKEN not in done.stdout


def test_nothing_but_what_was_allowed_was_received(lab: Lab, open_path: Path) -> None:
    mark = lab.mark()
    pushed(lab, open_path, "seen")
    posts = [one for one in lab.since(mark, "http") if one["path"] == "/git/project.git/git-receive-pack"]
    lengths = [dict(one["headers"])["content-length"] for one in posts]
    assert lengths.count("4") == 1  # with nothing in it: how git asks before a large push
    assert len(lengths) == 2
