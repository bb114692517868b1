"""What goes wrong around the egress of a run: the inside is refused, the record says so, nothing stays."""

import hashlib
import os
import resource
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.egress_runs import (
    Running,
    descendants,
    leftovers,
    rss_bytes,
    running,
    wait_for,
    write_policy,
)
from tests.integration.lab import world
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "curl")]
GOOD = "www.public.example.net"
OPTIONS = ("--allow", GOOD)
MEBIBYTE = 1 << 20
LONG_S = 110
PROXY_BYTES = 60 * MEBIBYTE  # at 200 connections

# Answers each line `URL` with the status of fetching it, and the number of bytes.
FETCHER = """
import sys, urllib.request
print("ready", flush=True)
for line in sys.stdin:
    try:
        with urllib.request.urlopen(line.strip(), timeout=50) as answer:
            print(answer.status, len(answer.read()), flush=True)
    except Exception as error:
        print(type(error).__name__, getattr(error, "code", error), flush=True)
"""
PYTHON = "/usr/bin/python3"  # our own interpreter may lie where no sandbox sees it
FETCH = [PYTHON, "-c", FETCHER]


def fetched(run: Running, url: str) -> str:
    run.tell(url)
    return run.line()


# ---- what ends


def test_a_killed_proxy_fails_closed_and_the_run_goes_on(lab: Lab, open_path: Path) -> None:
    script = f"""
curl -sS --limit-rate 1M -o /dev/null http://{GOOD}/big 2>/dev/null &
echo begun; read line; wait $!; echo transfer $?
curl -sS -m50 https://{GOOD}/ >/dev/null 2>&1; echo again $?
curl -sS -m50 --noproxy '*' https://{GOOD}/ >/dev/null 2>&1; echo captured $?
"""
    mark = lab.mark()
    with running(lab, open_path, ["sh", "-c", script], *OPTIONS) as run:
        assert run.line() == "begun"
        wait_for(lambda: lab.since(mark, "http"))
        os.kill(run.proxy, signal.SIGKILL)
        run.tell("go")
        said, _ = run.end()
        results = dict(line.split() for line in said.splitlines())
        assert set(results) == {"transfer", "again", "captured"} and "0" not in results.values(), said
        assert run.supervisor.returncode == 0
        lost = run.events("lost")
        assert [(one["code"], one["fields"]) for one in lost] == [("egress-proxy", {"status": -signal.SIGKILL})]
        assert not lab.since(mark, "host")


def test_a_killed_supervisor_takes_everything_along(lab: Lab, open_path: Path) -> None:
    with running(lab, open_path, FETCH, *OPTIONS) as run:
        assert run.line() == "ready" and fetched(run, f"https://{GOOD}/").startswith("200")
        family = descendants(run.supervisor.pid)
        assert len(family) >= 4
        os.kill(run.supervisor.pid, signal.SIGKILL)
        wait_for(lambda: not [pid for pid in family if alive(pid)])
    again = lab.run(["ringfence", "run", "--", "true"], cwd=open_path)
    assert again.returncode == 0
    assert "lost" in (run.state / "audit/audit.jsonl").read_text()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.require("root")
def test_a_run_whose_audit_is_full_stops(lab: Lab, open_path: Path) -> None:
    """The audit lies on a file system of its own, which is filled while the run goes on."""
    state = Path(os.environ["XDG_STATE_HOME"]) / "ringfence/audit"
    script = f"""
mkdir -p {state} && mount -t tmpfs -o size=64k,mode=700 none {state} || exit 99
cd {open_path} && "$@" & run=$!
for turn in $(seq 1000); do [ -e {open_path}/begun ] && break; sleep 0.05; done
dd if=/dev/zero of={state}/filler bs=4k 2>/dev/null
touch {open_path}/filled; wait $run; echo status $?
"""
    inside = "import urllib.request\n"
    inside += f"urllib.request.urlopen('http://{GOOD}/', timeout=50)\nopen('begun', 'w')\n"
    inside += f"while 1: urllib.request.urlopen('http://{GOOD}/', timeout=50).read()\n"
    words = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c"]
    words += ["from ringfence.cli.entry import main; main()", "run", "--workspace", "direct", *OPTIONS]
    done = lab.run([*words, "--", PYTHON, "-c", inside], cwd=open_path, timeout_s=LONG_S)
    assert "status 125" in done.stdout, done
    assert "audit" in done.stderr, done
    wait_for(lambda: not leftovers(open_path))


def test_a_proxy_that_cannot_start_is_a_clear_error(lab: Lab, open_path: Path) -> None:
    broken = open_path / "python"
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
    broken.chmod(0o755)
    code = f"import sys; sys.executable = {str(broken)!r}; from ringfence.cli.entry import main; main()"
    done = lab.run([sys.executable, "-c", code, "run", *OPTIONS, "--", "true"], cwd=open_path)
    assert done.returncode == 125 and "the egress proxy did not start: it is broken" in done.stderr, done
    assert "Traceback" not in done.stderr
    runs = Path(os.environ["XDG_STATE_HOME"]) / "ringfence/runs"
    assert not [path for path in runs.iterdir() if (path / "control").exists()]
    wait_for(lambda: not leftovers(open_path))


def test_a_published_port_that_is_taken_is_a_clear_error(lab: Lab, open_path: Path) -> None:
    done = lab.run(["ringfence", "run", "--publish", f"{world.HOST_PORT}:3000", "--", "true"], cwd=open_path)
    assert done.returncode == 3 and "cannot publish: port 8080" in done.stderr and "Traceback" not in done.stderr, done
    wait_for(lambda: not leftovers(open_path))
    # Nothing was executed, so there is nothing to list or to apply; the record says that it came to nothing.
    assert not list((Path(os.environ["XDG_STATE_HOME"]) / "ringfence/runs").iterdir())
    told = lab.run(["ringfence", "log"], cwd=open_path).stdout.splitlines()
    assert [line.split()[3] for line in told] == ["launch", "lost"] and told[-1].endswith("not-built")


# ---- what hangs, floods or trickles


def test_an_upstream_that_hangs_holds_up_nobody_else(lab: Lab, open_path: Path) -> None:
    script = f"""
for number in 1 2 3 4 5 6 7 8; do curl -sS -m3 https://{GOOD}/hang 2>/dev/null & done
curl -sS -m3 http://silent.example.com/ & curl -sS -m50 https://{GOOD}/; wait; curl -sS -m50 https://{GOOD}/
"""
    allow = (*OPTIONS, "--allow", "silent.example.com")
    done = lab.run(["ringfence", "run", *allow, "--", "sh", "-c", script], cwd=open_path, timeout_s=LONG_S)
    assert done.stdout.count("OK remote443") == 2, done


SLOW = f"""
import contextlib, socket, sys, time, urllib.request
links = []
def trickle(first, port):
    link = socket.create_connection(({GOOD!r}, port), 50)
    link.send(first)
    links.append(link)
for number in range(100):
    trickle(b"GET / HTTP/1.1\\r\\nHost: ", 80)
    trickle(b"\\x16\\x03\\x01\\x02", 443)
link = socket.create_connection(("127.0.0.1", 3128), 50)
link.send(b"CONNECT ")
print(len(links), flush=True)
sys.stdin.readline()
for turn in range(3):
    for link in links:
        with contextlib.suppress(ConnectionError):  # on a slow machine it took too long to say so little
            link.send(b"a")
    print(urllib.request.urlopen("https://{GOOD}/", timeout=50).status, flush=True)
print("done", flush=True)
sys.stdin.readline()
"""


def test_two_hundred_slow_clients_cost_little_and_block_nobody(lab: Lab, open_path: Path) -> None:
    with running(lab, open_path, [PYTHON, "-c", SLOW], *OPTIONS) as run:
        assert run.line() == "200"
        run.tell("go")
        assert [run.line() for _ in range(4)] == ["200", "200", "200", "done"]
        assert rss_bytes(run.proxy) < PROXY_BYTES
        run.tell("end")


LIVE = f"""
import socket, ssl, sys
links = []
context = ssl.create_default_context()
for number in range(200):
    link = context.wrap_socket(socket.create_connection(({GOOD!r}, 443), 50), server_hostname={GOOD!r})
    link.sendall(b"GET /hdr HTTP/1.1\\r\\nHost: {GOOD}\\r\\n\\r\\n")
    assert b"200 OK" in link.recv(65536)
    links.append(link)
print("up", flush=True)
sys.stdin.readline()
"""


def test_memory_at_two_hundred_inspected_connections(lab: Lab, open_path: Path) -> None:
    with running(lab, open_path, [PYTHON, "-c", LIVE], *OPTIONS) as run:
        assert run.line() == "up"
        assert rss_bytes(run.proxy) < PROXY_BYTES, rss_bytes(run.proxy) / MEBIBYTE
        run.tell("end")


FLOOD = f"""
import resource, socket, sys, time, urllib.request
address = socket.gethostbyname({GOOD!r})
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
links, count, began = [], 0, time.monotonic()
while count < 10_000:
    link = socket.socket()
    link.setblocking(False)
    link.connect_ex((address, 443 if count % 2 else 80))
    links.append(link)
    count += 1
    if len(links) == min(soft - 50, 600):
        for old in links: old.close()
        links.clear()
for old in links: old.close()
print("flooded", flush=True)
sys.stdin.readline()
print(urllib.request.urlopen("https://{GOOD}/", timeout=200).status, flush=True)
sys.stdin.readline()
"""


@pytest.mark.timeout(400)  # what has come before is looked at before it is answered
def test_ten_thousand_connections_leave_a_proxy_that_serves(lab: Lab, open_path: Path) -> None:
    with running(lab, open_path, [PYTHON, "-c", FLOOD], *OPTIONS) as run:
        assert run.line() == "flooded"
        run.tell("go")
        assert run.line() == "200"
        assert rss_bytes(run.proxy) < PROXY_BYTES, rss_bytes(run.proxy) / MEBIBYTE
        wait_for(lambda: len(os.listdir(f"/proc/{run.supervisor.pid}/fd")) < 100)
        run.tell("end")


FEW_FILES = 400
PASSED = f"""
import array, os, resource, socket, sys, urllib.error, urllib.request
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * {FEW_FILES // 2}))]
def status():
    try:
        return urllib.request.urlopen("https://{GOOD}/", timeout=50).status
    except OSError as error:
        return 503 if "503" in str(error) else error
held = socket.socketpair()
for _ in range(3):
    held[0].sendmsg([b"x"], rights)
before = status()
for end in held:
    end.close()
print(before, status())
"""


def test_a_command_that_uses_up_what_its_user_may_pass_hurts_nobody(lab: Lab, open_path: Path) -> None:
    """Descriptors under way between processes are counted by user, an ordinary one's beside the supervisor's own.

    Each process has a limit, and that of the supervisor is set so low here that no others of the user are above theirs.
    """
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, most))
    try:
        with running(lab, open_path, [PYTHON, "-c", PASSED], *OPTIONS) as run:
            said, errors = run.end()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
    if os.geteuid() != 0:
        assert said.split() == ["503", "200"], (said, errors)
        assert said.split() in (["503", "200"], ["200", "200"]), (said, errors)
        assert "Traceback" not in errors


# ---- what must arrive whole


@pytest.mark.parametrize("depth", ["inspect", "sni", "raw"])
def test_large_bodies_arrive_whole(lab: Lab, open_path: Path, depth: str) -> None:
    data = os.urandom(8 * MEBIBYTE)
    (open_path / "data").write_bytes(data)
    (open_path / "ca.crt").write_bytes((lab.place / "ca.crt").read_bytes())
    options = write_policy(open_path, f'allow = [{{ host = "{GOOD}", inspection = "{depth}" }}]')
    trust = [] if depth == "inspect" else ["--cacert", "ca.crt"]
    script = 'curl -sS -m50 "$@" -T data $URL/upload; echo; curl -sS -m50 "$@" $URL/big | sha256sum'
    words = ["env", f"URL=https://{GOOD}", "sh", "-c", script, "sh", *trust]
    done = lab.run(["ringfence", "run", *options, "--", *words], cwd=open_path, timeout_s=LONG_S)
    sent, received = done.stdout.splitlines()
    assert hashlib.sha256(data).hexdigest() in sent, done
    direct = lab.run(["sh", "-c", f"curl -sS http://{world.PUBLIC}/big | sha256sum"]).stdout
    assert received == direct.strip() and received


# ---- what is used up


@pytest.mark.parametrize(
    ("limit", "ends", "code"),
    [
        ("requests = 2", "200 200 403", "budget-exceeded"),
        ("rate = 2", "200 200 429", "rate-exceeded"),
    ],
)
def test_budgets_of_requests_end_in_a_refusal(lab: Lab, open_path: Path, limit: str, ends: str, code: str) -> None:
    options = write_policy(open_path, f'allow = [{{ host = "{GOOD}", {limit} }}]')
    script = f"for n in 1 2 3; do curl -sS -m25 -o /dev/null -w '%{{http_code}} ' https://{GOOD}/$n; done"
    mark = lab.mark()
    with running(lab, open_path, ["sh", "-c", script], *options) as run:
        said, _ = run.end()
        assert said.split() == ends.split()
        assert code in [one["code"] for one in run.events("denial")]
    assert len(lab.since(mark, "http")) == 2


@pytest.mark.parametrize("depth", ["inspect", "sni", "raw"])
def test_a_budget_of_bytes_cuts_the_transfer(lab: Lab, open_path: Path, depth: str) -> None:
    network = f'allow = [{{ host = "{GOOD}", inspection = "{depth}", bytes = "2MiB" }}]'
    script = (
        f"curl -k -sS -m50 https://{GOOD}/big | wc -c; curl -k -sS -m50 https://{GOOD}/ -o /dev/null || echo refused"
    )
    with running(lab, open_path, ["sh", "-c", script], *write_policy(open_path, network)) as run:
        said, _ = run.end()
        count = int(said.split()[0])
        assert 0 < count <= 2 * MEBIBYTE, said
        assert "budget-exceeded" in [one["code"] for one in run.events("denial")]


def test_the_budget_of_a_run_is_over_all_hosts(lab: Lab, open_path: Path) -> None:
    options = write_policy(open_path, f'allow = ["{GOOD}", "git.example.com"]\nrequests = 2')
    urls = " ".join(f"http://{host}/{n}" for n in (1, 2) for host in (GOOD, "git.example.com"))
    script = f"for url in {urls}; do curl -sS -m25 -o /dev/null -w '%{{http_code}} ' $url; done"
    done = lab.run(["ringfence", "run", *options, "--", "sh", "-c", script], cwd=open_path)
    assert done.stdout.split() == ["200", "200", "403", "403"], done
