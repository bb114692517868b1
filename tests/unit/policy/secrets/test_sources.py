"""Where values come from: exactly one place, in the words of whoever keeps it."""

from typing import Any

import pytest

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.secrets import Origin, SecretSource
from ringfence.policy.entries import Places
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
