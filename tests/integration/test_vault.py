"""The vault of a live run: placeholders inside, values at the host they are for, and nowhere else on this machine.

Longer than 400 lines: one live run, from its sources to its end, and everything of it that is searched for a value.
"""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.egress_runs import Running, proxies, running, wait_for
from tests.lab import Entry, Lab
from tests.paths import has_ended
from tests.posture.live import children

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "curl")]
GOOD, OTHER = "www.public.example.net", "git.example.com"
# In halves, so that no file, command line or memory of the test's programs holds the whole by accident.
HALVES = ("ghp_a1B2c3D4e5F6g7H8", "i9J0k1L2m3N4o5P6")
VALUE = "".join(HALVES)
NEW_VALUE = "ghp_" + "Z9y8X7w6V5u4T3s2R1q0P9o8N7m6L5k4"
PYTHON = "/usr/bin/python3"
ASK = f"""
import os, subprocess, sys
def fetch(host):
    header = "Authorization: Bearer " + os.environ["TOKEN"]
    done = subprocess.run(["curl", "-sS", "-H", header, f"https://{{host}}/hdr"], capture_output=True, text=True)
    return " ".join((done.stdout + done.stderr).split())
print("ready", flush=True)
for line in sys.stdin:
    print(fetch(line.strip() or "{GOOD}"), flush=True)
"""
POLICY = """
version = 1
[network]
allow = ["{good}", "{other}"]
[secrets.service]
source = {{ {source} }}
inject = [{{ host = "{good}", header = "authorization" }}]
variables = ["TOKEN"]
{more}
[[secret-files]]
path = "~/.netrc"
text = "machine {good} login me password {{service}}\\n"
"""


@pytest.fixture
def token(home: Path) -> Iterator[Path]:
    """A file outside of the workspace that holds the value."""
    file = home / "token"
    file.write_text(VALUE + "\n")
    file.chmod(0o600)
    yield file
    file.unlink()


def policy(place: Path, source: str, more: str = "") -> tuple[str, str]:
    """Options that put the secret `service` in force."""
    (place / "policy.toml").write_text(POLICY.format(good=GOOD, other=OTHER, source=source, more=more))
    return "--policy", str(place / "policy.toml")


def kept_in(file: Path) -> str:
    return f'file = "{file}"'


def run(lab: Lab, place: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return lab.run(["ringfence", *words], cwd=place, environment=variables)


def vaults(supervisor: int) -> list[int]:
    return [pid for pid in children(supervisor) if "vault_worker" in words_of(pid)]


def words_of(pid: int) -> str:
    """The command line of a process; empty once it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def confined_vault(run: Running) -> int:
    """The run's vault, once it has given everything up."""
    (found,) = vaults(run.supervisor.pid)
    wait_for(lambda: status(found)["Seccomp"] == "2")
    return found


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


def memory_has(pid: int, text: str) -> bool:
    """Whether the memory of a process holds `text` anywhere."""
    needle = text.encode()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r.*", line)
            if found and "[v" not in line:
                start, end = (int(one, 16) for one in found.groups())
                try:
                    memory.seek(start)
                    if needle in memory.read(end - start):
                        return True
                except OSError:
                    continue  # not backed by anything
    return False


def authorizations(entries: list[Entry]) -> list[str]:
    """What arrived outside in the header."""
    return [value for entry in entries for name, value in entry["headers"] if name.lower() == "authorization"]


# ---- what is where


def test_the_host_gets_the_value_and_the_inside_a_placeholder(lab: Lab, open_path: Path, token: Path) -> None:
    mark = lab.mark()
    script = f'echo "$TOKEN"; cat ~/.netrc; curl -sS -H "Authorization: Bearer $TOKEN" https://{GOOD}/hdr'
    done = run(lab, open_path, "run", *policy(open_path, kept_in(token)), "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    placeholder = lines[0]
    assert len(placeholder) == len(VALUE) and placeholder.startswith("ghp_") and placeholder != VALUE
    assert lines[1] == f"machine {GOOD} login me password {placeholder}"
    assert f"authorization: Bearer {placeholder}" in done.stdout  # the answer names what it got
    assert authorizations(lab.since(mark, "http")) == [f"Bearer {VALUE}"]
    assert VALUE not in done.stdout + done.stderr


def test_each_run_has_placeholders_of_its_own(lab: Lab, open_path: Path, token: Path) -> None:
    words = ["run", *policy(open_path, kept_in(token)), "--", "sh", "-c", 'echo "$TOKEN"']
    assert run(lab, open_path, *words).stdout != run(lab, open_path, *words).stdout


def test_a_placeholder_elsewhere_is_refused_recorded_and_taints(lab: Lab, open_path: Path, token: Path) -> None:
    mark = lab.mark()
    with running(lab, open_path, [PYTHON, "-c", ASK], *policy(open_path, kept_in(token))) as live:
        assert live.line() == "ready"
        live.tell(OTHER)
        assert live.line().startswith("ringfence: secret-misuse")
        live.end()
    assert lab.since(mark, "http") == []
    (denial,) = [one for one in live.events("denial") if one["code"] == "secret-misuse"]
    assert denial["fields"]["secret"] == "service" and denial["fields"]["program"] == "curl"
    assert [one["code"] for one in live.events("taint")] == ["secret-misuse"]


SEARCH = f"""
import glob, os, sys
needle = ("{HALVES[0]}" + "{HALVES[1]}").encode()
own = str(os.getpid())
places = [p for p in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline") if own not in p.split("/")]
places += [f"/proc/self/{{name}}" for name in ("environ", "mountinfo")]
for top in (os.getcwd(), os.environ["HOME"], "/tmp", "/run", "/etc", "/dev/shm"):
    for folder, _, names in os.walk(top):
        places += [os.path.join(folder, name) for name in names]
read = 0
for place in places:
    try:
        with open(place, "rb") as file:
            data = file.read(1 << 22)
    except OSError:
        continue
    read += 1
    if needle in data:
        print("found in", place)
print("searched", read > 20)
"""


def test_nothing_inside_holds_the_value(lab: Lab, open_path: Path, token: Path) -> None:
    use = f'curl -sS -H "Authorization: Bearer $TOKEN" https://{GOOD}/hdr >/dev/null; exec {PYTHON} -c "$0"'
    done = run(lab, open_path, "run", *policy(open_path, kept_in(token)), "--", "sh", "-c", use, SEARCH)
    assert done.stdout == "searched True\n", done


def test_a_variable_that_is_a_source_does_not_pass(lab: Lab, open_path: Path) -> None:
    options = policy(open_path, 'env = "REAL_TOKEN"')
    words = ["run", *options, "--env", "REAL_*", "--", "env"]
    done = run(lab, open_path, *words, REAL_TOKEN=VALUE)
    assert "TOKEN=ghp_" in done.stdout and "REAL_TOKEN" not in done.stdout and VALUE not in done.stdout
    named = ["run", "--allow", GOOD, "--secret", f"SOME_TOKEN@{GOOD}", "--env", "SOME_TOKEN", "--", "env"]
    done = run(lab, open_path, *named, SOME_TOKEN=VALUE)
    assert "SOME_TOKEN=ghp_" in done.stdout and VALUE not in done.stdout


def test_only_the_vault_has_the_value(lab: Lab, open_path: Path, token: Path) -> None:
    with running(lab, open_path, [PYTHON, "-c", ASK], *policy(open_path, kept_in(token))) as live:
        assert live.line() == "ready"
        live.tell("")
        assert "authorization: Bearer ghp_" in live.line()
        vault = confined_vault(live)
        (proxy,) = proxies(live.supervisor.pid)
        if os.geteuid() == 0:
            assert memory_has(vault, VALUE)  # positive control
            assert not memory_has(proxy, VALUE)
        else:
            for pid in (vault, proxy):
                with pytest.raises(PermissionError):
                    open(f"/proc/{pid}/mem", "rb")
        assert not memory_has(live.supervisor.pid, VALUE)
        live.end()
    state = live.state
    written = [path for path in state.rglob("*") if path.is_file()]
    assert any(path.name == "audit.jsonl" for path in written)
    assert [path for path in written if VALUE.encode() in path.read_bytes()] == []
    assert "injected" in [one["code"] for one in live.events("secret")]


# ---- what the vault may still do


def test_the_vault_has_given_everything_up(lab: Lab, open_path: Path, token: Path) -> None:
    with running(lab, open_path, [PYTHON, "-c", ASK], *policy(open_path, kept_in(token))) as live:
        assert live.line() == "ready"
        vault = confined_vault(live)
        found = status(vault)
        assert found["NoNewPrivs"] == "1" and found["Threads"] == "1"
        assert {found[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}
        assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{vault}/limits").read_text())
        uids = {int(one) for one in found["Uid"].split()}
        assert len(uids) == 1 and 0 not in uids
        assert int(found["VmLck"].split()[0]) >= 4  # the values, where not everything may be locked
        if os.geteuid() == 0:
            assert uids.isdisjoint(map(int, status(live.proxy)["Uid"].split())) or uids == {65534}
            names = {os.readlink(f"/proc/{vault}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{vault}/fd")}
            assert names <= {"/dev/null", "socket", "anon_inode", "/memfd"}, names
        else:
            with pytest.raises(PermissionError):
                Path(f"/proc/{vault}/environ").read_bytes()
        live.end()


def test_a_vault_that_dies_leaves_no_core_and_no_way_out(lab: Lab, open_path: Path, token: Path) -> None:
    mark = lab.mark()
    with running(lab, open_path, [PYTHON, "-c", ASK], *policy(open_path, kept_in(token))) as live:
        assert live.line() == "ready"
        live.tell("")
        assert "authorization: Bearer ghp_" in live.line()
        vault = confined_vault(live)
        os.kill(vault, signal.SIGSEGV) if os.geteuid() == 0 else os.kill(vault, signal.SIGQUIT)
        wait_for(lambda: live.events("lost"))
        live.tell("")
        assert live.line().startswith("ringfence: unreachable")
        live.tell(OTHER)  # not even where no value would go: nobody could search it
        assert live.line().startswith("ringfence: ")
        live.end()
    assert [one["code"] for one in live.events("lost")] == ["vault"]
    assert len(lab.since(mark, "http")) == 1
    assert list(open_path.rglob("core*")) == []


# ---- values that change


def test_new_values_without_a_new_start(lab: Lab, open_path: Path, token: Path) -> None:
    mark = lab.mark()
    with running(lab, open_path, [PYTHON, "-c", ASK], *policy(open_path, kept_in(token))) as live:
        assert live.line() == "ready"
        live.tell("")
        first = live.line()
        token.write_text(NEW_VALUE)
        said = run(lab, open_path, "secrets", "reload", "--run", live.directory.name)
        assert said.returncode == 0 and "read anew: service" in said.stdout, said
        live.tell("")
        assert live.line() == first  # the same placeholder
        wait_for(lambda: len(vaults(live.supervisor.pid)) == 1)
        token.write_text("")
        said = run(lab, open_path, "secrets", "reload", "--run", live.directory.name)
        assert said.returncode == 1 and "stay in force" in said.stdout and "\n  hint: " in said.stdout, said
        live.tell("")
        assert live.line() == first
        live.end()
    arrived = authorizations(lab.since(mark, "http"))
    assert arrived == [f"Bearer {VALUE}", f"Bearer {NEW_VALUE}", f"Bearer {NEW_VALUE}"]
    assert "reloaded" in [one["code"] for one in live.events("secret")]


def test_a_new_value_in_the_environment_of_who_asks_for_it(lab: Lab, open_path: Path) -> None:
    mark = lab.mark()
    options = policy(open_path, 'env = "REAL_TOKEN"')
    with running(lab, open_path, [PYTHON, "-c", ASK], *options, environment={"REAL_TOKEN": VALUE}) as live:
        assert live.line() == "ready"
        said = run(lab, open_path, "secrets", "reload", "--run", live.directory.name, REAL_TOKEN=NEW_VALUE)
        assert said.returncode == 0, said
        live.tell("")
        live.line()
        assert not memory_has(live.supervisor.pid, NEW_VALUE)
        live.end()
    assert authorizations(lab.since(mark, "http")) == [f"Bearer {NEW_VALUE}"]


def test_a_run_without_secrets_has_none_to_reload(lab: Lab, open_path: Path) -> None:
    with running(lab, open_path, ["cat"], "--allow", GOOD) as live:
        wait_for(lambda: (live.state / "runs").exists() and list((live.state / "runs").glob("*/control")))
        assert vaults(live.supervisor.pid) == []
        said = run(lab, open_path, "secrets", "reload", "--run", live.directory.name)
        assert said.returncode == 1 and "no secrets" in said.stdout
        live.end()


# ---- values that are missing


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ('env = "NOT_THERE"', "the variable `NOT_THERE` is not set"),
        ('file = "/nonexistent/token"', "there is no such file"),
        ('command = ["sh", "-c", "echo no; exit 7"]', "`sh` ended with exit status 7"),
        ('command = ["no-such-program"]', "`no-such-program` is not installed"),
        ('command = ["printf", "short"]', "fewer than 8"),
    ],
)
def test_a_missing_value_is_told_before_the_command_starts(lab: Lab, open_path: Path, source: str, reason: str) -> None:
    done = run(lab, open_path, "run", *policy(open_path, source), "--", "touch", "started")
    assert done.returncode == 2
    assert reason in done.stderr and "policy.toml:" in done.stderr and "`service`" in done.stderr
    assert not (open_path / "started").exists()


def test_an_optional_one_may_be_missing(lab: Lab, open_path: Path, home: Path) -> None:
    options = policy(open_path, 'file = "/nonexistent/token"', "optional = true")
    done = run(lab, open_path, "run", *options, "--", "sh", "-c", 'echo "[$TOKEN]"; cat ~/.netrc')
    assert (done.returncode, done.stdout) == (0, "[]\n"), done
    told = run(lab, open_path, "log", "--kind", "secret", "--json").stdout
    assert "missing" in told and "no such file" in told


def test_without_a_network_there_is_nothing_to_keep(lab: Lab, open_path: Path, token: Path) -> None:
    options = policy(open_path, kept_in(token))
    done = run(lab, open_path, "run", *options, "--network", "off", "--", "sh", "-c", 'echo "[$TOKEN]"', TOKEN=VALUE)
    assert done.stdout == "[]\n"


# ---- the command line


def test_the_commands_print_no_value(lab: Lab, open_path: Path, home: Path, token: Path) -> None:
    place = home / ".config/ringfence"
    place.mkdir(parents=True, exist_ok=True)
    (place / "policy.toml").write_text(POLICY.format(good=GOOD, other=OTHER, source=kept_in(token), more=""))
    mark = lab.mark()
    listed, checked, tried = (run(lab, open_path, "secrets", *words) for words in (["list"], ["check"], ["test", GOOD]))
    assert listed.returncode == checked.returncode == tried.returncode == 0, (listed, checked, tried)
    assert "header authorization" in listed.stdout and "$TOKEN" in listed.stdout and "~/.netrc" in listed.stdout
    assert "32 to 63 characters, begins with `ghp_`" in checked.stdout
    assert "200  no proof: the host answers the same without it" in tried.stdout
    assert authorizations(lab.since(mark, "http")) == [f"Bearer {VALUE}"]
    for done in (listed, checked, tried):
        assert VALUE not in done.stdout + done.stderr and HALVES[1] not in done.stdout
    token.chmod(stat.S_IRUSR | stat.S_IROTH)
    assert "can be read by others" in run(lab, open_path, "secrets", "check").stdout
    token.unlink()
    missing = run(lab, open_path, "secrets", "check", "--json")
    assert missing.returncode == 1 and '"state": "missing"' in missing.stdout
    assert run(lab, open_path, "secrets", "test", OTHER).returncode == 2
    token.touch()


# ---- what else meets a vault


LEAK = f"""
import subprocess, sys
print("ready", flush=True)
for line in sys.stdin:
    body = "key=AKIA" + "Q7W3E5R2T6Y4U7I2" + "&n=" + line.strip()
    words = ["curl", "-sS", "-w", " %{{http_code}}", "-d", body, "https://{GOOD}/status/204"]
    print(" ".join(subprocess.run(words, capture_output=True, text=True).stdout.split()), flush=True)
"""


@pytest.mark.parametrize("verb", ["allow", "deny"])
def test_what_looks_like_a_secret_waits_for_the_operator(lab: Lab, open_path: Path, token: Path, verb: str) -> None:
    mark = lab.mark()
    options = policy(open_path, kept_in(token), '[leaks]\nfound = "ask"')
    with running(lab, open_path, [PYTHON, "-c", LEAK], *options) as live:
        assert live.line() == "ready"
        live.tell("1")
        wait_for(lambda: [one for one in live.events("decision") if one["code"] == "egress-asked"])
        assert lab.since(mark, "http") == []
        run(lab, open_path, verb, "--run", live.directory.name, GOOD)
        assert live.line().endswith("204") == (verb == "allow")  # a denial of the host cuts what is open
        live.end()
    assert [one["fields"]["verdict"] for one in live.events("decision") if one["code"] == "secret-asked"] == [verb]
    assert bool(lab.since(mark, "http")) == (verb == "allow")


URL = """
import subprocess, sys
print("ready", flush=True)
for line in sys.stdin:
    done = subprocess.run(["curl", "-sS", "-m50", line.strip()], capture_output=True, text=True)
    print(" ".join((done.stdout + done.stderr).split()), flush=True)
"""


def told(live: Running) -> str:
    """What is recorded of what was refused and passed, without capitals: names have none."""
    return json.dumps([one["fields"] for one in live.events("denial", "egress", "taint", "connect")]).lower()


def test_no_record_holds_a_value(lab: Lab, open_path: Path, token: Path) -> None:
    """It is inside all the same; what is sent stands in records of the proxy, which knows no value."""
    options = policy(open_path, kept_in(token), "[leaks]")
    with running(lab, open_path, [PYTHON, "-c", URL], *options) as live:
        assert live.line() == "ready"
        for url in (f"https://{GOOD}/{VALUE}", f"http://{OTHER}/a%20b/{VALUE}", f"https://{VALUE}.evil.test/"):
            live.tell(url)
            live.line()
        wait_for(lambda: "evil.test" in told(live))
        _, said = live.end()
    assert VALUE.lower() not in told(live) and VALUE.lower() not in said.lower()
    paths = [str(one["fields"].get("path", "")) for one in live.events("denial", "egress")]
    assert any(re.fullmatch(r"/ghp_\w{32}", path) for path in paths)
    assert live.events("exit")


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_without_the_vault_a_record_is_there_all_the_same(lab: Lab, open_path: Path, token: Path, number: int) -> None:
    with running(lab, open_path, [PYTHON, "-c", URL], *policy(open_path, kept_in(token))) as live:
        assert live.line() == "ready"
        os.kill(confined_vault(live), number)
        for url in (f"https://{VALUE}.evil.test/", "https://other.evil.test/"):
            live.tell(url)
            assert "403" in live.line()
        live.end()
    denials = live.events("denial")
    assert [(one["code"], one["fields"]["target"]) for one in denials] == [("egress-denied", "withheld")] * len(denials)
    assert len(denials) >= 2 and VALUE.lower() not in told(live)
    kinds = [one["kind"] for one in live.events("denial", "exit")]
    assert kinds[-1] == "exit"


SDK = f"""
import os, sys
from ringfence.session.sdk import Policy, Sandbox
policy = Policy({{
    "network": {{"allow": ["{GOOD}"]}},
    "secrets": {{"service": {{
        "source": {{"env": "REAL_TOKEN"}},
        "inject": [{{"host": "{GOOD}", "header": "authorization"}}],
        "variables": ["TOKEN"],
    }}}},
}})
script = 'echo "$TOKEN $REAL_TOKEN"; curl -sS -H "Authorization: Bearer $TOKEN" https://{GOOD}/hdr'
value = os.environ.pop("GIVEN")
with Sandbox(policy, directory=sys.argv[1]) as box:
    done = box.run(["sh", "-c", script], env={{"REAL_TOKEN": value}})
    print(done.text, done.returncode)
    assert value not in done.text and value.encode() not in done.stderr
"""


def test_the_sdk_keeps_what_it_is_given_for_a_source(lab: Lab, open_path: Path) -> None:
    mark = lab.mark()
    done = lab.run([sys.executable, "-c", SDK, str(open_path)], cwd=open_path, environment={"GIVEN": VALUE})
    assert done.returncode == 0 and done.stdout.startswith("ghp_"), done
    assert authorizations(lab.since(mark, "http")) == [f"Bearer {VALUE}"]


def test_many_requests_at_once_through_one_vault(lab: Lab, open_path: Path, token: Path) -> None:
    mark = lab.mark()
    urls = " ".join(f"-o /dev/null https://{GOOD}/bytes/{100_000 + number}" for number in range(40))
    script = f'exec curl -s -Z --parallel-max 40 -w "%{{size_download}}\\n" -H "Authorization: $TOKEN" {urls}'
    done = run(lab, open_path, "run", *policy(open_path, kept_in(token)), "--", "sh", "-c", script)
    assert sorted(map(int, done.stdout.split())) == [100_000 + number for number in range(40)], done
    assert authorizations(lab.since(mark, "http")) == [VALUE] * 40


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_vault_outlives_its_run(lab: Lab, open_path: Path, token: Path, number: int) -> None:
    with running(lab, open_path, [PYTHON, "-c", ASK], *policy(open_path, kept_in(token))) as live:
        assert live.line() == "ready"
        live.tell("")
        live.line()
        vault = confined_vault(live)
        os.kill(live.supervisor.pid, number)
        wait_for(lambda: has_ended(vault))


def test_a_vault_that_stands_still_holds_up_nobody_else(lab: Lab, open_path: Path, token: Path) -> None:
    with running(lab, open_path, [PYTHON, "-c", ASK], *policy(open_path, kept_in(token))) as live:
        assert live.line() == "ready"
        vault = confined_vault(live)
        os.kill(vault, signal.SIGSTOP)
        elsewhere = open_path / "other"
        elsewhere.mkdir()
        with running(lab, elsewhere, [PYTHON, "-c", ASK], *policy(elsewhere, kept_in(token))) as other:
            assert other.line() == "ready"
            other.tell("")
            assert "authorization: Bearer ghp_" in other.line()
            other.end()
        live.tell("")
        os.kill(vault, signal.SIGCONT)
        assert "authorization: Bearer ghp_" in live.line()
        live.end()
