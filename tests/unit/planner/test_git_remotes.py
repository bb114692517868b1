"""The generated .gitconfig: SSH addresses lead to HTTPS, and git finds the run's token; asked of git itself."""

import subprocess
from pathlib import Path

import pytest

from ringfence.planner.git_remotes import settings
from tests.fake_host import HOME, at, plan, policy

REMOTE = '[[git.remotes]]\nhost = "git.example"\nrepositories = ["a/b"]\n'
TOKEN = """
[secrets.token]
source.env = "TOKEN"
inject = [{ host = "git.example", header = "authorization" }]
variables = ["TOKEN"]
"""


def git(config: Path, *words: str, **environment: str) -> str:
    """What git answers with `config` as its only configuration."""
    found = subprocess.run(
        ["git", *words],
        env={"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": str(config), "GIT_CONFIG_NOSYSTEM": "1", **environment},
        input="protocol=https\nhost=git.example\npath=a/b.git\n\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return found.stdout


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "gitconfig"
    file.write_text(settings(policy(REMOTE + TOKEN)))
    return file


def test_it_is_part_of_the_generated_file() -> None:
    assert settings(policy(REMOTE)) in at(plan(REMOTE), f"{HOME}/.gitconfig").text


def test_without_remotes_and_tokens_there_is_nothing() -> None:
    assert settings(policy()) == settings(policy('network.allow = ["git.example"]')) == ""


@pytest.mark.require("git")
@pytest.mark.parametrize(
    "address", ["git@git.example:a/b.git", "ssh://git@git.example/a/b.git", "ssh://git.example/a/b.git"]
)
def test_ssh_leads_to_https(config: Path, address: str) -> None:
    assert git(config, "ls-remote", "--get-url", address).strip() == "https://git.example/a/b.git"


@pytest.mark.require("git")
def test_other_hosts_stay(config: Path) -> None:
    for address in ("git@other.example:a/b.git", "git@git.example.org:a/b.git", "https://git.example/a"):
        assert git(config, "ls-remote", "--get-url", address).strip() == address


@pytest.mark.require("git")
def test_git_finds_the_placeholder(config: Path) -> None:
    said = git(config, "credential", "fill", TOKEN="ghp_x", GIT_TERMINAL_PROMPT="0").splitlines()
    assert {"username=x-access-token", "password=ghp_x"} <= set(said)


@pytest.mark.require("git")
def test_without_a_token_git_asks_as_it_would(config: Path) -> None:
    assert "password=" not in git(config, "credential", "fill", GIT_TERMINAL_PROMPT="0")


def test_another_port() -> None:
    text = settings(policy(REMOTE.replace("git.example", "git.example:8443")))
    assert '[url "https://git.example:8443/"]' in text


def test_a_preset_s_token_serves_git_without_a_remote() -> None:
    text = settings(policy('extends = ["github"]'))
    assert '[credential "https://github.com"]' in text
    assert "${GH_TOKEN:-${GITHUB_TOKEN:-}}" in text
    assert "api.github.com" not in text
    assert "insteadOf" not in text
