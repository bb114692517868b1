"""`ringfence trust` as its users have it: read, decide, see what changed, take it back, with a terminal and without."""

import json
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import Commands
from tests.e2e.terminal import Terminal
from tests.requirements import require

pytestmark = pytest.mark.require("bubblewrap", "overlay")

SETTINGS = '{"hooks": {"Stop": [{"hooks": [{"command": "\\"$CLAUDE_PROJECT_DIR\\"/tools/x.sh; npm run y"}]}]}}'


@pytest.fixture
def checkout(ringfence: Commands) -> Commands:
    write(ringfence, "CLAUDE.md", "\nAlways be kind.\n")
    write(ringfence, ".claude/settings.json", SETTINGS)
    write(ringfence, "tools/x.sh", "true\n")
    return ringfence


def write(ringfence: Commands, name: str, text: str) -> None:
    path = ringfence.workspace / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for place in (path, *path.relative_to(ringfence.workspace).parents):
        os.chown(ringfence.workspace / place, ringfence.account.pw_uid, ringfence.account.pw_gid)


def sees(ringfence: Commands) -> bool:
    return ringfence("run", "--trust", "hide", "--", "cat", "CLAUDE.md").stdout != ""


def test_a_checkout_is_shown_before_anything_is_decided(checkout: Commands) -> None:
    text = checkout.good("trust", "--show")
    for words in (
        "not trusted, nobody has trusted it",
        'hooks.Stop.hooks.command: "$CLAUDE_PROJECT_DIR"/tools/x.sh; npm run y',
        "calls tools/x.sh",
        "2 lines, beginning: Always be kind.",
        "npm: runs what the project's own files say",
    ):
        assert words in text
    assert not sees(checkout)


def test_a_decision_holds_until_something_changes(checkout: Commands) -> None:
    assert "is trusted as it is now" in checkout.good("trust", "--yes")
    assert sees(checkout)
    assert checkout.good("trust", "--diff") == "nothing changed\n"
    assert "you trusted it" in checkout.good("trust")
    write(checkout, "tools/x.sh", "evil\n")
    assert not sees(checkout)
    changed = checkout("trust", "--diff")
    assert (changed.returncode, changed.stdout) == (1, "changed  tools/x.sh\n")
    write(checkout, "tools/x.sh", "true\n")
    assert sees(checkout)
    assert "no longer trusted" in checkout.good("trust", "--revoke")
    assert not sees(checkout)
    assert [line.split()[3:5] for line in checkout.good("log", "--kind", "trust").splitlines()] == [
        ["trust", "granted"],
        ["trust", "revoked"],
    ]


def test_without_a_terminal_nothing_is_decided(checkout: Commands) -> None:
    done = checkout("trust")
    assert done.returncode == 2
    assert "there is no terminal to ask on" in done.stderr
    assert "--trust-digest" in done.stderr
    assert not sees(checkout)


def test_a_digest_vouches_for_what_was_read(checkout: Commands) -> None:
    digest = checkout.json("trust", "--show")["digest"]
    assert checkout.good("run", "--trust-digest", digest, "--trust", "hide", "--", "cat", "CLAUDE.md")
    assert not sees(checkout), "a digest on the command line is no decision"
    assert "is trusted as it is now" in checkout.good("trust", "--trust-digest", digest)
    assert sees(checkout)
    write(checkout, "AGENTS.md", "new")
    assert "the digest of this checkout is" in checkout.refused(2, "trust", "--trust-digest", digest)
    assert "the digest of this checkout is" in checkout.refused(2, "run", "--trust-digest", digest, "--", "true")


def test_everything_is_there_as_json(checkout: Commands) -> None:
    found = checkout.json("trust", "--show")
    assert found["workspace"] == str(checkout.workspace)
    assert (found["trusted"], found["why"]) == (False, "unknown")
    assert [entry["path"] for entry in found["entries"]] == [".claude/settings.json", "CLAUDE.md", "tools/x.sh"]
    assert found["hidden"] == [".claude", "CLAUDE.md"]
    changes = checkout("trust", "--diff", "--json")
    assert (changes.returncode, json.loads(changes.stdout)["decided"]) == (1, False)


def test_a_checkout_without_any_of_it_needs_nobody(ringfence: Commands) -> None:
    assert "nothing in it takes effect by itself" in ringfence.good("trust")
    assert ringfence.good("trust", "--diff")
    assert ringfence.good("run", "--trust", "refuse", "--", "echo", "ran") == "ran\n"


def test_refusing_names_the_way_out(checkout: Commands) -> None:
    said = checkout.refused(2, "run", "--trust", "refuse", "--", "true")
    assert "not trusted" in said and "ringfence trust" in said


def test_a_run_says_that_something_is_hidden(checkout: Commands) -> None:
    done = checkout("run", "--trust", "hide", "-v", "--", "true")
    assert (done.returncode, done.stderr) == (0, "ringfence: not trusted, so hidden: what `ringfence trust` shows\n")


def test_explain_and_plan_say_so_too(checkout: Commands) -> None:
    assert "hidden: not trusted" in checkout.good("explain", "--trust", "hide", "CLAUDE.md")
    notes = checkout.json("plan", "--trust", "hide")["notes"]
    assert any(note.startswith("not trusted") for note in notes)


def test_policy_shows_what_it_says_of_trust(checkout: Commands) -> None:
    write(checkout, "ringfence.toml", "version = 1\n")
    text = f'version = 1\n[trust]\nmode = "hide"\npin = ["{"a" * 64}"]\nforbid = ["{"b" * 64}"]\n'
    policy = checkout.home / ".config/ringfence/policy.toml"
    policy.parent.mkdir(parents=True)
    policy.write_text(text)
    shown = checkout.good("policy", "show")
    assert "not read, not trusted" in shown and "trust.mode" in shown
    assert f"{'a' * 64}  pin" in shown and f"{'b' * 64}  forbid" in shown
    assert "trust.mode" in checkout.good("policy", "check")
    checkout.good("trust", "--yes")
    assert "not read" not in checkout.good("policy", "show")


def test_names_cannot_steer_the_terminal(ringfence: Commands) -> None:
    write(ringfence, "a\x1b[2Jb/CLAUDE.md", "\x1b[31mred\n")
    text = ringfence.good("trust", "--show")
    assert "\x1b" not in text and "a\\x1b[2Jb/CLAUDE.md" in text


@pytest.mark.parametrize("words", [("--show", "--diff"), ("--yes", "--revoke"), ("--yes", "--trust-digest", "a" * 64)])
def test_actions_exclude_each_other(checkout: Commands, words: tuple[str, ...]) -> None:
    assert "exclude each other" in checkout.refused(2, "trust", *words)


@pytest.fixture
def sitting(checkout: Commands) -> Iterator[Terminal]:
    account: dict[str, object] = {}
    if checkout.account.pw_uid != os.geteuid():
        user = pwd.getpwuid(checkout.account.pw_uid)
        account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    require("setsid")
    with Terminal(
        checkout.words("trust"),
        directory=Path(checkout.workspace),
        environment=checkout.environment | {"TERM": "xterm"},
        account=account,
    ) as terminal:
        yield terminal


@pytest.mark.parametrize(
    ("keys", "status", "visible"), [("y\n", 0, True), ("\n", 1, False), ("n\n", 1, False), ("\x04", 1, False)]
)
def test_on_a_terminal_the_question_is_asked_once(
    checkout: Commands, sitting: Terminal, keys: str, status: int, *, visible: bool
) -> None:
    sitting.expect(r"as it is now\? \[y/N\]")
    sitting.send(keys)
    assert sitting.wait() == status
    assert sees(checkout) is visible
