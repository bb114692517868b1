"""What a token may do, where its server says so: `X-OAuth-Scopes` of GitHub and of servers that speak as it does.

Fine-grained tokens, GitLab and most others say nothing in their answers: of these no scopes become known.
"""

import re
from collections.abc import Iterable

from ringfence.model.passage import Headers

_NAME = re.compile(r"[a-z][a-z0-9_:.-]{0,63}")
# docs.github.com, "Scopes for OAuth apps": what else a scope includes.
_INCLUDED = {
    "repo": ("repo:status", "repo_deployment", "public_repo", "repo:invite", "security_events"),
    "user": ("read:user", "user:email", "user:follow"),
    "project": ("read:project",),
    **{
        f"admin:{what}": (f"write:{what}", f"read:{what}")
        for what in ("repo_hook", "org", "public_key", "gpg_key", "ssh_signing_key", "enterprise")
    },
    **{
        f"write:{what}": (f"read:{what}",)
        for what in ("repo_hook", "org", "public_key", "gpg_key", "ssh_signing_key", "packages", "discussion")
    },
}


def stated(headers: Headers) -> frozenset[str] | None:
    """Return the scopes that an answer states, None where it states none at all."""
    lines = [value.decode("ascii", "replace") for name, value in headers if name == b"x-oauth-scopes"]
    if not lines:
        return None
    return frozenset(name.strip() for name in ",".join(lines).split(",") if name.strip())


def beyond(told: Iterable[str], allowed: Iterable[str]) -> list[str]:
    """List the scopes that are neither allowed nor included in what is; one that is no name is told as `?`."""
    wide = set(allowed)
    for name in allowed:
        wide.update(_INCLUDED.get(name, ()))
    return sorted({name if _NAME.fullmatch(name) else "?" for name in set(told) - wide})
