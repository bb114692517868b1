"""One request on its way out: placeholders where they belong become values; anywhere else they stop it.

Theory of operation. The rightful places are emptied first (injecting.py, with masks). What is left must hold no
placeholder (misuse), no value that the vault knows and nothing that a rule takes for a credential (leaks), in any of
the forms of encodings.py and leaks.py. Then the request is made that goes upstream, with values in the same places.

A body is judged as it flows; what could be the beginning of something is kept back, so that what is known never leaves,
however it is cut. Only where a value must go into the body, or its hash into a signature, it is judged as a whole.
SECURITY: a request that is stopped in its middle has reached the host in part; what stopped it has not.
"""

from collections.abc import Callable, Sequence

import msgspec

from ringfence.model.decision import Verdict
from ringfence.model.passage import WHOLE_BYTES, Destination, Doubt, Headers, Noted, Outgoing, Stopped
from ringfence.model.secrets import Leaks, Placing
from ringfence.policy.hosts import matches

from . import sigv4
from .coding import Decoder, UnreadableError, coding
from .holdings import Holdings
from .injecting import Table, in_form, in_header, in_json, in_query, swapped
from .leaks import Rules, Watch
from .scanner import Hit, Kind, apply

_JSON = (b"application/json", b"+json")
_FORM = b"application/x-www-form-urlencoded"
_BODY = "the body"
_MESSAGE = "a message over its WebSocket"
_WATCHED = ("its head", _BODY, _BODY, _MESSAGE)  # the second body is the one without its coding
_SAFE = (b"GET", b"HEAD")
_NOT_AT_INTIMATES = (b"range", b"if-range", b"sec-websocket-extensions")
MASK = b"."
_NO_LEAKS = Leaks(known=Verdict.ALLOW, found=Verdict.ALLOW)


class Sending:
    """The request's side of a passage."""

    def __init__(
        self, holdings: Holdings, rules: Rules, destination: Destination, request: Outgoing, *, settled: bool
    ) -> None:
        """Prepare to judge; `settled`: the operator has said yes to what policy asks about first in the head."""
        self._holdings = holdings
        self._request = request
        self._host = destination.host
        self._leaks = holdings.policy.leaks or _NO_LEAKS
        self._settled = settled
        self._asked = ""
        self._agreed: set[str] = set()  # what the operator has said yes to: names of secrets and of rules
        self._injections = holdings.injections(destination, request)
        self.intimate = holdings.is_intimate(destination)
        exempt = any(matches(pattern, self._host) for pattern in self._leaks.exempt)
        self._searched = holdings.policy.leaks is not None and not exempt
        named = any(matches(pattern, self._host) for pattern in holdings.policy.mentions)
        self._told = named and destination.scheme == "https"
        # SECURITY: where a run has a credential of its own, another one sends data to somebody else's account.
        home = not holdings.is_served(destination)
        self._watch: Callable[[], Watch] = lambda: Watch(rules, destination.host, home=home)
        self._watches = [self._watch() for _ in _WATCHED]
        self._kept = self._kept_decoded = b""
        self._decoder: Decoder | None = None
        self._body = b""
        self._claims = self._claimed()
        self.used: set[str] = set()
        self.signed = False
        self.whole = self._needs_whole()
        self.notes: list[Noted] = []

    # ---- the head

    def judge_head(self) -> Stopped | Doubt | None:
        """Judge the head; it is asked for with `head` afterwards."""
        problem = self._signature_problem()
        if problem is not None:
            return problem
        masked = self._placed(self._request, lambda name: _masks(self._holdings.values(name)), note=True)
        masked = self._without_identifiers(masked)
        text = b"\n".join((masked.target, *(name + b": " + value for name, value in masked.headers)))
        names = [b"", *(name for name, _ in masked.headers)]
        verdict, _ = self._judged(0, text, lambda hit: _place(names, text, hit), last=True)
        self._settled = False
        if verdict is None:
            verdict = self._unfit() or self._scopes()
        if verdict is None and coding(self._request.headers) in ("gzip", "x-gzip", "deflate"):
            self._decoder = Decoder(coding(self._request.headers))
        return verdict

    def head(self) -> Outgoing | Stopped:
        """Give the head with its values; after the whole body where one is needed."""
        final = self._placed(self._request, self._holdings.values)
        headers = list(final.headers)
        if self.intimate:  # what is asked for in pieces cannot be searched, also where a value was stored before
            headers = [_narrowed(field) for field in headers if field[0] not in _NOT_AT_INTIMATES]
        if self.whole:
            headers = [field for field in headers if field[0] not in (b"content-length", b"transfer-encoding")]
            headers.append((b"content-length", b"%d" % len(self._body)))
        final = msgspec.structs.replace(final, headers=headers)
        for told, keys, _ in self._claims:
            signed = sigv4.signed_anew(self._request, final, told, keys, body=self._body)
            if signed is None:
                return Stopped("secret-misuse", "its signature was not made with the placeholder of the key")
            self.signed, final = True, signed
        self.notes += [Noted("injected", name) for name in sorted(self.used)]
        self.notes += [Noted("injected", name, "signature") for _, _, name in self._claims]
        return final

    def trailers(self, fields: Headers) -> Headers | Stopped:
        """Judge the fields behind the body; nothing is put into them."""
        text = b"\n".join(name + b": " + value for name, value in fields)
        verdict, _ = self._judged(0, text, lambda _: "a trailer", last=True)
        return _unasked(verdict) or fields  # nobody is asked about the last bytes of what has been sent

    def name(self) -> Stopped | None:
        """Judge the host's name, in which a text has lost its capitals, and may be cut by dots. Nobody is asked."""
        host = self._host.encode()
        joined = host.replace(b".", b"")
        readings = b" ".join((self._holdings.restored(host), self._holdings.restored(joined), joined.upper()))
        verdict, _ = self._judged(0, readings, lambda _: "the name of a host", last=True)
        return _unasked(verdict)

    def message(self, text: bytes, last: bool) -> tuple[Stopped | None, int]:
        """Judge the text of a message; as `_judged`. Nothing is put into it, and nobody is asked."""
        verdict, cut = self._judged(3, text, lambda _: _MESSAGE, last=last)
        if last:
            self._watches[3] = self._watch()
        return _unasked(verdict), cut

    def settle(self) -> None:
        """Take the operator's yes to what was asked last; what else turns up is asked about anew."""
        self._agreed.add(self._asked)

    def _placed(self, request: Outgoing, table: Callable[[str], Table], *, note: bool = False) -> Outgoing:
        """Replace in the head, at every rightful place; with `note`, what was replaced is added to `used`."""
        target, headers = request.target, list(request.headers)
        for name, rule in self._injections:
            before = target, headers
            if rule.placing is Placing.HEADER:
                headers = [
                    (found, in_header(value, table(name)) if found == rule.name.encode() else value)
                    for found, value in headers
                ]
            elif rule.placing is Placing.QUERY:
                target = in_query(target, rule.name, table(name))
            if note and before != (target, headers):
                self.used.add(name)
        return msgspec.structs.replace(request, target=target, headers=headers)

    def _unfit(self) -> Stopped | None:
        """Refuse a value that would be more than one line of a head."""
        for name in self.used:
            if any(byte < 0x20 or byte == 0x7F for value in self._holdings.values(name).values() for byte in value):
                return Stopped("secret-unfit", f"the value of `{name}` has several lines or control characters", name)
        return None

    def _scopes(self) -> Stopped | None:
        """Refuse a token that may do more than policy says, and its use before that is known but to find out."""
        for name in sorted(self.used):
            if self._holdings.secret(name).scopes is None:
                continue
            excess = self._holdings.excess.get(name)
            if excess is None and self._request.method not in _SAFE:
                reason = f"the scopes of `{name}` are not known before an answer to a request that reads"
                return Stopped("secret-scope", reason, name)
            if excess:
                return Stopped("secret-scope", f"`{name}` has scopes beyond its policy: {', '.join(excess)}", name)
        return None

    # ---- signatures

    def _claimed(self) -> list[tuple[sigv4.Claim, tuple[sigv4.Keys, sigv4.Keys], str]]:
        """Find the signature that is to be made anew: the keys whose placeholder made it, and the true ones."""
        told = sigv4.claim(self._request)
        for name, rule in self._injections if told is not None else ():
            if rule.placing is Placing.SIGV4 and told is not None:
                identifier = self._holdings.values(rule.key_id).get(told.identifier)
                for stand_in, secret in self._holdings.values(name).items() if identifier is not None else ():
                    keys = sigv4.Keys(told.identifier, stand_in), sigv4.Keys(identifier or b"", secret)
                    return [(told, keys, name)]
        return []

    def _signature_problem(self) -> Stopped | None:
        problem = sigv4.payload_problem(self._request) if self._claims else ""
        return Stopped("secret-unsignable", problem, self._claims[0][2]) if problem else None

    def _without_identifiers(self, request: Outgoing) -> Outgoing:
        """Take the identifier away from where a signature names it."""
        for told, _, _ in self._claims:
            table = _masks({told.identifier: b""})
            headers = [(n, swapped(v, table) if n == b"authorization" else v) for n, v in request.headers]
            target = in_query(request.target, "X-Amz-Credential", table) if told.presigned else request.target
            request = msgspec.structs.replace(request, target=target, headers=headers)
        return request

    # ---- the body

    def _needs_whole(self) -> bool:
        in_body = any(rule.placing is Placing.BODY for _, rule in self._injections)
        return (in_body and bool(self._body_kind())) or any(
            sigv4.needs_body(self._request, told) for told, _, _ in self._claims
        )

    def _body_kind(self) -> str:
        stated = next((value for name, value in self._request.headers if name == b"content-type"), b"")
        kind = stated.partition(b";")[0].strip().lower()
        if kind == _FORM:
            return "form"
        return "json" if kind.endswith(_JSON) else ""

    def body(self, data: bytes, *, last: bool) -> bytes | Stopped | Doubt:
        """Judge the next piece; give what may go now. With a Doubt everything is kept until it is settled."""
        text = self._kept + data
        if self.whole and len(text) > WHOLE_BYTES:
            return Stopped("secret-body", "the body is too long to be judged")
        unreadable = self._decode(data, last=last)
        if unreadable is not None or (self.whole and not last):
            self._kept = text
            return unreadable or b""
        masked = self._in_body(text, lambda name: _masks(self._holdings.values(name))) if self.whole else text
        verdict, cut = self._judged(1, masked, lambda _: _BODY, last=last)
        verdict = verdict or self._decoded(last=last)
        if verdict is not None:
            self._kept = text
            return verdict
        if self.whole:
            self._body, self._kept = self._in_body(text, self._holdings.values, note=True), b""
            return self._scopes() or self._body
        self._kept = text[cut:]
        return text[:cut]

    def _in_body(self, text: bytes, table: Callable[[str], Table], *, note: bool = False) -> bytes:
        kind = self._body_kind()
        for name, rule in self._injections:
            if rule.placing is Placing.BODY and kind:
                before = text
                text = (in_form if kind == "form" else in_json)(text, rule.name, table(name))
                if note and text != before:
                    self.used.add(name)
        return text

    def _decode(self, data: bytes, *, last: bool) -> Stopped | None:
        if self._decoder is None:
            return None
        try:
            self._kept_decoded += self._decoder.feed(data, last=last)
        except UnreadableError as error:
            return Stopped("secret-body", f"the body cannot be read: {error}")
        if self.whole and len(self._kept_decoded) > WHOLE_BYTES:
            return Stopped("secret-body", "the body expands to more than can be judged")
        return None

    def _decoded(self, *, last: bool) -> Stopped | Doubt | None:
        """Judge what a compressed body holds; what passes is the compressed one."""
        verdict, cut = self._judged(2, self._kept_decoded, lambda _: _BODY, last=last)
        if verdict is None:
            self._kept_decoded = self._kept_decoded[cut:]
        return verdict

    # ---- verdicts

    def _judged(
        self, which: int, text: bytes, place: Callable[[Hit], str], *, last: bool
    ) -> tuple[Stopped | Doubt | None, int]:
        """Judge a text of one of the watches; return the verdict, and from where on the text must wait for more."""
        hits, hold = self._holdings.outbound.scan(text, last=last)
        misused = next((hit for hit in hits if hit.kind is Kind.PLACEHOLDER), None)
        # A model is told what programs print, and `env` prints placeholders: in bodies there they stay as they are.
        if misused is not None and not (self._told and which):
            reason = f"the placeholder of `{misused.name}` stands in {place(misused)}, where no rule puts a value"
            return Stopped("secret-misuse", f"{reason} for {self._elsewhere(misused.name)}", misused.name), hold
        if not self._searched:
            return None, hold
        verdict = None
        values = [hit for hit in reversed(hits) if hit.kind is not Kind.PLACEHOLDER]
        for hit in {hit.name: hit for hit in values}.values():
            reason = f"the value of `{hit.name}` stands in {place(hit)}, on its way to {self._host}"
            verdict = verdict or self._by_policy(self._leaks.known, reason, hit.name)
        # What policy says of known values is said: they are not looked at by the rules as well.
        unknown = masked(text, hits)
        found, until = self._watches[which].judge(unknown, last=last)
        if verdict is None and found is not None:
            reason = f"a credential (`{found}`) stands in {_WATCHED[which]}, on its way to {self._host}"
            verdict = self._by_policy(self._leaks.found, reason, rule=found)
        cut = min(hold, until)
        if verdict is None:
            self._watches[which].passed(unknown[:cut])
        return verdict, cut

    def _elsewhere(self, name: str) -> str:
        """Name the host, and where rules put a value of this secret in there, if not into this."""
        rules = self._holdings.injected(name, self._host)
        conditions = [" ".join(("TLS", *rule.methods, *rule.paths)) for rule in rules]
        return self._host + (f"; its rules there are for {' or '.join(dict.fromkeys(conditions))}" if rules else "")

    def _by_policy(self, verdict: Verdict, reason: str, name: str = "", *, rule: str = "") -> Stopped | Doubt | None:
        if verdict is Verdict.DENY:
            return Stopped("secret-leak", reason, name)
        if verdict is Verdict.ASK and (name or rule) not in self._agreed:
            self._asked = name or rule
            if not self._settled:
                return Doubt("secret-leak", reason, name)
            self._settled = False
            self.settle()
        note = Noted("leak-allowed", name, reason)
        if note not in self.notes:
            self.notes.append(note)
        return None


def masked(text: bytes, hits: Sequence[Hit]) -> bytes:
    """Return `text` with nothing to be read where something was found."""
    blank = [msgspec.structs.replace(hit, replacement=MASK * (hit.end - hit.start)) for hit in hits]
    return apply(text, blank, len(text))


def _unasked(verdict: Stopped | Doubt | None) -> Stopped | None:
    return Stopped(verdict.code, verdict.reason, verdict.secret) if isinstance(verdict, Doubt) else verdict


def _masks(table: Table) -> dict[bytes, bytes]:
    return {stand_in: MASK * len(stand_in) for stand_in in table}


def _place(names: Sequence[bytes], text: bytes, hit: Hit) -> str:
    name = names[min(text.count(b"\n", 0, hit.start), len(names) - 1)]
    return f"the header `{name.decode('ascii', 'replace')}`" if name else "the URL"


def _narrowed(field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = field
    if name != b"accept-encoding":
        return field
    return name, b"gzip, identity" if b"gzip" in value.lower() else b"identity"
