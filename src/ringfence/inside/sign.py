"""What git runs to sign: hands a commit or a tag to the supervisor outside, and back the signature that it makes.

`python -I -S sign.py PROGRAM ARGUMENT...`, where PROGRAM is the one that git would have run, with git's own arguments:
`ssh-keygen -Y sign -n git -f KEY FILE`, or `gpg ... -bsau KEY` with the text on standard input. Whatever is not signing
(`-Y verify`, `--verify`) needs no key, and does not come here (planner/git.py). No key is inside, nor an agent that has
one. The command could run other code in place of this file's: it can ask for a signature, which is all that this does.

Import budget: built-in modules only, because git starts this for each commit.
"""

import _socket
import sys

ADDRESS = ("127.0.0.1", 3126)  # model/guest_network.py; bound before the command started, so nobody inside can take it
TIMEOUT_S = 120.0  # a key may wait to be touched
TEXT_BYTES = 1 << 20
ANSWER_BYTES = 64 << 10
REFUSED = 1


def main(words: "list[str]") -> int:
    """Sign; the exit status is what git takes for an answer."""
    try:
        return sign_file(words[1:]) if words[0] == "ssh-keygen" else sign_stream()
    except (OSError, ValueError) as error:
        return refuse(f"the supervisor gives no signature ({error})")


def sign_file(arguments: "list[str]") -> int:
    """As `ssh-keygen -Y sign`: what is in the last argument's file, into that name with `.sig`."""
    namespace = arguments[arguments.index("-n") + 1]
    with open(arguments[-1], "rb") as file:
        status, text = ask(f"ssh {namespace}", file.read(TEXT_BYTES + 1))
    if status:
        return refuse(text.decode(errors="replace"))
    with open(f"{arguments[-1]}.sig", "wb") as file:
        file.write(text)
    return 0


def sign_stream() -> int:
    """As `gpg -bsa`: standard input to standard output; git looks for the line on standard error."""
    status, text = ask("openpgp git", sys.stdin.buffer.read(TEXT_BYTES + 1))
    if status:
        return refuse(text.decode(errors="replace"))
    sys.stdout.buffer.write(text)
    sys.stdout.flush()
    sys.stderr.write("\n[GNUPG:] SIG_CREATED D\n")
    return 0


def refuse(reason: str) -> int:
    """Say why there is no signature; git shows it."""
    sys.stderr.write(f"ringfence: signing-denied: {reason}\n")
    return REFUSED


def ask(kind: str, text: bytes) -> "tuple[int, bytes]":
    """Send one text; return exit status and signature. The answer is complete only if it begins with its own length."""
    channel = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        channel.settimeout(TIMEOUT_S)
        channel.connect(ADDRESS)
        channel.sendall(f"{kind}\n".encode() + text)
        channel.shutdown(_socket.SHUT_WR)
        answer = bytearray()
        while data := channel.recv(65536):
            answer += data
            if len(answer) > ANSWER_BYTES:
                raise ValueError("the answer is too long")
    finally:
        channel.close()
    head, _, signature = bytes(answer).partition(b"\n")
    status, length = (int(word) for word in head.split())
    if status not in (0, REFUSED) or length != len(signature):
        raise ValueError("the answer is incomplete")
    return status, signature


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
