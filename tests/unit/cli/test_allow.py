"""What `ringfence allow` and `ringfence deny` write, and what they say of it."""

from pathlib import Path

import pytest

from ringfence.cli import allow
from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress
from ringfence.model.errors import UsageError
from ringfence.policy.effective import Policy
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse
from ringfence.session.control import rules

PLACE = "/home/u/.config/ringfence/policy.toml"


def policy(network: str) -> Policy:
    text = f"version = 1\n[network]\n{network}\n"
    return merge([parse(text, file="p.toml", scope="user")], home="/home/u", workspace="/home/u/w")


def change(verb: str, host: str, before: str, after: str) -> str:
    said = allow.difference(rules(verb, [host]), policy(before).egress, policy(after).egress)
    return "\n".join(line.strip() for line in said)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("version = 1\n", 'version = 1\n\n[network]\nallow = [\n    "a.example",\n]\n'),
        (
            'version = 1\n[network]\nallow = ["b.example"] # why\n',
            'version = 1\n[network]\nallow = ["b.example", "a.example"] # why\n',
        ),
        (
            'version = 1\n[network]\nallow = [\n  "b.example", # b\n]\nunknown = "ask" # all\n',
            'version = 1\n[network]\nallow = [\n  "b.example", # b\n  "a.example",\n]\nunknown = "ask" # all\n',
        ),
        (
            'version = 1\n[[network.allow]]\nhost = "b.example" # b\n',
            'version = 1\n[[network.allow]]\nhost = "b.example" # b\n[[network.allow]]\nhost = "a.example"\n',
        ),
        (
            'version = 1\nnetwork = { deny = ["b.example"] }\n',
            'version = 1\nnetwork = { deny = ["b.example"], allow = ["a.example"]}\n',
        ),
        (
            'version = 1\r\n[network]\r\nallow = ["b.example"]\r\n',
            'version = 1\r\n[network]\r\nallow = ["b.example", "a.example"]\r\n',
        ),
    ],
    ids=["new", "one line", "many lines", "tables", "inline", "CRLF"],
)
def test_comments_and_layout_stay(before: str, after: str) -> None:
    assert allow.with_rules(before, "allow", ["a.example"], PLACE) == after
    assert allow.with_rules(after, "allow", ["a.example"], PLACE) == after
    parse(after, file=PLACE, scope="user")


def test_a_file_that_is_wrong_is_not_edited() -> None:
    with pytest.raises(UsageError, match="unknown key") as caught:
        allow.with_rules("version = 1\n[network]\nalow = []\n", "allow", ["a.example"], PLACE)
    assert str(caught.value).startswith(f"{PLACE}:3: ")


@pytest.mark.parametrize(
    ("verb", "host", "before", "after", "said"),
    [
        ("allow", "a.example", "", 'allow = ["a.example"]', "a.example:80,443  denied -> allowed  (inspect)"),
        (
            "allow",
            "a.example:22",
            "",
            'allow = ["a.example:22"]',
            "a.example:22  denied -> allowed  (inspect: only HTTP and TLS pass)",
        ),
        ("allow", "10.0.0.1:22", "", 'allow = ["10.0.0.1:22"]', "10.0.0.1:22  denied -> allowed  (raw)"),
        (
            "allow",
            "a.example",
            'allow = ["a.example"]',
            'allow = ["a.example"]',
            "a.example:80,443  allowed, as before",
        ),
        (
            "allow",
            "a.example",
            'allow = [{ host = "a.example", methods = ["GET"] }]',
            'allow = [{ host = "a.example", methods = ["GET"] }, "a.example"]',
            "a.example:80,443  partly allowed -> allowed  (inspect)",
        ),
        (
            "allow",
            "a.example",
            'allow = ["a.example:80"]',
            'allow = ["a.example:80", "a.example"]',
            "a.example:80,443  partly allowed -> allowed  (inspect)",
        ),
        ("deny", "a.example", 'allow = ["a.example"]', 'deny = ["a.example"]', "a.example  allowed -> denied"),
        ("deny", "*.a.example", 'allow = ["b.a.example"]', 'deny = ["*.a.example"]', "*.a.example  allowed -> denied"),
        ("deny", "a.example", 'unknown = "ask"', 'deny = ["a.example"]\nunknown = "ask"', "a.example  asked -> denied"),
        ("deny", "a.example", 'allow = ["b.example"]', 'deny = ["a.example"]', "a.example  denied, as before"),
        (
            "allow",
            "a.example",
            'ask = ["a.example"]',
            'ask = ["a.example"]\nallow = ["a.example"]',
            "a.example:80,443  asked, as before  (a question beats an allowance: p.toml:3)",
        ),
    ],
)
def test_what_changes_is_said(verb: str, host: str, before: str, after: str, said: str) -> None:
    assert change(verb, host, before, after) == said


def test_no_line_is_written_that_says_nothing() -> None:
    (rule,) = rules("allow", ["a.example"])
    nothing, all_of_it = policy("").egress, policy('allow = ["a.example"]').egress
    raw = policy('allow = [{ host = "a.example", inspection = "raw" }]').egress
    asks = policy('ask = ["a.example"]').egress
    assert allow.needed(rule, nothing, all_of_it)
    assert not allow.needed(rule, all_of_it, all_of_it)
    assert not allow.needed(rule, raw, raw)  # the new line would look into it
    assert not allow.needed(rule, asks, asks)


def test_a_denial_of_some_requests_is_an_exception() -> None:
    some = '{ host = "a.example", methods = ["GET"] }'
    (rule,) = rules("allow", ["a.example"])
    assert allow.standing(policy(f'allow = ["a.example"]\ndeny = [{some}]').egress, rule) == "allowed with exceptions"
    assert allow.standing(policy(f"allow = [{some}]\ndeny = [{some}]").egress, rule) == "partly allowed"
    assert allow.standing(Egress(unknown=Verdict.ALLOW), rule) == "allowed"
    assert allow.standing(None, rule) == "denied"


@pytest.mark.parametrize(
    ("host", "network", "words"),
    [
        ("a.example", 'deny = ["a.example"]\nallow = ["b.example"]', "stays denied by `a.example`"),
        ("*.a.example", 'deny = ["*.a.example"]\nallow = ["*.a.example"]', "stays denied by `\\*.a.example`"),
        ("a.example", 'mode = "off"', "the network is off by policy"),
    ],
)
def test_an_allowance_that_says_nothing_is_refused_with_its_place(host: str, network: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        allow.refuse_without_effect("allow", rules("allow", [host]), policy(network))
    assert str(caught.value).startswith("p.toml:3: ")
    assert "p.toml:3" in caught.value.hint or "mode" in caught.value.hint
    allow.refuse_without_effect("deny", rules("deny", [host]), policy(network))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Source(scope="user", file="p.toml", line=7), "take it out of `network.deny` in p.toml:7"),
        (
            Source(scope="managed", file="/etc/p.toml", line=7),
            "whoever manages this machine can lift it: /etc/p.toml:7",
        ),
        (Source(scope="preset", file="preset:python"), "leave `python` out of `extends`, or "),
    ],
)
def test_how_a_denial_is_taken_back_is_said(source: Source, words: str) -> None:
    assert allow.taking_back(source).startswith(words)


@pytest.mark.parametrize("text", ["", "\n", "# mine\n\n"])
def test_an_empty_file_takes_a_rule(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "ringfence/policy.toml"
    path.parent.mkdir()
    path.write_text(text)
    added, _ = allow.add("allow", ["a.example"], str(path), str(tmp_path))
    (layer,) = [parse(added, file=PLACE, scope="user")]
    assert layer.document.network.allow == ("a.example",)
    assert text.strip() in added


def test_nothing_is_made_where_a_link_leads_to(tmp_path: Path) -> None:
    ours, elsewhere = tmp_path / "config/ringfence", tmp_path / "elsewhere"
    with pytest.raises(UsageError, match="cannot write policy"), allow.editing(f"{elsewhere}/policy.toml", str(ours)):
        pass
    assert ours.is_dir() and not elsewhere.exists()
