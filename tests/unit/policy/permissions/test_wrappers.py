"""What runs behind a wrapper: when allowing, looked through in few notations; when denying, in every one."""

import pytest

from ringfence.policy.permissions.wrappers import launched, unwrapped
from tests.permission_cases import settings, verdict

ALLOWED = settings(allow=["Bash(npm test *)"])
DENIED = settings(deny=["Bash(dny *)"], mode="bypassPermissions")

LOOKED_THROUGH = """
timeout 5 npm test
timeout 5s npm test
timeout 1.5m npm test
timeout -v 5 npm test
timeout --verbose 5 npm test
timeout --foreground 5 npm test
timeout --preserve-status 5 npm test
timeout --foreground --verbose 5 npm test
timeout -k 1 5 npm test
timeout -k1 5 npm test
timeout -k1s --verbose 5 npm test
timeout -s KILL 5 npm test
timeout -sKILL 5 npm test
timeout -s KILL -k 1 5 npm test
timeout --kill-after 1 5 npm test
timeout --kill-after=1 5 npm test
timeout --signal KILL 5 npm test
timeout --signal=KILL 5 npm test
nice npm test
nice -5 npm test
nice -n 5 npm test
nice -n -5 npm test
stdbuf -oL npm test
stdbuf -i0 -oL -eL npm test
command npm test
command -p npm test
command -- npm test
builtin npm test
builtin -- npm test
time npm test
nohup npm test
noglob npm test
xargs npm test
nohup nice timeout 5 npm test
timeout 5 time npm test
time timeout 5 npm test
"""
ASKED = """
timeout npm test
timeout x npm test
timeout 5x npm test
timeout 5 6 npm test
timeout 5 -v npm test
timeout -z 5 npm test
timeout -z 5 6 npm test
timeout --signal
timeout -k
timeout 5
timeout
nice -n x npm test
nice -n
nice -n 5
nice --adjustment 5 npm test
nice -x npm test
nice 5 npm test
stdbuf npm test
stdbuf -x0 npm test
stdbuf -oLL npm test
stdbuf -oL
stdbuf
command -v npm test
command -p -- npm test
builtin -p npm test
nohup -- npm test
time -p npm test
time time npm test
nohup time time npm test
xargs -n 1 npm test
xargs timeout 5 npm test
xargs nice npm test
xargs stdbuf -oL npm test
xargs command npm test
xargs builtin npm test
xargs time npm test
xargs nohup npm test
xargs noglob npm test
xargs xargs npm test
env npm test
sudo npm test
watch npm test
"""


@pytest.mark.parametrize("command", LOOKED_THROUGH.strip().split("\n"))
def test_an_allowance_holds_behind_these(command: str) -> None:
    assert verdict(ALLOWED, "Bash", command) == "allow"


@pytest.mark.parametrize("command", ASKED.strip().split("\n"))
def test_an_allowance_does_not_hold_behind_anything_else(command: str) -> None:
    assert verdict(ALLOWED, "Bash", command) == "ask"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("nice timeout 5 npm test", ["timeout 5 npm test", "npm test"]),
        ("xargs -n npm test", []),
        ("nohup CI=1 npm test", []),
        ("nice -n 5", []),
        ("timeout", []),
        ("time nice", ["nice"]),
        ("npm test", []),
        ("", []),
    ],
)
def test_what_a_wrapper_runs(words: str, found: list[str]) -> None:
    assert [" ".join(inner) for inner in unwrapped(words.split())] == found


SAFE = (
    "NODE_ENV CI LANGUAGE LC_TIME TZ TERM COLUMNS LINES NO_COLOR "
    "FORCE_COLOR CLICOLOR CLICOLOR_FORCE COLORTERM LS_COLORS LSCOLORS GREP_COLOR GREP_COLORS GCC_COLORS TIME_STYLE "
    "BLOCK_SIZE BLOCKSIZE CHARSET RUST_LOG RUST_BACKTRACE GOOS GOARCH GOEXPERIMENT CGO_ENABLED GO111MODULE "
    "PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTEST_DISABLE_PLUGIN_AUTOLOAD PYTEST_DEBUG ANTHROPIC_API_KEY"
)


@pytest.mark.parametrize("name", SAFE.split())
def test_a_variable_that_leaves_a_command_what_it_is(name: str) -> None:
    assert verdict(ALLOWED, "Bash", f"{name}=a/b.c:1-2 npm test") == "allow"
    assert verdict(ALLOWED, "Bash", f"{name}=1") == "allow"
    for value in ("/x", "./x", "../x", "a//b", "a:/b", "a:.b", "a/..", "a/../b"):
        assert verdict(ALLOWED, "Bash", f"{name}={value} npm test") == "ask"


@pytest.mark.parametrize("name", "LANG LC_ALL LC_CTYPE".split())
def test_a_language_is_one_whose_encoding_is_known(name: str) -> None:
    for value in ("C", "POSIX", "C.UTF-8", "de_DE.UTF-8", "en_US.utf8", "UTF-8"):
        assert verdict(ALLOWED, "Bash", f"{name}={value} npm test") == "allow"
    for value in ("1", "x", "de_DE", "ja_JP.SJIS", "../x", "a.b.UTF-8"):
        assert verdict(ALLOWED, "Bash", f"{name}={value} npm test") == "ask"


@pytest.mark.parametrize(
    "command",
    [
        "PATH=a npm test",
        "LD_PRELOAD=a npm test",
        "NODE_OPTIONS=a npm test",
        "CI=$X npm test",
        "CI=$HOME npm test",
        "CI='a b' npm test",
        "CI=a* npm test",
        "CI= npm test",
        "CI+=a npm test",
        "CI=1 PATH=a npm test",
        "PATH=a",
        "CI=1 LANG=a",
        "CI+=a",
    ],
)
def test_a_variable_that_may_change_what_runs_is_asked_about(command: str) -> None:
    assert verdict(ALLOWED, "Bash", command) == "ask"


# One line for each program that launches others: what it is given before the command it runs.
LAUNCHERS = """
sudo dny x
doas dny x
pkexec dny x
run0 dny x
env dny x
exec dny x
time dny x
nice dny x
nohup dny x
timeout 5 dny x
stdbuf -oL dny x
command dny x
builtin dny x
noglob dny x
nocorrect dny x
xargs dny x
watch dny x
setsid dny x
ionice dny x
chrt 5 dny x
taskset 0x3 dny x
taskset 0,2-3 dny x
unshare dny x
nsenter dny x
strace dny x
ltrace dny x
valgrind dny x
flock lock dny x
chroot root dny x
setpriv dny x
coproc dny x
runuser dny x
prlimit dny x
unbuffer dny x
fakeroot dny x
systemd-run dny x
xvfb-run dny x
dbus-run-session dny x
rlwrap dny x
ssh host dny x
npx dny x
bunx dny x
npm exec dny x
npm x dny x
pnpm exec dny x
pnpm dlx dny x
yarn exec dny x
yarn dlx dny x
bundle exec dny x
uv run dny x
poetry run dny x
pipx run dny x
perf stat dny x
perf record dny x
"""


@pytest.mark.parametrize("command", LAUNCHERS.strip().split("\n"))
def test_a_denial_holds_behind_every_launcher(command: str) -> None:
    assert verdict(DENIED, "Bash", command) == "deny"
    assert verdict(DENIED, "Bash", f"/usr/bin/{command}") == "deny"
    assert verdict(DENIED, "Bash", f"env {command}") == "deny"


@pytest.mark.parametrize(
    "command",
    [
        "env -- dny x",
        "env - dny x",
        "env -i dny x",
        "env -u X dny x",
        "env --unset=X dny x",
        "env A=1 dny x",
        "env A=1 B=2 dny x",
        "env -i A=1 dny x",
        "sudo A=1 dny x",
        "doas A=1 dny x",
        "env /a=b/dny x",
        "sudo -u root dny x",
        "sudo -uroot dny x",
        "sudo --user=root dny x",
        "sudo --user root -n dny x",
        "sudo -- dny x",
        "timeout -k 1 5 dny x",
        "timeout --foreground 5 dny x",
        "timeout .5 dny x",
        "timeout 1e1 dny x",
        "timeout infinity dny x",
        "flock -n lock dny x",
        "flock lock -n dny x",
        "ssh -p 22 host dny x",
        "chrt --rr 5 dny x",
        "chrt dny x",
        "taskset dny x",
        "taskset -c 0 dny x",
        "timeout -- 5 dny x",
        "nice --adjustment=5 dny x",
        "uv --quiet run dny x",
        "uv run --with a dny x",
        "sudo -n dny -a -b -c -d -e -f -g -h -i -j -k z",
    ],
)
def test_a_denial_holds_however_a_launcher_is_written(command: str) -> None:
    assert verdict(DENIED, "Bash", command) == "deny"


@pytest.mark.parametrize(
    "command",
    [
        "sudo x dny",
        "env x dny",
        "env -- x dny",
        "sudo -p=a x dny",
        "env --unset=X a dny x",
        "env A=dny x",
        "nice A=1 dny x",
        "sudo /a=b dny x",
        "sudo",
        "sudo -u",
        "timeout dny x",
        "timeout 5",
        "npm dny x",
        "npm install dny x",
        "pnpm add dny x",
        "yarn add dny x",
        "bundle add dny x",
        "uv add dny x",
        "poetry add dny x",
        "pipx install dny x",
        "pnpm dny x",
        "yarn dny x",
        "bundle dny x",
        "uv dny x",
        "poetry dny x",
        "pipx dny x",
        "perf dny x",
        "perf list dny x",
        "nice - dny x",
        "grep sudo dny x",
    ],
)
def test_what_a_launcher_does_not_run_is_not_denied(command: str) -> None:
    assert verdict(DENIED, "Bash", command) == "allow"


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("2048", "chrt 5 2048 x"),
        ("f2c", "taskset 1 f2c x"),
        ("stat", "perf stat stat x"),
        ("record", "perf record record x"),
        ("x", "npm exec x y"),
        ("exec", "pnpm exec exec y"),
        ("dlx", "yarn dlx dlx y"),
        ("exec", "bundle exec exec y"),
        ("run", "uv run run y"),
        ("run", "poetry run run y"),
        ("run", "pipx run run y"),
        ("5", "timeout 5 5 y"),
    ],
)
def test_a_program_may_be_named_as_what_stands_before_it(program: str, command: str) -> None:
    assert verdict(settings(deny=[f"Bash({program} *)"], mode="bypassPermissions"), "Bash", command) == "deny"


def test_each_command_behind_a_launcher_is_found_once() -> None:
    found = [" ".join(words) for words in launched("sudo -E env -i A=1 npm test".split())]
    assert sorted(found) == ["env -i A=1 npm test", "npm test"]
    assert verdict(DENIED, "Bash", "env -i " * 9 + "npm test") == "allow"


@pytest.mark.parametrize(
    "words",
    ["env " * 100 + "x", "env " + "-a b " * 100],
    ids=["launchers", "options"],
)
def test_no_more_is_looked_through_than_is_said(words: str) -> None:
    assert len(launched(words.split())) == 64
    assert verdict(DENIED, "Bash", words.strip()) == "ask"
