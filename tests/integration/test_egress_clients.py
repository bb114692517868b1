"""Real programs inside a boundary reach what policy allows and nothing else, whether they know of proxies or not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import requirements
from tests.integration.egress_programs import PROGRAMS, WITHOUT_PROXIES, Program, parts
from tests.integration.lab import world
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab")]
HOST = "www.public.example.net"
ALLOWED = [f"http://{HOST}/client", f"https://{HOST}/client"]
DENIED = ["http://denied.example.com/client", "https://denied.example.com/client", f"http://{world.PUBLIC}/client"]
COMPILE_TIMEOUT_S = 100
WAYS = [(name, "with-proxies") for name in PROGRAMS]
WAYS += [(name, "without") for name, program in PROGRAMS.items() if not program.ignores_proxies]


def contained(lab: Lab, place: Path, *words: str, allow: tuple[str, ...] = (HOST,)) -> subprocess.CompletedProcess[str]:
    """Run words inside; the interpreter of these tests, with its packages, is readable there."""
    rules = [word for host in allow for word in ("--allow", host)]
    argv = ["ringfence", "run", "--read", sys.prefix, *rules, "--", *words]
    return lab.run(argv, cwd=place, timeout_s=COMPILE_TIMEOUT_S)


def left(lab: Lab, mark: int) -> tuple[set[str], set[str], set[str]]:
    """What arrived outside: names asked for, hosts of requests, addresses of other packets."""
    names = {entry["name"] for entry in lab.since(mark, "dns")}
    hosts = {entry["host"] for entry in lab.since(mark, "http")}
    return names, hosts, {entry["address"] for entry in lab.since(mark, "flow")} - {world.REMOTE}


def compiled(program: Program, place: Path) -> None:
    """Install a program and compile it, outside."""
    program.install(place)
    if program.compile:
        subprocess.run(program.compile, cwd=place, check=True, timeout=COMPILE_TIMEOUT_S, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(("name", "proxies"), WAYS)
def test_programs_reach_what_is_allowed_and_nothing_else(lab: Lab, open_path: Path, name: str, proxies: str) -> None:
    program = PROGRAMS[name]
    compiled(program, open_path)
    mark = lab.mark()
    words = (*(WITHOUT_PROXIES if proxies == "without" else ()), *program.argv)
    done = contained(lab, open_path, *words, *ALLOWED, *DENIED)
    found = parts(done.stdout)
    assert list(found) == [*ALLOWED, *DENIED], done.stdout + done.stderr
    assert "OK remote80 GET /client" in found[ALLOWED[0]], done.stdout
    assert "OK remote443 GET /client" in found[ALLOWED[1]], done.stdout
    for url in DENIED:
        assert "OK remote" not in found[url] and found[url].strip(), done.stdout
    assert left(lab, mark) == ({HOST}, {HOST}, {world.PUBLIC})


@pytest.mark.parametrize("name", [name for name, program in PROGRAMS.items() if "--proxy" not in str(program.argv)])
def test_unconfined_the_same_programs_reach_everything(lab: Lab, open_path: Path, name: str) -> None:
    program = PROGRAMS[name]
    compiled(program, open_path)
    found = parts(lab.run((*program.argv, ALLOWED[0], DENIED[0]), cwd=open_path).stdout)
    assert all("OK remote80" in text for text in found.values()) and len(found) == 2


@pytest.mark.require("curl")
def test_a_refusal_says_what_to_do(lab: Lab, open_path: Path) -> None:
    done = contained(lab, open_path, "curl", "-sS", "-i", DENIED[0])
    assert "403" in done.stdout and "X-Ringfence: egress-denied" in done.stdout
    assert "ringfence allow denied.example.com" in done.stdout
    denials = lab.run(["ringfence", "log", "--denied", "--json"], cwd=open_path).stdout
    assert "denied.example.com:80" in denials


@pytest.mark.require("git")
@pytest.mark.parametrize("proxies", ["with-proxies", "without"])
def test_git_clones_fetches_and_pushes(lab: Lab, open_path: Path, proxies: str) -> None:
    way = " ".join(WITHOUT_PROXIES) if proxies == "without" else ""
    url, other = f"https://{HOST}/git/project.git", "https://git.example.com/git/project.git"
    script = f"""
set -e
{way} git clone -q {url} copy
cd copy
{way} git fetch -q origin
git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m more
{way} git push -q origin HEAD:{proxies}
{way} git ls-remote origin
! {way} git clone -q {other} denied 2>&1
"""
    mark = lab.mark()
    done = contained(lab, open_path, "sh", "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"refs/heads/{proxies}" in done.stdout
    said = "remote: ringfence: egress-denied: git.example.com:443 is not allowed; ask the operator: ringfence allow "
    assert (said in done.stdout) == (proxies == "with-proxies")  # the name does not exist for those without
    assert left(lab, mark) == ({HOST}, {HOST}, {world.PUBLIC})


@pytest.mark.parametrize("proxies", ["with-proxies", "without"])
def test_pip_installs(lab: Lab, open_path: Path, proxies: str) -> None:
    way = WITHOUT_PROXIES if proxies == "without" else ()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-cache-dir", "--target", "out"]
    done = contained(lab, open_path, *way, *pip, "--index-url", f"https://{HOST}/simple/", "labpackage")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (open_path / "out/labpackage.py").read_text() == "ANSWER = 42\n"
    denied = ["--retries", "0", "--timeout", "5", "--index-url", "https://pypi.example.com/simple/", "labpackage"]
    assert contained(lab, open_path, *way, *pip, *denied).returncode != 0


@pytest.mark.require("npm")
@pytest.mark.parametrize("proxies", ["with-proxies", "without"])
def test_npm_installs(lab: Lab, open_path: Path, proxies: str) -> None:
    (open_path / "package.json").write_text(json.dumps({"name": "x", "version": "1.0.0"}))
    way = WITHOUT_PROXIES if proxies == "without" else ()
    npm = ["npm", "install", "--no-audit", "--no-fund", "--fetch-retries=0"]
    done = contained(lab, open_path, *way, *npm, "--registry", f"https://{HOST}/npm/", "lab-package")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (open_path / "node_modules/lab-package/index.js").read_text() == "module.exports = 42;\n"
    denied = contained(lab, open_path, *way, *npm, "--registry", "https://npm.example.com/npm/", "other-package")
    assert denied.returncode != 0


@pytest.mark.require("ssh")
@pytest.mark.parametrize(("host", "said"), [(HOST, "refused"), ("denied.example.com", "resolve")])
def test_ssh_is_refused_at_once(lab: Lab, open_path: Path, host: str, said: str) -> None:
    mark = lab.mark()
    options = ["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=70"]
    done = contained(lab, open_path, "timeout", "50", "ssh", *options, f"git@{host}", "true")
    assert done.returncode == 255 and said in done.stderr, done.stderr
    assert not lab.since(mark, "tcp")


def test_raw_packets_go_nowhere(lab: Lab, open_path: Path) -> None:
    code = f"""
import errno, socket
def tried(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "sent"
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print(tried(udp.sendto, b"x", ("{world.REMOTE}", 9001)))
print(tried(udp.sendto, b"x", ("{HOST}", 443)))
print(tried(socket.create_connection, ("{world.REMOTE}", 80), 50))
print(tried(socket.create_connection, ("{HOST}", 9000), 50))
print(tried(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1))
print(tried(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0))
"""
    mark = lab.mark()
    done = contained(lab, open_path, "python3", "-c", code)
    said = done.stdout.split()
    assert len(said) == 6 and "sent" not in (said[0], *said[2:]), done.stdout + done.stderr
    # A datagram to a name goes to its stand-in on `lo`, where nothing listens.
    assert not lab.since(mark, "flow")


def test_requirements_are_known() -> None:
    needed = {need for program in PROGRAMS.values() for need in program.needs}
    assert needed == {"curl", "wget", "node", "javac", "go"}
    assert all(need not in requirements.PROBES for need in needed)
