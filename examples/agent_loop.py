"""An agent loop in forty lines: a model proposes shell commands, every one of them runs contained.

`ask` stands for the model: it is given the conversation and returns the next command, or None when it is done. Commands
work on one copy-on-write view each; what they may change in `directory` arrives there when the command ends, and what
may not (hooks, editor settings, files that run by themselves) is held back and told to the model.

Try: `python examples/agent_loop.py`, with a script in place of the model, in a temporary directory.
"""

import tempfile
from collections.abc import Callable, Sequence

from ringfence import CommandTimeoutError, Policy, Sandbox

POLICY = Policy(
    {
        "filesystem": {"deny-read": [".env", "*.pem"], "deny-write": ["./pyproject.toml"]},
        "limits": {"memory": "1GiB", "processes": 128},
    }
)


def work(ask: Callable[[Sequence[str]], str | None], directory: str, *, steps: int = 20) -> list[str]:
    """Let the model act up to `steps` times; return the conversation."""
    conversation: list[str] = []
    with Sandbox(POLICY, directory=directory) as box:
        for _ in range(steps):
            command = ask(conversation)
            if command is None:
                break
            conversation.append(f"$ {command}")
            conversation.append(act(box, command))
    return conversation


def act(box: Sandbox, command: str) -> str:
    """Run one command and describe its outcome in the model's terms."""
    try:
        done = box.run(["sh", "-c", command], timeout_s=60)
    except CommandTimeoutError as error:
        return f"{error.completed.text}[ended after 60 s]"
    notes = [f"[refused: {code} {target}]" for code, target in done.denials]
    notes += [f"[held back: {path}, {why}]" for path, why in done.held]
    status = [f"[status {done.returncode}]"] if done.returncode else []
    return "\n".join([done.text + done.stderr.decode(errors="replace"), *status, *notes])


SCRIPT = (
    "echo 'print(6 * 7)' > answer.py",
    "python3 answer.py",
    "cat .env",
    "mkdir .vscode && touch .vscode/tasks.json",
)


def main() -> None:
    """Work off the script in a directory with a secret in it; print the conversation."""
    with tempfile.TemporaryDirectory() as directory:
        with open(f"{directory}/.env", "w", encoding="ascii") as file:
            file.write("TOKEN=not for the model\n")
        script = iter(SCRIPT)
        print(*work(lambda _: next(script, None), directory), sep="\n")


if __name__ == "__main__":
    main()
