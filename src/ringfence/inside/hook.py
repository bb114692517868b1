"""An agent's hook: hands what the agent is about to do to the supervisor outside, and back what that decides.

`python -I -S hook.py CLIENT` with the hook's JSON on standard input. Nothing is decided here. The agent could run other
code in place of this file's, or none; it would gain nothing that the boundary does not let it have. SECURITY: whatever
goes wrong is a refusal (exit status 2): with any other failure of a hook, Claude Code and Codex let the call pass.

Import budget: built-in modules only, because this starts once for each call of a tool.
"""

import _socket
import sys

ADDRESS = ("127.0.0.1", 3127)  # model/guest_network.py; bound before the command started, so nobody inside can take it
TIMEOUT_S = 300.0  # less than the agent waits for its hook, longer than a person is waited for
ANSWER_BYTES = 4 << 20
REFUSED = 2


def main(client: str) -> int:
    """Ask, answer, and give the exit status."""
    try:
        status, text = ask(client, sys.stdin.buffer.read())
    except (OSError, ValueError) as error:  # what else ends the interpreter is a refusal by `|| exit 2`
        status, text = REFUSED, f"ringfence: the supervisor gives no answer ({error}), so this is denied\n".encode()
    stream = sys.stderr if status else sys.stdout
    stream.buffer.write(text)
    stream.flush()
    return status


def ask(client: str, event: bytes) -> "tuple[int, bytes]":
    """Send one event; return exit status and output. The answer is complete only if it begins with its own length."""
    channel = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        channel.settimeout(TIMEOUT_S)
        channel.connect(ADDRESS)
        channel.sendall(f"{client}\n".encode() + event)
        channel.shutdown(_socket.SHUT_WR)
        answer = bytearray()
        while data := channel.recv(65536):
            answer += data
            if len(answer) > ANSWER_BYTES:
                raise ValueError("the answer is too long")
    finally:
        channel.close()
    head, _, text = bytes(answer).partition(b"\n")
    status, length = (int(word) for word in head.split())
    if status not in (0, REFUSED) or length != len(text):
        raise ValueError("the answer is incomplete")
    return status, text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
