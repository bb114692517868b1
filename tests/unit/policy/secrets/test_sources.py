"""Where values come from: exactly one place, in the words of whoever keeps it."""

from typing import Any

import pytest

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.secrets import Origin, SecretSource
from ringfence.policy.entries import Places
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse
from ringfence.policy.secrets.sources import source
from ringfence.policy.secrets.tables import SourceTable

HERE = Source(scope="user", file="u.toml", line=7)


def built(**keys: Any) -> SecretSource:
    return source(SourceTable(**keys), "a", HERE, Places(home="/home/u", workspace="/home/u/w"))


@pytest.mark.parametrize(
    ("keys", "origin", "locator"),
    [
        ({"env": "TOKEN"}, Origin.ENVIRONMENT, "TOKEN"),
        ({"file": "/etc/token"}, Origin.FILE, "/etc/token"),
        ({"file": "~/.config/x"}, Origin.FILE, "/home/u/.config/x"),
        ({"keyring": "mail/me@example.com"}, Origin.KEYRING, "mail/me@example.com"),
        ({"vault": "secret/data/app#token"}, Origin.HASHICORP_VAULT, "secret/data/app#token"),
        ({"aws": "prod/key"}, Origin.AWS, "prod/key"),
        ({"aws": "arn:aws:x#f"}, Origin.AWS, "arn:aws:x#f"),
        ({"op": "op://Work/GitHub/token"}, Origin.ONE_PASSWORD, "op://Work/GitHub/token"),
    ],
)
def test_places(keys: dict[str, str], origin: Origin, locator: str) -> None:
    assert built(**keys) == SecretSource(origin=origin, locator=locator)


def test_a_field_of_a_file_and_a_command() -> None:
    assert built(file="/a.json", field="b.c").field == "b.c"
    assert built(command=("pass", "show", "x")) == SecretSource(origin=Origin.COMMAND, argv=("pass", "show", "x"))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "names 0 places"),
        ({"env": "A", "file": "/a"}, "names 2 places"),
        ({"env": "A", "field": "b"}, "`field` has no meaning beside `env`"),
        ({"command": ()}, "`secrets.a.source.command` is empty"),
        ({"command": ("./tool",)}, "`./tool` is a relative path"),
        ({"command": ("bin/tool",)}, "is a relative path"),
        ({"file": "token"}, "is not the absolute path of a file"),
        ({"file": "~other/token"}, "is not the absolute path of a file"),
        ({"file": "/a/../b"}, "is not the absolute path of a file"),
        ({"keyring": "service"}, "is no place in `keyring`"),
        ({"vault": "secret/data/app"}, "is no place in `vault`"),
        ({"aws": "a#b#c"}, "is no place in `aws`"),
        ({"op": "Work/GitHub"}, "is no place in `op`"),
    ],
)
def test_what_is_no_place(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        built(**keys)
    assert message in caught.value.message
    assert (caught.value.place, bool(caught.value.hint)) == ("u.toml:7", True)


TOKEN = "gh" + "p_" + "Abc0" * 9


@pytest.mark.parametrize("origin", ["env", "file", "keyring", "aws"])
def test_a_value_in_the_place_of_its_name_is_not_repeated(origin: str) -> None:
    with pytest.raises(UsageError, match=r"`secrets\.a\.source` holds what looks like a token") as caught:
        built(**{origin: TOKEN})
    assert TOKEN not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "begins",
    "ghp_ gho_ ghs_ github_pat_ glpat- npm_ hf_ sk- pypi- xoxb- AKIA ASIA AIza".split(),
)
def test_every_kind_of_token_is_known_by_its_beginning(begins: str) -> None:
    with pytest.raises(UsageError, match="holds what looks like a token"):
        built(aws=begins + "Abc0" * 4)


def test_names_that_begin_like_tokens_are_names() -> None:
    assert built(env="npm_token").locator == "npm_token"
    assert built(env="GITHUB_TOKEN_FOR_THE_WHOLE_COMPANY").locator == "GITHUB_TOKEN_FOR_THE_WHOLE_COMPANY"


@pytest.mark.parametrize("written", [f'"{TOKEN}"', f'{{ env = "{TOKEN}-x" }}', '{ env = "sk-ant-api03-abcdef" }'])
def test_no_error_about_a_source_repeats_its_text(written: str) -> None:
    with pytest.raises(UsageError, match="is text, not") as caught:
        parse(f"version = 1\n[secrets.a]\nsource = {written}\n", file="u.toml", scope="user")
    assert TOKEN not in caught.value.message and "sk-ant" not in caught.value.message
    assert caught.value.place == "u.toml:3"


def test_a_source_that_is_the_value_is_told_what_to_write() -> None:
    with pytest.raises(UsageError, match=r"unknown key `value` in `secrets\.a\.source`") as caught:
        parse("version = 1\n[secrets.a]\nsource = { value = 'x' }\n", file="u.toml", scope="user")
    assert "name where it is kept: `env`, `file`, `command`" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        parse("version = 1\n[secrets.a]\nsource = 'x'\n", file="u.toml", scope="user")
    assert '`{ env = "TOKEN" }`' in caught.value.hint


def test_a_program_by_its_name_or_its_whole_path() -> None:
    for program in ("pass", "/usr/bin/pass"):
        text = f'version = 1\n[secrets.a]\nsource.command = ["{program}", "x"]\n'
        (one,) = merge([parse(text, file="u", scope="user")], home="/home/u", workspace="/w").secrets.secrets
        assert one.source.argv == (program, "x")


def test_a_file_in_a_home_that_is_everything() -> None:
    text = 'version = 1\n[secrets.a]\nsource.file = "~/token"\n'
    (one,) = merge([parse(text, file="u", scope="user")], home="/", workspace="/w").secrets.secrets
    assert one.source.locator == "/token"


@pytest.mark.parametrize("more", ['paths = [], fields = { t = "a" }', 'paths = ["/t"], fields = {}'])
def test_a_capture_says_where_and_what(more: str) -> None:
    text = f'version = 1\n[secrets.a]\nsource.env = "A"\ncapture = [{{ host = "x.example", {more} }}]\n'
    with pytest.raises(UsageError, match="needs `paths` and `fields`"):
        merge([parse(text, file="u", scope="user")], home="/home/u", workspace="/w")


PREFIXES = "ghp_ github_pat_ glpat- npm_ hf_ sk- pypi- xoxb- AKIA ASIA AIza"


@pytest.mark.parametrize("prefix", PREFIXES.split())
def test_a_value_that_stands_where_its_place_belongs_is_refused_unseen(prefix: str) -> None:
    value = f"{prefix}{'A1' * 20}"
    for origin in ("env", "keyring"):
        text = f'version = 1\n[secrets.a]\nsource.{origin} = "{value}"\n'
        with pytest.raises(UsageError) as caught:
            merge([parse(text, file="u", scope="user")], home="/home/u", workspace="/w")
        assert value not in str(caught.value)
