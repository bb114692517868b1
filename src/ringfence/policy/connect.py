"""What somebody asks about the network, as text, to a decision: `HOST[:PORT]`, a URL, or `METHOD URL`.

The answer is what a run would meet: the rules about the connection, those about the request, and for an address those
about addresses. What a name resolves to is known only when it is asked for.
"""

import re

import msgspec

from ringfence.model.decision import Decision, Verdict
from ringfence.model.egress import Egress, EgressRule

from . import egress as rules
from . import urls
from .hosts import bracketed, canonical_host, is_address

_URL = re.compile(r"(https?)://(\[[^\]]*\]|[^\[\]/?#:]*)(?::([0-9]{1,5}))?(/[^?#]*)?([?#].*)?", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
_METHOD = re.compile(r"[A-Z][A-Z0-9-]*")
_LISTS = {Verdict.ALLOW: "allow", Verdict.ASK: "ask", Verdict.DENY: "deny"}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A host, `port` 0 where none was named, and the request on it, `method` empty where there is none."""

    host: str
    port: int = 0
    scheme: str = ""
    method: str = ""
    path: str = ""

    def __str__(self) -> str:
        where = bracketed(self.host) if self.port else self.host
        if self.port and self.port != _PORTS.get(self.scheme):
            where += f":{self.port}"
        return f"{self.method} {self.scheme}://{where}{self.path}" if self.method else where


def asked(text: str) -> Asked:
    """Read what is asked about; raise ValueError, with the reason, for what is none of the three forms."""
    method, _, url = text.rpartition(" ")
    if "://" in url:
        return _request(method or "GET", url)
    if method:
        raise ValueError("a method stands before a URL, as in `GET https://example.com/`")
    host, port = text, ""
    if "]:" in text or text.count(":") == 1:
        host, _, port = text.rpartition(":")
        if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
            raise ValueError("ports are whole numbers from 1 to 65535")
    return Asked(host=canonical_host(host), port=int(port or 0))


def decide(egress: Egress, what: Asked) -> Decision:
    """Decide as the rules do; without a port, as loosely as for any port of the host."""
    if not what.port:
        found = rules.decide_name(egress, what.host)
    elif what.method:
        request = rules.Request(host=what.host, port=what.port, scheme=what.scheme, method=what.method, path=what.path)
        found = rules.decide_request(egress, request)
    else:
        found = rules.decide_connection(egress, what.host, what.port)
    if is_address(what.host):
        ports = [what.port] if what.port else [low for rule in egress.rules for low, _ in rule.ports]
        at = [rules.resolves_to(egress, what.host, port, what.host) for port in ports or [443]]
        return max(found, min(at, key=lambda one: one.verdict), key=lambda one: one.verdict)
    return found


def rule_of(egress: Egress, decision: Decision) -> EgressRule | None:
    """Find the rule that a decision names; of several rules of a preset about one host, the one of its reason."""
    named = [rule for rule in egress.rules if rule.source == decision.source and rules.rule_text(rule) == decision.rule]
    alike = [rule for rule in named if rule.reason == decision.reason and rule.verdict is decision.verdict]
    return next(iter([*alike, *named]), None)


def quoted(egress: Egress, decision: Decision) -> str:
    """Write the rule that a decision names the way it stands in a policy file, with what narrows it."""
    rule = rule_of(egress, decision)
    if rule is None:
        return 'network.unknown = "ask"' if egress.unknown is decision.verdict is Verdict.ASK else ""
    narrowed = [" ".join(part) for part in (rule.methods, rule.paths) if part]
    return f'network.{_LISTS[rule.verdict]} = "{decision.rule}"' + (f" ({', '.join(narrowed)})" if narrowed else "")


def _request(method: str, url: str) -> Asked:
    found = _URL.fullmatch(url)
    if not _METHOD.fullmatch(method):
        raise ValueError("a method is in capital letters, as in `GET https://example.com/`")
    if found is None:
        raise ValueError("a URL is `http://HOST[:PORT]/PATH` or `https://...`")
    scheme, host, port, path, _ = found.groups()
    number = int(port) if port else _PORTS[scheme.lower()]
    if not 0 < number < 65536:
        raise ValueError("ports are whole numbers from 1 to 65535")
    return Asked(
        host=canonical_host(host), port=number, scheme=scheme.lower(), method=method, path=urls.canonical(path or "/")
    )
