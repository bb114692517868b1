"""Settings of Claude Code as a policy file: what is kept, what is narrowed, what is refused by name."""

import json
from typing import Any

import pytest

from ringfence.integrations import claude_import
from ringfence.model.errors import UsageError
from ringfence.policy import layers, parse
from ringfence.policy.document import Document, Layer
from ringfence.policy.effective import Policy

HOME, WORKSPACE = "/home/u", "/home/u/w"


def from_claude(settings: Any) -> tuple[str, Document]:
    text = claude_import.policy_text(json.dumps(settings).encode(), "settings.json", home=HOME, workspace=WORKSPACE)
    return text, parse.parse(text, file="policy.toml", scope="user").document


def merged(document: Document) -> Policy:
    return layers.merge([Layer(scope="user", document=document)], home=HOME, workspace=WORKSPACE)


def test_permission_rules_of_claude_code_are_kept_as_they_are() -> None:
    settings = {
        "permissions": {
            "allow": ["Bash(npm test)", "WebFetch(domain:example.com)"],
            "ask": ["Bash(git push *)"],
            "deny": ["Read(./.env)"],
            "additionalDirectories": ["../docs", "/srv/docs"],
            "defaultMode": "acceptEdits",
            "disableBypassPermissionsMode": "disable",
        },
        "env": {"FOO": 'a"b', "MAX_THINKING_TOKENS": "1"},
        "model": "opus",
        "hooks": {},
    }
    text, document = from_claude(settings)
    assert document.permissions.allow == ("Bash(npm test)", "WebFetch(domain:example.com)")
    assert (document.permissions.deny, document.permissions.ask) == (("Read(./.env)",), ("Bash(git push *)",))
    assert (document.permissions.mode, document.permissions.directories) == ("acceptEdits", ("../docs", "/srv/docs"))
    assert [rule.pattern for rule in merged(document).write] == ["/srv/docs"]
    assert document.env.set == {"FOO": 'a"b', "MAX_THINKING_TOKENS": "1"}
    assert "# hooks: stays with Claude Code\n# model: stays with Claude Code" in text


def test_its_sandbox_is_that_of_sandbox_runtime() -> None:
    sandbox = {
        "enabled": True,
        "network": {"allowedDomains": ["example.com"], "allowManagedDomainsOnly": True},
        "filesystem": {"denyRead": ["//srv/key"], "allowWrite": ["/srv/out"]},
    }
    _, document = from_claude({"sandbox": sandbox})
    policy = merged(document)
    assert policy.egress is not None
    assert [rule.pattern for rule in policy.deny_read] == ["/srv/key"]
    assert ([rule.pattern for rule in policy.write], policy.workspace_mode) == (["/srv/out"], "overlay")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"env": {"API_KEY": "x"}}, "`env.API_KEY` cannot be kept"),
        ({"apiKeyHelper": "x"}, "`apiKeyHelper` cannot be kept"),
        ({"sandbox": {"excludedCommands": ["docker"]}}, "`sandbox.excludedCommands` cannot be kept"),
        ({"permissions": {"deny": ["Bash(ls"]}}, "`permissions.deny` cannot be kept"),
        ({"permissions": {"defaultMode": "loose"}}, "`permissions.defaultMode` cannot be kept"),
        ({"permissions": {"dney": []}}, "unknown field `dney`"),
        ({"sandbox": {"network": {"allowed": []}}}, "unknown field `allowed`"),
        ([], "expected `object`"),
    ],
)
def test_what_cannot_be_kept_of_claude_code_is_named(settings: Any, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_claude(settings)
    assert name in str(caught.value)
