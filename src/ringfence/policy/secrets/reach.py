"""Whether secrets can be put in where their injections say: the hosts must be allowed, and their requests be seen.

An injection at a host that is tunnelled would never happen, and one nobody may reach says that its author believes in
something else than what is in force. So both are errors at load, with the line that would help.
"""

from collections.abc import Iterable

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress
from ringfence.model.errors import UsageError
from ringfence.model.secrets import Capture, Injection, Secret
from ringfence.policy.egress import grants
from ringfence.policy.hosts import bracketed, is_address
from ringfence.policy.inspected import check_inspected, meet
from ringfence.policy.parse import shown


def check_reach(secrets: Iterable[Secret], egress: Egress) -> None:
    """Raise `UsageError` for the first injection or capture at a host that is not allowed, or not inspected."""
    for secret in secrets:
        places: tuple[Injection | Capture, ...] = (*secret.inject, *secret.captures)
        for where in places:
            what = f"of the secret `{secret.name}`"
            check_inspected(where.host, where.ports, egress.rules, what=what, place=where.declared)
            _check_allowed(where, egress, secret)


def _check_allowed(where: Injection | Capture, egress: Egress, secret: Secret) -> None:
    if egress.unknown is not Verdict.DENY:
        return
    if not any(grants(rule) and meet(rule, where.host, where.ports) for rule in egress.rules):
        message = f"the secret `{secret.name}` is for {shown(bracketed(where.host))}, which no rule allows"
        raise UsageError(message, place=str(where.declared), hint=_hint(where))


def _hint(where: Injection | Capture) -> str:
    """Say what would allow the host: in the words of the command line, where the secret is written there."""
    host, port = bracketed(where.host), where.ports[0][0]
    if is_address(where.host):  # an address is not inspected unless its rule says so
        rule = f'{{ host = "{host}", ports = [{port}], inspection = "inspect" }}'
        return f"add `allow = [{rule}]` to `[network]` of a policy file"
    written = host if where.ports == ((443, 443),) else f"{host}:{port}"
    if where.declared.file == "command line" or where.declared.file.startswith("--secret "):
        return f"add `--allow {written}`"
    return f'add `allow = ["{written}"]` to `[network]`, or name a preset that allows it'
