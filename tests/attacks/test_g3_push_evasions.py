"""G3: a push that the rules would refuse, made so that it is not seen for what it is.

What a client may do that is not git: framing, capabilities, names, shallow lines, packs that are read in two ways, a
second request behind the first. Each is tried at a server that would take it, or git's own, which says what it is.

Longer than 400 lines: most of it is the table of evasions, which reads better in one place.
"""

import hashlib
import re
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.attacks.git_cases import EVIL, FILE, Case
from tests.attacks.push_by_hand import (
    FLUSH,
    RECEIVE,
    REPOSITORY,
    TYPE,
    ZERO,
    command,
    connect,
    good,
    lines,
    name,
    packed,
    packet,
    remote,
    send,
    tried,
)
from tests.integration.git_bench import Bench, bench_fixture, template_fixture
from tests.integration.git_proxy import HOST, Supervisor, egress, proxying

__all__ = ["bench_fixture", "template_fixture"]

pytestmark = pytest.mark.require("git")
DENY: dict[str, Any] = {"deny_paths": (".github/**",)}
AGENT = "refs/heads/agent/x"
ONE, TWO = "1" * 40, "2" * 40
LISTED = "git ls-tree -r -t HEAD --format='%(objectname)'"


# ---- what is asked for

COMMANDS = {
    "a second NUL": packet(f"{ZERO} {ONE} {AGENT}\0report-status\0push-options"),
    "a NUL and another ref": packet(f"{ZERO} {ONE} {AGENT}\0report-status\0{ZERO} {TWO} refs/heads/main"),
    "capabilities by tabs": packet(f"{ZERO} {ONE} {AGENT}\0report-status\tpush-options"),
    "capabilities on a second line": packet(f"{ZERO} {ONE} {AGENT}\0report-status\npush-options"),
    "a capability with a value": packet(f"{ZERO} {ONE} {AGENT}\0atomic=push-options"),
    "no NUL": packet(f"{ZERO} {ONE} {AGENT} report-status\n"),
    "two line ends": packet(f"{ZERO} {ONE} {AGENT}\n\n"),
    "a carriage return": packet(f"{ZERO} {ONE} {AGENT}\r\n"),
    "an empty line": command("", ONE, AGENT) + packet(""),
    "object names in capitals": packet(f"{ZERO} {'A' * 40} {AGENT}\0 report-status"),
    "short object names": packet(f"{'0' * 39} {'1' * 39} {AGENT}\0 report-status"),
    "object names of SHA-256": packet(f"{'0' * 64} {'1' * 64} {AGENT}\0 report-status"),
    "two spaces": packet(f"{ZERO}  {ONE} {AGENT}\0 report-status"),
    "a shallow line behind": command("", ONE, AGENT) + packet(f"shallow {TWO}"),
    "a shallow line with more": packet(f"shallow {TWO} {AGENT}") + command("", ONE, AGENT),
    "a shallow line without a name": packet("shallow ") + command("", ONE, AGENT),
    "a certificate behind": command("", ONE, AGENT) + packet("push-cert\0\n") + packet("push-cert-end\n"),
    "the end of a response": command("", ONE, AGENT) + b"0002",
    "a length with a sign": b"+0a4" + command("", ONE, AGENT)[4:],
    "a length of more than there may be": b"fff1" + b"x" * 65_000,
    "a ref of bytes that are no text": packet(f"{ZERO} {ONE} refs/heads/agent/".encode() + b"\xff\xfe"),
    "a ref with a right-to-left mark": command("", ONE, "refs/heads/agent/\u202ex"),
    "a ref with a character of no width": command("", ONE, "refs/heads/agent/x\u200b"),
    "a ref with a soft hyphen": command("", ONE, "refs/heads/agent/x\u00ad"),
    "a ref with a line separator": command("", ONE, "refs/heads/agent/x\u2028y"),
    "a ref with a colon": command("", ONE, "refs/heads/agent/x:refs/heads/main"),
    "a ref with a wildcard": command("", ONE, "refs/heads/agent/*"),
    "a ref that is a lock": command("", ONE, "refs/heads/agent/x.lock"),
    "a ref that is a directory": command("", ONE, "refs/heads/agent/x/"),
    "a ref of two slashes": command("", ONE, "refs/heads/agent//x"),
    "a ref with a backslash": command("", ONE, "refs\\heads\\main"),
    "a worktree's ref": command("", ONE, "worktrees/w/refs/heads/agent/x"),
    "another letter in the same look": command("", ONE, "refs/heads/\u0430gent/x"),
    "letters of full width": command("", ONE, "refs/heads/\uff41gent/x"),
    "a decomposed letter": command("", ONE, "refs/heads/a\u0301gent/x"),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_commands_that_could_be_read_in_two_ways(what: str, bench: Bench) -> None:
    tried(bench, COMMANDS[what] + FLUSH + b"PACK", delete=True, force=True)


@pytest.mark.parametrize("ref", ["refs/heads/MAIN", "refs/heads/Main", "refs/heads/ma\u0131n", "refs/heads/main"])
def test_what_is_taken_out_of_a_rule_is_so_in_any_letter_case(ref: str, bench: Bench) -> None:
    taken = ("refs/heads/**", "!refs/heads/main", "!refs/heads/ma\u0131n")
    tried(bench, command("", ONE, ref) + FLUSH, refs=taken)


@pytest.mark.parametrize("count", [17, 30_000])
def test_more_refs_than_are_allowed(count: int, bench: Bench) -> None:
    more = b"".join(packet(f"{ZERO} {ONE} {AGENT}{number}") for number in range(count))
    began = time.monotonic()
    assert "more than 16 refs" in tried(bench, command("", ONE, AGENT) + more + FLUSH)
    assert time.monotonic() - began < 20


def test_more_refs_than_are_read(bench: Bench) -> None:
    more = b"".join(packet(f"{ZERO} {ONE} {AGENT}{number:040}") for number in range(35_000))
    tried(bench, command("", ONE, AGENT) + more + FLUSH, max_refs=0)


@pytest.mark.parametrize("force", [False, True])
def test_deleting_and_making_anew_is_no_way_round_force(force: bool, bench: Bench) -> None:
    """In one push the server would do both; in two it takes a rule that allows deleting, and that is said of it."""
    old, new = name(bench, "origin/agent/old"), name(bench)
    both = command(old, "", "refs/heads/agent/old") + packet(f"{ZERO} {new} refs/heads/agent/old") + FLUSH
    assert "names a ref twice" in tried(bench, both + packed(bench, ""), delete=True, force=force)


def test_a_forced_update_by_another_name_of_the_ref(bench: Bench) -> None:
    """Two refs, of which one is allowed: git's `refs/heads/agent/old` and the same behind a component that is none."""
    old, new = name(bench, "origin/agent/old"), name(bench)
    for ref in ("refs/heads/./agent/old", "refs/heads/agent/../agent/old", "refs/heads/agent/old/.", "heads/agent/old"):
        tried(bench, command(old, new, ref) + FLUSH + packed(bench, ""))


# ---- shallow


def test_a_history_that_is_said_to_begin_here(bench: Bench) -> None:
    """The parent of what is pushed is held back and declared absent, at a server that takes such histories."""
    bench.shell(f"git -C {bench.place}/server/o/p.git config receive.shallowUpdate true; {EVIL} && {FILE}")
    bench.shell(f"git rev-parse HEAD > ../list; git rev-parse 'HEAD^{{tree}}' >> ../list; {LISTED} >> ../list")
    assert bench.shell("git pack-objects -q --stdout < ../list > ../alone").returncode == 0
    alone = (bench.place / "alone").read_bytes()
    body = packet(f"shallow {name(bench)}") + command("", name(bench), AGENT) + FLUSH + alone
    assert "cannot be inspected" in tried(bench, body, **DENY)
    with proxying(egress([remote(Case(name=""))]), ("127.0.0.1", bench.server.port)) as (url, _):
        assert b"ok " + AGENT.encode() in send(url, body, {})[1]  # the control: such a server takes it
    assert AGENT in bench.refs()


def test_a_shallow_clone_hides_no_commit(bench: Bench) -> None:
    """Real git: the clone has one commit of two that the server lacks."""
    bench.shell(f"git -C {bench.place}/server/o/p.git config receive.shallowUpdate true; {EVIL} && {FILE}")
    cloned = bench.shell("git clone -q --depth=1 file://$PWD ../shallow")
    assert cloned.returncode == 0, cloned.stderr
    before = bench.refs()
    rules = egress([remote(Case(name="", rule=DENY))])
    with proxying(rules, ("127.0.0.1", bench.server.port)) as (url, _):
        push = f"git -C ../shallow push http://{HOST}{REPOSITORY} HEAD:{AGENT}"
        done = bench.shell(push, http_proxy=url)
    assert done.returncode != 0 and bench.refs() == before


# ---- packs


def entry(kind: int, content: bytes, base: bytes = b"") -> bytes:
    """One object of a pack."""
    size, first = len(content), True
    head = bytearray()
    while first or size:
        bits, size = (size & 15, size >> 4) if first else (size & 127, size >> 7)
        head.append((kind << 4 if first else 0) | bits | (0x80 if size else 0))
        first = False
    return bytes(head) + base + zlib.compress(content)


def pack(*entries: bytes, count: int = -1, version: int = 2) -> bytes:
    """A pack of entries."""
    head = b"PACK" + struct.pack(">II", version, len(entries) if count < 0 else count)
    body = head + b"".join(entries)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def content(bench: Bench, what: str, kind: str) -> bytes:
    """An object's content."""
    return bytes.fromhex(bench.shell(f"git cat-file {kind} {what} | od -An -v -tx1").stdout.replace("\n", ""))


def evil(bench: Bench) -> tuple[bytes, bytes, bytes]:
    """A commit that changes a workflow: the head of its push, and the commit and its tree as entries of a pack."""
    bench.shell(EVIL)
    head = command("", name(bench), AGENT) + FLUSH
    return head, entry(1, content(bench, "HEAD", "commit")), entry(2, content(bench, "HEAD^{tree}", "tree"))


def blob_first(bench: Bench) -> bytes:
    """The tree as a blob, and a delta that makes the same out of it: whoever takes that for a tree sees none."""
    head, commit, _ = evil(bench)
    tree = content(bench, "HEAD^{tree}", "tree")
    assert len(tree) < 128
    made = hashlib.sha1(b"blob %d\0" % len(tree) + tree, usedforsecurity=False).digest()
    return head + pack(commit, entry(3, tree), entry(7, bytes([len(tree), len(tree), 0x90, len(tree)]), made))


PACKS: dict[str, Callable[[Bench], bytes]] = {
    "nothing but the commit": lambda bench: (found := evil(bench))[0] + pack(found[1]),
    "no pack at all": lambda bench: evil(bench)[0],
    "an empty pack": lambda bench: evil(bench)[0] + pack(),
    "fewer objects than it says": lambda bench: (found := evil(bench))[0] + pack(*found[1:], count=3),
    "more objects than it says": lambda bench: (found := evil(bench))[0] + pack(*found[1:], count=1),
    "another version": lambda bench: (found := evil(bench))[0] + pack(*found[1:], version=4),
    "another pack behind it": lambda bench: (found := evil(bench))[0] + pack() + pack(*found[1:]),
    "a delta on itself": lambda bench: (found := evil(bench))[0] + pack(found[1], entry(7, b"\1\1\1a", bytes(20))),
    "a delta on what nobody has": lambda bench: (
        (found := evil(bench))[0] + pack(found[1], entry(7, b"\1\1\1a", b"\1" * 20))
    ),
    "a delta of offset zero": lambda bench: (found := evil(bench))[0] + pack(found[1], entry(6, b"\1\1\1a", b"\0")),
    "a tree out of a blob": blob_first,
    "an object of a kind that is none": lambda bench: (found := evil(bench))[0] + pack(found[1], entry(5, b"x")),
    "an object of kind nought": lambda bench: (found := evil(bench))[0] + pack(found[1], entry(0, b"x")),
    "a commit as a tag": lambda bench: (
        (found := evil(bench))[0] + pack(entry(4, content(bench, "HEAD", "commit")), found[2])
    ),
}


@pytest.mark.parametrize("what", PACKS)
def test_packs_in_which_the_change_is_not_to_be_seen(what: str, bench: Bench) -> None:
    tried(bench, PACKS[what](bench), **DENY)


def test_a_commit_with_two_trees(bench: Bench) -> None:
    """As headers that some servers read last, and others first."""
    bench.shell(f"{EVIL} && git tag evil && git reset -q --hard HEAD~1 && {FILE}")
    shown = bench.shell("git cat-file commit HEAD").stdout
    tree = name(bench, "evil^{tree}")
    for changed in (
        f"tree {tree}\n{shown}",
        shown.replace("\nauthor", f"\ntree {tree}\nauthor"),
        shown.replace("\n\n", f"\ntree {tree}\n\n"),
        shown.replace("\nparent", f"\nparent {name(bench, 'evil')}\nencoding x\nparent"),
    ):
        (bench.place / "commit").write_text(changed)
        made = bench.shell("git hash-object -t commit -w --literally ../commit").stdout.strip()
        data = pack(entry(1, changed.encode()), entry(2, content(bench, "HEAD^{tree}", "tree")))
        assert "cannot be inspected" in tried(bench, command("", made, AGENT) + FLUSH + data, **DENY)


@pytest.mark.parametrize("mode", ["0040000", "1040000", "40755", "100600", "0", "0160000"])
def test_a_directory_by_another_mode(mode: str, bench: Bench) -> None:
    bench.shell(EVIL)
    tree = content(bench, "HEAD^{tree}", "tree").replace(b"40000 .github", mode.encode() + b" .github")
    identifier = hashlib.sha1(b"tree %d\0" % len(tree) + tree, usedforsecurity=False).hexdigest()
    commit = content(bench, "HEAD", "commit").replace(name(bench, "HEAD^{tree}").encode(), identifier.encode())
    made = hashlib.sha1(b"commit %d\0" % len(commit) + commit, usedforsecurity=False).hexdigest()
    inner = [entry(2, content(bench, f"HEAD:{path}", "tree")) for path in (".github", ".github/workflows")]
    data = command("", made, AGENT) + FLUSH + pack(entry(1, commit), entry(2, tree), *inner)
    assert "cannot be inspected" in tried(bench, data, **DENY)


# ---- HTTP


@contextmanager
def connected(bench: Bench, **rule: object) -> Iterator[tuple[socket.socket, Supervisor]]:
    """Give a connection to the proxy."""
    rules = egress([remote(Case(name="", rule=rule))])
    with proxying(rules, ("127.0.0.1", bench.server.port)) as (url, supervisor), connect(url) as client:
        yield client, supervisor


def head(method: str, path: str, *fields: str) -> bytes:
    """The head of a request by way of a proxy."""
    return "\r\n".join([f"{method} http://{HOST}{path} HTTP/1.1", f"Host: {HOST}", *fields, "", ""]).encode()


def answers(client: socket.socket, count: int) -> list[bytes]:
    """The heads of so many answers, to requests that were sent in one piece."""
    got = b""
    while len(found := re.findall(rb"HTTP/1\.1 \d\d\d[^\r]*", got)) < count:
        data = client.recv(65_536)
        if not data:
            break
        got += data
    return found


def test_a_second_push_behind_one_that_is_fine(bench: Bench) -> None:
    """On one connection, sent at once: the first is allowed, the second is not."""
    bad = good(bench)
    fine = bad.replace(b"refs/heads/main2", b"refs/heads/agent")
    fine = command("", name(bench), AGENT) + FLUSH + packed(bench, "HEAD\n^origin/main\n")
    with connected(bench) as (client, supervisor):
        for body in (fine, bad):
            client.sendall(head("POST", RECEIVE, f"Content-Type: {TYPE}", f"Content-Length: {len(body)}") + body)
        assert len(answers(client, 2)) == 2
    assert [record.fields["verdict"] for record in supervisor.of("push")] == ["allow", "deny"]
    assert bench.server.pushes() == 1 and "main2" not in bench.refs() and AGENT in bench.refs()


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 4", "Content-Length: {size}"),
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Content-Length: 4, {size}",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding:\tchunked\x0b",),
        ("Content-Length: +{size}",),
        ("Content-Encoding: x-gzip", "Content-Length: {size}"),
        ("Content-Encoding: GZIP", "Content-Length: {size}"),
        ("Content-Encoding: identity", "Content-Encoding: gzip", "Content-Length: {size}"),
        ("Content-Encoding: zstd", "Content-Length: {size}"),
        ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk", "Content-Length: {size}"),
        ("Connection: Content-Length", "Content-Length: {size}"),
        ("Connection: Content-Encoding", "Content-Encoding: gzip", "Content-Length: {size}"),
    ],
)
def test_a_body_that_is_framed_or_coded_in_two_ways(fields: tuple[str, ...], bench: Bench) -> None:
    before, body = bench.refs(), FLUSH + good(bench)
    with connected(bench) as (client, _):
        written = [field.format(size=len(body)) for field in fields]
        client.sendall(head("POST", RECEIVE, f"Content-Type: {TYPE}", *written) + body)
        assert answers(client, 1)
    assert bench.refs() == before and bench.server.pushes() == 0


def test_chunks_with_extensions_and_trailers(bench: Bench) -> None:
    body = good(bench)
    chunks = b"".join(lines(body)).replace(b"\r\n", b';ext="refs/heads/agent/x"\r\n', 1)
    with connected(bench) as (client, _):
        start = head("POST", RECEIVE, f"Content-Type: {TYPE}", "Transfer-Encoding: chunked")
        client.sendall(start + chunks[:-2] + b"Content-Encoding: gzip\r\n\r\n")
        assert answers(client, 1)
    assert bench.server.pushes() == 0


@pytest.mark.parametrize("more", ["X-HTTP-Method-Override: POST", "X-HTTP-Method: POST", "X-Method-Override: POST"])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "post", "POST\x0b"])
def test_the_service_by_another_method(method: str, more: str, bench: Bench) -> None:
    body = good(bench)
    with connected(bench) as (client, _):
        fields = (f"Content-Type: {TYPE}", more, f"Content-Length: {len(body)}")
        client.sendall(head(method, RECEIVE, *fields) + body)
        assert answers(client, 1)[0].split()[1] in {b"400", b"403", b"405"}
    assert bench.server.seen == []


def test_what_a_push_begins_with_asked_for_its_head_alone(bench: Bench) -> None:
    """A connection on which a body follows where none may is read in two ways from there on."""
    asked = [f"{path}/info/refs?service=git-receive-pack" for path in (REPOSITORY, "/o/none.git", "/secret/p.git")]
    with connected(bench) as (client, _):
        client.sendall(b"".join(head("HEAD", path) for path in asked) + head("HEAD", asked[0], "Connection: close"))
        said = b""
        while data := client.recv(65_536):
            said += data
    parts = said.split(b"HTTP/1.1 ")
    assert parts[0] == b"" and [part[:3] for part in parts[1:]] == [b"200", b"404", b"200", b"200"]
    assert all(part.index(b"\r\n\r\n") == len(part) - 4 for part in parts[1:])


class Redirecting(BaseHTTPRequestHandler):
    """A server that sends whoever asks for one repository to another."""

    protocol_version = "HTTP/1.1"
    asked: list[str]
    status = 302

    def do_GET(self) -> None:
        """Answer GET."""
        self.asked.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.send_response(self.status)
        self.send_header("Location", self.path.replace("/o/p.git", "/secret/p.git"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        """Answer POST."""
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_server_that_leads_elsewhere(status: int, bench: Bench) -> None:
    """The client may follow; where to is judged anew, and the proxy itself follows nowhere."""

    class Handler(Redirecting):
        asked: list[str] = []

    Handler.status = status
    bench.shell(FILE)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            place = ("127.0.0.1", int(server.server_address[1]))
            with proxying(egress([remote(Case(name="", rule=DENY))]), place) as (url, supervisor):
                options = "-c http.followRedirects=true -c protocol.version=0"
                done = bench.shell(f"git {options} push http://{HOST}{REPOSITORY} HEAD:{AGENT} 2>&1", http_proxy=url)
                told = send(url, command("", name(bench), AGENT) + FLUSH, {})
        finally:
            server.shutdown()
            thread.join()
    assert done.returncode != 0 and told[0] == status
    assert [record.code for record in supervisor.of("denial")][:1] == ["push-denied"]
    assert "secret/p: no rule allows pushing to it" in done.stdout
    assert not any("secret" in asked or asked.startswith("POST") for asked in Handler.asked)
