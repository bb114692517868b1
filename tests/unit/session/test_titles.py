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
