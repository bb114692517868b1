"""Deployment patterns: what they set, what overrules them, and what they refuse."""

import pytest

from ringfence.model.errors import UsageError
from ringfence.policy import parse
from ringfence.policy.document import Layer
from ringfence.policy.effective import Policy
from ringfence.session import deployments

HOME, WORKSPACE = "/home/user", "/home/user/project"

GRANTS = """\
extends = ["github"]
filesystem.write = ["~/cache"]
filesystem.read = ["~/data"]
filesystem.deny-read = [".env"]
network.allow = ["example.com"]
network.deny = ["example.org"]
env.pass = ["TOKEN"]
secrets.a.source = { env = "A_TOKEN" }
secrets.a.inject = [{ host = "example.com", header = "authorization" }]
"""
SECRET = """\
network.allow = ["example.com"]
secrets.a.source = { env = "A" }
secrets.a.inject = [{ host = "example.com", header = "authorization" }]
"""


def layer(text: str, scope: str = "user") -> Layer:
    return parse.parse(f"version = 1\n{text}\n", file=f"{scope}.toml", scope=scope)


def merged(*given: Layer) -> Policy:
    return deployments.merged(deployments.expanded(given), home=HOME, workspace=WORKSPACE)


def refused(*given: Layer) -> str:
    with pytest.raises(UsageError) as caught:
        merged(*given)
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("name", deployments.DEPLOYMENTS)
def test_a_pattern_meets_its_own_floor_and_says_what_it_is_for(name: str) -> None:
    policy = merged(layer(f'extends = ["{name}"]', "cli"))
    assert name in policy.presets
    assert all(deployment.purpose for deployment in deployments.DEPLOYMENTS.values())
    assert policy.tier == "process"


def test_values_are_the_pattern_s_and_say_so() -> None:
    policy = merged(layer('extends = ["refactor"]', "cli"), layer('network.unknown = "ask"'))
    assert policy.workspace_mode == "overlay"
    assert str(policy.origins["workspace.mode"]) == "preset:refactor"
    assert policy.trust.mode == "hide"


def test_what_stands_beside_the_name_beats_the_pattern() -> None:
    policy = merged(layer('extends = ["daily"]\nworkspace.apply = "ask"\nnetwork.unknown = "deny"'))
    assert (policy.workspace_apply, policy.egress) == ("ask", None)


def test_managed_policy_beats_a_pattern() -> None:
    text = refused(layer('extends = ["triage"]', "cli"), layer('workspace.mode = "direct"', "managed"))
    assert text.startswith("managed.toml:2: `triage` refuses to start: `workspace.mode` is `direct`")


@pytest.mark.parametrize(
    ("name", "setting", "key"),
    [
        ("daily", 'workspace.mode = "direct"', "workspace.mode"),
        ("refactor", 'network.unknown = "ask"', "network.unknown"),
        ("triage", 'workspace.mode = "overlay"', "workspace.mode"),
        ("triage", 'trust.mode = "off"', "trust.mode"),
        ("pipeline", 'workspace.mode = "direct"', "workspace.mode"),
        ("pipeline", 'network.unknown = "ask"', "network.unknown"),
        ("pipeline", 'isolation.seccomp = "debug"', "isolation.seccomp"),
        ("pipeline", 'trust.mode = "off"', "trust.mode"),
        ("pipeline", 'audit.fsync = "never"', "audit.fsync"),
    ],
)
@pytest.mark.parametrize("scope", ["user", "cli"])
def test_below_the_floor_nothing_starts(name: str, setting: str, key: str, scope: str) -> None:
    assert f"`{name}` refuses to start: `{key}` is" in refused(layer(f'extends = ["{name}"]\n{setting}', scope))


def test_triage_hears_no_grant_but_the_command_line_s() -> None:
    own = layer(GRANTS)
    policy = merged(layer('extends = ["triage"]', "cli"), own)
    assert (policy.write, policy.secrets.secrets, policy.egress) == ((), (), None)
    assert "TOKEN" not in {rule.name for rule in policy.environment}
    assert not any(rule.pattern.endswith("/data") for rule in policy.read)
    assert [rule.pattern for rule in policy.deny_read] == [".env"]
    reached = merged(layer('extends = ["triage", "claude"]', "cli"), own).egress
    assert reached is not None
    assert {rule.host for rule in reached.rules if rule.source.scope != "preset"} == {"example.org"}


@pytest.mark.parametrize(
    "text",
    [
        'filesystem.write = ["/srv/a"]',
        'filesystem.mounts = [{ source = "/srv/a", target = "/srv/b", writable = true }]',
        SECRET,
    ],
)
def test_triage_refuses_a_write_or_a_secret_of_the_command_line(text: str) -> None:
    assert "`triage` refuses to start" in refused(layer(f'extends = ["triage"]\n{text}', "cli"))


def test_a_checkout_cannot_choose_its_pattern() -> None:
    text = refused(layer('extends = ["pipeline"]', "project"))
    assert text == "project.toml:2: a project cannot choose the pattern `pipeline`"


def test_of_two_patterns_in_one_file_the_stricter_counts() -> None:
    policy = merged(layer('extends = ["refactor", "daily"]'))
    assert (str(policy.origins["workspace.apply"]), policy.egress) == ("preset:refactor", None)


def test_of_two_patterns_both_floors_hold() -> None:
    assert "`refactor` refuses" in refused(layer('extends = ["daily"]', "cli"), layer('extends = ["refactor"]'))


def test_a_run_that_learns_is_not_one_with_an_allow_list() -> None:
    for name in ("refactor", "triage", "pipeline"):
        with pytest.raises(UsageError, match=name):
            deployments.refuse_learning([name])
    deployments.refuse_learning(["daily", "python"])


def test_settings_of_another_tool_choose_for_themselves_and_so_not_under_a_pattern() -> None:
    for name in deployments.DEPLOYMENTS:
        with pytest.raises(UsageError, match=f"`{name}` does not hold"):
            deployments.refuse_foreign(["python", name])
    deployments.refuse_foreign(["python"])
