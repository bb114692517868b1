"""The real `claude` client as an oracle: what it decides about tool calls, offline, in namespaces of its own.

A stub of the model's API asks for one tool call a turn; a PermissionRequest hook of the user's settings answers every
question with a refusal that can be told from others. The network namespace holds nothing but loopback, and of the disk
only the programs are there: what the client allows is really executed, in directories that are thrown away.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORT = 8931
TIMEOUT_S = 300
ASKED = "asked-by-the-client"
HOOK = f"""#!/bin/sh
cat >/dev/null
echo '{{"hookSpecificOutput": {{"hookEventName": "PermissionRequest",
"decision": {{"behavior": "deny", "message": "{ASKED}"}}}}}}'
"""
ENVIRONMENT = {
    "HOME": "/w/home",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{PORT}",
    "ANTHROPIC_API_KEY": "dummy",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "BASH_DEFAULT_TIMEOUT_MS": "2500",
}


def measure(root: Path, settings: dict[str, Any], setup: str, commands: Sequence[str], mode: str) -> list[str]:
    """Return the client's verdict on each shell command, made one after another in one run."""
    home, control = root / "w/home/.claude", root / "control"
    for folder in (home, root / "w/proj", control):
        folder.mkdir(parents=True)
    (control / "hook").write_text(HOOK)
    (control / "hook").chmod(0o755)
    hook = {"PermissionRequest": [{"matcher": "", "hooks": [{"type": "command", "command": "/control/hook"}]}]}
    (home / "settings.json").write_text(json.dumps({**settings, "hooks": hook}))
    (control / "setup").write_text(setup)
    turns = [{"command": command, "description": "x"} for command in commands]
    (control / "turns.json").write_text(json.dumps(turns))
    argv = [*_boundary(root), sys.executable, "/control/oracle.py", mode, *_client()]
    shutil.copy(__file__, control / "oracle.py")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S)
    return _verdicts(done.stdout, len(commands), done.stderr)


def _client() -> list[str]:
    found = os.path.realpath(shutil.which("claude") or "claude")
    return ["node", found] if found.endswith((".js", ".cjs", ".mjs")) else [found]


def _boundary(root: Path) -> list[str]:
    """A bubblewrap of the programs, the client's package and `root`, without a network."""
    from tests.requirements import bubblewrap  # not there inside, where this file is a program

    bwrap = bubblewrap()
    assert bwrap is not None
    client = Path(_client()[-1])
    package = next((path for path in client.parents if path.name == "node_modules"), client.parent)
    interpreter = Path(os.path.realpath(sys.executable)).parent.parent
    node = Path(os.path.realpath(shutil.which("node") or "/usr/bin/node")).parent.parent
    shown = [path for path in dict.fromkeys((package, interpreter, Path(sys.prefix), node)) if str(path) != "/usr"]
    options = ["--unshare-all", "--uid", "1000", "--gid", "1000", "--die-with-parent", "--clearenv"]
    options += ["--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc", "--proc", "/proc", "--dev", "/dev"]
    options += [word for name in ("bin", "lib", "lib64", "sbin") for word in ("--symlink", f"usr/{name}", f"/{name}")]
    options += ["--tmpfs", "/tmp", "--bind", str(root / "w"), "/w", "--bind", str(root / "control"), "/control"]
    options += [word for path in shown for word in ("--ro-bind", str(path), str(path))]
    options += [word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)]
    return [str(bwrap), *options, "--chdir", "/w/proj", "--"]


def _verdicts(stream: str, count: int, errors: str) -> list[str]:
    """Read the client's stream of JSON lines."""
    order, results = [], {}
    for line in stream.splitlines():
        record = json.loads(line) if line.startswith("{") else {}
        message = record.get("message")
        content = message.get("content") if isinstance(message, dict) else []
        for block in content if isinstance(content, list) else []:
            if block.get("type") == "tool_use":
                order.append(block["id"])
            elif block.get("type") == "tool_result":
                decisions = [meta.get("permission_decision") or {} for meta in record.get("tool_result_meta") or []]
                refused = any(decision.get("decision") in ("deny", "reject") for decision in decisions)
                asked = ASKED in json.dumps(block.get("content"))
                results[block["tool_use_id"]] = "ask" if asked else "deny" if refused else "allow"
    assert len(order) == count and len(results) == count, (
        len(order),
        len(results),
        count,
        stream[-500:],
        errors[-500:],
    )
    return [results[name] for name in order]


# ---- inside the boundary, as a program: the stub, and the client


class _Model(BaseHTTPRequestHandler):
    """Asks for the tool call whose number is that of the answers given so far."""

    turns: list[dict[str, Any]] = []

    def log_message(self, *words: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"] or 0)) or b"{}")
        turn = sum(message["role"] == "assistant" for message in body.get("messages", []))
        block: dict[str, Any] = {"type": "text", "text": ""}
        delta: dict[str, Any] = {"type": "text_delta", "text": "done"}
        if body.get("tools") and turn < len(self.turns):
            block = {"type": "tool_use", "id": f"toolu_{turn:06}", "name": "Bash", "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(self.turns[turn])}
        reason = "tool_use" if block["type"] == "tool_use" else "end_turn"
        usage = {"input_tokens": 1, "output_tokens": 1}
        message: dict[str, Any] = {
            "id": f"msg_{turn}",
            "type": "message",
            "role": "assistant",
            "model": "stub",
            "content": [],
        }
        message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
        events: list[tuple[str, dict[str, Any]]] = [
            ("message_start", {"message": message}),
            ("content_block_start", {"index": 0, "content_block": block}),
            ("content_block_delta", {"index": 0, "delta": delta}),
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}),
            ("message_stop", {}),
        ]
        text = "".join(f"event: {name}\ndata: {json.dumps({**event, 'type': name})}\n\n" for name, event in events)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def run(mode: str, client: list[str]) -> None:
    """Serve the stub and print what the client prints, up to its result."""
    import threading

    subprocess.run(["bash", "/control/setup"], capture_output=True)
    _Model.turns = json.loads(Path("/control/turns.json").read_text())
    server = ThreadingHTTPServer(("127.0.0.1", PORT), _Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    argv = [*client, "-p", "x", "--permission-mode", mode, "--output-format", "stream-json", "--verbose"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            if '"duration_api_ms"' in line:  # the result; the client waits for its background tasks after it
                process.kill()
    sys.stdout.flush()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
