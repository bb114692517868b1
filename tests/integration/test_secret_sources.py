"""Sources of secrets that are real: HashiCorp Vault's API over a socket, and programs that print."""

import http.server
import json
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from ringfence.sandbox.programs import output_of
from ringfence.secrets import sources_services
from tests.paths import PATIENCE_S, has_ended, wait_until

VALUE = "hvs-0123456789abcdefghij"
TOKEN = "root-token-of-the-test"


class Api(http.server.BaseHTTPRequestHandler):
    """What of Vault's API is asked for."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))  # type: ignore[attr-defined] # set by the fixture
        status, answer = self.answer()
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if status == 307:
            self.send_header("Location", "/v1/secret/data/app")
        self.end_headers()
        self.wfile.write(data)

    def answer(self) -> tuple[int, object]:
        if self.headers["X-Vault-Token"] != TOKEN:
            return 403, {"errors": ["permission denied"]}
        answers: dict[str, tuple[int, object]] = {
            "/v1/secret/data/app": (200, {"data": {"data": {"token": VALUE, "n": 1}, "metadata": {"version": 2}}}),
            "/v1/kv/app": (200, {"data": {"token": VALUE, "data": "x"}}),
            "/v1/odd/list": (200, []),
            "/v1/odd/text": (200, {"data": "text"}),
            "/v1/sealed": (503, {}),
            "/v1/moved": (307, {}),
            "/v1/a%20b/%3F": (200, {"data": {"token": VALUE}}),
        }
        return answers.get(self.path, (404, {"errors": []}))

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def asked() -> list[tuple[str, dict[str, str]]]:
    return []


@pytest.fixture
def address(tmp_path: Path, asked: list[tuple[str, dict[str, str]]]) -> Iterator[str]:
    """Vault's API under TLS; `tmp_path`/ca.pem is who signed its certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with http.server.HTTPServer(("127.0.0.1", 0), Api) as server:
        server.asked = asked  # type: ignore[attr-defined] # read by the handler
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        yield f"https://localhost:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def read(address: str, place: Path, path: str, field: str = "token", **more: str) -> bytes | tuple[str, str]:
    variables = {"VAULT_ADDR": address, "VAULT_TOKEN": TOKEN, "VAULT_CACERT": str(place / "ca.pem"), **more}
    return sources_services.read(path, field, variables, str(place))


@pytest.mark.parametrize("path", ["secret/data/app", "/secret/data/app", "kv/app", "a b/?"])
def test_a_field_of_a_secret(address: str, tmp_path: Path, path: str) -> None:
    assert read(address, tmp_path, path) == VALUE.encode()


@pytest.mark.parametrize(
    ("path", "field", "reason"),
    [
        ("secret/data/app", "other", "has no field `other`"),
        ("secret/data/app", "n", "has no field `n`"),
        ("secret/data/none", "token", "no such secret"),
        ("odd/list", "token", "has no field"),
        ("odd/text", "token", "has no field"),
        ("sealed", "token", "sealed"),
        ("moved", "token", "status 307"),
    ],
)
def test_what_is_not_there(address: str, tmp_path: Path, path: str, field: str, reason: str) -> None:
    found = read(address, tmp_path, path, field)
    assert isinstance(found, tuple) and reason in found[0]
    assert VALUE not in "".join(found) and TOKEN not in "".join(found)


def test_a_redirect_takes_the_token_nowhere(
    address: str, tmp_path: Path, asked: list[tuple[str, dict[str, str]]]
) -> None:
    read(address, tmp_path, "moved")
    assert [path for path, _ in asked] == ["/v1/moved"]


def test_the_token_may_lie_in_the_home_directory(address: str, tmp_path: Path) -> None:
    assert read(address, tmp_path, "kv/app", VAULT_TOKEN="")[0] == "there is no token for the vault"
    (tmp_path / ".vault-token").write_text(TOKEN + "\n")
    assert read(address, tmp_path, "kv/app", VAULT_TOKEN="") == VALUE.encode()


def test_a_wrong_token_and_a_namespace(address: str, tmp_path: Path, asked: list[tuple[str, dict[str, str]]]) -> None:
    found = read(address, tmp_path, "kv/app", VAULT_TOKEN="wrong", VAULT_NAMESPACE="team")
    assert found[0] == "the vault refuses the token"
    assert asked[0][1]["X-Vault-Namespace"] == "team"


def test_who_is_not_known_gets_no_token(address: str, tmp_path: Path, asked: list[tuple[str, dict[str, str]]]) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    found = read(address, tmp_path, "kv/app", VAULT_CACERT=str(tmp_path / "other.pem"))
    assert found[0] == "the vault's certificate is not trusted" and asked == []
    assert read("http://vault.example.com", tmp_path, "kv/app")[0] == "VAULT_ADDR is no `https` URL"
    assert read("", tmp_path, "kv/app")[0] == "VAULT_ADDR is not set"


@pytest.mark.parametrize(
    "variables",
    [
        {"VAULT_ADDR": "https://127.0.0.1:1"},
        {"VAULT_ADDR": "https://localhost:port"},
        {"VAULT_TOKEN": "two\nlines"},
        {"VAULT_CACERT": "/none"},
    ],
)
def test_what_cannot_be_asked(address: str, tmp_path: Path, variables: dict[str, str]) -> None:
    assert read(address, tmp_path, "kv/app", **variables)[0] == "the vault cannot be reached"


# ---- programs


def test_what_a_program_prints() -> None:
    assert output_of(
        ["sh", "-c", "cat; echo of $NAME"], {"PATH": os.environ["PATH"], "NAME": "x"}, PATIENCE_S, told=b"a "
    ) == (
        0,
        b"a of x\n",
    )
    assert output_of(["sh", "-c", "echo no >&2; exit 3"], os.environ, PATIENCE_S) == (3, b"")
    assert output_of(["sh", "-c", "kill -TERM $$"], os.environ, PATIENCE_S) == (-15, b"")


def test_a_program_that_leaves_another_behind_is_not_waited_for(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/pid; echo value"  # longer than any test may take
    assert output_of(["sh", "-c", script], os.environ, PATIENCE_S) == (0, b"value\n")
    pid = int((tmp_path / "pid").read_text())
    assert wait_until(lambda: has_ended(pid)), "it lives"


def test_a_program_that_closes_its_output_first() -> None:
    assert output_of(["sh", "-c", "echo value; exec >&-; sleep 0.2; exit 4"], os.environ, PATIENCE_S) == (4, b"value\n")


@pytest.mark.parametrize("script", ["sleep 300", "exec yes", "exec >&-; sleep 300"])
def test_a_program_without_an_end_is_killed(script: str) -> None:
    with pytest.raises(TimeoutError):
        output_of(["sh", "-c", script], os.environ, 0.3)


def test_what_is_no_program() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name in ("no-such-program", "/etc/passwd", "/nonexistent/program"):
        with pytest.raises((FileNotFoundError, PermissionError)):
            output_of([name], os.environ, 5)
    assert len(os.listdir("/proc/self/fd")) <= before
