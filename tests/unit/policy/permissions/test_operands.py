"""Which files a command opens by its words: what a denial of a file covers, and what is asked about outside."""

import pytest

from ringfence.policy.permissions.command import Redirect
from ringfence.policy.permissions.known_values import Known
from ringfence.policy.permissions.launched import runs
from ringfence.policy.permissions.operands import Operand, redirected
from ringfence.policy.permissions.shell_parse import parse
from ringfence.policy.permissions.words import plain_word
from tests.permission_cases import settings, verdict

DENIED = settings(deny=["Read(secret)", "Edit(kept)"], mode="bypassPermissions")
READERS = (
    "cat head tail nl tac rev cut paste column fold expand unexpand fmt comm cmp diff wc stat file strings hexdump od "
    "base64 md5sum sha1sum sha256sum sort uniq ls pr tsort numfmt"
)


@pytest.mark.parametrize("name", READERS.split())
def test_a_program_that_reads_its_operands(name: str) -> None:
    for command in (f"{name} secret", f"{name} -x a secret", f"{name} -- a secret", f"/bin/{name} secret"):
        assert verdict(DENIED, "Bash", command) == "deny"
    assert verdict(DENIED, "Bash", f"{name} kept") == "allow"
    assert verdict(DENIED, "Bash", f"{name} -secret") == "allow"


@pytest.mark.parametrize("name", "touch mkdir rm rmdir tee".split())
def test_a_program_that_writes_its_operands(name: str) -> None:
    for command in (f"{name} kept", f"{name} -x a kept", f"{name} -- kept", f"/bin/{name} kept"):
        assert verdict(DENIED, "Bash", command) == "deny"
    assert verdict(DENIED, "Bash", f"{name} secret") == "allow"


OPENED = """
tr a b secret
tr -d a b secret
tr -d a secret
tr a -m secret
sed p secret
sed - secret
sed -e p secret
grep x secret
grep - secret
grep -- - secret
grep -e - secret
grep -- -- secret
egrep x secret
fgrep x secret
rg x secret
rg - secret
rg --regexp=x secret
rg --files secret
awk x secret
awk -f x secret
awk -vf=1 x secret
gawk -E x secret
gawk -Ex secret
gawk --exec=x secret
gawk --so=x secret
jq . secret
jq - secret
jq secret -f x
jq secret --from-file x
jq -rf x secret
cp secret a
cp a secret b
cp -tdir secret
mv secret a
git diff secret
git diff --no-index a secret
git grep x secret
git grep - secret
git grep -ex -- secret
git grep -e x secret
git grep -f secret x
find secret
find -L secret -name x
find -H secret
find -P secret
find -O3 secret
find a -O3 secret
find . -name x secret -newer ../proj/secret
find . -newer /w/proj/secret
find . -newer ~/../proj/secret
cd secret
timeout 5 cat secret
env cat secret
sudo -u root cat secret
cat a < secret
a < secret
"""
UNOPENED = """
tr secret a
tr a secret
tr -d secret
sed secret a
sed s/secret// a
grep secret a
egrep secret
rg secret
rg -n secret a
awk secret
gawk secret a
jq secret
jq .secret a
cp a secret
mv kept-not a
git grep secret
git grep secret a
git diff -secret
git log secret
foo diff secret
git
git --version
find . -name secret
find ! secret
find \\( secret
find . -newer secret
cd -secret
echo secret
cat -
cat -- -
a > /dev/null
a 2> /dev/null
a >&2
a <<< secret
"""
WRITTEN = """
sed p kept
sed -i p kept
cp a kept
cp - kept
cp kept-not kept
cp a kept b
mv a kept
mv kept a
cp -t kept a
cp -tkept a
cp --target-directory=kept a
mv -t kept a
mv -tkept a
tee - kept
a > kept
a >> kept
a &> kept
a 2> kept
"""
UNWRITTEN = """
sed -n p kept
cp kept a
cat kept
a < kept
a 2>&1
"""


@pytest.mark.parametrize("command", (OPENED + WRITTEN).strip().replace("\n\n", "\n").split("\n"))
def test_a_denied_file_is_seen_where_it_is_opened(command: str) -> None:
    assert verdict(DENIED, "Bash", command) == "deny"


@pytest.mark.parametrize("command", (UNOPENED + UNWRITTEN).strip().replace("\n\n", "\n").split("\n"))
def test_what_is_no_file_or_opened_otherwise_is_not_denied(command: str) -> None:
    assert verdict(DENIED, "Bash", command) == "allow"


@pytest.mark.parametrize("command", ["ls", "rg x", "find", "find -name x", "find -L", "ls -l"])
def test_what_names_no_file_opens_the_directory_it_runs_in(command: str) -> None:
    rules = settings(deny=["Read(//w/proj)"], mode="bypassPermissions")
    assert verdict(rules, "Bash", command) == "deny"
    assert verdict(rules, "Bash", "grep x") == verdict(rules, "Bash", "cat") == "allow"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("cat -n a", "allow"),
        ("cat a -n", "allow"),
        ("cat -", "allow"),
        ("cat -- -", "allow"),
        ("cat -- -n", "deny"),
        ("cat ./-n", "deny"),
        ("cat < -", "deny"),
    ],
)
def test_neither_an_option_nor_standard_input_is_a_file(command: str, expected: str) -> None:
    rules = settings(deny=["Read(-n)", "Read(-)"], mode="bypassPermissions")
    assert verdict(rules, "Bash", command) == expected


@pytest.mark.parametrize(
    ("allow", "mode", "command", "expected"),
    [
        ([], "acceptEdits", "echo a > a", "allow"),
        ([], "acceptEdits", "echo a > $((1+2))", "ask"),
        ([], "acceptEdits", "echo a > '=x'", "ask"),
        ([], "acceptEdits", "echo a > '!x'", "ask"),
        ([], "acceptEdits", "echo a > '&x'", "ask"),
        ([], "acceptEdits", "echo a > b{c,d}", "ask"),
        ([], "acceptEdits", "echo a > b*", "ask"),
        ([], "acceptEdits", "echo a > a/../b", "ask"),
        ([], "acceptEdits", "echo a > a/..", "ask"),
        ([], "acceptEdits", "echo a >&-", "ask"),
        ([], "acceptEdits", "echo a > ../proj/x/../y", "ask"),
        ([], "acceptEdits", "echo a > /w/proj/x/../y", "ask"),
        (["Edit(//w/other/**)"], "acceptEdits", "echo a > ../other/y", "allow"),
        (["Edit(//w/other/**)"], "acceptEdits", "echo a > ../../w/other/y", "allow"),
        ([], "acceptEdits", "touch a", "allow"),
        ([], "acceptEdits", "other a", "ask"),
        ([], "acceptEdits", "other > a", "ask"),
        (["Edit(//w/other/**)", "Read(//w/**)", "Bash(touch:*)"], "default", "touch ../other/x", "ask"),
        ([], "default", "cat < a", "allow"),
        ([], "default", "cat <<< /etc/x", "allow"),
        ([], "default", "echo a > /dev/null", "allow"),
        ([], "default", "echo a > a", "ask"),
        ([], "default", "echo a > a < b", "ask"),
        ([], "default", "PATH=1 ls", "ask"),
        ([], "default", "ls /../w/proj/b", "allow"),
        ([], "default", "cat //w/proj/b", "ask"),
        ([], "default", "cat '`b'", "ask"),
        ([], "default", "cat 'a*'", "allow"),
        ([], "default", "cat a*", "allow"),
        (["Read(~/**)"], "default", "ls ~", "allow"),
        (["Read(~/**)"], "default", "ls ~/a", "allow"),
        (["Read(~/**)"], "default", "ls ~a", "ask"),
        (["Read(~/**)"], "default", "cat $HOME/a", "allow"),
        (["Read(~/**)"], "default", "cat '$HOME/a'", "ask"),
        ([], "default", "cat a -- '-$X'", "ask"),
        ([], "default", "cat a '-$X'", "ask"),
        ([], "default", "cat a/../b", "ask"),
        ([], "default", "cat ./../proj/b", "ask"),
        ([], "default", "cat ../proj/x/../b", "ask"),
        ([], "default", "cat ../proj/x/./../b", "ask"),
        ([], "default", "cat ../proj/b", "allow"),
        (["Bash(touch:*)"], "default", "touch a", "allow"),
        (["Bash(touch:*)"], "default", "touch 'a*'", "ask"),
        (["Bash(touch:*)"], "default", "touch 'a[b'", "ask"),
        ([], "default", "timeout 5 cat a", "allow"),
        ([], "default", "command cat a", "allow"),
        ([], "default", "builtin echo a", "allow"),
        ([], "default", "timeout 5 command cat a", "ask"),
        ([], "default", "command timeout 5 cat a", "allow"),
        ([], "default", "timeout 5 nohup cat a", "ask"),
        ([], "default", "command command cat a", "allow"),
        ([], "default", "timeout 6 timeout 5 cat a", "allow"),
        ([], "default", "nohup cat a", "ask"),
        ([], "default", "nice timeout 5 cat a", "ask"),
        (["Bash(*npm test)"], "default", "'' npm test", "ask"),
        (["Bash(*npm test)"], "default", "'a b' npm test", "ask"),
        (["Bash(*npm test)"], "default", "a npm test", "allow"),
        (["Bash(find:*)"], "default", "find . -name x", "allow"),
        (["Bash(find:*)"], "default", "find . -delete", "ask"),
        (["Bash(find:*)"], "default", "find sub -exec x", "ask"),
        (["Bash(find:*)"], "default", "nice find . -name x", "ask"),
        (["Bash(find:*)"], "default", "nice timeout 5 find . -name x", "ask"),
        (["Bash(eval:*)"], "default", "timeout 5 eval x", "ask"),
        (["Bash(eval:*)"], "default", "eval x", "ask"),
        (["Bash(cd:*)"], "default", "timeout 5 cd sub", "ask"),
        (["Bash(git push)"], "default", "git push && ls", "allow"),
        (["Bash(git push)"], "default", "git push a && ls", "ask"),
        (["Bash(git push:*)"], "default", "CI=1 git push", "allow"),
        (["Bash(git push:*)"], "default", "PATH=1 git push", "ask"),
        (["Bash(PATH=1 git push)"], "default", "PATH=1 git push", "allow"),
        (["Bash(git push)"], "default", "timeout 5 git push", "ask"),
        ([], "default", "cd sub", "allow"),
        ([], "default", "cd", "ask"),
        ([], "default", "cd a b", "ask"),
        ([], "default", "cd -P", "ask"),
        ([], "default", "cd $((1)); cat k", "ask"),
        ([], "default", "cd sub > a", "ask"),
        ([], "default", "cd sub 2>&1", "ask"),
    ],
)
def test_one_command(allow: list[str], mode: str, command: str, expected: str) -> None:
    assert verdict(settings(allow=allow, mode=mode), "Bash", command) == expected


def test_a_redirection_for_both_reads_and_writes() -> None:
    word = plain_word("a")
    assert redirected(Redirect(operator="<>", target=word)) == Operand(word=word, writes=True, reads=True)


NEVER = "exec eval source . trap alias unalias export declare typeset readonly local unset"


@pytest.mark.parametrize("name", NEVER.split())
def test_no_beginning_of_a_command_allows_what_changes_the_commands_after_it(name: str) -> None:
    rules = settings(allow=[f"Bash({name} *)"])
    assert verdict(rules, "Bash", f"{name} x") == verdict(rules, "Bash", f"nice {name} x") == "ask"


@pytest.mark.parametrize(
    ("denied", "command", "expected"),
    [
        ("~/k", "cd; cat k", "deny"),
        ("~/k", "cd ~; cat k", "deny"),
        ("~/k", "cd $HOME; cat k", "deny"),
        ("~/sub/k", "cd $HOME/sub; cat k", "deny"),
        ("//w/proj/sub/k", "cd sub; cat k", "deny"),
        ("//w/proj/sub/deeper/k", "cd sub; cd deeper; cat k", "deny"),
        ("//w/proj/sub/k", "cd sub; cat ../k", "deny"),
        ("//w/proj/k", "cd sub; cd ..; cat ../k", "deny"),
        ("//w/proj/k", "cat ../k", "allow"),
        ("//w/proj/sub/k", "ls sub; cat k", "allow"),
        ("//w/proj/sub/k", "echo $(cd sub); cat k", "allow"),
        ("//x/k", "cd; cat k", "allow"),
        ("//x/k", "cd ~; cat k", "allow"),
        ("//x/k", "cd $HOME; cat k", "allow"),
        ("//x/k", "cd sub; cat k", "allow"),
        ("//x/k", "cd a b; cat k", "deny"),
        ("//x/k", "cd -; cat k", "deny"),
        ("//x/k", "cd $X; cat k", "deny"),
        ("//x/k", "cd $X; other 2>&1", "allow"),
        ("//x/k", "cd $X; cd sub; cat k", "deny"),
    ],
)
def test_a_file_is_looked_for_where_the_command_will_run(denied: str, command: str, expected: str) -> None:
    rules = settings(deny=[f"Read({denied})"], mode="bypassPermissions")
    assert verdict(rules, "Bash", command) == expected


@pytest.mark.parametrize(("room", "complete"), [(2, False), (3, True)])
def test_what_is_written_inside_arguments_is_followed_while_there_is_room(room: int, complete: bool) -> None:
    known = Known()
    known.room = room
    found = [run.argv for run in runs(parse("env a; bash -c b"), known=known)]
    assert found[:3] == [("env", "a"), ("a",), ("bash", "-c", "b")]
    assert (known.complete, ("b",) in found) == (complete, complete)
