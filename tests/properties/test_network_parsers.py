"""The parsers of the egress proxy: garbage is accepted or `Malformed`, no third thing; the rest goes round trip."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.network.authority import Origin, Target, canonical_path, parse_authority, request_target
from ringfence.network.dns import address_answer, failure, parse_query, wire_name
from ringfence.network.http1 import Head, check_head_bytes, forwarded_headers, head_problem, response_headers
from ringfence.network.malformed import Malformed, Mismatch
from ringfence.network.socks5 import Connect, Socks5
from ringfence.network.synthetic import SyntheticAddresses
from ringfence.network.tls_hello import Hello, parse_client_hello
from ringfence.policy.hosts import bracketed, canonical_host
from tests.house.sources import ROOT
from tests.purity import impure
from tests.unit.network.hellos import body, extension, message, named, records, vector

PARSERS = "authority cursor dns http1 malformed socks5 synthetic tls_hello".split()
TARGETS = sorted(path.name for path in (ROOT / "fuzz").glob("fuzz_*.py"))

LABELS = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9_])?", fullmatch=True).filter(lambda text: text[:4] != "xn--")
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "test"]))
HOSTS = st.one_of(NAMES, st.ip_addresses().map(str).map(canonical_host))
PORTS = st.integers(1, 65535)
SEGMENTS = st.from_regex(r"[a-zA-Z0-9_~!$&'()*+,=:@-][a-zA-Z0-9._~!$&'()*+,=:@-]{0,8}|%C3%A9|%20a", fullmatch=True)
PATHS = st.lists(SEGMENTS, max_size=5).map(lambda segments: "/" + "/".join(segments))
TOKENS = st.from_regex(r"[a-z][a-z0-9-]{0,12}", fullmatch=True)
VALUES = st.from_regex(r"([!-~]([ -~]{0,20}[!-~])?)?", fullmatch=True)


# ---- nothing but Malformed


@given(st.binary() | st.text(), st.none() | PORTS)
def test_any_bytes_are_an_authority_or_malformed(data: bytes | str, port: int | None) -> None:
    try:
        host, number = parse_authority(data, default_port=port)
    except Malformed:
        pass
    else:
        assert canonical_host(host) == host
        assert 0 < number < 65536


@given(st.binary(max_size=8), st.binary(), st.none() | st.binary(), st.booleans())
def test_any_bytes_are_a_target_or_malformed(method: bytes, target: bytes, host: bytes | None, bound: bool) -> None:
    origin = Origin("https", "example.com", 443) if bound else None
    try:
        found = request_target(method, target, host, origin=origin)
    except Malformed:
        pass
    else:
        assert origin is None or (found.scheme, found.host, found.port) == ("https", "example.com", 443)


@given(st.binary().map(lambda data: b"/" + data) | st.from_regex(rb"/[a-c./;%2eEfF5cC?-]{0,12}", fullmatch=True))
def test_any_bytes_are_a_path_or_malformed(data: bytes) -> None:
    try:
        path, _ = canonical_path(data, encoded_slash=True)
    except Malformed:
        return
    assert canonical_path(path.encode(), encoded_slash=True) == (path, "")
    assert not {".", ".."} & set(path.replace("%2F", "/").replace(";", "/").split("/"))


@given(st.binary() | st.binary().map(records) | st.binary().map(lambda data: records(message(data))))
def test_any_bytes_are_a_hello_or_malformed(data: bytes) -> None:
    try:
        parse_client_hello(data)
    except Malformed:
        pass


@given(st.binary() | st.binary().map(lambda data: b"\xab\xcd\1\0\0\1\0\0\0\0\0\0" + data))
def test_any_bytes_are_a_query_or_malformed(data: bytes) -> None:
    try:
        parse_query(data)
    except Malformed:
        assert len(failure(data)) in (0, 12)


@given(st.binary() | st.binary().map(lambda data: b"\5\1\0\5\1\0" + data), st.sampled_from(["", "u:p"]))
def test_any_bytes_are_a_handshake_or_malformed(data: bytes, password: str) -> None:
    machine = Socks5(password)
    try:
        machine.receive(data)
    except Malformed:
        pass
    assert len(machine.to_send()) <= 14


@given(st.binary() | st.binary().map(lambda data: b"GET / HTTP/1.1\r\n" + data + b"\r\n\r\n"))
def test_any_bytes_are_a_head_or_malformed(data: bytes) -> None:
    try:
        head = check_head_bytes(data)
    except Malformed:
        pass
    else:
        assert head is None or isinstance(head.problem, str)


FIELDS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=8)


@given(st.binary(max_size=8), FIELDS, st.binary(max_size=4))
def test_any_fields_have_a_problem_or_none(method: bytes, fields: list[tuple[bytes, bytes]], version: bytes) -> None:
    assert isinstance(head_problem(method, fields, version=version), str)
    assert {name for name, _ in response_headers(fields)} <= {name for name, _ in fields}
    assert forwarded_headers(fields, authority=b"a")[0] == (b"host", b"a")


# ---- round trips


@given(HOSTS, PORTS)
def test_an_authority_goes_round_trip(host: str, port: int) -> None:
    assert parse_authority(f"{bracketed(host)}:{port}", default_port=None) == (host, port)
    assert parse_authority(bracketed(host).upper().encode(), default_port=port) == (host, port)


@given(st.sampled_from(["http", "https"]), HOSTS, PORTS, PATHS)
def test_a_target_goes_round_trip_in_each_form(scheme: str, host: str, port: int, path: str) -> None:
    target = Target(scheme=scheme, host=host, port=port, path=path, query="a=/../b")
    origin = Origin(scheme, host, port)
    absolute = f"{scheme}://{bracketed(host)}:{port}".encode() + target.wire
    assert request_target(b"GET", target.wire, target.authority, origin=origin) == target
    assert request_target(b"GET", absolute, target.authority, origin=origin) == target
    assert request_target(b"GET", absolute, target.authority, origin=None) == target


@given(HOSTS, HOSTS, PORTS, PORTS)
def test_two_places_in_one_request_are_a_mismatch(host: str, other: str, port: int, second: int) -> None:
    if (host, port) == (other, second):
        return
    origin, wrong = Origin("http", host, port), f"{bracketed(other)}:{second}".encode()
    with pytest.raises(Mismatch):
        request_target(b"GET", b"/", wrong, origin=origin)
    with pytest.raises(Mismatch):
        request_target(b"GET", b"http://" + wrong + b"/", None, origin=origin)
    with pytest.raises(Mismatch):
        request_target(b"CONNECT", f"{bracketed(host)}:{port}".encode(), wrong, origin=None)


@given(PATHS)
def test_a_canonical_path_stays_as_it_is(path: str) -> None:
    encoded = "".join(f"%{ord(mark):02x}" if mark.isalnum() else mark for mark in path if mark != "%")
    assert canonical_path(path.encode()) == (path, "")
    assert canonical_path(encoded.encode()) == (path.replace("%", ""), "")


@given(NAMES, st.booleans(), st.integers(0, 65535), st.integers(0, 65535))
def test_a_question_goes_round_trip(name: str, upper: bool, number: int, qtype: int) -> None:
    wire = wire_name(name.upper() if upper else name) + qtype.to_bytes(2, "big") + b"\0\1"
    question = parse_query(number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + wire)
    assert (question.id, question.name, question.qtype, question.wire) == (number, name, qtype, wire)
    answer = address_answer(question, "198.18.1.7")
    assert answer[:2] == number.to_bytes(2, "big")
    assert answer[12:].startswith(wire)
    assert answer.endswith(bytes((198, 18, 1, 7)))


@given(NAMES, st.lists(st.sampled_from([b"h2", b"http/1.1", b"\x0a\x0a"]), min_size=1), st.booleans())
def test_a_hello_says_what_was_put_into_it(name: str, protocols: list[bytes], ech: bool) -> None:
    alpn = extension(16, vector(2, b"".join(vector(1, protocol) for protocol in protocols)))
    extensions = alpn + named(name.upper().encode()) + (extension(0xFE0D, b"") if ech else b"")
    expected = tuple(protocol.decode("latin-1") for protocol in protocols)
    assert parse_client_hello(records(message(body(extensions)))) == Hello(
        server_name=name, alpn=expected, versions=(0x0303,), ech=ech
    )


@given(st.lists(st.tuples(TOKENS, VALUES), max_size=10))
def test_a_head_says_what_was_put_into_it(fields: list[tuple[str, str]]) -> None:
    written = "".join(f"{name.title()}: {value}\r\n" for name, value in fields)
    head = check_head_bytes(f"GET / HTTP/1.1\r\n{written}\r\nrest".encode())
    assert isinstance(head, Head)
    assert head.headers == tuple((name.encode(), value.encode()) for name, value in fields)


# ---- the bytes may arrive in any pieces


@given(NAMES, st.integers(40, 200), st.data())
def test_a_hello_is_the_same_in_any_pieces(name: str, size: int, data: st.DataObject) -> None:
    whole = records(message(body(named(name.encode()))), size)
    length = data.draw(st.integers(0, len(whole) - 1))
    assert parse_client_hello(whole[:length]) is None
    assert parse_client_hello(whole) == parse_client_hello(whole + data.draw(st.binary()))


@given(HOSTS, PORTS, st.data())
def test_a_handshake_is_the_same_in_any_pieces(host: str, port: int, data: st.DataObject) -> None:
    name = host.encode()
    whole = b"\5\2\0\2\1\1u\1p\5\1\0\3" + bytes((len(name),)) + name + port.to_bytes(2, "big")
    first, second = sorted((data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, len(whole) - 1))))
    machine = Socks5("u:p")
    assert machine.receive(whole[:first]) is None
    assert machine.receive(whole[first:second]) is None
    assert machine.receive(whole[second:] + b"early") == Connect(host, port)
    assert (machine.to_send(), machine.trailing) == (b"\5\2\1\0", b"early")


# ---- synthetic addresses


@given(st.lists(st.tuples(st.sampled_from("ahr"), st.integers(0, 9)), max_size=60), st.integers(1, 5))
def test_a_held_address_never_changes_its_name(steps: list[tuple[str, int]], limit: int) -> None:
    addresses = SyntheticAddresses(limit)
    held: list[tuple[str, str]] = []
    for step, number in steps:
        if step == "r" and held:
            addresses.release(held.pop(number % len(held))[0])
        elif (address := addresses.address_of(f"n{number}.test")) is not None and step == "h":
            assert addresses.hold(address) == f"n{number}.test"
            held.append((address, f"n{number}.test"))
        assert all(addresses.name_of(address) == name for address, name in held)


def test_addresses_come_round_without_being_given_twice() -> None:
    addresses = SyntheticAddresses(limit=3)
    held = addresses.address_of("held.test")
    assert held is not None
    addresses.hold(held)
    found = [addresses.address_of(f"n{number}.test") for number in range(131_000)]
    assert held not in found
    assert len(set(found)) == 131072 - 256 - 1 - 1  # the network's, without ours, the last and the held one
    assert addresses.name_of(held) == "held.test"


# ---- the parsers as such


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reaches_nothing_outside(name: str) -> None:
    tree = ast.parse((ROOT / "src/ringfence/network" / f"{name}.py").read_text("utf-8"))
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    imported += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [module for module in imported if impure(module)]


@pytest.mark.parametrize("target", TARGETS)
def test_a_fuzz_target_runs_and_finds_nothing(target: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "fuzz" / target, "0.2", "1"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing found" in done.stdout


def test_the_fuzzer_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "from mutation import run\n"
        "def target(data: bytes) -> None:\n"
        "    assert b'evil' not in data or b'%2f' not in data\n"
        "run(target, [b'evil', b'good'])\n"
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "wrong.py", "20", "1"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": os.fspath(ROOT / "fuzz"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "found: b'" in done.stderr
