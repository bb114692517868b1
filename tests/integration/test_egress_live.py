"""What an operator does to the egress of a live run: answer, allow, deny, learn; and the standby between runs."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tomllib
from pathlib import Path

import pytest

from ringfence.session import titles
from ringfence.session.unix_sockets import at_short_path
from tests.integration.egress_runs import Running, called, leftovers, proxies, running, wait_for, write_policy
from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "curl")]
TRIES = 10  # a standby that does not answer at once is passed over, as on a busy machine
GOOD, OTHER = "www.public.example.net", "git.example.com"

# Fetches the URLs of each line it reads, all at the same time.
FETCHER = """
import sys, threading, urllib.request
def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=100) as answer:
            said = f"{answer.status} {len(answer.read())}"
    except Exception as error:
        said = f"{type(error).__name__} {getattr(error, 'code', '')}"
    sys.stdout.write(said + "\\n")  # in one piece, whatever other threads say
    sys.stdout.flush()
print("ready", flush=True)
for line in sys.stdin:
    for url in line.split():
        threading.Thread(target=fetch, args=(url,)).start()
"""
PYTHON = "/usr/bin/python3"  # our own interpreter may lie where no sandbox sees it
FETCH = [PYTHON, "-c", FETCHER]
HELD = f"""
import socket, sys
link = socket.create_connection(({GOOD!r}, 443), 100)
import ssl
link = ssl.create_default_context().wrap_socket(link, server_hostname={GOOD!r})
link.sendall(b"GET /hang HTTP/1.1\\r\\nHost: {GOOD}\\r\\n\\r\\n")
print("held", flush=True)
try:
    print("end", link.recv(99), flush=True)
except OSError as error:
    print("cut", type(error).__name__, flush=True)
"""


def operator(lab: Lab, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return lab.run(["ringfence", *words], cwd=place)


def decisions(run: Running) -> list[tuple[str, str]]:
    return [(one["code"], one["fields"]["verdict"]) for one in run.events("decision")]


def wait_for_question(run: Running, count: int = 1) -> None:
    wait_for(lambda: decisions(run).count(("egress-asked", "ask")) >= count)


@pytest.mark.parametrize(("verb", "answer"), [("allow", "200"), ("deny", "HTTPError 403")])
def test_a_question_is_answered_by_the_operator(lab: Lab, open_path: Path, verb: str, answer: str) -> None:
    with running(lab, open_path, FETCH, *write_policy(open_path, f'ask = ["{OTHER}"]')) as run:
        assert run.line() == "ready"
        mark = lab.mark()
        run.tell(f"http://{OTHER}/x")
        wait_for_question(run)
        assert lab.since(mark) == []
        said = operator(lab, open_path, verb, "--run", run.directory.name, OTHER)
        assert "1 waiting connection answered" in said.stdout, said
        assert run.line().startswith(answer)
        assert bool(lab.since(mark, "http")) == (verb == "allow")
        wait_for(lambda: ("egress-asked", verb) in decisions(run))


def test_a_question_without_an_answer_is_a_denial(lab: Lab, open_path: Path) -> None:
    policy = write_policy(open_path, f'ask = ["{OTHER}"]\nask-timeout = "1s"')
    with running(lab, open_path, FETCH, *policy) as run:
        assert run.line() == "ready"
        mark = lab.mark()
        run.tell(f"https://{OTHER}/x")
        assert "Error" in run.line()
        assert lab.since(mark) == []
        wait_for(lambda: ("egress-asked", "deny") in decisions(run))  # both sides keep the time; ours may be later


def test_many_questions_at_once_are_one_for_each_host(lab: Lab, open_path: Path) -> None:
    hosts = [f"host{number}.public.example.net" for number in range(10)]
    policy = write_policy(open_path, 'ask = ["*.public.example.net"]')
    with running(lab, open_path, FETCH, *policy) as run:
        assert run.line() == "ready"
        run.tell(" ".join(f"http://{host}/{turn}" for host in hosts for turn in range(5)))
        wait_for_question(run, 10)
        said = operator(lab, open_path, "allow", "--run", run.directory.name, *hosts[:5])
        assert "5 waiting connections answered" in said.stdout, said
        assert [run.line().split()[0] for _ in range(25)] == ["200"] * 25
        said = operator(lab, open_path, "deny", "--run", run.directory.name, *hosts[5:])
        assert "5 waiting connections answered" in said.stdout, said
        assert {run.line() for _ in range(25)} == {"HTTPError 403"}
        assert decisions(run).count(("egress-asked", "ask")) == 10


def test_a_run_that_ends_leaves_no_question(lab: Lab, open_path: Path) -> None:
    script = f"curl -sS http://{OTHER}/ >/dev/null 2>&1 & read line; kill $!"
    with running(lab, open_path, ["sh", "-c", script], *write_policy(open_path, f'ask = ["{OTHER}"]')) as run:
        wait_for((run.state / "audit/audit.jsonl").exists)
        wait_for_question(run)
        run.tell("end")
        run.end()
        assert run.supervisor.returncode in (0, 143)
        assert ("egress-asked", "deny") in decisions(run) and run.events("exit")


def test_a_live_run_is_widened_and_narrowed(lab: Lab, open_path: Path) -> None:
    with running(lab, open_path, FETCH, "--allow", GOOD) as run:
        assert run.line() == "ready"
        name = run.directory.name
        results = []
        for words in ((), ("allow", "--run", name, OTHER), ("deny", "--run", name, OTHER)):
            if words:
                assert "in force" in operator(lab, open_path, *words).stdout
            run.tell(f"https://{OTHER}/x")
            results.append(run.line().split()[0])
        assert results[1] == "200" and "200" not in (results[0], results[2]), results
        again = operator(lab, open_path, "allow", "--run", name, OTHER)
        assert again.returncode == 1 and "stays denied" in again.stdout, again
        run.tell(f"https://{GOOD}/x")
        assert run.line().startswith("200")


def test_denying_closes_a_connection_that_is_open(lab: Lab, open_path: Path) -> None:
    mark = lab.mark()
    with running(lab, open_path, [PYTHON, "-c", HELD], "--allow", GOOD) as run:
        assert run.line() == "held"
        wait_for(lambda: [one for one in lab.since(mark, "http") if one["path"] == "/hang"])
        assert "in force" in operator(lab, open_path, "deny", "--run", run.directory.name, GOOD).stdout
        assert run.line() in ("cut ConnectionResetError", "end b''")
        wait_for(lambda: any(one["code"] == "egress-denied" for one in run.events("denial")))


def test_an_allowance_is_kept_and_put_in_force_at_once(lab: Lab, open_path: Path, home: Path) -> None:
    with running(lab, open_path, FETCH, "--allow", GOOD) as run:
        assert run.line() == "ready"
        said = operator(lab, open_path, "allow", OTHER)
        assert said.returncode == 0 and "in force" in said.stdout, said
        run.tell(f"https://{OTHER}/x")
        assert run.line().startswith("200")
    written = tomllib.loads((home / ".config/ringfence/policy.toml").read_text())
    assert written["network"]["allow"] == [OTHER]
    done = lab.run(["ringfence", "run", "--", "curl", "-sS", f"https://{OTHER}/kept"], cwd=open_path)
    assert "OK remote443" in done.stdout, done


def test_what_was_learnt_is_enough_for_the_next_run(lab: Lab, open_path: Path) -> None:
    script = f"curl -sS https://{GOOD}/a/b; curl -sS -d x http://{OTHER}/c; curl -sS -m50 http://lan.example.com/"
    mark = lab.mark()
    learnt = operator(lab, open_path, "learn", "--", "sh", "-c", script)
    assert "OK remote443 GET /a/b" in learnt.stdout and "OK remote80 POST /c" in learnt.stdout, learnt
    assert "OK LAN" not in learnt.stdout  # private addresses stay out of reach
    assert not [one for one in lab.since(mark, "flow") if one["address"] == "10.9.8.7"]
    run = learnt.stderr.partition("--accept ")[2].split()[0]
    before = lab.run(["ringfence", "run", "--", "sh", "-c", script], cwd=open_path)
    assert "OK remote" not in before.stdout
    accepted = operator(lab, open_path, "learn", "--accept", run)
    assert accepted.returncode == 0 and "2 rules written" in accepted.stdout, accepted
    after = lab.run(["ringfence", "run", "--", "sh", "-c", script], cwd=open_path)
    assert "OK remote443 GET /a/b" in after.stdout and "OK remote80 POST /c" in after.stdout, after
    other = lab.run(["ringfence", "run", "--", "curl", "-sS", "-X", "DELETE", f"https://{GOOD}/a/b"], cwd=open_path)
    assert "OK remote" not in other.stdout  # reading was seen, so reading is what was allowed


# ---- the standby


def standbys(home: Path) -> list[Path]:
    return [path for path in (home / ".local/state/ringfence/standby").glob("*") if path.is_socket()]


def holders(place: Path) -> list[int]:
    """The processes that work in a directory; a standby does in its own."""
    return [int(line.split()[0]) for line in leftovers(place)]


def only(place: Path, name: str) -> list[int]:
    """The one of them that goes by a name; what a standby forks goes by its parent's for a moment."""
    found = [pid for pid in holders(place) if pid in called(name)]
    return found if len(found) == 1 else []


def remove(place: Path) -> None:
    """Remove a directory in which a standby may be about to listen."""

    def is_removed() -> bool:
        shutil.rmtree(place, ignore_errors=True)
        return not place.exists()

    wait_for(is_removed)


def kill_all(place: Path) -> None:
    """End a standby the hard way; its spare ends by itself, perhaps before it is our turn."""
    for pid in holders(place):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def with_standby(lab: Lab, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = ["ringfence", "run", "--allow", GOOD, "--", *words]
    return lab.run(argv, cwd=place, environment={"RINGFENCE_STANDBY": "1"})


CURL = ["curl", "-sS", "-m50", f"https://{GOOD}/"]


def test_a_second_run_uses_the_standby_of_the_first(lab: Lab, open_path: Path, home: Path) -> None:
    place = home / ".local/state/ringfence/standby"
    assert "OK remote443" in with_standby(lab, open_path, *CURL).stdout
    wait_for(lambda: only(place, titles.PROXY))
    for _ in range(TRIES):
        (first,) = wait_for(lambda: only(place, titles.STANDBY))
        with running(lab, open_path, FETCH, "--allow", GOOD, environment={"RINGFENCE_STANDBY": "1"}) as run:
            assert run.line() == "ready"
            run.tell(f"https://{GOOD}/x")
            assert run.line().startswith("200")
            assert first in holders(place)
            if not proxies(run.supervisor.pid):  # the one that serves it is a child of the standby's
                break
    else:
        pytest.fail("the standby was passed over again and again")
    remove(place)
    wait_for(lambda: not Path(f"/proc/{first}").exists())


def test_a_standby_that_was_killed_is_passed_over(lab: Lab, open_path: Path, home: Path) -> None:
    place = home / ".local/state/ringfence/standby"
    with_standby(lab, open_path, "true")
    wait_for(lambda: standbys(home))
    kill_all(place)
    wait_for(lambda: not holders(place))
    assert standbys(home)  # stale now
    assert "OK remote443" in with_standby(lab, open_path, *CURL).stdout
    wait_for(lambda: holders(place))  # and a new one stands by
    assert "OK remote443" in with_standby(lab, open_path, *CURL).stdout
    remove(place)
    kill_all(place)


def test_a_standby_that_does_not_answer_is_passed_over(lab: Lab, open_path: Path, home: Path) -> None:
    with_standby(lab, open_path, "true")
    (place,) = wait_for(lambda: standbys(home))
    kill_all(place.parent)
    place.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as mute:
        at_short_path(str(place.parent), place.name, mute.bind)
        mute.listen(8)
        assert "OK remote443" in with_standby(lab, open_path, *CURL).stdout
    kill_all(place.parent)


IMPOSTOR = """
import os, socket, sys
os.chdir(sys.argv[1])
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(sys.argv[2])
os.chmod(sys.argv[2], 0o666)
listener.listen(8)
print("ready", flush=True)
peer, _ = listener.accept()
data, descriptors, _, _ = socket.recv_fds(peer, 4096, 2)
socket.send_fds(peer, [b"1"], [os.pidfd_open(int(sys.argv[3]))])
print("asked", data.decode(), flush=True)
sys.stdin.read()
"""


@pytest.mark.require("root", "ordinary-user")
def test_the_standby_of_another_user_is_refused(lab: Lab, open_path: Path, ordinary_user: str) -> None:
    """A root shell that kept a user's HOME meets what that user has put there: a way to have root kill a process."""
    state, work = open_path / "state", open_path / "work"
    work.mkdir()
    environment = {"RINGFENCE_STANDBY": "1", "XDG_STATE_HOME": str(state)}
    argv = ["ringfence", "run", "--allow", GOOD, "--", *CURL]
    lab.run(argv, cwd=work, environment=environment)
    place = state / "ringfence/standby"
    (found,) = wait_for(lambda: [path for path in place.glob("*") if path.is_socket()])
    kill_all(place)
    found.unlink()
    victim = subprocess.Popen(["sleep", "infinity"])
    for path in (state, state / "ringfence", place):
        shutil.chown(path, ordinary_user)
        path.chmod(0o755)
    words = ["setpriv", f"--reuid={ordinary_user}", f"--regid={ordinary_user}", "--init-groups", "/usr/bin/python3"]
    words += ["-I", "-c", IMPOSTOR, str(place), found.name, str(victim.pid)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as impostor:
        assert impostor.stdout is not None and impostor.stdin is not None
        assert impostor.stdout.readline() == "ready\n"
        done = lab.run(argv, cwd=work, environment=environment)
        survived = victim.poll() is None
        victim.kill()
        victim.wait()
        impostor.kill()
    kill_all(place)
    assert survived, "another user's process has had root kill what it chose"
    assert "OK remote443" in done.stdout, done
