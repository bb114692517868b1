"""APIs that want a credential: one like GitHub's, an OAuth server, one that checks AWS signatures, upload registries.

Each refuses what it does not know (accounts.py), so that what works proves that the right value arrived.
"""

import hashlib
import hmac
import json
import re
import secrets
import urllib.parse
from typing import Any

from tests.integration.lab.accounts import REFRESH_TOKEN, Accounts, shown
from tests.integration.lab.http1 import Response

# Method and path of the GitHub-like API: what is answered, and the scope that it takes.
GITHUB: tuple[tuple[str, str, int, dict[str, Any], str], ...] = (
    ("GET", r"/user", 200, {"login": "lab", "id": 1}, ""),
    ("GET", r"/repos/[^/]+/[^/]+", 200, {"full_name": "lab/project", "private": True}, "repo"),
    ("GET", r"/repos/[^/]+/[^/]+/pulls", 200, {"number": 1}, "repo"),
    ("POST", r"/repos/[^/]+/[^/]+/pulls", 201, {"number": 1, "state": "open"}, "repo"),
    ("PUT", r"/repos/[^/]+/[^/]+/pulls/\d+/merge", 200, {"merged": True}, "repo"),
    ("DELETE", r"/repos/[^/]+/[^/]+/git/refs/heads/.+", 204, {}, "repo"),
    ("PATCH", r"/repos/[^/]+/[^/]+", 200, {"full_name": "lab/project"}, "repo"),
    ("DELETE", r"/repos/[^/]+/[^/]+", 204, {}, "repo"),
    ("PUT", r"/repos/[^/]+/[^/]+/contents/.+", 201, {"content": {}}, "repo"),
    ("POST", r"/repos/[^/]+/[^/]+/keys", 201, {"id": 7}, "repo"),
    ("POST", r"/repos/[^/]+/[^/]+/hooks", 201, {"id": 8}, "repo"),
    ("POST", r"/repos/[^/]+/[^/]+/actions/workflows/[^/]+/dispatches", 204, {}, "workflow"),
    ("POST", r"/user/keys", 201, {"id": 9}, "repo"),
    ("POST", r"/graphql", 200, {"data": {"viewer": {"login": "lab"}}}, "repo"),
)
LIVES_S = 3600


class Apis:
    """Answers for all of them."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def github(self, response: Response) -> None:
        """`api.github.com`, and `/gh/` on every other host."""
        request = response.request
        scopes = self._accounts.scopes(shown(request))
        path = request.path.removeprefix("/gh")
        if scopes is None:
            return await _json(response, 401, {"message": "Bad credentials"})
        told = {"x_oauth_scopes": ", ".join(scopes)}
        for method, pattern, status, answer, scope in GITHUB:
            if request.method == method and re.fullmatch(pattern, path):
                if scope and scope not in scopes:
                    return await _json(response, 403, {"message": f"needs {scope}"}, **told)
                return await _json(response, status, answer, **told)
        return await _json(response, 404, {"message": "Not Found"}, **told)

    async def oauth(self, response: Response) -> None:
        """`/v1/oauth/token` and `/oauth/token`: a refresh token, in a form or in JSON, brings two new ones."""
        request = response.request
        form = "json" not in request.header("content-type")
        text = request.body.decode()
        asked = dict(urllib.parse.parse_qsl(text)) if form else json.loads(text or "{}")
        known = self._accounts.issued
        given = asked.get("refresh_token", "")
        if asked.get("grant_type") != "refresh_token" or given not in (REFRESH_TOKEN, *known):
            return await _json(response, 400, {"error": "invalid_grant"})
        access, refresh = (f"lab-{kind}-{secrets.token_hex(20)}" for kind in ("access", "refresh"))
        known |= {access: ("repo",), refresh: ()}
        of_claude = request.header("host").endswith("claude.com")
        scope = "user:inference user:profile" if of_claude else "repo"
        answer = {"token_type": "Bearer", "expires_in": LIVES_S, "scope": scope}
        return await _json(response, 200, {"access_token": access, "refresh_token": refresh} | answer)

    async def aws(self, response: Response) -> None:
        """`*.amazonaws.com`, and `/aws/` everywhere: whether the signature is right, else what is wrong with it."""
        request = response.request
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?"
            r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
            request.header("authorization"),
        )
        if found is None:
            return await _json(response, 403, {"error": "no signature"})
        key_id, day, region, service, names, signature = found.groups()
        payload = request.header("x-amz-content-sha256", request.digest)
        if payload not in (request.digest, "UNSIGNED-PAYLOAD"):
            return await _json(response, 403, {"error": "the body is not what was signed"})
        path, _, query = request.target.partition("?")
        pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
        ordered = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs)
        # Every service but S3 encodes the path once more.
        target = path if service == "s3" else urllib.parse.quote(path, safe="/-_.~")
        heads = "".join(f"{name}:{' '.join(request.header(name).split())}\n" for name in names.split(";"))
        canonical = f"{request.method}\n{target}\n{ordered}\n{heads}\n{names}\n{payload}"
        scope = f"{day}/{region}/{service}/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(("AWS4-HMAC-SHA256", request.header("x-amz-date"), scope, digest))
        key = b"AWS4" + self._accounts.secret_key(key_id).encode()
        for part in (day, region, service, "aws4_request", text):
            key = hmac.digest(key, part.encode(), "sha256")
        if not self._accounts.secret_key(key_id) or not hmac.compare_digest(key.hex(), signature):
            return await _json(response, 403, {"error": "the signature does not match"})
        return await _json(response, 200, {"signed": key_id, "method": request.method})

    async def legacy(self, response: Response) -> None:
        """`/legacy/`: the upload interface of Python's index (Basic authentication, a multipart form)."""
        if self._accounts.scopes(shown(response.request)) is None:
            return await response.send(403, "invalid authentication\n")
        return await response.send(200, "uploaded\n")

    async def node(self, response: Response) -> None:
        """`PUT /npm/NAME`: `npm publish`; and `/-/whoami`."""
        if self._accounts.scopes(shown(response.request)) is None:
            return await _json(response, 401, {"error": "unauthorized"})
        if response.request.path.endswith("/-/whoami"):
            return await _json(response, 200, {"username": "lab"})
        return await _json(response, 201, {"ok": True, "success": True})


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="-_.~")


async def _json(response: Response, status: int, body: dict[str, Any], **more: str) -> None:
    await response.send(status, json.dumps(body) if status != 204 else "", "application/json", **more)
