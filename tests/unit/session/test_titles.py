"""What our processes are called."""

import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.session import titles

SOURCE = str(Path(titles.__file__).parents[2])


@pytest.mark.parametrize("name", [titles.PROXY, titles.VAULT, titles.STANDBY, titles.READY, titles.RUN])
def test_a_process_has_the_name_that_it_takes(name: str) -> None:
    take = f"import sys; sys.path.insert(0, {SOURCE!r}); from ringfence.session.titles import appear_as"
    program = f"{take}; appear_as({name!r}); print(open('/proc/self/comm').read())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == name


def test_a_fork_drops_the_words_of_its_parent_and_nothing_else() -> None:
    program = f"""
import os, sys; sys.path.insert(0, {SOURCE!r}); from ringfence.session import titles
place = titles.words()
def words(): return open("/proc/self/cmdline", "rb").read()
before, environment = words(), open("/proc/self/environ", "rb").read()
if os.fork() == 0:
    titles.drop(place)
    assert words().rstrip(b"\\0") == b"ringfence", words()
    assert open("/proc/self/environ", "rb").read() == environment
    assert sys.argv[1:] == ["other", "words"] and os.environ["WORD"] == "kept"
    os._exit(7)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 7 and words() == before
"""
    words = [sys.executable, "-c", program, "other", "words"]
    done = subprocess.run(words, capture_output=True, text=True, env={"WORD": "kept"})
    assert done.returncode == 0, done.stderr
