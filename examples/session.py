"""A code-running tool for a model that keeps its files: every snippet is a command of one session.

Snippets find the files of earlier ones in `directory` and in the private home, and nothing else of them: processes,
/tmp and shared memory are each one's own. What they changed arrives in `directory` when the tool is closed. Try:
`python examples/session.py 'open("n", "w").write("42")' 'print(open("n").read())'`.
"""

import asyncio
import os
import sys
from types import TracebackType
from typing import Self

from ringfence import CommandLimits, CommandTimeoutError, Policy, Sandbox

POLICY = Policy({"limits": {"memory": "1GiB", "processes": 128, "workspace-size": "64MiB"}})
LIMITS = CommandLimits(processes=32, cpu_time_s=10, process_memory_bytes=512 << 20)
OUTPUT_CHARACTERS = 10_000  # what a model is given back at most


class CodeTool:
    """Runs Python for a model: `async with CodeTool(directory) as tool: await tool.run_code("print(6 * 7)")`."""

    def __init__(self, directory: str) -> None:
        self._box = Sandbox(POLICY, directory=directory)
        self._session = self._box.session()

    async def run_code(self, code: str, *, timeout_s: float = 10.0) -> str:
        """Run Python and return what it wrote, the reason it failed, and what the boundary refused."""
        try:
            done = await self._session.run_async(["python3", "-"], input=code, limits=LIMITS, timeout_s=timeout_s)
        except CommandTimeoutError as error:
            return f"no result within {timeout_s:.0f} s\n{error.completed.text}"[:OUTPUT_CHARACTERS]
        said = done.text + done.stderr.decode(errors="replace")
        refused = "".join(f"refused: {code} {target}\n" for code, target in dict.fromkeys(done.denials))
        status = f"exit status {done.returncode}\n" if done.returncode else ""
        return said[:OUTPUT_CHARACTERS] + status + refused

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._box.close)


async def main(snippets: list[str], directory: str) -> None:
    """Run one after the other and print what a model would be told."""
    async with CodeTool(directory) as tool:
        for snippet in snippets:
            print(await tool.run_code(snippet), end="")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: session.py CODE..., each in the same session and the current directory")
    asyncio.run(main(sys.argv[1:], os.getcwd()))
