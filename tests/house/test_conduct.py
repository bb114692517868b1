"""Positive controls: each rule of conduct must object to a sample that breaks it, and to nothing else."""

import pytest

from tests.house import conduct
from tests.house.sources import Source

PURE = "src/ringfence/policy/sample.py"
EDGE = "src/ringfence/sandbox/sample.py"


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "import os.path",
        "from os import path",
        "import urllib.request",
        "def f():\n    import socket",
        "from pathlib import Path",
        "import pathlib",
        "from time import monotonic",
        "text = open('x')",
        "code = __import__('os')",
    ],
)
def test_impure_samples_are_listed(text: str) -> None:
    assert len(conduct.impurities([Source(PURE, text)])) == 1
    assert conduct.impurities([Source(EDGE, text)]) == []


@pytest.mark.parametrize(
    "text", ["import posixpath", "from pathlib import PurePosixPath", "import urllib.parse", "a.open()", "import re"]
)
def test_pure_samples_are_not(text: str) -> None:
    assert conduct.impurities([Source(PURE, text)]) == []


@pytest.mark.parametrize(
    "text",
    [
        "import subprocess",
        "from subprocess import run",
        "import multiprocessing.pool",
        "import concurrent.futures.process",
        "from os import fork",
        "import os\nos.posix_spawn",
        "import os\nos.execve(a, b, c)",
        "import pty\npty.spawn(a)",
        "libc.vfork()",
        "libc.clone3(a)",
        "asyncio.create_subprocess_exec(a)",
        "import os\nos.system(a)",
    ],
)
def test_starting_a_process_outside_the_launcher_is_listed(text: str) -> None:
    assert len(conduct.process_starters([Source(EDGE, text)], {})) == 1
    assert conduct.process_starters([Source(EDGE, text)], {EDGE: "a reason"}) == []
    assert conduct.process_starters([Source(conduct.LAUNCHER, text)], {}) == []


def test_harmless_calls_start_nothing_and_stale_exceptions_are_listed() -> None:
    harmless = Source(EDGE, "import platform, os\nplatform.system()\nself.system = 1\nos.waitpid(1, 0)\n")
    assert conduct.process_starters([harmless], {}) == []
    assert conduct.process_starters([harmless], {EDGE: "a reason"}) == [f"{EDGE}: starts no process, yet is excepted"]


@pytest.mark.parametrize("kind", ["", " Exception", " BaseException as error", " (OSError, Exception)"])
def test_swallowing_everything_is_listed_below_the_session(kind: str) -> None:
    text = f"try:\n    a()\nexcept{kind}:\n    b()\n"
    assert conduct.swallowed_errors([Source(EDGE, text)]) == [f"{EDGE}:3: catches everything"]
    assert conduct.swallowed_errors([Source("src/ringfence/session/run.py", text)]) == []
    assert conduct.swallowed_errors([Source(EDGE, text + "    raise\n")]) == []
    assert conduct.swallowed_errors([Source(EDGE, text + "os._exit(125)\n")]) == []
    assert conduct.swallowed_errors([Source(EDGE, text.replace(f"except{kind}", "except ValueError"))]) == []


def test_assert_is_listed() -> None:
    assert conduct.asserts([Source(EDGE, "def f(a):\n    assert a\n")]) == [f"{EDGE}:2: `assert` in src"]


@pytest.mark.parametrize(
    "comment",
    [
        "# type: ignore",
        "# type: ignore[arg-type]",
        "# noqa",
        "# noqa: S603, E501",
        "# pragma: no cover",
        "#noqa:E501",
        "# noqa: E501  why",
    ],
)
def test_suppressions_without_a_reason_are_listed(comment: str) -> None:
    assert len(conduct.bare_suppressions([Source(EDGE, f"a = 1  {comment}\n")])) == 1


@pytest.mark.parametrize(
    "comment",
    [
        "# type: ignore[arg-type]  # the stub lacks bytes",
        "# noqa: E501 - a table reads better",
        "# pragma: no cover - only on macOS",
        "# says nothing about quality assurance",
    ],
)
def test_suppressions_with_a_reason_are_not(comment: str) -> None:
    assert conduct.bare_suppressions([Source(EDGE, f"a = 1  {comment}\n")]) == []


def test_suppressions_quoted_in_strings_are_no_suppressions() -> None:
    assert conduct.bare_suppressions([Source(EDGE, 'a = "# noqa"\n')]) == []


def test_inside_imports_the_standard_library_and_its_neighbours_only() -> None:
    neighbour = Source("src/ringfence/inside/landlock.py", "import os\n")
    good = Source("src/ringfence/inside/init.py", "import _socket\nimport landlock\n")
    bad = Source("src/ringfence/inside/relay.py", "import msgspec\nfrom ringfence.model import plan\n")
    assert conduct.strangers_inside([neighbour, good]) == []
    assert len(conduct.strangers_inside([neighbour, good, bad])) == 2


@pytest.mark.parametrize(
    "text", ["Attack(name='x', not_on=REASON)", "@paths.not_on(warm='no')\ndef test(): ...", "not_on()"]
)
def test_what_is_left_out_on_a_path_is_listed(text: str) -> None:
    assert len(conduct.left_out_on_a_path([Source(EDGE, text)])) == 1
    assert conduct.left_out_on_a_path([Source(EDGE, "Attack(name='x', unseen='y')\nattack.not_on\n")]) == []
