"""What a hook costs before each call of a tool, and decisions a second: `python -m bench.hook [ROUNDS]`.

Every row is one process, from its start to its end, interleaved in random order, against a bare start of the same
interpreter. `inside` is the client that runs in the boundary, the supervisor's service in a process beside it, over
a socket of the same kind. `outside` is `ringfence hook`, with the process that it leaves behind and without.
"""

import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from ringfence.inside import hook as inside_hook
from ringfence.integrations.hook_decisions import Decider, Surroundings
from ringfence.integrations.hook_process import Nobody
from ringfence.integrations.hook_rules import Rules
from ringfence.integrations.hook_service import HookService
from ringfence.policy.permissions import claude_settings, scopes
from ringfence.policy.permissions.engine import ToolCall, decide
from ringfence.policy.permissions.paths import Unresolved
from ringfence.policy.permissions.settings import Settings

SOURCES = str(Path(__file__).resolve().parents[1] / "src")
ENTRY = "from ringfence.cli.entry import main; main()"
RULES = (
    '{"permissions": {"allow": ["Bash(npm run:*)"], "ask": ["Bash(git push:*)"], "deny": ["Bash(rm:*)", "Read(.env)"]}}'
)
COMMANDS = {
    "one command": "npm run test -- --watch",
    "a command that only reads": "grep -rn TODO src",
    "four commands and a redirection": "cd . && npm run build && git status --short | head -n 5 > out.txt",
    "a file": "src/main.py",
}
DECISIONS = 20_000


def serve(directory: str) -> int:
    """Start the supervisor's service where the inside client looks for it; return the process."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(inside_hook.ADDRESS)
    listener.listen()
    child = os.fork()
    if not child:
        where = Surroundings(
            client="claude-code", workspace=directory, home=directory, contained=True, interactive=True
        )
        rules = Rules(scopes=(scope(directory),), trusted=True)
        HookService(Decider(where, rules, approver=Nobody(), report=unrecorded)).serve(listener)
    listener.close()
    return child


def unrecorded(kind: str, code: str, fields: Mapping[str, object], /) -> None:
    """Take an event, which a run would write down."""


def scope(directory: str) -> scopes.Scope:
    """The user's rules."""
    return claude_settings.read_settings(RULES, scope="user", file=f"{directory}/settings.json", cwd=directory)


def contenders(home: str) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Words and environment by name."""
    plain = {"HOME": home, "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": SOURCES}
    outside = [sys.executable, "-P", "-c", ENTRY, "hook", "claude-code"]
    return {
        "bare Python": ([sys.executable, "-c", "pass"], plain),
        "inside": ([sys.executable, "-I", "-S", inside_hook.__file__, "claude-code"], plain),
        "outside, with a process left behind": (outside, plain | {"RINGFENCE_STANDBY": "1"}),
        "outside, without": (outside, plain | {"RINGFENCE_STANDBY": "0"}),
    }


def elapsed_ms(words: list[str], environment: dict[str, str], directory: str, event: bytes) -> float:
    """One call; an answer that is none ends the measurement."""
    start = time.perf_counter()
    done = subprocess.run(words, input=event, env=environment, cwd=directory, capture_output=True)
    taken = (time.perf_counter() - start) * 1000
    if done.returncode or ("-c" not in words[1:2] and b"permissionDecision" not in done.stdout):
        raise SystemExit(f"{words} failed: {done.stderr.decode()}")
    return taken


def round_trips(rounds: int, directory: str) -> dict[str, list[float]]:
    """Times by contender."""
    event = {"hook_event_name": "PreToolUse", "session_id": "s", "cwd": directory, "permission_mode": "default"}
    data = json.dumps(event | {"tool_name": "Bash", "tool_input": {"command": COMMANDS["one command"]}}).encode()
    field = contenders(directory)
    times: dict[str, list[float]] = {name: [] for name in field}
    for words, environment in field.values():
        elapsed_ms(words, environment, directory, data)  # caches, and the process that is left behind
    time.sleep(1)
    for _ in range(rounds):
        for name in random.sample(list(field), len(field)):
            times[name].append(elapsed_ms(*field[name], directory, data))
    return times


def decisions(directory: str) -> dict[str, tuple[float, float]]:
    """Decisions a second by kind of call: of calls that were never made before, and of the same one again."""
    request = scopes.Request(cwd=directory, home=directory)
    settings = scopes.merge([scope(directory)], request, Unresolved())
    found = {}
    for name, text in COMMANDS.items():
        tool, key = ("Read", "file_path") if name == "a file" else ("Bash", "command")
        fresh = [ToolCall(tool=tool, input={key: f"{text}{number}"}) for number in range(DECISIONS)]
        found[name] = (rate(settings, fresh), rate(settings, fresh[:1] * DECISIONS))
    return found


def rate(settings: Settings, calls: list[ToolCall]) -> float:
    """Decisions a second."""
    start = time.perf_counter()
    for call in calls:
        decide(settings, call)
    return len(calls) / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    with tempfile.TemporaryDirectory(dir=os.path.expanduser("~")) as directory:
        service = serve(directory)
        try:
            times = round_trips(rounds, directory)
        finally:
            os.kill(service, signal.SIGKILL)
            os.waitpid(service, 0)
        base = times["bare Python"]
        lines = [f"{rounds} rounds", "", "| one hook | median ms | ratio to bare Python |", "|---|---|---|"]
        for name, found in times.items():
            ratio = statistics.median(mine / other for mine, other in zip(found, base, strict=True))
            lines.append(f"| {name} | {statistics.median(found):.1f} | {ratio:.2f} |")
        lines += ["", "| decisions a second | never seen before | the same again |", "|---|---|---|"]
        lines += [f"| {name} | {new:,.0f} | {again:,.0f} |" for name, (new, again) in decisions(directory).items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
