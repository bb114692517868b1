"""The examples do what they say."""

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from tests.house.sources import ROOT

pytestmark = pytest.mark.require("bubblewrap", "userns")


def example(name: str) -> ModuleType:
    """Load a file of examples/."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(name: str, workspace: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run an example as its first lines say."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / f"examples/{name}.py"), *words]
    return subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty directory; programs come from the system only."""
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    place = tmp_path / "project"
    place.mkdir()
    return place


def test_code_runs_and_is_contained(workspace: Path) -> None:
    run_code = example("run_code").run_code
    assert run_code("print(6 * 7)", str(workspace), timeout_s=60) == "42\n"
    failed = run_code("1 / 0", str(workspace), timeout_s=60)
    assert "ZeroDivisionError" in failed and "exit status 1" in failed
    assert run_code("open('kept', 'w').write('x')", str(workspace), timeout_s=60) == ""
    assert (workspace / "kept").read_text() == "x"
    assert "no result within 1 s" in run_code("while True: pass", str(workspace), timeout_s=1)
    reach = "import socket; socket.create_connection(('192.0.2.1', 80), 50)"
    assert "refused: egress-denied 192.0.2.1:80" in run_code(reach, str(workspace), timeout_s=60)


def test_the_code_runner_is_a_program(workspace: Path) -> None:
    done = program("run_code", workspace, "print('hello')")
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


@pytest.mark.parametrize("name", ["run_code", "run_tests", "session"])
def test_without_words_an_example_says_how_it_is_used(workspace: Path, name: str) -> None:
    done = program(name, workspace)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"usage: {name}.py ") and len(done.stderr.splitlines()) == 1


def test_the_agent_loop_has_something_to_run(workspace: Path) -> None:
    done = program("agent_loop", workspace)
    assert (done.returncode, done.stderr) == (0, "")
    assert "$ python3 answer.py\n42\n" in done.stdout and "not for the model" not in done.stdout
    assert "[refused: path-protected" in done.stdout and "[held back: .vscode" in done.stdout
    assert list(workspace.iterdir()) == []


def test_a_session_keeps_files_and_nothing_else(workspace: Path) -> None:
    async def act() -> list[str]:
        async with example("session").CodeTool(str(workspace)) as tool:
            leave = "open('kept', 'w').write('x'); open('/tmp/left', 'w').write('x')"
            look = "import os; print(open('kept').read(), os.path.exists('/tmp/left'))"
            reach = "import socket; socket.create_connection(('192.0.2.1', 80), 50)"
            said = [await tool.run_code(code, timeout_s=60) for code in (leave, look, reach)]
            return [*said, await tool.run_code("while True: pass", timeout_s=1)]

    left, found, refused, late = asyncio.run(act())
    assert (left, found) == ("", "x False\n")
    assert "refused: egress-denied 192.0.2.1:80" in refused
    assert "no result within 1 s" in late
    assert (workspace / "kept").read_text() == "x"


TESTS = """
def test_passes():
    assert 1 + 1 == 2

def test_tampers():
    open("source.py", "w").write("changed")
"""


def test_a_projects_tests_run_and_change_nothing(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system's Python need not have pytest: a runner of two lines stands in where it has none."""
    module = example("run_tests")
    (workspace / "source.py").write_text("original")
    (workspace / "test_it.py").write_text(TESTS)
    plain = ["python3", "-c", "import test_it; test_it.test_passes(); print('1 passed'); test_it.test_tampers()"]
    monkeypatch.setattr(module, "runner", lambda: plain)
    assert module.run_tests(str(workspace)) == 1
    shown = capsys.readouterr()
    assert "1 passed" in shown.out and "Read-only file system" in shown.err
    assert sorted(path.name for path in workspace.iterdir()) == ["source.py", "test_it.py"]
    assert (workspace / "source.py").read_text() == "original"


def test_an_agent_works_within_its_bounds(workspace: Path) -> None:
    (workspace / ".env").write_text("TOKEN=canary")
    (workspace / "pyproject.toml").write_text("[project]\n")
    commands = [
        "echo 'def double(x): return 2 * x' > double.py && python3 -c 'from double import double; print(double(21))'",
        "cat .env; echo changed > pyproject.toml; mkdir -p .vscode; echo '{}' > .vscode/tasks.json",
    ]

    def ask(conversation: Sequence[str]) -> str | None:
        return commands[len(conversation) // 2] if len(conversation) // 2 < len(commands) else None

    conversation = example("agent_loop").work(ask, str(workspace))
    assert conversation[0] == f"$ {commands[0]}" and conversation[1] == "42\n"
    assert "canary" not in "".join(conversation)
    assert "refused: path-protected" in conversation[3] and "held back: .vscode" in conversation[3]
    assert (workspace / "double.py").exists() and not (workspace / ".vscode/tasks.json").exists()
    assert (workspace / "pyproject.toml").read_text() == "[project]\n"
