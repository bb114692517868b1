"""What the forges' presets deny is denied whatever else is allowed, and each denial says why."""

import pytest

from ringfence.model.decision import Verdict
from ringfence.policy.connect import asked, decide
from ringfence.policy.forge_hosts import GITHUB, GITLAB, PUSH
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse
from ringfence.policy.preset_entries import WRITES, PresetHost

REMOTE = """
[[git.remotes]]
host = "{host}"
repositories = ["a/b"]
push = {{ refs = ["refs/heads/agent/*"] }}
"""


def verdict(text: str, request: str) -> Verdict:
    policy = merge([parse(f"version = 1\n{text}\n", file="u", scope="user")], home="/home/u", workspace="/home/u/w")
    assert policy.egress is not None
    return decide(policy.egress, asked(request)).verdict


@pytest.mark.parametrize("item", [*GITHUB, *GITLAB], ids=lambda item: f"{item.host} {item.reason}")
def test_each_entry_says_why_and_denials_take_every_way_to_write(item: PresetHost) -> None:
    assert item.reason
    if item.verdict == "deny" and item.methods:
        assert set(item.methods) == set(WRITES) or item.methods == ("DELETE",)


@pytest.mark.parametrize(
    ("preset", "request_text"),
    [
        ("github", "PUT https://api.github.com/repos/a/b/pulls/1/merge"),
        ("github", "POST https://api.github.com/user/keys"),
        ("gitlab", "POST https://gitlab.com/api/v4/projects/7/hooks"),
        ("gitlab", "GET https://gitlab.com/api/v4/projects/7/variables"),
    ],
)
def test_an_allowance_of_ones_own_does_not_help(preset: str, request_text: str) -> None:
    wide = 'network.allow = ["api.github.com", "gitlab.com"]'
    assert verdict(wide, request_text) is Verdict.ALLOW
    assert verdict(f'extends = ["{preset}"]\n{wide}', request_text) is Verdict.DENY


@pytest.mark.parametrize(("preset", "host"), [("github", "github.com"), ("gitlab", "gitlab.com")])
def test_a_push_is_denied_until_a_remote_says_to_which_refs(preset: str, host: str) -> None:
    named = f'extends = ["{preset}"]\n'
    push, other = (f"POST https://{host}/a/{name}.git/git-receive-pack" for name in ("b", "c"))
    assert PUSH in [item.reason for item in (*GITHUB, *GITLAB) if item.host == host]
    assert verdict(named, push) is Verdict.DENY
    assert verdict(named + REMOTE.format(host=host), push) is Verdict.ALLOW
    assert verdict(named + REMOTE.format(host=host), other) is Verdict.DENY
    assert verdict(named + REMOTE.format(host="other.example"), push) is Verdict.DENY
    assert verdict(named + REMOTE.format(host=host).replace("push", "# push"), push) is Verdict.DENY
