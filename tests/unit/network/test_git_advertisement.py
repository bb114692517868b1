"""What a server offers before a push, and what of it is offered on."""

import pytest

from ringfence.network.git_advertisement import read_advertisement, read_features
from ringfence.network.git_packets import packet_line
from ringfence.network.malformed import Malformed

ONE, TWO, ZERO = "1" * 40, "2" * 40, "0" * 40
HEAD = packet_line(b"# service=git-receive-pack\n") + b"0000"


def said(*lines: str, head: bytes = HEAD) -> bytes:
    return head + b"".join(packet_line(line.encode()) for line in lines) + b"0000"


def test_refs_and_what_is_offered_on() -> None:
    words = "report-status push-options push-cert=x side-band-64k ofs-delta atomic object-format=sha1 agent=git/2 other"
    found = read_advertisement(said(f"{ONE} refs/heads/main\0{words}\n", f"{TWO} refs/pull/1/head\n", f"{TWO} .have\n"))
    assert found.refs == {"refs/heads/main": ONE, "refs/pull/1/head": TWO}
    assert found.tips == {ONE}
    first = (
        f"{ONE} refs/heads/main\0report-status side-band-64k ofs-delta atomic object-format=sha1 agent=git/2 no-thin\n"
    )
    assert found.rewritten == said(first, f"{TWO} refs/pull/1/head\n", f"{TWO} .have\n")


def test_a_repository_without_refs_and_the_first_version() -> None:
    found = read_advertisement(said("version 1\n", f"{ZERO} capabilities^{{}}\0report-status\n"))
    assert found.refs == {}
    assert found.rewritten == said("version 1\n", f"{ZERO} capabilities^{{}}\0report-status no-thin\n")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        said(),
        said(f"{ONE} refs/heads/main\0object-format=sha256\n"),
        said(f"{ONE}{ONE} refs/heads/main\0\n"),
        said(f"{ONE} refs/heads/main\0\n", "hello\n"),
        said(f"{ONE} refs/heads/main\0\n")[:-4],
        said(f"{ONE} refs/heads/main\0\n", head=packet_line(b"# service=git-upload-pack\n") + b"0000"),
        said(f"{ONE} refs/heads/main\0\n", head=b""),
        b"<html>",
    ],
)
def test_what_is_no_advertisement(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_advertisement(data)


def test_features_of_version_2() -> None:
    head = packet_line(b"# service=git-upload-pack\n") + b"0000"
    assert read_features(said("version 2\n", "ls-refs=unborn\n", "fetch=shallow filter\n", head=head)) == {
        "ls-refs": "unborn",
        "fetch": "shallow filter",
    }
    assert read_features(said("version 2\n", f"x\0{ONE}\n", head=head)) == {"x": ""}
    assert read_features(head) == read_features(b"") == {}


@pytest.mark.parametrize("version", ["", "version 1\n"])
def test_features_of_the_first_version(version: str) -> None:
    head = packet_line(b"# service=git-upload-pack\n") + b"0000"
    lines = [*([version] if version else []), f"{ONE} HEAD\0side-band-64k filter\n", f"{TWO} refs/heads/a\0fetch=x\n"]
    assert read_features(said(*lines, head=head)) == {"": "side-band-64k filter"}
