"""S2: the value of a secret is looked for where programs keep such things: inside, in files, in every process's memory.

Policy keeps two secrets; their placeholders are in variables and in a file. Wherever a script looks, it looks for what
it cannot know, byte for byte: the arena's canary, which the host has in a variable and in files.
"""

import dataclasses
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests import requirements
from tests.attacks import keeping, trail
from tests.attacks.arena import LIMIT_S, RINGFENCE, SOURCE, Arena, Ran, command_line
from tests.attacks.attack import Attack, leaked
from tests.attacks.crossing import GOOD
from tests.attacks.keeping import NETWORK, SCRIPT, SECRETS
from tests.lab import Lab
from tests.posture.live import children

CANARY = "rb'canary-[0-9a-f]{24}'"
FILE = "@home@/.config/service/token"
LOCAL = "@workspace@/config/token"
POLICY = f"""{NETWORK}{SECRETS}
[secrets.filed]
source = {{ file = "{FILE}" }}
inject = [{{ host = "{GOOD}", header = "x-api-key" }}]
variables = ["FILED_TOKEN"]
[secrets.printed]
source = {{ command = ["cat", "{FILE}"] }}
inject = [{{ host = "{GOOD}", header = "x-other" }}]
variables = ["PRINTED_TOKEN"]
[[secret-files]]
path = "~/.netrc"
text = "machine {GOOD} login x password {{service}}\\n"
"""
IN_ALL = f"""
import os, re
def look(name, data):
    for found in set(re.findall({CANARY}, data)):
        print("found", name, found.decode(), flush=True)

def read(path, size=1 << 22):
    try:
        look(path, open(path, "rb").read(size))
    except OSError:
        pass

def said(command):
    look(command, os.popen(command).read().encode("utf-8", "surrogateescape"))

alone, near = os.environ.get("LOOK_AT", "") == "", os.environ.get("LOOK_AT", "").split()
people = [pid for pid in os.listdir("/proc") if pid.isdigit()] if alone else near
"""


def kept_files(arena: Arena) -> None:
    """The files that the secrets are read from, besides the variable."""
    keeping.two_tokens(arena)
    arena.write(FILE, arena.canary)


MEMORY = """
def search(pid):
    try:
        maps, memory = open(f"/proc/{pid}/maps").read(), open(f"/proc/{pid}/mem", "rb", 0)
    except OSError:
        return
    for low, high in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) r", maps, re.M):
        try:
            memory.seek(int(low, 16))
            look(f"memory of {pid}", memory.read(min(int(high, 16) - int(low, 16), 1 << 26)))
        except (OSError, OverflowError, ValueError):
            pass
"""
OWN = "look('own environment', str(dict(os.environ)).encode())\n"
VARIABLES = "for pid in people: read(f'/proc/{pid}/environ')\n"
ALL_MEMORY = "for pid in people: search(pid)\n"
CORE = """
import subprocess
abort = "import os, resource as r; r.setrlimit(r.RLIMIT_CORE, (r.getrlimit(r.RLIMIT_CORE)[1],) * 2); os.abort()"
subprocess.run(["python3", "-c", abort], stderr=subprocess.DEVNULL)
for name in os.listdir("."):
    if name.startswith("core"): read(name, 1 << 28)
"""
FILES = """
for top in ("@home@", *(["/run", "/dev/shm", "/var/tmp", "/tmp", "/etc"] if alone else [])):
    for folder, _, names in os.walk(top):
        for path in (os.path.join(folder, name) for name in names):
            if os.path.isfile(path): read(path)
"""
DESCRIPTORS = """
for pid in people:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        continue
    for path in (f"/proc/{pid}/fd/{name}" for name in names):
        if os.path.isfile(path): read(path)
"""
USED = (
    SCRIPT
    + IN_ALL
    + MEMORY
    + """
answer = https(whole(path="/ok/x", more=BEARER)) + https(whole(path="/echo-in/raw", more=BEARER))
password = "x:" + TOKEN
print(len(answer), mixed(password)[:4])
search("self")
"""
)


SIGHTS = {
    "variables": "said('env')",
    "variables-of-the-first-process": "read(f'/proc/{os.getppid()}/environ')",
    "variables-of-everybody": VARIABLES,
    "arguments-of-everybody": "for pid in people: read(f'/proc/{pid}/cmdline')",
    "own-memory": f"{MEMORY}search('self')",
    "memory-of-everybody": MEMORY + ALL_MEMORY,
    "own-core": CORE + OWN,
    "file-that-it-is-read-from": f"read('{FILE}')",
    "files-of-the-home": "said('grep -rasoh canary-[0-9a-f]* @home@ 2>/dev/null')",
    "file-for-a-program": "read('@home@/.netrc')\n" + OWN,
    "every-file": FILES,
    "descriptors-of-everybody": DESCRIPTORS + OWN,
}
# Each look is a process of its own, below one that has the same environment. Unconfined it looks at its ancestors, of
# which one has the value among its words; inside at everybody.
ALL_SIGHTS = f"""
import os, subprocess, sys
def parent(pid):
    return open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[1]

own = str(os.getpid())
above = parent(own)
try:
    confined = b"--token=" not in open(f"/proc/{{above}}/cmdline", "rb").read()
except OSError:
    confined = True
places = "" if confined else own + " " + above
for name, code in {SIGHTS!r}.items():
    words = [sys.executable, "-I", "-S", "-c", {IN_ALL!r} + code]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {{"LOOK_AT": places}})
    print("sight", name, done.stdout.split(), done.stderr[-500:].split(), flush=True)
"""


def sight(name: str, script: str) -> Attack:
    """A look for the value; what it finds it prints."""
    return Attack(
        name=name,
        script=script,
        policy=POLICY,
        prepare=kept_files,
        world=lambda arena: ["sh", "-c", '"$@"; true', f"--token={arena.canary}"],
    )


def sights(arena: Arena, ran: Ran) -> dict[str, bool]:
    """Which looks found the value."""
    lines = [line.split(" ", 2) for line in ran.output.splitlines() if line.startswith("sight ")]
    assert [line[1] for line in lines] == list(SIGHTS), ran.output[-2000:]
    assert all(line[2].endswith("[]") for line in lines), ran.output[-3000:]
    return {line[1]: arena.canary in line[2] for line in lines}


@pytest.fixture(scope="module")
def steady() -> Iterator[None]:
    """No standby outlives these runs."""
    requirements.require("bubblewrap", "overlay", "network-lab")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RINGFENCE_STANDBY", "0")
        yield


@pytest.fixture(scope="module")
def bare(lab: Lab, steady: None) -> dict[str, bool]:
    """Without a boundary."""
    with Arena.open(kept_files, lab) as arena:
        attack = sight("sights", ALL_SIGHTS)
        return sights(arena, arena.unconfined(attack))


@pytest.fixture(scope="module")
def kept(lab: Lab, steady: None) -> dict[str, bool]:
    """Within a boundary that keeps the secrets."""
    with Arena.open(kept_files, lab) as arena:
        ran = arena.confined(sight("sights", ALL_SIGHTS))
        assert arena.canary not in ran.output
        trail.check_launch(trail.of_one_run(arena, ran.output), None)
        return sights(arena, ran)


@pytest.mark.parametrize("name", SIGHTS)
def test_value(name: str, bare: dict[str, bool], kept: dict[str, bool]) -> None:
    """Nothing refuses these looks: in place of the value is a placeholder, or nothing."""
    core = Path("/proc/sys/kernel/core_pattern").read_text("ascii").strip()
    assert bare[name] or (name == "own-core" and core != "core")
    assert not kept[name]


def test_value_after_it_was_used(lab: Lab, require: Callable[..., None]) -> None:
    """A program has used it, and has read an answer that repeats it: its own memory holds the placeholder alone."""
    require("bubblewrap", "overlay")
    inject = POLICY.replace('paths = ["/ok/**"]', 'paths = ["/ok/**", "/echo-in/**"]')
    attack = dataclasses.replace(sight("used", USED), policy=inject)
    with Arena.open(kept_files, lab) as arena:
        ran = arena.unconfined(attack)
        assert leaked(arena, ran), ran.output
    with Arena.open(kept_files, lab) as arena:
        ran = arena.confined(attack)
        assert not leaked(arena, ran) and re.search(r"^[1-9]\d+ ", ran.output, re.M), ran.output
        heads = [keeping.header(entry, "authorization") for entry in lab.since(arena.began, "http")]
        assert heads == [f"Bearer {arena.canary}"] * 2


def in_workspace(arena: Arena) -> None:
    """A secret is read from a file of the project itself."""
    kept_files(arena)
    arena.write(LOCAL, arena.canary)


def test_a_source_in_the_workspace_is_not_shown(lab: Lab, require: Callable[..., None]) -> None:
    """A file that policy names as the source of a secret is no file for the command, wherever it lies."""
    require("bubblewrap", "overlay")
    policy = POLICY.replace(f'{{ file = "{FILE}" }}', f'{{ file = "{LOCAL}" }}')
    script = (
        "cat config/token; cp config/token copy; ln config/token link; cat copy link; cat /proc/self/cwd/config/token"
    )
    attack = dataclasses.replace(
        dataclasses.replace(sight("local", script), shell=True), policy=policy, prepare=in_workspace
    )
    with Arena.open(in_workspace, lab) as arena:
        assert arena.confined(dataclasses.replace(attack, policy=NETWORK)).achieved
    with Arena.open(in_workspace, lab) as arena:
        ran = arena.confined(attack)
        # The workspace's own file stays; nothing else of it holds the value, and nothing was printed.
        assert arena.canary not in ran.output
        assert not any((arena.workspace / name).exists() for name in ("copy", "link"))


GOES_ON = "import sys; print('ready', flush=True); sys.stdin.read()"


@contextmanager
def living(lab: Lab, arena: Arena) -> Iterator[int]:
    """A run that goes on; gives the supervisor's number. The variable is not among what it is started with."""
    environment = {name: text for name, text in arena.environment().items() if name != "SERVICE_TOKEN"}
    policy = re.sub(r"(?ms)^\[secrets\.service\].*?(?=^\[)", "", POLICY).replace("{service}", "{filed}")
    arena.write("@home@/.config/ringfence/policy.toml", "version = 1\n" + arena.fill(policy))
    environment |= {"PYTHONPATH": str(SOURCE)}
    argv = [*RINGFENCE, "run", "--", "python3", "-c", GOES_ON]
    words = lab.words(argv, cwd=arena.workspace)
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=arena.workspace, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.communicate(timeout=LIMIT_S)


def below(pid: int) -> set[int]:
    """Every process below one, and itself."""
    return {pid}.union(*(below(child) for child in children(pid)))


def memory(pid: int) -> bytes:
    """All that can be read of the memory of a process; nothing of one that has just ended."""
    found = []
    with (
        suppress(FileNotFoundError, ProcessLookupError),
        open(f"/proc/{pid}/maps") as maps,
        open(f"/proc/{pid}/mem", "rb", 0) as file,
    ):
        for low, high in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) r", maps.read(), re.M):
            try:
                file.seek(int(low, 16))
                found.append(file.read(int(high, 16) - int(low, 16)))
            except (OSError, OverflowError, ValueError):
                continue
    return b"\0".join(found)


def is_vault(pid: int) -> bool:
    return b"vault" in command_line(pid)


@pytest.mark.require("root")
def test_only_the_vault_holds_the_value(lab: Lab, require: Callable[..., None]) -> None:
    """Root reads the memory of every process of a run: the proxy, the supervisor and what is inside hold none."""
    require("bubblewrap", "overlay")
    with Arena.open(kept_files, lab) as arena, living(lab, arena) as supervisor:
        everybody = below(supervisor)
        holding = {pid for pid in everybody if arena.canary.encode() in memory(pid)}
        vaults = {pid for pid in everybody if is_vault(pid)}
        assert holding and holding <= vaults, [command_line(pid) for pid in holding - vaults]


def test_the_vault_is_opaque_to_its_own_user(lab: Lab, require: Callable[..., None]) -> None:
    """Not dumpable, without core files; another program of the same user can neither trace nor read it."""
    require("bubblewrap", "overlay")
    with Arena.open(kept_files, lab) as arena, living(lab, arena) as supervisor:
        (vault,) = (pid for pid in below(supervisor) if is_vault(pid))
        limits = Path(f"/proc/{vault}/limits").read_text()
        assert re.search(r"Max core file size\s+0\s+0", limits)
        status = Path(f"/proc/{vault}/status").read_text()
        assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status and re.search(r"CapEff:\t0+\n", status)
        # Of a process that is not dumpable, /proc belongs to root; root itself stays able.
        assert os.stat(f"/proc/{vault}/mem").st_uid == 0
        if os.geteuid() != 0:
            with pytest.raises(PermissionError):
                Path(f"/proc/{vault}/environ").read_bytes()


def test_nothing_that_a_run_writes_holds_the_value(lab: Lab, require: Callable[..., None]) -> None:
    """Audit, run directory, cache, artefacts, what is printed: while it lasts, and after."""
    require("bubblewrap", "overlay")
    with Arena.open(kept_files, lab) as arena:
        with living(lab, arena):
            during = holders(arena)
        assert during == holders(arena) == {arena.fill(FILE)}
    used = sight("used", USED)
    with Arena.open(kept_files, lab) as arena:
        ran = arena.confined(used)
        assert holders(arena) == {arena.fill(FILE)}
        records = trail.of_one_run(arena, ran.output)
        assert "secret" in {record.kind for record in records}
        assert arena.canary not in json.dumps([record.fields for record in records])


def holders(arena: Arena) -> set[str]:
    """The files of home and runtime directory that hold the value, but for the arena's own canaries."""
    own = {arena.fill("@home@/secret.txt")}
    found = set()
    for top in (arena.home, arena.root / "runtime"):
        for path in (Path(folder, name) for folder, _, names in os.walk(top) for name in names):
            # What not even its owner may read (a cover for denied files) holds nothing, nor does what is there no more.
            with suppress(FileNotFoundError):
                if os.access(path, os.R_OK) and path.is_file() and arena.canary.encode() in path.read_bytes():
                    found.add(str(path))
    return found - own


def command(arena: Arena, lab: Lab, *words: str) -> str:
    """Run one command of ringfence on the host; what it prints anywhere."""
    policy = "version = 1\n" + arena.fill(POLICY)
    arena.write("@home@/.config/ringfence/policy.toml", policy)
    environment = arena.environment() | {"PYTHONPATH": str(SOURCE)}
    argv = lab.words([*RINGFENCE, *words], cwd=arena.workspace)
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("secrets", "list"),
        ("secrets", "check"),
        ("secrets", "test", GOOD),
        ("plan", "--json", "--", "true"),
        ("plan", "--", "true"),
        ("explain", f"{GOOD}:443"),
        ("run", "-v", "--", "env"),
        ("run", "--", "sh", "-c", "env; exit 3"),
        ("policy", "show"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_no_command_prints_a_value(words: tuple[str, ...], lab: Lab) -> None:
    requirements.require("bubblewrap", "overlay")
    with Arena.open(kept_files, lab) as arena:
        said = command(arena, lab, *words)
        assert said and arena.canary not in said and arena.values["other"] not in said
        assert "Traceback" not in said


@pytest.mark.parametrize("source", ['{ env = "NOBODY_SET_IT" }', '{ file = "~/nowhere" }', '{ command = ["false"] }'])
def test_a_missing_source_stops_the_run_and_says_which(source: str, lab: Lab) -> None:
    requirements.require("bubblewrap", "overlay")
    attack = dataclasses.replace(
        sight("missing", "open('started', 'w')"),
        policy=POLICY.replace(f'{{ file = "{FILE}" }}', source).replace(f'["cat", "{FILE}"]', '["echo", "x" ]'),
    )
    with Arena.open(kept_files, lab) as arena:
        ran: Ran = arena.confined(attack)
        assert ran.status in (2, 3) and "filed" in ran.output and not (arena.workspace / "started").exists()
