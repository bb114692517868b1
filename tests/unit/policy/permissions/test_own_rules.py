"""`[permissions]` in ringfence's own policy files."""

import pytest

from ringfence.model.errors import UsageError
from ringfence.policy import layers
from ringfence.policy.parse import parse
from ringfence.policy.permissions import scopes
from ringfence.policy.permissions.own_rules import scope_of
from ringfence.policy.permissions.paths import Unresolved
from ringfence.policy.permissions.settings import Mode, Settings
from tests.permission_cases import CWD, HOME, verdict


def merged(**texts: str) -> Settings:
    read = [
        scope_of(
            parse(f"version = 1\n[permissions]\n{text}", file=f"{scope}.toml", scope=scope), home=HOME, workspace=CWD
        )
        for scope, text in texts.items()
    ]
    return scopes.merge(read, scopes.Request(cwd=CWD, home=HOME), Unresolved())


def test_rules_of_all_files_count() -> None:
    settings = merged(
        user='allow = ["Bash(pfs *)", "Edit(/out/**)"]\ndirectories = ["/srv"]\nmode = "acceptEdits"',
        project='deny = ["Bash(pfs bad)"]\nask = ["Bash(pfs maybe)"]',
    )
    assert [verdict(settings, "Bash", f"pfs {word}") for word in ("a", "maybe", "bad")] == ["allow", "ask", "deny"]
    assert verdict(settings, "Write", "/w/proj/out/a") == "allow"
    assert verdict(settings, "Read", "/srv/a") == "allow"
    assert settings.mode is Mode.ACCEPT_EDITS


def test_a_rule_that_cannot_be_read_refuses_the_policy_with_its_line() -> None:
    for rule in ("Bash(", "Read([)"):
        layer = parse(f'version = 1\n[permissions]\ndeny = [\n "Bash(x)",\n "{rule}",\n]', file="p.toml", scope="user")
        with pytest.raises(UsageError, match=r"p\.toml:5"):
            layers.merge([layer], home=HOME, workspace=CWD)


def test_only_paths_are_read_as_patterns_of_paths() -> None:
    settings = merged(user='deny = ["Bash(dny [)", "Bash(timeout:5)"]\nallow = ["Read(x)"]')
    assert verdict(settings, "Bash", "dny [") == "deny"
    assert settings.mode is Mode.DEFAULT


@pytest.mark.parametrize("text", ['allow = ["Bash(x)"]', 'directories = ["/srv"]', 'mode = "auto"'])
def test_a_project_can_only_tighten(text: str) -> None:
    layer = parse(f"version = 1\n[permissions]\n{text}", file="ringfence.toml", scope="project")
    with pytest.raises(UsageError, match="can only tighten"):
        layers.merge([layer], home=HOME, workspace=CWD)


@pytest.mark.parametrize("text", ["allow = 1", "deny = [1]", 'mode = "all"', "other = []"])
def test_what_is_no_table_of_rules_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"ringfence\.toml:3"):
        parse(f"version = 1\n[permissions]\n{text}", file="ringfence.toml", scope="project")
