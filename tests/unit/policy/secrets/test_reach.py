"""A secret's hosts must be allowed, and their requests seen."""

import pytest

from ringfence.model.errors import UsageError
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse


def check(allow: str, host: str, *, ports: str = "[443]", more: str = "") -> None:
    text = (
        f"version = 1\nnetwork.allow = [{allow}]\n{more}\n[secrets.a]\nsource.env = 'A'\n"
        f"inject = [{{ host = '{host}', header = 'x', ports = {ports} }}]\n"
    )
    merge([parse(text, file="u.toml", scope="user")], home="/home/u", workspace="/home/u/w")


@pytest.mark.parametrize(
    ("allow", "host"),
    [
        ("'x.example'", "x.example"),
        ("'*.x.example'", "a.x.example"),
        ("'*.x.example'", "*.x.example"),
        ("'*.x.example'", "*.a.x.example"),
        ("'a.x.example'", "*.x.example"),
        ("{ host = 'x.example', methods = ['GET'], paths = ['/a'] }", "x.example"),
        ("{ host = 'x.example', ports = [22], inspection = 'raw' }, 'x.example'", "x.example"),
        ("{ host = 'y.example', inspection = 'sni' }, 'x.example'", "x.example"),
        ("{ host = '10.0.0.1', ports = [443], inspection = 'inspect' }", "10.0.0.1"),
    ],
)
def test_hosts_that_are_reached_and_seen(allow: str, host: str) -> None:
    check(allow, host)


@pytest.mark.parametrize(
    ("allow", "host"),
    [("", "x.example"), ("'y.example'", "x.example"), ("'*.x.example'", "x.example"), ("'x.example:80'", "x.example")],
)
def test_hosts_that_no_rule_allows(allow: str, host: str) -> None:
    with pytest.raises(UsageError, match="which no rule allows") as caught:
        check(allow, host)
    assert f'allow = ["{host}"]' in caught.value.hint
    assert caught.value.place == "u.toml:6"  # the line of the entry


def test_ports_count() -> None:
    check("'x.example:8443'", "x.example", ports="[8443]")
    with pytest.raises(UsageError) as caught:
        check("'x.example'", "x.example", ports="[8443]")
    assert 'allow = ["x.example:8443"]' in caught.value.hint


def test_a_host_that_is_asked_about_may_come_to_be_allowed() -> None:
    check("", "x.example", more='network.unknown = "ask"')
    check("", "x.example", more="network.ask = ['x.example']")


@pytest.mark.parametrize(
    ("allow", "said"),
    [
        ("{ host = 'x.example', inspection = 'sni' }", 'inspection = "sni"'),
        ("{ host = 'x.example', inspection = 'raw' }", 'inspection = "raw"'),
        ("{ host = '*.example', http2 = true }", "http2 = true"),
        ("'x.example', { host = 'x.example', http2 = true }", "http2 = true"),
    ],
)
def test_hosts_that_pass_unseen(allow: str, said: str) -> None:
    with pytest.raises(UsageError, match="of the secret `a` is not inspected") as caught:
        check(allow.replace("*.example", "*.test"), "x.example" if "*." not in allow else "x.test")
    assert f"at u.toml:2 has `{said}`" in caught.value.message
    assert caught.value.place == "u.toml:6"
    assert said in caught.value.hint


def test_the_hint_is_in_the_words_of_whoever_wrote_the_secret() -> None:
    text = "version = 1\n[secrets.a]\nsource.env = 'A'\ninject = [{ host = 'x.example', header = 'x' }]\n"
    with pytest.raises(UsageError) as caught:
        merge([parse(text, file="command line", scope="cli")], home="/home/u", workspace="/home/u/w")
    assert caught.value.hint == "add `--allow x.example`"


def test_an_address_must_be_inspected() -> None:
    with pytest.raises(UsageError, match="which no rule allows") as caught:
        check("", "10.0.0.1", ports="[8443]")
    rule = '{ host = "10.0.0.1", ports = [8443], inspection = "inspect" }'
    assert f"`allow = [{rule}]`" in caught.value.hint
    check(rule, "10.0.0.1", ports="[8443]")


@pytest.mark.parametrize(
    ("file", "ports", "hint"),
    [
        ("u.toml", "[443]", 'add `allow = ["x.example"]` to'),
        ("u.toml", "[8443]", 'add `allow = ["x.example:8443"]` to'),
        ("u.toml", '["8000-8010"]', 'add `allow = ["x.example:8000"]` to'),
        ("command line", "[443]", "add `--allow x.example`"),
        ("--secret a", "[443]", "add `--allow x.example`"),
    ],
)
def test_what_would_allow_the_host(file: str, ports: str, hint: str) -> None:
    text = "version = 1\nnetwork.allow = ['y.example']\nnetwork.deny = ['x.example']\n[secrets.a]\nsource.env = 'A'\n"
    text += f"inject = [{{ host = 'x.example', header = 'x', ports = {ports} }}]\n"
    with pytest.raises(UsageError, match="which no rule allows") as caught:
        merge([parse(text, file=file, scope="user")], home="/home/u", workspace="/home/u/w")
    assert caught.value.hint.startswith(hint)
