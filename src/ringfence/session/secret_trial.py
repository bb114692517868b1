"""Try secrets without a sandbox: does each source give a value, and does the host accept it?

Both use a vault as a run does, so no value comes into this process: a source is judged by the placeholder, which has
the value's shape, and a request is sent with the placeholder in it, through the hop that a run's requests take.
"""

import _socket
import http.client
import re
import socket
import threading

import msgspec

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress
from ringfence.model.secrets import Injection, Placing, Secret, Secrets
from ringfence.network import messages
from ringfence.network.dialer import TIMEOUT_S, Dialer
from ringfence.policy.egress import Request, decide_request
from ringfence.policy.taint import READING

from . import vault_messages
from .readiness import is_readable
from .vault import Vault
from .vault_messages import Absent, Carry, Kept, Told

PREFIX = re.compile(
    r"(gh[pousr]_|github_pat_|gl[a-z]*-|sk-ant-[a-z]+\d*-|sk-proj-|sk-|xox[abpse]-|npm_|pypi-|A[KS]IA|AIza|hf_)"
)
ANSWER_TIMEOUT_S = 30.0
LENGTHS = ((16, "under 16 characters"), (32, "16 to 31 characters"), (64, "32 to 63 characters"))
LONGEST = "64 characters or more"
HARMLESS = {
    "api.github.com": "/user",
    "api.openai.com": "/v1/models",
    "api.anthropic.com": "/v1/models",
    "gitlab.com": "/api/v4/user",
}
"""What asks a well-known host who one is, and changes nothing."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One request with one secret: its status (0: there was none), the scopes that the host named, what went wrong.

    `status_without` is that of the same request without the secret, 0 where that was not asked.
    """

    secret: str
    request: str
    status: int = 0
    status_without: int = 0
    scopes: tuple[str, ...] | None = None
    problem: str = ""
    hint: str = ""
    is_absent: bool = False


def kept(secrets: Secrets) -> Kept:
    """What a vault finds at every source."""
    vault = Vault(msgspec.json.encode(secrets))
    try:
        return vault.take()
    finally:
        vault.release()


def shape(placeholder: str) -> str:
    """What may be told of a value: roughly how long it is, and which well-known kind of token."""
    length = next((text for limit, text in LENGTHS if len(placeholder) < limit), LONGEST)
    if placeholder.count(".") == 2 and placeholder.startswith("eyJ"):
        return f"{length}, a JWT"
    found = PREFIX.match(placeholder)
    return f"{length}, begins with `{found[0]}`" if found else length


def requests(secrets: Secrets, host: str) -> list[tuple[Secret, Injection]]:
    """The secrets that are put into requests to `host`, with the injection to try."""
    return [
        (secret, injection)
        for secret in secrets.secrets
        for injection in secret.inject
        if injection.host == host or (injection.host.startswith("*.") and host.endswith(injection.host[1:]))
    ]


class Trying:
    """A vault, and the means to send requests through it."""

    def __init__(self, secrets: Secrets, egress: Egress) -> None:
        self.egress = egress
        self.vault = Vault(msgspec.json.encode(secrets))
        self.kept = self.vault.take()
        self.dialer = Dialer(egress)
        self.count = 0

    def close(self) -> None:
        """Give everything back."""
        self.dialer.close()
        self.vault.release()

    def absent(self, name: str) -> Absent | None:
        """Why a secret has no value."""
        return next((one for one in self.kept.missing if one.name == name), None)

    def request(self, secret: Secret, injection: Injection, host: str) -> Trial:
        """Send one request that changes nothing, with the placeholder where the injection puts the value."""
        port = injection.ports[0][0]
        path = next((one for one in injection.paths if "*" not in one), HARMLESS.get(host, "/"))
        method = next((one for one in READING if one in (injection.methods or READING)), "")
        url = f"https://{host}{'' if port == 443 else f':{port}'}{path}"
        trial = Trial(secret=secret.name, request=f"{method} {url}".lstrip())
        if absent := self.absent(secret.name):
            return msgspec.structs.replace(trial, problem=absent.reason, hint=absent.hint, is_absent=True)
        if not method:
            hint = f"it is put into {', '.join(injection.methods)} only, which may change something there"
            return msgspec.structs.replace(trial, problem="cannot be tried", hint=hint)
        placeholder = self.kept.placeholders[secret.name]
        if injection.placing is Placing.QUERY:
            path += f"?{injection.name}={placeholder}"
        elif injection.placing is not Placing.HEADER:
            return msgspec.structs.replace(trial, problem=f"`{injection.placing.value}` cannot be tried by itself")
        bearer = f"Bearer {placeholder}" if injection.name == "authorization" else placeholder
        headers = {injection.name: bearer} if injection.placing is Placing.HEADER else {}
        asked = Request(host=host, port=port, scheme="https", method=method, path=path.partition("?")[0])
        decision = decide_request(self.egress, asked)
        if decision.verdict is not Verdict.ALLOW:
            return msgspec.structs.replace(trial, problem=f"policy: {decision.reason}")
        found = self.sent(trial, asked, path, headers)
        if found.problem or found.status >= 400:
            return found
        # Many hosts answer anybody at `/`, so that their answer says nothing of the secret.
        without = self.sent(trial, asked, asked.path, {})
        return msgspec.structs.replace(found, status_without=without.status)

    def sent(self, trial: Trial, asked: Request, target: str, headers: dict[str, str]) -> Trial:
        """Connect, have the vault carry the connection, and speak HTTP to it."""
        upstream = self.connected(asked.host, asked.port)
        if isinstance(upstream, str):
            return msgspec.structs.replace(trial, problem=upstream)
        inside, outside = socket.socketpair()
        with outside, upstream:
            wanted = Carry(connection=self.count, scheme="https", host=asked.host, port=asked.port)
            self.vault.send(vault_messages.encode(wanted), [outside.fileno(), upstream.fileno()])
        with inside:
            inside.settimeout(ANSWER_TIMEOUT_S)
            authority = asked.host if asked.port == 443 else f"{asked.host}:{asked.port}"
            more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = f"{asked.method} {target} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: ringfence\r\naccept: */*\r\n"
            try:
                inside.sendall(f"{head}{more}\r\n".encode())
                answer = http.client.HTTPResponse(inside, method=asked.method)
                answer.begin()
            except (OSError, http.client.HTTPException):
                return msgspec.structs.replace(trial, problem=self.told() or "the host gave no answer")
        if answer.headers.get("X-Ringfence"):
            return msgspec.structs.replace(trial, problem=self.told() or answer.headers["X-Ringfence"])
        named = answer.headers.get("X-OAuth-Scopes")
        scopes = None if named is None else tuple(part.strip() for part in named.split(",") if part.strip())
        return msgspec.structs.replace(trial, status=answer.status, scopes=scopes)

    def connected(self, host: str, port: int) -> socket.socket | str:
        """A connection to the host, or why there is none."""
        self.count += 1
        done = threading.Event()
        found: list[socket.socket | str] = []

        def answered(answer: messages.Dialed, made: _socket.socket | None) -> None:
            found.append(socket.socket(fileno=made.detach()) if made else f"{answer.code}: {answer.reason}")
            done.set()

        dial = messages.Dial(request=self.count, connection=self.count, host=host, port=port, scheme="https")
        self.dialer.submit(dial, answered)
        return found[0] if done.wait(TIMEOUT_S + 5) else "timed-out"

    def told(self) -> str:
        """What the vault has reported last, as the reason of what went wrong."""
        said = ""
        while is_readable(self.vault.channel.fileno(), 0.2):
            data = self.vault.channel.recv(vault_messages.PACKET_BYTES)
            if not data:
                return f"the vault has ended: {self.vault.said()}"
            message = vault_messages.from_vault.decode(data)
            if isinstance(message, Told) and message.fields.get("reason"):
                said = f"{message.code}: {message.fields['reason']}"
        return said
