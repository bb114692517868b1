"""What `explain` says of hosts and requests, and what it advises."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from ringfence.cli.explain_host import explain_host
from ringfence.cli.explanation import Explanation
from ringfence.model.errors import UsageError
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse
from ringfence.session.prepare import Prepared


class Known:
    """As much of what was prepared as an answer about a host is made from."""

    def __init__(self, texts: Sequence[tuple[str, str]]) -> None:
        found = [parse(f"version = 1\n{text}\n", file=f"{scope}.toml", scope=scope) for scope, text in texts]
        self.policy = merge(found, home="/home/u", workspace="/home/u/w")
        self.request = self

    workspace = "/home/u/w"


def explained(target: str, *texts: tuple[str, str]) -> Explanation:
    return explain_host(cast(Prepared, cast(Any, Known(texts))), target)


def answered(found: Explanation) -> tuple[str, str, str]:
    (answer,) = found.answers.values()
    return answer.status, answer.rule, answer.origin


def advice(found: Explanation) -> str:
    return "\n".join("\n".join((remedy.why, *remedy.lines, remedy.once)) for remedy in found.remedies)


ON = ("user", '[network]\nallow = ["a.example", { host = "api.example", methods = ["GET"] }]')


def test_without_a_network_the_line_that_opens_it_is_named() -> None:
    found = explained("Example.com:443")
    assert found.target == "example.com:443"
    assert answered(found) == ("no", 'network.mode = "off"', "default")
    assert 'allow = ["example.com"]' in advice(found)
    assert "`ringfence allow example.com`" in advice(found)
    assert "ringfence run --allow example.com" in advice(found)


def test_a_preset_that_would_do_is_named_first() -> None:
    found = explained("api.github.com")
    assert found.remedies[0].lines == ('extends = ["github"]',)
    assert found.remedies[0].once == "ringfence run --preset github"
    assert "preset" not in advice(explained("api.github.com", ("user", 'extends = ["github"]')))


def test_off_on_purpose_says_where() -> None:
    found = explained("a.example", ("managed", '[network]\nmode = "off"'), ON)
    assert answered(found) == ("no", 'network.mode = "off"', "managed.toml:3")
    assert advice(found).startswith('to let it be reached, remove `network.mode = "off"` at managed.toml:3')


def test_what_is_allowed_needs_no_advice() -> None:
    found = explained("a.example:443", ON)
    assert answered(found) == ("yes", 'network.allow = "a.example:80,443"', "user.toml:3")
    assert found.remedies == ()
    assert "what it resolves to is checked when it is connected to" in found.notes
    assert "every request is looked at and decided; what is neither HTTP nor TLS is refused" in found.notes


def test_what_is_asked_about() -> None:
    found = explained("b.example:443", ("user", '[network]\nunknown = "ask"'))
    assert answered(found) == ("ask", 'network.unknown = "ask"', "user.toml:3")
    assert 'allow = ["b.example"]' in advice(found)


def test_a_denial_is_to_be_narrowed() -> None:
    found = explained("x.a.example", ON, ("project", '[network]\ndeny = ["*.a.example"]'))
    assert answered(found) == ("no", 'network.deny = "*.a.example"', "project.toml:3")
    assert advice(found).strip().endswith('narrow or remove `network.deny = "*.a.example"` at project.toml:3')


def test_a_denial_of_a_preset_cannot_be_overruled() -> None:
    found = explained("uploads.github.com:443", ("user", 'extends = ["github"]\n[network]\nallow = ["*.github.com"]'))
    assert answered(found)[2] == "preset:github"
    assert "while preset:github applies" in advice(found)


def test_requests() -> None:
    assert answered(explained("GET https://api.example/x", ON))[0] == "yes"
    found = explained("POST https://api.example/x", ON)
    assert (found.target, list(found.answers), answered(found)[0]) == ("POST https://api.example/x", ["request"], "no")
    assert 'allow = [{ host = "api.example", methods = ["POST"], paths = ["/x"] }]' in advice(found)
    assert "not every request" in "\n".join(explained("api.example:443", ON).notes)


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:3000", "[::1]:3000", "x.localhost:3000"])
def test_the_sandbox_has_a_loopback_of_its_own(host: str) -> None:
    found = explained(host, ON)
    assert answered(found)[0] == "private"
    assert 'allow = ["host-loopback:3000"]' in advice(found)
    assert explained("localhost").remedies == ()


def test_addresses() -> None:
    assert "needs a port" in advice(explained("10.0.0.1", ON))
    found = explained("10.0.0.1:443", ON)
    assert 'allow = ["10.0.0.1:443"]' in advice(found)
    assert "--allow 10.0.0.1:443" in advice(found)
    asked = explained("10.0.0.1:443", ("user", '[network]\nunknown = "ask"'))
    assert asked.answers["connect"].reason == "10.0.0.1 is special: private"


def test_what_no_line_can_allow_says_so() -> None:
    assert "no line of policy lets it be reached" in advice(explained("224.0.0.1:80", ON))


@pytest.mark.parametrize("text", ["https://user@example.com/", "0x7f.1", "exa mple.com", "a:b:c", ""])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a host") as caught:
        explained(text)
    assert "METHOD and URL" in caught.value.hint


def test_a_question_is_ended_where_it_stands() -> None:
    """An allowance beside it would say nothing."""
    found = explained("a.example", ("user", '[network]\nask = ["a.example"]'))
    assert answered(found) == ("ask", 'network.ask = "a.example:80,443"', "user.toml:3")
    assert "remove" in advice(found)
    assert "user.toml:3" in advice(found)
    assert "allow = [" not in advice(found)


def test_loopback_is_the_hosts_where_policy_opens_its_port() -> None:
    open_port = ("user", '[network]\nallow = ["host-loopback:5432"]')
    found = explained("localhost:5432", open_port)
    assert answered(found) == ("yes", 'network.allow = "host-loopback:5432"', "user.toml:3")
    assert found.target == "host-loopback:5432"
    assert answered(explained("localhost:5433", open_port))[0] == "private"


def test_a_wildcard_is_not_asked_about() -> None:
    with pytest.raises(UsageError, match="stands for many hosts"):
        explained("*.example.com")


REMOTES = (
    "user",
    """extends = ["github"]
[[git.remotes]]
host = "github.com"
repositories = ["acme/site"]
push = { refs = ["refs/heads/work/*"] }
[[git.remotes]]
host = "github.com"
repositories = ["acme/read"]
""",
)


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        ("POST https://github.com/acme/other.git/git-receive-pack", "no", "acme/other: no rule allows pushing to it"),
        ("POST https://github.com/acme/read.git/git-receive-pack", "no", "acme/read: no rule allows pushing to it"),
        ("GET https://github.com/acme/read/info/refs?service=git-receive-pack", "no", "no rule allows pushing to it"),
        ("POST https://github.com/acme/other/git-upload-pack", "no", "no `git.remotes` entry speaks of the repository"),
        ("POST https://github.com/acme/site.git/git-receive-pack", "yes", "judged by its refs: refs/heads/work/*"),
        ("GET https://github.com/acme/read/info/refs?service=git-upload-pack", "yes", "allowed by a rule"),
        ("GET https://github.com/acme/read/Info/Refs", "no", "path"),
        ("POST https://github.com/acme/site/info/lfs/objects/batch", "no", "no rule allows git LFS to download"),
    ],
)
def test_a_request_of_git_is_answered_by_its_remotes(request_: str, status: str, reason: str) -> None:
    found = explained(request_, REMOTES)
    answer = found.answers["request"]
    assert (answer.status, answer.rule) == (status, "git.remotes")
    assert reason in answer.reason
    assert answer.origin.startswith("user.toml:")
    assert ("say so in `git.remotes` at user.toml:" in advice(found)) is (status == "no")
    assert "allow = [" not in advice(found)


def test_what_is_not_gits_is_answered_by_the_rules() -> None:
    found = explained("GET https://github.com/acme/other", REMOTES)
    assert found.answers["request"].rule.startswith("network.allow")
