"""The canonical form, the seal, and reading it back without a JSON parser."""

import json
from enum import IntEnum
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.audit import chain
from ringfence.audit.chain import GENESIS

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = st.dictionaries(st.text(max_size=12), st.text(max_size=30) | st.integers() | st.lists(st.text(max_size=9)))
_HOSTILE = '","prev":"' + "0" * 64 + '","run":"x","seq":7,"time":"t","v":1,"hash":"' + "f" * 64 + '"}'


class Level(IntEnum):
    HIGH = 2


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


@given(_VALUES)
def test_canonical_form_is_that_of_json_and_round_trips(value: object) -> None:
    assert chain.canonical(value) == _json(value)
    assert json.loads(chain.canonical(value)) == value


@pytest.mark.parametrize("text", ["", "\x7f", "\x1f\n\r\t\b\f", '"\\/', "\udc80", "\U0001f512\uffff", "é", "\u202e"])
def test_characters_that_need_care(text: str) -> None:
    assert chain.canonical({text: text}) == _json({text: text})


def test_an_enumeration_of_integers_is_its_number() -> None:
    assert chain.canonical(Level.HIGH) == "2"


@pytest.mark.parametrize("value", [1.0, b"x", {1, 2}, object()])
def test_values_without_canonical_form_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no canonical form"):
        chain.canonical({"field": [value]})


def test_anyone_can_recompute_the_hash() -> None:
    line, link = chain.encode(
        (6, "ab" * 32), time="2024-01-02T03:04:05.000000006Z", run="r", kind="k", code="c", fields={}
    )
    record = json.loads(line)
    claimed = record.pop("hash")
    assert link == (7, claimed)
    assert claimed == sha256((record["prev"] + _json(record)).encode()).hexdigest()
    assert line == (_json(record)[:-1] + f',"hash":"{claimed}"}}\n').encode()


@given(st.text(), st.text(), st.text(), _FIELDS)
def test_the_seal_read_is_the_one_that_was_written(run: str, kind: str, code: str, fields: dict[str, object]) -> None:
    line, link = chain.encode((41, "cd" * 32), time="T", run=run, kind=kind, code=code, fields=fields)
    seal = chain.read_seal(line.removesuffix(b"\n"))
    assert seal is not None
    assert (seal.link, seal.prev, seal.sound) == (link, "cd" * 32, True)
    assert line.count(b"\n") == 1


@pytest.mark.parametrize("where", ["run", "kind", "code", "key", "value"])
def test_no_value_can_pose_as_part_of_the_seal(where: str) -> None:
    texts = dict.fromkeys(["run", "kind", "code", "key", "value"], "plain") | {where: _HOSTILE}
    line, link = chain.encode(
        GENESIS,
        time="T",
        run=texts["run"],
        kind=texts["kind"],
        code=texts["code"],
        fields={texts["key"]: texts["value"], "prev": "x", "hash": ["y"], "seq": 9},
    )
    seal = chain.read_seal(line[:-1])
    assert seal is not None
    assert (seal.link, seal.prev, seal.sound) == (link, GENESIS[1], True)


@given(st.data())
def test_any_change_of_a_byte_breaks_the_seal(data: st.DataObject) -> None:
    line = chain.encode(GENESIS, time="T", run="run", kind="exit", code="", fields={"status": 0})[0][:-1]
    at = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != line[at]))
    seal = chain.read_seal(line[:at] + bytes([byte]) + line[at + 1 :])
    assert seal is None or not seal.sound


@given(st.binary() | st.text().map(str.encode))
def test_garbage_has_no_seal(garbage: bytes) -> None:
    assert chain.read_seal(garbage) is None


@pytest.mark.parametrize("number", ["0", "-1", "01", "1" * 21, "1.0", "", "\u0663"])
def test_numbers_that_are_none(number: str) -> None:
    line = chain.encode(GENESIS, time="T", run="r", kind="k", code="", fields={})[0][:-1]
    assert chain.read_seal(line.replace(b'"seq":1,', f'"seq":{number},'.encode())) is None


def test_a_torn_record_vouches_for_one_fragment_only() -> None:
    line, _ = chain.encode_torn(GENESIS, b"half a rec", time="T")
    assert chain.vouches(line, b"half a rec")
    assert not chain.vouches(line, b"half a reC")
    other, _ = chain.encode(GENESIS, time="T", run="", kind="exit", code="", fields=json.loads(line)["fields"])
    assert not chain.vouches(other, b"half a rec")
