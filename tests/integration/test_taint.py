"""A run that reaches for a secret: recorded, and its network narrowed before it can carry the secret anywhere new."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.egress_runs import Running, running, wait_for, write_policy
from tests.integration.test_egress_live import PYTHON, operator
from tests.lab import Lab
from tests.posture.live import children

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab")]
SPOKEN, NEW, NAMED = "a.public.example.net", "b.public.example.net", "git.example.com"
RULES = f'allow = ["*.public.example.net", "{NAMED}"]'

# One line a command: a path that is read, or a URL that is fetched.
AGENT = """
import sys, urllib.request
def act(word):
    if word.startswith("/"):
        return f"{len(open(word).read())} bytes"
    with urllib.request.urlopen(word, timeout=50) as answer:
        return str(answer.status)
print("ready", flush=True)
for line in sys.stdin:
    for word in line.split():
        try:
            said = act(word)
        except Exception as error:
            said = f"{type(error).__name__} {getattr(error, 'code', '')}".strip()
        print(said, flush=True)
"""


def start(lab: Lab, place: Path, rules: str = RULES, *options: str) -> Any:
    return running(lab, place, [PYTHON, "-c", AGENT], *write_policy(place, rules), *options)


def said(run: Running, *words: str) -> list[str]:
    """What the command says to each word of one line, which it acts upon without a pause."""
    run.tell(" ".join(words))
    return [run.line() for _ in words]


def fetched(run: Running, *hosts: str) -> list[str]:
    return said(run, *(f"http://{host}/x" for host in hosts))


def taints(run: Running) -> list[tuple[str, str, str]]:
    return [(one["code"], one["fields"]["target"], one["fields"]["response"]) for one in run.events("taint")]


@pytest.fixture
def key(home: Path) -> Path:
    """A private key of the user's, for which a decoy stands inside."""
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh/id_ed25519").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nreal\n")
    return home / ".ssh/id_ed25519"


@pytest.fixture
def work(open_path: Path) -> Path:
    """A workspace with a secret in it."""
    (open_path / ".env").write_text("API_KEY=real-value\n")
    return open_path


def test_a_decoy_takes_away_every_host_that_was_not_spoken_with(lab: Lab, open_path: Path, key: Path) -> None:
    with start(lab, open_path) as run:
        assert run.line() == "ready"
        assert fetched(run, SPOKEN) == ["200"]
    mark = lab.mark()
    with start(lab, open_path) as run:
        assert run.line() == "ready"
        assert fetched(run, SPOKEN, NEW, NAMED) == ["200"] * 3, "positive control: without a cause all are within reach"
    assert len(lab.since(mark, "http")) == 3
    with start(lab, open_path) as run:
        assert run.line() == "ready" and fetched(run, SPOKEN) == ["200"]
        mark = lab.mark()
        lines = said(run, str(key), f"http://{NEW}/x", f"http://{NAMED}/x", f"http://{SPOKEN}/x")
        assert lines == ["28 bytes", "HTTPError 403", "HTTPError 403", "200"] or lines[3] == "200", lines
        assert not any(line == "200" for line in lines[1:3])
        assert [one["host"] for one in lab.since(mark, "http")] == [SPOKEN]
        wait_for(lambda: taints(run))
        assert taints(run) == [("decoy-opened", str(key), "no-new-hosts")]
        assert (run.directory / "tainted").read_text() == f"decoy-opened {key}\n"
        listed = operator(lab, open_path, "runs", "--all").stdout
        assert "tainted" in listed, listed


def test_reading_env_leaves_what_rules_name(lab: Lab, work: Path) -> None:
    """As a test suite that loads `.env` and then speaks with its API for the first time."""
    with start(lab, work) as run:
        assert run.line() == "ready" and fetched(run, SPOKEN) == ["200"]
        mark = lab.mark()
        read, named, new, spoken = said(run, f"{work}/.env", *(f"http://{host}/" for host in (NAMED, NEW, SPOKEN)))
        assert (read, named, spoken) == ("19 bytes", "200", "200") and new != "200"
        assert [one["host"] for one in lab.since(mark, "http")] == [NAMED, SPOKEN]
        wait_for(lambda: taints(run))
        assert taints(run) == [("secret-read", f"{work}/.env", "no-new-hosts")]
        assert not run.events("denial") or all(one["code"] != "secret-read" for one in run.events("denial"))


def test_the_operator_gives_a_host_back_and_the_rest_stays_lost(lab: Lab, work: Path, key: Path) -> None:
    with start(lab, work) as run:
        assert run.line() == "ready"
        assert said(run, str(key), f"http://{NEW}/x")[1] != "200"
        told = operator(lab, work, "allow", "--run", run.directory.name, NEW)
        assert "in force" in told.stdout, told
        assert fetched(run, NEW) == ["200"] and fetched(run, NAMED) != ["200"]
        operator(lab, work, "deny", "--run", run.directory.name, "unrelated.example.com")
        said(run, f"{work}/.env", str(key))
        assert fetched(run, NEW) == ["200"] and fetched(run, NAMED, SPOKEN).count("200") == 0


# Reads a secret and asks for a new host in the same breath: on a connection of its own, through the proxy it was given,
# and on one to that proxy that was open before.
RACE = """
import os, socket, sys
kind, path, host = sys.argv[1:]
text = f"GET http://{host}/x HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n".encode()
address = socket.getaddrinfo(host, 80)[0][4] if kind == "direct" else ("127.0.0.1", 3128)
link = socket.socket()
if kind == "open":
    link.connect(address)
if path != "-":
    os.read(os.open(path, os.O_RDONLY), 99)
try:
    if kind != "open":
        link.connect(address)
    link.sendall(text)
    print(link.recv(99).split(b" ")[1].decode())
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("kind", ["direct", "proxy", "open"])
def test_whoever_reads_first_and_connects_at_once_is_too_late(lab: Lab, work: Path, key: Path, kind: str) -> None:
    options = write_policy(work, RULES)
    for path in ("-", str(key)):  # first the positive control
        mark = lab.mark()
        for _ in range(4):
            with running(lab, work, [PYTHON, "-c", RACE, kind, path, NEW], *options) as run:
                assert (run.end()[0].strip() == "200") is (path == "-")
        assert bool(lab.since(mark)) is (path == "-"), "not so much as a question for the name"


@pytest.mark.parametrize(
    ("response", "spoken", "written"), [("off", False, False), ("record", True, True), ("no-writes", True, False)]
)
def test_policy_chooses_what_is_lost(
    lab: Lab, work: Path, key: Path, response: str, spoken: bool, written: bool
) -> None:
    agent = AGENT.replace("urlopen(word", 'urlopen(word.replace("+", ""), b"x" if "+" in word else None')
    options = write_policy(work, f'{RULES}\n[leaks]\non-taint = "{response}"')
    with running(lab, work, [PYTHON, "-c", agent], *options) as run:
        assert run.line() == "ready"
        assert said(run, f"http://{NAMED}/x", f"+http://{NAMED}/echo") == ["200", "200"], "positive control"
        said(run, str(key))
        wait_for(lambda: taints(run))
        assert (fetched(run, NAMED) == ["200"]) is spoken
        assert (said(run, f"+http://{NAMED}/echo") == ["200"]) is written
        assert taints(run)[0][2] == response


def test_what_programs_open_unasked_is_recorded_and_does_not_taint(lab: Lab, open_path: Path, home: Path) -> None:
    for name in (".netrc", ".npmrc", ".bash_history"):
        (home / name).write_text("machine example.com login x password y\n")
    with start(lab, open_path) as run:
        assert run.line() == "ready"
        said(run, *(f"{home}/{name}" for name in (".netrc", ".npmrc", ".bash_history")))
        assert fetched(run, NEW) == ["200"]
        wait_for(lambda: len(run.events("denial")) >= 3)
        assert not taints(run)


@pytest.mark.parametrize(
    "script",
    [
        "cat .env",
        "cp .env /tmp/x",
        "mv .env x; cat x",
        "ln .env x && cat x",
        "ln -s .env x; cat x",
        "tar cf /tmp/x.tar .env",
        "/usr/bin/python3 -c 'import mmap; f = open(\".env\"); mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:]'",
        "cat sub/../.env",
        "grep -r KEY . ",
        "cat < .env",
        '/usr/bin/python3 -c \'import os; d = os.open(".", os.O_PATH); os.open(".env", os.O_RDONLY, dir_fd=d)\'',
    ],
)
def test_every_way_to_open_a_file_is_seen(lab: Lab, work: Path, script: str) -> None:
    (work / "sub").mkdir()
    with running(lab, work, ["sh", "-c", script], "--allow", NAMED) as run:
        run.end()
        assert taints(run) == [("secret-read", f"{work}/.env", "no-new-hosts")]


@pytest.mark.parametrize("script", ["ls -la; stat .env; test -r .env", "git status", "echo A > other; cat other"])
def test_what_reads_no_secret_does_not_taint(lab: Lab, work: Path, script: str) -> None:
    with running(lab, work, ["sh", "-c", script], "--allow", NAMED) as run:
        run.end()
        assert taints(run) == []


def test_what_the_host_opens_meanwhile_does_not_count(lab: Lab, work: Path) -> None:
    with start(lab, work) as run:
        assert run.line() == "ready"
        assert (work / ".env").read_text()
        assert fetched(run, NEW) == ["200"] and not taints(run)


def open_files(pid: int) -> list[str]:
    """What the kernel says of each that a process has open; a helper of the supervisor's may be ending."""
    found = []
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fdinfo").iterdir():
            with suppress(OSError):
                found.append(path.read_text())
    return found


def test_nothing_inside_sees_or_removes_the_watch(lab: Lab, work: Path) -> None:
    """Posture: the watches are the supervisor's; no process inside holds an inotify descriptor, or knows of one."""
    look = "grep -l inotify /proc/[0-9]*/fdinfo/* 2>/dev/null; echo ready; read line"
    with running(lab, work, ["sh", "-c", look], "--allow", NAMED) as run:
        assert run.line() == "ready"
        pids = [run.supervisor.pid, *children(run.supervisor.pid)]
        held = [text for pid in pids for text in open_files(pid)]
        watched = re.findall(r"inotify wd:\S+ ino:(\S+) sdev:\S+ mask:(\S+)", "".join(held))
        assert any(int(mask, 16) & 0x24 == 0x24 for _, mask in watched), "IN_OPEN and IN_ATTRIB, from outside"


def test_a_flood_of_causes_is_recorded_to_a_limit(lab: Lab, open_path: Path) -> None:
    for number in range(60):
        (open_path / f".env.{number}").write_text("A=1\n")
    loop = "for n in 1 2 3 4 5 6 7 8 9 10; do cat .env.*; done"
    with running(lab, open_path, ["sh", "-c", loop], "--allow", NAMED) as run:
        run.end()
        assert len(taints(run)) == 60, "each once"


def test_without_a_network_it_is_recorded(lab: Lab, work: Path) -> None:
    with running(lab, work, ["cat", ".env"], "--network", "off") as run:
        run.end()
        assert len(taints(run)) == 1


def test_the_notice_is_for_the_operator_only(lab: Lab, work: Path) -> None:
    """Streams that are no terminal get nothing but the command's own output."""
    with running(lab, work, ["cat", ".env"], "--allow", NAMED) as run:
        out, err = run.end()
    assert out == "API_KEY=real-value\n" and "tainted" not in err
