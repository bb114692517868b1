"""An agent's own files: what is copied, what is covered, and what an agent may have left there."""

import json
import os
import tomllib
from pathlib import Path

import pytest

from ringfence.integrations import agent_catalogue, own_policy
from ringfence.integrations.agent_state import AgentState, reduced
from ringfence.integrations.agents import address, find_program, installation, is_interactive
from ringfence.model.errors import HostError, UsageError

CLAUDE = agent_catalogue.find("claude")
OWNER = (os.geteuid(), os.getegid())
INSIDE = "/home/agent"


def state(kind: str = "private", workspace: str = "/w") -> AgentState:
    return AgentState(CLAUDE, kind, workspace=workspace, owner=OWNER)


def copy_of(found: AgentState) -> Path:
    return Path(found.place) / "0"


@pytest.fixture
def claude(home: Path) -> Path:
    """Give the host's own directory of Claude Code."""
    place = home / ".claude"
    place.mkdir()
    (place / ".credentials.json").write_text("login")
    (place / "CLAUDE.md").write_text("be kind")
    (place / "commands").mkdir()
    (place / "history.jsonl").write_text("what was said")
    known = {"hasCompletedOnboarding": True, "mcpServers": {"x": {"command": "evil"}}, "projects": {"/p": {}}}
    (home / ".claude.json").write_text(json.dumps(known))
    return place


def test_the_login_is_copied_and_nothing_else(claude: Path) -> None:
    found = state()
    found.prepare(INSIDE)
    copied = copy_of(found)
    assert (copied / ".credentials.json").read_text() == "login"
    assert json.loads((copied / ".claude.json").read_text()) == {"hasCompletedOnboarding": True}
    assert not (copied / "history.jsonl").exists()
    assert (copied / ".credentials.json").stat().st_mode & 0o777 == 0o600
    assert claude.joinpath("history.jsonl").exists()


def test_what_steers_the_agent_is_the_host_s_or_nothing(claude: Path) -> None:
    found = state()
    kind, source, target, _ = found.prepare(INSIDE)[0]
    assert (kind, source, target) == ("bind", str(copy_of(found)), f"{INSIDE}/.claude")
    covers = {target: (kind, source) for kind, source, target, _ in found.prepare(INSIDE)[1:]}
    assert covers[f"{INSIDE}/.claude/CLAUDE.md"] == ("ro-bind", str(claude / "CLAUDE.md"))
    assert covers[f"{INSIDE}/.claude/commands"] == ("ro-bind", str(claude / "commands"))
    kind, source = covers[f"{INSIDE}/.claude/settings.json"]
    assert kind == "ro-bind" and Path(source).read_bytes() == b"{}\n"
    kind, source = covers[f"{INSIDE}/.claude/hooks"]
    assert kind == "ro-bind" and not any(Path(source).iterdir())


def test_a_login_is_copied_again_only_where_the_host_has_a_newer_one(claude: Path) -> None:
    found = state()
    found.prepare(INSIDE)
    renewed = copy_of(found) / ".credentials.json"
    renewed.write_text("renewed inside")
    os.utime(renewed, (2e9, 2e9))
    found.prepare(INSIDE)
    assert renewed.read_text() == "renewed inside"
    os.utime(claude / ".credentials.json", (3e9, 3e9))
    found.prepare(INSIDE)
    assert renewed.read_text() == "login"


def test_each_workspace_has_its_own_unless_asked_otherwise(claude: Path) -> None:
    assert state(workspace="/a").place != state(workspace="/b").place
    assert state("shared", "/a").place == state("shared", "/b").place
    fresh = state("fresh")
    fresh.prepare(INSIDE)
    fresh.finish()
    assert not os.path.exists(fresh.place)
    kept = state()
    kept.prepare(INSIDE)
    kept.finish()
    assert os.path.exists(kept.place)
    with pytest.raises(UsageError):
        state("mine")


def test_nothing_that_an_agent_leaves_is_followed(claude: Path, home: Path) -> None:
    found = state()
    found.prepare(INSIDE)
    victim = home / "victim"
    victim.write_text("mine")
    for name in (".credentials.json", "settings.json", ".claude.json"):
        (copy_of(found) / name).unlink()
        (copy_of(found) / name).symlink_to(victim)
    os.utime(claude / ".credentials.json", (4e9, 4e9))
    found.prepare(INSIDE)
    assert victim.read_text() == "mine"
    assert not (copy_of(found) / ".credentials.json").is_symlink()
    assert not (copy_of(found) / "settings.json").is_symlink()


def test_a_damaged_copy_is_said(claude: Path) -> None:
    found = state()
    found.prepare(INSIDE)
    (copy_of(found) / "settings.json").unlink()
    (copy_of(found) / "settings.json").mkdir()
    with pytest.raises(HostError, match="damaged"):
        found.prepare(INSIDE)


def test_a_copy_that_is_a_link_is_not_entered(claude: Path, home: Path) -> None:
    found = state()
    found.prepare(INSIDE)
    copy_of(found).rename(home / "elsewhere")
    copy_of(found).symlink_to(home / "elsewhere")
    with pytest.raises(HostError, match="damaged"):
        found.prepare(INSIDE)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_damaged_file_of_the_host_is_as_none(data: bytes) -> None:
    assert reduced(data, ("a",)) == b"{}"


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("", ""),
        ("https://gateway.example.com", "gateway.example.com:443"),
        ("http://gateway.example.com:8080/v1", "gateway.example.com:8080"),
        ("http://127.0.0.1:9000", "host-loopback:9000"),
        ("http://[2001:db8::1]", "[2001:db8::1]:80"),
    ],
)
def test_another_model_api_can_be_reached(value: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", value)
    found = address("ANTHROPIC_BASE_URL")
    assert (found.entry if found else "") == host


@pytest.mark.parametrize("value", ["gateway", "ftp://x", "http://x:99999999", "https://[x"])
def test_what_is_no_address_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", value)
    with pytest.raises(UsageError, match="ANTHROPIC_BASE_URL"):
        address("ANTHROPIC_BASE_URL")


def test_a_program_is_found_outside_of_the_workspace_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, elsewhere = home / "ws", home / "opt"
    for place in (workspace, elsewhere):
        place.mkdir()
        (place / "claude").write_text("#!/bin/sh\n")
        (place / "claude").chmod(0o755)
    linked = home / "linked"
    linked.mkdir()
    (linked / "claude").symlink_to(workspace / "claude")
    monkeypatch.setenv("PATH", f"{workspace}:.::{linked}")
    with pytest.raises(HostError, match="no program `claude`"):
        find_program(CLAUDE, str(workspace))
    monkeypatch.setenv("PATH", f"{workspace}:{elsewhere}")
    assert find_program(CLAUDE, str(workspace)) == str(elsewhere / "claude")


def test_the_tree_of_packages_of_a_program_is_shown(home: Path) -> None:
    packages = home / "npm/lib/node_modules/@x/agent"
    packages.mkdir(parents=True)
    (packages / "cli.js").touch()
    (home / "npm/bin").mkdir()
    (home / "npm/bin/claude").symlink_to(packages / "cli.js")
    shown = [source for _, source, _, _ in installation(str(home / "npm/bin/claude"))]
    assert shown == [str(home / "npm/lib/node_modules"), str(home / "npm/bin")]
    (home / "claude").touch()
    with pytest.raises(HostError, match="home directory itself"):
        installation(str(home / "claude"))


def test_who_sits_in_front_of_the_agent() -> None:
    assert not is_interactive(CLAUDE, ["-p", "x"])
    assert not is_interactive(CLAUDE, [])  # the streams of a test are no terminal


def test_a_rule_of_the_operator_s_is_added_to_the_user_s_policy(home: Path) -> None:
    own_policy.allow_calls(["Bash(make all)"])
    own_policy.allow_calls(["Bash(make all)", 'Bash(echo "x")'])
    path = home / ".config/ringfence/policy.toml"
    rules = tomllib.loads(path.read_text())["permissions"]["allow"]
    assert rules == ["Bash(make all)", 'Bash(echo "x")']
    path.write_text("# mine\nversion = 1 # one\n[permissions]\ndeny = ['Bash(rm:*)']\n")
    own_policy.allow_calls(["mcp__server__tool"])
    assert path.read_text().startswith("# mine\nversion = 1 # one\n[permissions]\ndeny = ['Bash(rm:*)']\n")
    for text in ("version = ", "version = 1\npermissions = 5\n", "version = 1\n[permissions]\nallow = 5\n"):
        path.write_text(text)
        with pytest.raises(UsageError):
            own_policy.allow_calls(["Bash(make)"])
        assert path.read_text() == text


def test_the_agent_knows_the_placeholder_of_a_key_that_its_user_approved(home: Path) -> None:
    key, placeholder = "sk-ant-" + "k" * 40, "sk-ant-" + "p" * 40
    approved = {"customApiKeyResponses": {"approved": [key[-20:]], "rejected": []}}
    (home / ".claude.json").write_text(json.dumps(approved))
    found = state()
    found.prepare(INSIDE)
    copied = copy_of(found) / ".claude.json"
    found.approve("sk-ant-" + "x" * 40, placeholder)
    assert json.loads(copied.read_text()) == approved  # another key than the one that was approved
    found.approve(key, placeholder)
    assert json.loads(copied.read_text())["customApiKeyResponses"]["approved"] == [placeholder[-20:]]
    copied.unlink()
    copied.symlink_to(home / ".claude.json")  # an agent of before may have left anything
    found.approve(key, placeholder)
    assert not copied.is_symlink() and json.loads((home / ".claude.json").read_text()) == approved
