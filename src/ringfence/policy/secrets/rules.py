"""One table `[secrets.NAME]` to a `Secret`: every part checked on its own, hosts in canonical form."""

from msgspec import UNSET

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import EgressRule
from ringfence.model.errors import UsageError
from ringfence.model.secrets import Capture, Injection, Placing, Secret
from ringfence.policy.document import HostEntry, KeyPath, Layer
from ringfence.policy.entries import Places
from ringfence.policy.host_rules import host_rule

from .sources import source
from .tables import CaptureTable, InjectTable, SecretTable

_PLACINGS = (Placing.HEADER, Placing.QUERY, Placing.BODY)
# What a proxy or a server reads the message by; a value there would change what the request is.
_FRAMING = frozenset("connection content-length expect host te trailer transfer-encoding upgrade".split())


def secret(name: str, table: SecretTable, layer: Layer, places: Places) -> Secret:
    """Return the secret that `table`, written in `layer`, defines; raise `UsageError` for what is not sound."""
    at: KeyPath = ("secrets", name)
    if table.source is UNSET:
        hint = 'say where its value is, as in `source = { env = "TOKEN" }`'
        raise UsageError(f"`secrets.{name}` lacks `source`", place=str(layer.source(*at)), hint=hint)
    return Secret(
        name=name,
        source=source(table.source, name, layer.source(*at, "source"), places),
        inject=tuple(_injection(one, layer.source(*at, "inject", n)) for n, one in enumerate(table.inject)),
        captures=tuple(_capture(one, layer.source(*at, "capture", n)) for n, one in enumerate(table.capture)),
        variables=tuple(dict.fromkeys(table.variables)),
        optional=table.optional,
        scopes=None if table.scopes is UNSET else table.scopes,
        reason=table.reason,
        declared=layer.source(*at),
    )


def _injection(table: InjectTable, place: Source) -> Injection:
    where = _where(table, place)
    found = [placing for placing in _PLACINGS if getattr(table, placing.value) is not UNSET]
    found += [Placing.SIGV4] if table.sigv4 else []
    if len(found) != 1:
        hint = "write one of `header`, `query`, `body` and `sigv4`, and an entry for each further place"
        raise UsageError(f"an entry of `inject` names {len(found)} places in a request", place=str(place), hint=hint)
    (placing,) = found
    if (table.key_id is not UNSET) is not (placing is Placing.SIGV4):
        hint = "`key-id` names the secret that holds the access key's identifier; it belongs to `sigv4`"
        lacks = "`sigv4` needs `key-id`" if placing is Placing.SIGV4 else "`key-id` has no meaning without `sigv4`"
        raise UsageError(lacks, place=str(place), hint=hint)
    return Injection(
        host=where.host,
        placing=placing,
        name="" if placing is Placing.SIGV4 else _name(placing, str(getattr(table, placing.value)), place),
        key_id=table.key_id or "",
        ports=where.ports,
        methods=where.methods,
        paths=where.paths,
        declared=place,
    )


def _name(placing: Placing, name: str, place: Source) -> str:
    """Return the name of the header, in lower case, or of the parameter or field."""
    if placing is not Placing.HEADER:
        return name
    if name.lower() in _FRAMING:
        hint = "name a header that carries credentials, such as `authorization`"
        raise UsageError(f"nothing can be put in the header `{name.lower()}`", place=str(place), hint=hint)
    return name.lower()


def _capture(table: CaptureTable, place: Source) -> Capture:
    if not table.paths or not table.fields:
        hint = 'as in `{ host = "...", paths = ["/oauth/token"], fields = { access_token = "NAME" } }`'
        raise UsageError("an entry of `capture` needs `paths` and `fields`", place=str(place), hint=hint)
    where = _where(table, place)
    fields = tuple(sorted(table.fields.items()))
    return Capture(host=where.host, ports=where.ports, paths=where.paths, fields=fields, declared=place)


def _where(table: InjectTable | CaptureTable, place: Source) -> EgressRule:
    """Return host, ports, methods and paths as an egress rule has them."""
    methods = table.methods if isinstance(table, InjectTable) else ()
    entry = HostEntry(host=table.host, ports=table.ports, methods=methods, paths=table.paths)
    return host_rule(entry, Verdict.ALLOW, place)
