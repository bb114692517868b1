"""A code-running tool for a model: each snippet runs in a fresh boundary, and what it says comes back as text.

Nothing is kept between two calls but the files of `directory`. Try: `python examples/run_code.py 'print(6 * 7)'`.
"""

import os
import sys

from ringfence import CommandTimeoutError, Policy, Sandbox

POLICY = Policy({"limits": {"memory": "512MiB", "processes": 64, "workspace-size": "64MiB"}})
OUTPUT_CHARACTERS = 10_000  # what a model is given back at most


def run_code(code: str, directory: str, *, timeout_s: float = 10.0) -> str:
    """Run Python and return what it wrote, the reason it failed, and what the boundary refused."""
    with Sandbox(POLICY, directory=directory) as box:
        try:
            done = box.run(["python3", "-"], input=code, timeout_s=timeout_s)
        except CommandTimeoutError as error:
            return f"no result within {timeout_s:.0f} s\n{error.completed.text}"[:OUTPUT_CHARACTERS]
    said = done.text + done.stderr.decode(errors="replace")
    refused = "".join(f"refused: {code} {target}\n" for code, target in dict.fromkeys(done.denials))
    held = "".join(f"not written: {path} ({why})\n" for path, why in done.held)
    status = f"exit status {done.returncode}\n" if done.returncode else ""
    return said[:OUTPUT_CHARACTERS] + status + refused + held


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: run_code.py CODE, as in `python examples/run_code.py 'print(6 * 7)'`")
    print(run_code(sys.argv[1], os.getcwd()), end="")
