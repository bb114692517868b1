"""HashiCorp Vault: one field of a secret, by its HTTP API.

https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version. Address, token and namespace are
found as its own program finds them: VAULT_ADDR, VAULT_TOKEN or `~/.vault-token`, VAULT_NAMESPACE, VAULT_CACERT.
"""

import http.client
import ssl
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import msgspec

from . import sources_files

ANSWER_BYTES = 1 << 20
TIMEOUT_S = 20.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")
Failure = tuple[str, str]
STATUSES: dict[int, Failure] = {
    400: ("the vault refuses the request", "check VAULT_NAMESPACE and the path"),
    403: ("the vault refuses the token", "`vault login`, or ask for a policy that reads the path"),
    404: ("the vault has no such secret", "for KV version 2 the path contains `data`: `secret/data/NAME#FIELD`"),
    503: ("the vault is sealed", "unseal it"),
}


def read(path: str, field: str, environment: Mapping[str, str], home: str) -> bytes | Failure:
    """The field of the secret at `path`, or reason and hint in one line each."""
    try:
        address = urlsplit(environment.get("VAULT_ADDR", ""))
    except ValueError:
        return "VAULT_ADDR is no URL", "set it to the vault's URL"
    if not address.hostname:
        return "VAULT_ADDR is not set", "set it to the vault's URL"
    if address.scheme != "https" and address.hostname not in LOOPBACK:
        return "VAULT_ADDR is no `https` URL", "without TLS the token and the secret can be read on the way"
    token = environment.get("VAULT_TOKEN") or _kept_token(home)
    if not token:
        return "there is no token for the vault", "`vault login`, or set VAULT_TOKEN"
    headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
    if namespace := environment.get("VAULT_NAMESPACE"):
        headers["X-Vault-Namespace"] = namespace
    try:
        with_tls = address.scheme == "https"
        link = _connection(address.hostname, address.port, with_tls, environment.get("VAULT_CACERT"))
        status, data = _ask(link, f"{address.path.rstrip('/')}/v1/{quote(path.strip('/'))}", headers)
    except ssl.SSLCertVerificationError:
        return "the vault's certificate is not trusted", "set VAULT_CACERT, or SSL_CERT_FILE"
    except (OSError, http.client.HTTPException, ValueError):  # ValueError: a header or a port that is none
        return "the vault cannot be reached", "check VAULT_ADDR and VAULT_TOKEN"
    if status != 200:
        return STATUSES.get(status, (f"the vault answered with status {status}", "`vault status`"))
    return _field(data, field) or (f"the vault's secret has no field `{field}`", "name it after `#`")


def _kept_token(home: str) -> str:
    found = sources_files.read(f"{home}/.vault-token")
    return "" if isinstance(found, str) else found[0].decode(errors="replace").strip()


def _connection(host: str, port: int | None, with_tls: bool, authorities: str | None) -> http.client.HTTPConnection:
    if not with_tls:
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    context = ssl.create_default_context(cafile=authorities or None)
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)


def _ask(link: http.client.HTTPConnection, target: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    try:
        link.request("GET", target, headers=dict(headers))
        answer = link.getresponse()  # redirects are not followed: the token is for this host
        return answer.status, answer.read(ANSWER_BYTES)
    finally:
        link.close()


def _field(data: bytes, field: str) -> bytes | None:
    try:
        answer = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return None
    body = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(body, dict):
        return None
    inner = body.get("data")
    found = inner if isinstance(inner, dict) and "metadata" in body else body  # KV version 2, else version 1
    value = found.get(field)
    return value.encode() if isinstance(value, str) else None
