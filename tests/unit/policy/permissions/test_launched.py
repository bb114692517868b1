"""A denied command in every notation whose meaning its text gives away, and the ones that are left to the boundary."""

import shlex

import pytest

from ringfence.policy.permissions import claude_settings, scopes
from ringfence.policy.permissions.modes import mode_of
from ringfence.policy.permissions.paths import Unresolved
from tests.permission_cases import settings, verdict

DENIED = settings(deny=["Bash(dny *)", "Read(secrets/**)"], mode="bypassPermissions")
SEEN = r"""
env -S 'dny x'
env -S'dny x'
env -vS 'dny x'
env --split-string='dny x'
env - dny x
env -a z dny x
env --chdir / dny x
sudo -Eu root dny x
sudo -nu root -- dny x
npx -p package dny x
perf stat -e cycles dny x
systemd-run -u unit dny x
su -c dny
su --command='dny x'
script -c'dny x' /dev/null
git rebase --exe 'dny x' HEAD
{dny,x}
{,} dny x
{,}; dny x
d{n,}y x
z=d; $z"ny" x
d"$z"ny x
${z:-dny} x
${z=dny} x
z=1; ${z:+dny} x
printf -v z '%s' dny; $z x
sudo --user root dny x
timeout --signal KILL 5 dny x
nice --adjustment 5 dny x
xargs --max-args 1 dny
bash -c -- 'dny x'
bash -c -x 'dny x'
fish -c 'dny x'
ssh host dny x
ssh -p 22 host 'dny x'
npx dny x
npm exec -- dny x
uv run dny x
poetry run dny x
systemd-run dny x
dbus-run-session -- dny x
prlimit --nofile=1 dny x
git -c alias.x='!dny x' x
git -c core.pager='dny x' log
git config alias.x '!dny x'
git rebase --exec 'dny x' HEAD
git rebase --exec='dny x' HEAD
git bisect run dny x
git submodule foreach 'dny x'
git filter-branch --tree-filter 'dny x'
perl -e '`dny x`'
perl -e 'exec qw(dny x)'
ruby -e '%x(dny x)'
alias z=dny; z x
alias z='dny x'; z
hash -p /bin/dny ls; ls x
cat <<< 'dny x' | sh
sh < <(echo dny x)
. <(echo dny x)
. - <<< 'dny x'
. /dev/stdin <<< 'dny x'
/bin/sh <<< 'dny x'
source /dev/fd/0 <<< 'dny x'
. /proc/self/fd/0 <<< 'dny x'
sudo bash -c 'dny x'
dny${IFS}x
set -- dny x; "$@"
set -- dny; $1 x
read -r a <<< 'dny x'; $a
printf -v a dny; $a x
declare a=dny; $a x
export a=dny; $a x
readonly a=dny; $a x
for c in a dny; do $c x; done
a=dny; b=$a; $b x
a=d; a+=ny; $a x
a=dny; a=other; $a x
A=dny eval '$A x'
at now <<< 'dny x'
batch <<< 'dny x'
cat $PWD/secrets/k
cat ${PWD}/secrets/k
tmux new-session 'dny x'
grep --file=secrets/k a
diff --from-file=secrets/k a
strings @secrets/k
git grep x -- secrets/k
"""
UNSEEN = r"""
vim -c '!dny x'
sed '1e dny x' a
tar cf x --checkpoint=1 --checkpoint-action=exec='dny x' a
echo dny x > f; sh f
$(echo dny) x
npm install dny x
uv pip install dny x
git commit -m 'dny x'
timeout 5 grep dny x
git log --grep 'dny x'
. script <<< 'dny x'
. script - <<< 'dny x'
cat /dev/stdin <<< 'dny x'
{,}
"""


@pytest.mark.parametrize("command", SEEN.strip().split("\n"))
def test_a_denial_holds_in_every_notation(command: str) -> None:
    assert verdict(DENIED, "Bash", command) == "deny"


@pytest.mark.parametrize("command", UNSEEN.strip().split("\n"))
def test_what_its_text_does_not_give_away_or_does_not_mean_is_not_denied(command: str) -> None:
    assert verdict(DENIED, "Bash", command) == "allow"


def nested(command: str, times: int) -> str:
    for _ in range(times):
        command = f"bash -c {shlex.quote(command)}"
    return command


@pytest.mark.parametrize("times", range(1, 7))
def test_a_denial_holds_in_commands_inside_commands(times: int) -> None:
    assert verdict(DENIED, "Bash", nested("dny x", times)) == "deny"
    assert verdict(DENIED, "Bash", nested("dny x", 7)) == "ask"


@pytest.mark.parametrize(
    "command",
    [
        nested("dny x", 9),
        "env " * 200 + "dny x",
        "(" * 3000 + "dny x" + ")" * 3000,
        "true;" * 60_000 + "bash -c 'dny x'",
    ],
    ids=["nested", "launchers", "parentheses", "long"],
)
def test_what_is_too_much_to_follow_is_asked_about_in_every_mode(command: str) -> None:
    assert verdict(DENIED, "Bash", command) in ("ask", "deny")
    assert verdict(settings(allow=["Bash"], mode="bypassPermissions"), "Bash", command) == "ask"


@pytest.mark.parametrize(("count", "expected"), [(9, "deny"), (60, "deny"), (70, "ask")])
def test_every_value_of_a_loop_may_be_the_program(count: int, expected: str) -> None:
    values = " ".join(f"a{number}" for number in range(count))
    assert verdict(DENIED, "Bash", f"for i in {values} dny; do $i x; done") == expected


@pytest.mark.parametrize("command", ["cat <> secrets/k", "pfs ;; cat secrets/k", "cat 'secrets/k"])
def test_a_text_that_no_parser_reads_opens_no_file_that_may_not_be_read(command: str) -> None:
    assert verdict(DENIED, "Bash", command) == "deny"


@pytest.mark.parametrize("mode", ["default", "acceptEdits", "bypassPermissions"])
def test_where_a_call_is_made_is_not_where_rules_begin(mode: str) -> None:
    text = '{"permissions": {"deny": ["Read(./keys/**)", "Edit(/conf)"]}}'
    read = claude_settings.read_settings(text, scope="project", file="/w/proj/.claude/settings.json", cwd="/w/proj")
    for cwd in ("/w/proj/sub", "/etc", "/w"):
        request = scopes.Request(cwd=cwd, workspace="/w/proj", home="/w/home", mode=mode_of(mode))
        rules = scopes.merge([read], request, Unresolved())
        assert verdict(rules, "Read", "/w/proj/keys/k") == verdict(rules, "Write", "/w/proj/conf") == "deny"
        assert verdict(rules, "Bash", "cat /w/proj/keys/k") == "deny"
        assert verdict(rules, "Read", "/w/proj/a") == "allow"
        assert verdict(rules, "Read", "/etc/shadow") == ("allow" if mode == "bypassPermissions" else "ask")
        assert verdict(rules, "Bash", "rm -rf /w/proj") == "ask"
