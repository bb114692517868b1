"""HTTP with the vault between: programs see what they would see without it, and never the value."""

import re
from pathlib import Path

import pytest

from tests.lab import Lab

pytestmark = [pytest.mark.require("bubblewrap", "userns", "overlay", "network-lab", "curl")]
HOST = "www.public.example.net"
OTHER = "git.example.com"
VALUE = "ghp_x7Qm2LrT9vZk3BnWc5Yd8Hs1Jf4Ga6Pe0UiO"
PATHS = ("hdr", "chunked", "close", "sse", "early", "status/404", "redirect/www.public.example.net/hdr", "bytes/300000")
SEPARATOR = "\n=====\n"

WEBSOCKET = f"""
import base64, os, socket, ssl
plain = socket.create_connection(("{HOST}", 443), timeout=50)
made = ssl.create_default_context().wrap_socket(plain, server_hostname="{HOST}")
key = base64.b64encode(os.urandom(16)).decode()
made.sendall(("GET /ws?greet HTTP/1.1\\r\\nHost: {HOST}\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
    "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Extensions: permessage-deflate\\r\\n"
    "Authorization: token " + os.environ["GITHUB_TOKEN"] + "\\r\\nSec-WebSocket-Key: " + key + "\\r\\n\\r\\n").encode())
heard = b""
while os.environ["GITHUB_TOKEN"].encode() not in heard and len(heard) < 4096:
    heard += made.recv(4096)
made.sendall(b"\\x81\\x82\\0\\0\\0\\0hi")
while not heard.endswith(b"\\x81\\x02hi"):
    heard += made.recv(4096)
print(heard.decode("latin-1"))
"""


def contained(lab: Lab, place: Path, *words: str, secret: str = HOST, allow: tuple[str, ...] = ()) -> str:
    """Run words inside, with a vault unless `secret` is empty; give what they print."""
    rules = [word for host in (HOST, OTHER, *allow) for word in ("--allow", host)]
    keeping = ["--secret", f"GITHUB_TOKEN@{secret}"] if secret else []
    done = lab.run(
        ["ringfence", "run", *rules, *keeping, "--", *words],
        cwd=place,
        environment={"GITHUB_TOKEN": VALUE},
        timeout_s=110,
    )
    assert done.returncode != 125, done.stderr
    return done.stdout + done.stderr


def fetched(lab: Lab, place: Path, *, secret: str) -> list[str]:
    """Fetch everything in one run; the phrase of a status is left out, for a vault replaces it."""
    urls = [f"{scheme}://{HOST}/{path}" for scheme in ("http", "https") for path in PATHS]
    asked = [
        *urls,
        f"-I https://{HOST}/hdr",
        *(f"-d a=b https://{HOST}/{path}" for path in ("echo", "early", "upload")),
    ]
    end = f"LC_ALL=C tr -cd '[:print:][:space:]'; printf '{SEPARATOR}'"
    commands = "\n".join(f"curl -sSi -m50 -L {words} | {end}" for words in asked)
    text = contained(lab, place, "sh", "-c", commands, secret=secret)
    return [re.sub(r"(?m)^(HTTP/1.1 \d+) .*$", r"\1", part) for part in text.split(SEPARATOR)]


@pytest.mark.timeout(300)  # forty-two transfers
def test_without_a_secret_in_it_everything_is_as_without_a_vault(lab: Lab, open_path: Path) -> None:
    carried, alone = fetched(lab, open_path, secret=OTHER), fetched(lab, open_path, secret="")
    assert len(alone) == 2 * len(PATHS) + 5
    assert carried == alone


def test_the_host_gets_the_value_and_the_program_the_placeholder(lab: Lab, open_path: Path) -> None:
    mark = lab.mark()
    command = f'echo "$GITHUB_TOKEN"; curl -sS -m50 -H "Authorization: token $GITHUB_TOKEN" https://{HOST}/hdr'
    placeholder, heard = contained(lab, open_path, "sh", "-c", command).split("\n", 1)
    assert VALUE not in placeholder + heard
    assert len(placeholder) == len(VALUE)
    assert f"authorization: token {placeholder}\n" in heard
    assert any(VALUE in str(entry) for entry in lab.since(mark, "http")), "the host has seen it"


def test_a_websocket_opens_with_the_value_and_tells_the_placeholder(lab: Lab, open_path: Path) -> None:
    heard = contained(lab, open_path, "python3", "-c", WEBSOCKET)
    assert "101 Switching Protocols" in heard and "you are" in heard
    assert VALUE not in heard
    assert "permessage-deflate" not in heard


@pytest.mark.parametrize(
    "words",
    [
        f'"https://{HOST}/$GITHUB_TOKEN"',
        f'-H "Authorization: token $GITHUB_TOKEN" http://{HOST}/hdr',
        f'-H "Authorization: token $GITHUB_TOKEN" https://{OTHER}/hdr',
        f'-H "Cookie: a=$GITHUB_TOKEN" https://{HOST}/hdr',
        f'-d "token=$GITHUB_TOKEN" https://{HOST}/echo',
    ],
    ids=["in the path", "in the clear", "to another host", "in another field", "in the body"],
)
def test_a_placeholder_elsewhere_reaches_nobody(lab: Lab, open_path: Path, words: str) -> None:
    mark = lab.mark()
    heard = contained(lab, open_path, "sh", "-c", f"curl -sS -m50 {words}")
    assert heard.startswith("ringfence: secret-misuse: "), heard
    assert lab.since(mark, "http") == []


def test_a_host_that_proves_nothing_gets_nothing(lab: Lab, open_path: Path) -> None:
    mark = lab.mark()
    host = "self-signed.example.com"
    command = f'curl -sS -m50 -H "Authorization: token $GITHUB_TOKEN" https://{host}/hdr'
    heard = contained(lab, open_path, "sh", "-c", command, secret=host, allow=(host,))
    assert heard.startswith("ringfence: upstream-certificate: "), heard
    assert lab.since(mark, "http") == []
