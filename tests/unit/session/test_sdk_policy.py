"""`Policy` as mappings says exactly what the same policy file says."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.model.errors import UsageError
from ringfence.policy import parse
from ringfence.session.sdk import Policy, Sandbox, toml
from ringfence.session.sdk_process import check_command

TEXT = st.text(max_size=8)
WITHOUT_NUL = TEXT.map(lambda text: text.replace("\0", ""))
SCALARS = st.one_of(TEXT, st.integers(-(2**63), 2**63 - 1), st.booleans())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
PATHS = WITHOUT_NUL.map(lambda text: f"/{text}")
NAMES = st.sampled_from(["A", "_x", "LONG_NAME_1", "b9"])
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "extends": st.lists(st.sampled_from(["python", "node", "rust", "go"]), max_size=2),
        "filesystem": st.fixed_dictionaries(
            {}, optional={"read": st.lists(PATHS, max_size=3), "deny-read": st.lists(PATHS, max_size=3)}
        ),
        "env": st.fixed_dictionaries(
            {},
            optional={
                "pass": st.lists(NAMES, max_size=3),
                "set": st.dictionaries(NAMES, WITHOUT_NUL, max_size=3),
            },
        ),
        "limits": st.fixed_dictionaries(
            {}, optional={"processes": st.integers(1, 1 << 20), "memory": st.sampled_from([1 << 30, "1GiB", "512MiB"])}
        ),
        "workspace": st.fixed_dictionaries({}, optional={"mode": st.sampled_from(["overlay", "direct", "readonly"])}),
    },
)


def items(value: object) -> object:
    """The same with tuples for lists, as the document holds them."""
    return tuple(items(item) for item in value) if isinstance(value, list) else value


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_every_mapping_survives_the_way_through_toml(tables: dict[str, object]) -> None:
    assert tomllib.loads(toml(tables)) == tables


@given(DOCUMENTS)
def test_a_mapping_is_read_as_the_policy_it_spells(tables: dict[str, dict[str, object]]) -> None:
    document = parse.parse(Policy(tables).text, file="Policy", scope="cli").document
    assert document.version == 1
    spelled = tables.get("filesystem", {})
    if "read" in spelled:
        assert document.filesystem.read == items(spelled["read"])
    if "deny-read" in spelled:
        assert document.filesystem.deny_read == items(spelled["deny-read"])
    if "set" in tables.get("env", {}):
        assert document.env.set == tables["env"]["set"]
    for name, value in tables.get("limits", {}).items():
        assert getattr(document.limits, name) == value
    for name, value in tables.get("workspace", {}).items():
        assert getattr(document.workspace, name) == value


def test_text_is_taken_as_it_is() -> None:
    assert Policy("version = 1\n").text == "version = 1\n"
    assert Policy({}).text == "version = 1\n"


def test_tuples_and_nested_tables_are_spelled() -> None:
    policy = Policy({"filesystem": {"read": ("/a", {"path": "/b", "literal": True})}, "env": {"set": {"A": '"\n'}}})
    assert tomllib.loads(policy.text) == {
        "version": 1,
        "filesystem": {"read": ["/a", {"path": "/b", "literal": True}]},
        "env": {"set": {"A": '"\n'}},
    }


@pytest.mark.parametrize("value", [None, 1.5, object(), {1, 2}, b"bytes"])
def test_what_toml_or_policy_cannot_hold_is_refused(value: object) -> None:
    for source in ({"limits": {"memory": value}}, {"env": value}, {"filesystem": {"read": [value]}}):
        with pytest.raises(UsageError, match="a policy cannot hold"):
            Policy(source)


def test_hosts_and_secrets_without_a_policy(tmp_path: Path) -> None:
    """They are checked as options are, before anything is executed."""
    for words, place in (({"allow": ["a.example", "*"]}, "--allow *"), ({"secrets": ["NAME"]}, "")):
        with pytest.raises(UsageError) as caught:
            Sandbox(directory=tmp_path, **words).run(["true"])  # type: ignore[arg-type]  # lists, by their names
        assert caught.value.place == place
    with pytest.raises(UsageError, match="`allow` must be a list of words"):
        Sandbox(allow="a.example")


def test_a_mapping_where_a_policy_belongs_is_answered_with_how_it_is_written() -> None:
    with pytest.raises(UsageError, match="`policy` must be a `Policy`") as caught:
        Sandbox({"limits": {"memory": "1GiB"}})  # type: ignore[arg-type]  # the mistake
    assert caught.value.hint.startswith("Policy({...})")


def test_a_file_that_cannot_be_read_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        Policy.from_file(tmp_path / "none.toml")
    assert str(caught.value) == f"{tmp_path}/none.toml: cannot read policy: No such file or directory"
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot read policy: 'utf-8' codec"):
        Policy.from_file(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    ("words", "env", "told"),
    [
        ("ls -l", {}, "the command must be a list of words"),
        (["ls", 3], {}, "the command must be a list of words"),
        (["ls"], {"A": 1}, "a variable's value must be text"),
        (["ls"], {"A": "a\0b"}, "contains a NUL"),
        (["l\0s"], {}, "contains a NUL"),
        (["ls"], {"A-B": "1"}, "`A-B` is not a variable's name"),
    ],
)
def test_what_is_no_command_is_refused(words: list[str], env: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_command(words, env)
