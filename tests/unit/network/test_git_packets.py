"""Packet lines, the commands of a push, and the report that refuses it."""

import pytest

from ringfence.network.git_packets import (
    Asking,
    Commands,
    Mark,
    Packets,
    check_ref,
    error_advertisement,
    packet_line,
    report,
)
from ringfence.network.malformed import Malformed
from ringfence.policy.git import Change

ZERO, OLD, NEW = "0" * 40, "1" * 40, "2" * 40
SIDE_BAND = "report-status side-band-64k agent=git/2.39"


def asking(*lines: str, capabilities: str = SIDE_BAND) -> Asking | None:
    """Read commands, a byte at a time."""
    first, *others = lines
    data = b"".join(packet_line(line.encode()) for line in (f"{first}\0{capabilities}", *others)) + b"0000PACK"
    commands = Commands()
    for at in range(len(data)):
        found = commands.feed(data[at : at + 1])
        if found is not None:
            assert found.head == data[: at + 1]
            return found
    return None


def test_packets_arrive_in_any_pieces() -> None:
    packets, found = Packets(), []
    for byte in b"0006a\n0000000100020004000Bhello\n!rest":
        packets.feed(bytes([byte]))
        while (packet := packets.take()) is not None:
            found.append(packet)
        if len(found) == 6:
            break
    assert found == [b"a\n", Mark.FLUSH, Mark.DELIMITER, Mark.END, b"", b"hello\n!"]


@pytest.mark.parametrize("data", [b"0003", b"zzzz", b"-001", b" 001", b"fff1", b"ffff", b"+006a\n"])
def test_lengths_that_are_none(data: bytes) -> None:
    packets = Packets()
    packets.feed(data)
    with pytest.raises(Malformed):
        packets.take()


def test_commands() -> None:
    found = asking(f"{ZERO} {NEW} refs/heads/a\n", f"{OLD} {ZERO} refs/heads/b", capabilities=" report-status\n")
    assert found is not None
    assert found.changes == (
        Change(ref="refs/heads/a", old="", new=NEW),
        Change(ref="refs/heads/b", old=OLD, new=""),
    )
    assert "report-status" in found.capabilities
    assert found.sends_pack


def test_what_comes_behind_is_kept() -> None:
    commands = Commands()
    assert commands.feed(packet_line(f"{ZERO} {NEW} refs/heads/a\0".encode()) + b"0000PACK") is not None
    assert commands.rest() == b"PACK"


@pytest.mark.parametrize(
    "lines",
    [
        (f"{ZERO} {ZERO} refs/heads/a",),
        (f"{ZERO} {NEW}",),
        (f"{ZERO}  {NEW} refs/heads/a",),
        (f"{ZERO} {NEW.upper()}G refs/heads/a",),
        (f"{ZERO} {NEW} refs/heads/a", f"{ZERO} {NEW} refs/heads/a"),
        (f"{ZERO} {NEW} refs/heads/a", f"{ZERO} {NEW} refs/heads/b\0atomic"),
        (f"{ZERO} {NEW} refs/heads/a", "shallow x"),
        ("push-cert",),
    ],
)
def test_commands_that_are_none(lines: tuple[str, ...]) -> None:
    with pytest.raises(Malformed):
        asking(*lines)


@pytest.mark.parametrize("word", ["push-options", "object-format=sha256", "unknown", "atomic=1", "agent=\x01"])
def test_capabilities_that_were_not_offered(word: str) -> None:
    with pytest.raises(Malformed):
        asking(f"{ZERO} {NEW} refs/heads/a", capabilities=word)


@pytest.mark.parametrize(
    "ref", ["refs/heads/a", "refs/heads/a.b/c-d", "refs/for/main%topic=x", "refs/heads/é", "refs/x/@"]
)
def test_names_of_refs(ref: str) -> None:
    check_ref(ref)


@pytest.mark.parametrize(
    "ref",
    "HEAD refs/heads refs/heads/ refs//a/b refs/heads/a..b refs/heads/a.lock refs/heads/.a refs/heads/a. "
    "refs/heads/a~1 "
    "refs/heads/a^ refs/heads/a:b refs/heads/a? refs/heads/a* refs/heads/[a refs/heads/a\\b refs/heads/@{u} heads/a/b "
    "refs/heads/a.lock/b refs/heads/a\x7f refs/heads/a\u202eb".split(" "),
)
def test_names_that_no_ref_has(ref: str) -> None:
    with pytest.raises(Malformed):
        check_ref(ref)


def test_a_refusal_is_what_a_server_says() -> None:
    found = asking(f"{ZERO} {NEW} refs/heads/a", f"{ZERO} {NEW} refs/heads/b")
    assert found is not None
    data = report(found, {"refs/heads/a": "no\n\x1b[31m" + "x" * 1000})
    packets = Packets()
    packets.feed(data)
    told, status = b"", b""
    while (packet := packets.take()) is not Mark.FLUSH:
        assert isinstance(packet, bytes)
        told, status = (told + packet[1:], status) if packet[0] == 2 else (told, status + packet[1:])
    assert told.startswith(b"ringfence: refs/heads/a: no??[31mx") and b"\x1b" not in told
    lines = Packets()
    lines.feed(status)
    assert lines.take() == b"unpack ok\n"
    assert (lines.take() or b"")[:20] == b"ng refs/heads/a no??"  # type: ignore[index]  # a mark fails the test
    assert b"another ref" in (lines.take() or b"")  # type: ignore[operator]  # a mark fails the test
    assert lines.take() is Mark.FLUSH


def test_a_client_that_hears_less_is_told_less() -> None:
    plain = asking(f"{ZERO} {NEW} refs/heads/a", capabilities="report-status")
    deaf = asking(f"{ZERO} {NEW} refs/heads/a", capabilities="quiet")
    assert plain is not None and deaf is not None
    assert report(plain, {"refs/heads/a": "no"}) == b"000eunpack ok\n0017ng refs/heads/a no\n0000"
    assert report(deaf, {"refs/heads/a": "no"}) == b""


def test_an_error_for_people() -> None:
    assert error_advertisement("git-upload-pack", "no") == b"001e# service=git-upload-pack\n00000015ERR ringfence: no"
