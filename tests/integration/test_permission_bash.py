"""What bash runs, the engine sees: texts put together at random, in each of which bash may or may not run `dny`.

Bash has only functions that do nothing to run here, no program, and no redirection into files.
"""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.permission_cases import settings, verdict

PIECES = [
    *("dny x", "dny x", "dny x", "a", "b", "f", "'", '"', "$'", '$"', "`", "`", "$(", ")", "<(", "$((", "))", "${b:-"),
    *("${b#", "${b}", "$b", "$", "}", "{ ", "{a,", "\\", "\\", "; ", ";", "\n", " ", " \\\n", "#", " #", "!", "~", "="),
    *(
        "<<E\n",
        "<<'E'\n",
        "\nE\n",
        "<<<",
        "( ",
        "[[ ",
        "]] ",
        "&& ",
        "| ",
        "case a in a) ",
        ";; ",
        "esac",
        "if :; then ",
    ),
    *("; fi", "f() ", "for x in a; do ", "; done", "a=", "eval ", "bash -c ", "time "),
]
TEXTS = 4000
# Every text is numbered; `dny` says in which one it was run. `bash` is a function as well: nothing is started.
ORACLE = r"""
PATH=/nonexistent
a() { :; }; b() { :; }
dny() { printf '%s\n' "$N" >&9; }
bash() { if [ "$1" = -c ]; then eval "$2"; fi; }
exec 9>&1 >/dev/null 2>&1
N=0
while IFS= read -r -d '' text; do ( eval "$text" ) 8>&- </dev/null; N=$((N+1)); done 8<"$1" <&8
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_what_bash_runs_is_denied(tmp_path: Path) -> None:
    chance = random.Random(17)
    texts = ["".join(chance.choices(PIECES, k=chance.randint(3, 9))) + "dny x" for _ in range(TEXTS)]
    (tmp_path / "texts").write_bytes(b"".join(text.encode() + b"\0" for text in texts))
    command = ["bash", "-c", ORACLE, "bash", "texts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    run = [texts[int(number)] for number in dict.fromkeys(done.stdout.split())]
    assert len(run) > 100
    rules = settings(deny=["Bash(dny *)"], mode="bypassPermissions")
    assert [text for text in run if verdict(rules, "Bash", text) != "deny"] == []
