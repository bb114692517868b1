"""Run a project's tests without trusting them: they see the project and the system, and change nothing.

The workspace is read-only, so a test that rewrites sources fails instead of succeeding quietly. Exit status: pytest's.
Try: `python examples/run_tests.py path/to/project -q`, where the system's `python3` has pytest.
"""

import sys

from ringfence import Policy, Sandbox

POLICY = Policy(
    {
        "env": {"set": {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": "-p no:cacheprovider"}},
        "limits": {"memory": "2GiB", "wall-time": "10m"},
    }
)


def run_tests(directory: str, *options: str) -> int:
    """Pass pytest's output through line by line; return its exit status."""
    box = Sandbox(POLICY, directory=directory, workspace="readonly")
    with box.start([*runner(), *options]) as process:
        process.stdin.close()
        for line in process.stdout:
            sys.stdout.write(line.decode(errors="replace"))
        sys.stderr.write(process.stderr.read().decode(errors="replace"))
        return process.wait()


def runner() -> list[str]:
    """The interpreter of the project's own virtual environment would be named here."""
    return ["python3", "-m", "pytest"]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: run_tests.py PROJECT [OPTION OF PYTEST...]")
    raise SystemExit(run_tests(*sys.argv[1:]))
