"""What goes wrong while values are on their way: somebody is killed, two things happen at once, a host goes on and on.

Nothing that could hold a value comes in or goes out unjudged; the request fails, and the record says why.
"""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.egress_runs import Running, rss_bytes, running, wait_for
from tests.integration.test_vault import PYTHON, confined_vault, vaults
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "curl")]
GOOD, OTHER, THIRD = "www.public.example.net", "git.example.com", "pypi.example.com"
VALUE = "gh" + "p_" + "Q7w8E9r0" * 4
POLICY = f"""
version = 1
[network]
allow = ["{GOOD}", "{OTHER}", "{THIRD}"]
[secrets.service]
source = {{{{ file = "{{file}}" }}}}
inject = [{{{{ host = "{GOOD}", header = "authorization" }}}}]
variables = ["TOKEN"]
[leaks]
"""
# Each line is Python; what it prints is one line, or the name of the error.
AGENT = f"""
import os, socket, ssl, subprocess, sys, threading, time
GOOD, OTHER, THIRD, TOKEN = {GOOD!r}, {OTHER!r}, {THIRD!r}, os.environ["TOKEN"]
def curl(*words):
    done = subprocess.run(["curl", "-sS", "-m50", *words], capture_output=True)
    return done.returncode, done.stdout
def bearer(path, host=GOOD, *words):
    return curl("-HAuthorization: Bearer " + TOKEN, "https://" + host + path, *words)
def secured(host):
    context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    return context.wrap_socket(socket.create_connection((host, 443), 50), server_hostname=host)
def begun(head, host=GOOD):
    link = secured(host)
    link.sendall((head + "\\r\\nHost: " + host + "\\r\\nAuthorization: Bearer " + TOKEN + "\\r\\n\\r\\n").encode())
    return link
def drained(link):
    data = b""
    try:
        while part := link.recv(65536):
            data += part
    except OSError as error:
        data += b" cut: " + type(error).__name__.encode()
    return data
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(repr(eval(line)), flush=True)
    except SyntaxError:
        exec(line)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture
def options(home: Path, open_path: Path) -> Iterator[tuple[str, str]]:
    file = home / "token"
    file.write_text(VALUE)
    file.chmod(0o600)
    (open_path / "policy.toml").write_text(POLICY.format(file=file))
    yield "--policy", str(open_path / "policy.toml")
    file.unlink()


@pytest.fixture
def live(lab: Lab, open_path: Path, options: tuple[str, str]) -> Iterator[Running]:
    with running(lab, open_path, [PYTHON, "-c", AGENT], *options) as found:
        assert found.line() == "ready"
        yield found


def said(live: Running, line: str) -> str:
    live.tell(line)
    return live.line()


def victim(live: Running, who: str) -> int:
    return confined_vault(live) if who == "vault" else live.proxy


BOTH = pytest.mark.parametrize(("who", "component"), [("vault", "vault"), ("proxy", "egress-proxy")])


def lost(live: Running) -> list[str]:
    return [one["code"] for one in live.events("lost")]


@BOTH
def test_killed_while_an_answer_comes_in(lab: Lab, live: Running, who: str, component: str) -> None:
    """The control: the whole of it comes in, with the placeholder in the value's place, as long as both live."""
    assert VALUE not in (whole := said(live, "bearer('/echo-in/split?size=5000')")) and whole.startswith("(0,")
    live.tell("link = begun('GET /big HTTP/1.1'); print(len(link.recv(1000)) > 0, flush=True)")
    assert live.line() == "True"
    os.kill(victim(live, who), signal.SIGKILL)
    rest = said(live, "(lambda data: (len(data) < 50 << 20, data[-40:]))(drained(link))")
    assert rest.startswith("(True")
    assert VALUE not in rest
    mark = lab.mark()
    assert said(live, "bearer('/hdr', GOOD, '-f')[0]") != "0"
    assert not lab.since(mark, "http")
    _, error = live.end()
    assert lost(live) == [component] and VALUE not in error
    assert live.events("exit")


@BOTH
def test_killed_while_a_request_goes_out(lab: Lab, live: Running, who: str, component: str) -> None:
    """What the host gets of it is no whole request, and holds no value where none belongs."""
    mark = lab.mark()
    live.tell("link = begun('POST /seen/x HTTP/1.1\\r\\nContent-Length: 200000')")
    live.tell("link.sendall(b'x' * 100000); print(1, flush=True)")
    assert live.line() == "1"
    wait_for(lambda: lab.since(mark, "http"))
    os.kill(victim(live, who), signal.SIGKILL)
    assert VALUE not in said(live, "drained(link)[-200:]")
    live.end()
    bodies = [entry for entry in lab.since(mark, "body") if entry.get("bytes") == 200000]
    assert not bodies and lost(live) == [component]


@pytest.mark.parametrize("who", ["vault", "proxy"])
def test_killed_while_the_beginning_of_a_placeholder_is_kept_back(lab: Lab, live: Running, who: str) -> None:
    """What is kept back until it can be judged is never sent, not even when nobody can judge it any more."""
    mark = lab.mark()
    head = "POST /seen/y HTTP/1.1\\r\\nTransfer-Encoding: chunked"
    live.tell("link = secured(OTHER); print(2, flush=True)")
    assert live.line() == "2"
    chunk = "(b'%x\\r\\n' % len(TOKEN[:-1]) + TOKEN[:-1].encode() + b'\\r\\n')"
    live.tell(f"link.sendall(('{head}\\r\\nHost: ' + OTHER + '\\r\\n\\r\\n').encode() + {chunk}); print(3, flush=True)")
    assert live.line() == "3"
    wait_for(lambda: lab.since(mark, "http"))
    os.kill(victim(live, who), signal.SIGKILL)
    said(live, "drained(link)[-100:]")
    token = said(live, "TOKEN").strip("'")
    live.end()
    assert token[:-1] not in json.dumps(lab.since(mark, "body"))


def test_the_vault_ends_and_nothing_is_sent_without_it(lab: Lab, live: Running) -> None:
    """Not by a connection that the proxy keeps, nor by a new one, nor to a host without a secret."""
    live.tell("kept = secured(GOOD); print(4, flush=True)")
    assert live.line() == "4"
    os.kill(confined_vault(live), signal.SIGKILL)
    wait_for(lambda: not vaults(live.supervisor.pid))
    mark = lab.mark()
    answer = said(
        live, "kept.sendall(b'GET /a HTTP/1.1\\r\\nHost: ' + GOOD.encode() + b'\\r\\n\\r\\n') or kept.recv(99)"
    )
    assert "502" in answer or "b''" in answer or answer.endswith("Error")  # cut off, at whatever moment
    for host in ("GOOD", "OTHER"):
        assert "unreachable" in said(live, f"bearer('/b', {host}, '-i')[1]")
    assert not lab.since(mark, "http")
    live.end()
    assert lost(live) == ["vault"]


# ---- at once


def test_whoever_has_the_refusal_has_lost_what_it_costs(lab: Lab, live: Running) -> None:
    """Two requests at once: one misuses the placeholder, the other meets a new host as soon as it is refused."""
    assert said(live, "curl('https://' + OTHER + '/first')[0]") == "0"
    mark = lab.mark()
    live.tell(
        "def ask(link, host): link.sendall(f'GET / HTTP/1.1\\r\\nHost: {host}\\r\\nX-A: {TOKEN}\\r\\n\\r\\n'.encode())"
    )
    live.tell("misusing, waiting = [secured(OTHER) for _ in range(8)], [secured(THIRD) for _ in range(8)]")
    live.tell("[ask(link, OTHER) for link in misusing] and None; print(misusing[0].recv(12), flush=True)")
    racing = (
        "[link.sendall(f'GET /second HTTP/1.1\\r\\nHost: {THIRD}\\r\\n\\r\\n'.encode()) for link in waiting];"
        " print([link.recv(12) for link in waiting], flush=True)"
    )
    live.tell(racing)
    assert "403" in live.line()
    assert "200" not in live.line()  # refused, or cut as the rules changed
    assert not lab.since(mark, "http")
    live.end()
    codes = [one["code"] for one in live.events("taint")]
    assert codes == ["secret-misuse"]
    assert "lost when the run was tainted" in json.dumps([one["fields"] for one in live.events("denial")])


def test_many_misuses_at_once_taint_once_and_let_nothing_out(lab: Lab, live: Running) -> None:
    mark = lab.mark()
    racing = (
        "found = [];"
        " work = [threading.Thread(target=lambda host=host: found.append(bearer('/race', host)[0]))"
        " for host in (OTHER, THIRD) * 10];"
        " [one.start() for one in work]; [one.join() for one in work]; print(len(found), flush=True)"
    )
    live.tell(racing)
    assert live.line() == "20"
    assert not lab.since(mark, "http")
    live.end()
    assert {one["code"] for one in live.events("taint")} == {"secret-misuse"}
    assert live.events("exit")


# ---- without end


@pytest.mark.parametrize("words", ["bearer('/flood/{}', GOOD, '-i')", "curl('-i', 'https://' + OTHER + '/flood/{}')"])
def test_informational_answers_have_an_end(live: Running, words: str) -> None:
    """A few come in, without the value; a flood of them is a host that cannot be reached."""
    few = said(live, words.format(5))
    assert few.startswith("(0,") and "OK remote443" in few
    assert few.count("103 Early Hints") == 5 and VALUE not in few
    vault = confined_vault(live)
    before = rss_bytes(vault)
    flood = said(live, words.format(1_000_000))
    assert "502" in flood and "unreachable" in flood and VALUE not in flood
    assert rss_bytes(vault) < before + (16 << 20)
    live.end()
    assert [one["code"] for one in live.events("egress")].count("unreachable") == 1
