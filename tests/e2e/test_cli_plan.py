"""`plan`, `explain` and `policy`: what is said of a run without running it."""

import os

import pytest

from ringfence.policy.presets import PRESETS
from tests.e2e.commands import Commands

# A plan needs to know which bubblewrap will carry it out.
pytestmark = pytest.mark.require("bubblewrap")


def test_a_plan_groups_what_a_run_is_given(ringfence: Commands) -> None:
    ringfence.write("ringfence.toml", 'version = 1\n[limits]\nmemory = "1GiB"\n')
    text = ringfence.good("plan", "--deny-read", "x", "--", "make", "--json")
    assert "plan for `make --json`" in text
    for title in ("workspace", "mounts", "environment", "limits", "process"):
        assert f"\n{title}\n" in text
    (line,) = [line for line in text.splitlines() if line.startswith("  memory ")]
    assert line.split() == ["memory", "1GiB", f"{ringfence.workspace}/ringfence.toml:3"]


def test_a_plan_as_json_is_the_whole_plan(ringfence: Commands) -> None:
    found = ringfence.json("plan")
    assert found["workspace"]["path"] == str(ringfence.workspace)
    assert {"mounts", "environment", "limits", "seccomp", "namespaces", "identity"} <= found.keys()


def test_a_plan_as_a_profile_for_macos(ringfence: Commands) -> None:
    ringfence.write(".env", "KEY=1")
    text = ringfence.good("plan", "--deny-read", ".env", "--backend", "seatbelt", "make")
    assert text.startswith("(version 1)\n; untested on hardware")
    assert '(subpath (string-append (param "WORKSPACE") "/.env"))' in text
    assert ringfence.good("plan", "--backend=bubblewrap", "make", "--backend") == ringfence.good(
        "plan", "make", "--backend"
    )
    for words in (["--backend"], ["--backend", "vm"], ["--backend=seatbelt", "--seccomp", "debug"]):
        done = ringfence("plan", *words)
        assert done.returncode == (3 if "--seccomp" in words else 2)
        assert done.stderr.startswith("ringfence: ")


def test_a_plan_takes_the_options_of_a_run(ringfence: Commands) -> None:
    found = ringfence.json("plan", "--workspace", "readonly", "--env", "SOME_NAME")
    assert found["workspace"]["mode"] == "readonly"
    assert "SOME_NAME" in [item["name"] for item in found["environment"]]


def test_a_plan_never_shows_the_values_of_variables(ringfence: Commands) -> None:
    words = ("plan", "--env", "TOKEN")
    for more in ((), ("--json",)):
        done = ringfence(*words, *more, TOKEN="hunter2-hunter2")
        assert done.returncode == 0
        assert "TOKEN" in done.stdout
        assert "hunter2" not in done.stdout


def test_a_policy_that_is_wrong_is_named_by_line(ringfence: Commands) -> None:
    ringfence.write("ringfence.toml", 'version = 1\n[limits]\nmemry = "1GiB"\n')
    for words in (["plan"], ["explain", "x"], ["policy", "check"], ["policy", "show"], ["run", "true"]):
        assert f"{ringfence.workspace}/ringfence.toml:3: " in ringfence.refused(2, *words)


def status(ringfence: Commands, *words: str) -> dict[str, str]:
    """What `explain` answers, in one word each."""
    return {name: answer["status"] for name, answer in ringfence.json("explain", *words)["answers"].items()}


def test_the_workspace_can_be_read_and_written(ringfence: Commands) -> None:
    ringfence.write("a.txt", "a")
    assert status(ringfence, "a.txt") == {"read": "yes", "write": "yes"}
    assert status(ringfence, "--workspace", "readonly", "a.txt") == {"read": "yes", "write": "no"}
    assert "applied when the command ends" in ringfence.good("explain", "a.txt")


def test_a_change_that_would_be_held_back_is_foretold(ringfence: Commands) -> None:
    assert "held back" in ringfence.good("explain", ".git/hooks/pre-commit")


def test_the_system_is_read_only(ringfence: Commands) -> None:
    assert status(ringfence, "/usr/bin/env") == {"read": "yes", "write": "no"}
    assert status(ringfence, "/bin/sh") == {"read": "yes", "write": "no"}


def test_a_secret_is_not_reachable_and_the_line_that_would_grant_it_is_named(ringfence: Commands) -> None:
    key = ringfence.home / ".ssh/id_ed25519"
    key.parent.mkdir()
    key.write_text("KEY")
    for path in (key.parent, key):
        os.chown(path, ringfence.account.pw_uid, ringfence.account.pw_gid)
    assert status(ringfence, "~/.ssh/id_ed25519") == {"read": "no", "write": "no"}
    text = ringfence.good("explain", "~/.ssh/id_ed25519")
    assert 'read = ["~/.ssh/id_ed25519"]' in text
    assert f"ringfence run --read {key}" in text
    assert status(ringfence, "--read", str(key), str(key))["read"] == "yes"


def test_a_denied_path_names_its_line(ringfence: Commands) -> None:
    ringfence.write("ringfence.toml", 'version = 1\n[filesystem]\ndeny-read = [".env"]\ndeny-write = ["keep/"]\n')
    ringfence.write(".env", "SECRET=1")
    ringfence.write("keep/a", "a")
    answers = ringfence.json("explain", ".env")["answers"]
    assert answers["read"]["status"] == answers["write"]["status"] == "no"
    assert answers["read"]["origin"] == f"{ringfence.workspace}/ringfence.toml:3"
    answers = ringfence.json("explain", "keep/a")["answers"]
    assert (answers["read"]["status"], answers["write"]["status"]) == ("yes", "no")
    assert answers["write"]["origin"] == f"{ringfence.workspace}/ringfence.toml:4"


def test_a_link_is_explained_by_where_it_leads(ringfence: Commands) -> None:
    (ringfence.workspace / "out").symlink_to("/etc/shadow")
    found = ringfence.json("explain", "out")
    assert found["answers"]["read"]["status"] == "no"
    assert any("leads to /etc/shadow" in note for note in found["notes"])


def test_hosts_are_not_reachable(ringfence: Commands) -> None:
    assert status(ringfence, "example.com:443") == {"connect": "no"}
    assert status(ringfence, "localhost:80") == {"connect": "private"}
    assert "is not a host" in ringfence.refused(2, "explain", "host", "a b")


def test_hosts_and_requests_are_decided_by_rules(ringfence: Commands) -> None:
    ringfence.write("ringfence.toml", 'version = 1\n[network]\ndeny = ["no.example.com"]\n')
    allowed = ("--allow", "*.example.com", "--ask", "ask.example.org")
    assert status(ringfence, *allowed, "www.example.com:443") == {"connect": "yes"}
    assert status(ringfence, *allowed, "ask.example.org") == {"connect": "ask"}
    assert status(ringfence, *allowed, "POST", "https://www.example.com/x") == {"request": "yes"}
    assert status(ringfence, *allowed, "--network", "off", "www.example.com") == {"connect": "no"}
    answer = ringfence.json("explain", *allowed, "no.example.com")["answers"]["connect"]
    assert answer["origin"] == f"{ringfence.workspace}/ringfence.toml:3"
    assert "is a URL, not a host" in ringfence.refused(2, "plan", "--allow", "https://example.com")


def test_variables_are_seen_where_a_rule_says_so(ringfence: Commands) -> None:
    assert status(ringfence, "env", "PATH") == {"seen": "yes"}
    assert status(ringfence, "$AWS_SECRET_ACCESS_KEY") == {"seen": "no"}
    assert status(ringfence, "--env", "AWS_*", "$AWS_SECRET_ACCESS_KEY") == {"seen": "yes"}
    assert 'pass = ["FOO"]' in ringfence.good("explain", "env", "FOO")


def test_nobody_is_advised_to_hand_a_credential_in(ringfence: Commands) -> None:
    for name in ("ANTHROPIC_API_KEY", "MY_TOKEN"):
        said = ringfence.good("explain", f"${name}")
        assert f"--secret {name}@HOST" in said
        assert "pass = [" not in said and "--env" not in said


def test_a_file_that_holds_a_secret_gets_no_advice(ringfence: Commands) -> None:
    ringfence.write("token", "value-of-a-secret-123456")
    own = """version = 1
network.allow = ["x.example"]
[secrets.a]
source.file = "{source}"
inject = [{ host = "x.example", header = "authorization" }]
[[secret-files]]
path = "~/.netrc"
text = "machine x.example password {a}"
"""
    file = ringfence.home / ".config/ringfence/policy.toml"
    file.parent.mkdir(parents=True)
    for source in (ringfence.workspace / "token", ringfence.home / "token"):
        file.write_text(own.replace("{source}", str(source)))
        for path in (file.parent.parent, file.parent, file):
            os.chown(path, ringfence.account.pw_uid, ringfence.account.pw_gid)
        found = ringfence.json("explain", str(source))
        assert found["remedies"] == []
        answer = found["answers"]["read"]
        assert (answer["status"], answer["reason"], answer["rule"]) == ("no", "it holds the secret `a`", "secrets.a")
    found = ringfence.json("explain", "~/.netrc")
    assert (found["answers"]["read"]["status"], found["remedies"]) == ("private", [])


@pytest.mark.require("userns", "overlay")
def test_what_explain_says_is_what_a_run_does(ringfence: Commands) -> None:
    ringfence.write("ringfence.toml", 'version = 1\n[filesystem]\ndeny-read = [".env"]\n')
    ringfence.write(".env", "SECRET=1")
    ringfence.write("a.txt", "a")
    for path in ("a.txt", ".env", "/etc/shadow", "/usr/bin/env", "/etc/services", "/bin/sh"):
        said = status(ringfence, path)["read"]
        done = ringfence("run", "--", "sh", "-c", f"cat {path} >/dev/null 2>&1")
        assert (said == "yes") == (done.returncode == 0), (path, said, done.stderr)


def test_policy_check_reads_the_files_named(ringfence: Commands) -> None:
    ringfence.write("good.toml", 'version = 1\n[filesystem]\nread = ["/srv"]\n')
    ringfence.write("bad.toml", "version = 1\n[filesystem]\nread = 1\n")
    assert "ok  good.toml (user)" in ringfence.good("policy", "check", "good.toml")
    done = ringfence("policy", "check", "bad.toml", "good.toml")
    assert done.returncode == 2
    assert "bad.toml:3: " in done.stderr
    assert "good.toml" in done.stdout
    assert "can only tighten" in ringfence.refused(2, "policy", "check", "--scope", "project", "good.toml")


def test_policy_show_names_the_origin_of_every_value(ringfence: Commands) -> None:
    ringfence.write("ringfence.toml", 'version = 1\n[workspace]\nmode = "readonly"\n')
    text = ringfence.good("policy", "show")
    (line,) = [line for line in text.splitlines() if line.startswith("  workspace.mode ")]
    assert line.split() == ["workspace.mode", "readonly", f"{ringfence.workspace}/ringfence.toml:3"]
    assert ringfence.json("policy", "show")["workspace_mode"] == "readonly"


def test_policy_describes_itself(ringfence: Commands) -> None:
    assert "$schema" in ringfence.json("policy", "schema")
    assert list(ringfence.json("policy", "presets")) == list(PRESETS)
    assert "~/.rustup" in ringfence.good("policy", "presets")


def test_init_writes_what_it_detects_and_replaces_nothing(ringfence: Commands) -> None:
    ringfence.write("package.json", "{}")
    assert "there is a package.json" in ringfence.good("init")
    written = ringfence.workspace / "ringfence.toml"
    assert 'extends = ["node"]' in written.read_text()
    assert ringfence.good("init", "--print") == written.read_text()
    written.write_text("version = 1\n")
    assert "exists" in ringfence.refused(2, "init")
    assert written.read_text() == "version = 1\n"
    ringfence.good("init", "--force")
    ringfence.good("policy", "check")


def test_init_for_the_user(ringfence: Commands) -> None:
    ringfence.good("init", "--user")
    assert (ringfence.home / ".config/ringfence/policy.toml").is_file()
    assert "(user)" in ringfence.good("policy", "check")
