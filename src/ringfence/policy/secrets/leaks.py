"""The `leaks` tables of all layers: what may carry a secret out, and what a run loses that reached for one."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from ringfence.model.decision import Verdict
from ringfence.model.errors import UsageError
from ringfence.model.secrets import Leaks, TaintResponse
from ringfence.policy.document import HostEntry, Layer
from ringfence.policy.host_rules import host_rule
from ringfence.policy.parse import nearest

_VERDICTS = {"deny": Verdict.DENY, "ask": Verdict.ASK, "allow": Verdict.ALLOW}
OPERATOR_KEYS = ("exempt", "rules", "mentions")
"""What a project may not say; the other keys count where they are tighter."""
_SEARCHING = ("known", "found", "exempt", "rules")
RULES = frozenset(
    """
    age-secret-key anthropic-key assigned-secret aws-access-key aws-secret-key azure-client-secret azure-storage-key
    databricks-token digitalocean-token discord-webhook docker-token github-fine-grained-token github-token gitlab-token
    google-api-key google-client-secret google-oauth-token grafana-token groq-key hashicorp-vault-token
    huggingface-token json-web-token linear-key mailgun-key notion-token npm-token openai-key password-in-url
    private-key pypi-token replicate-token rubygems-token sendgrid-key shopify-token slack-token slack-webhook
    stripe-key telegram-bot-token twilio-key xai-key
    """.split()
)
"""The rules for credentials that there are (secrets/credentials.py, which policy does not load)."""


def leaks(ordered: Sequence[Layer]) -> Leaks | None:
    """Merge what is said of leaks, highest layer first; None where no layer says anything."""
    written = [layer for layer in ordered if any(_said(layer, name) is not UNSET for name in _SEARCHING)]
    if not written:
        return None
    rules = next((said for layer in written if (said := _rules(layer)) is not None), None)
    return Leaks(
        known=_verdict(written, "known"),
        found=_verdict(written, "found"),
        exempt=_hosts(written, "exempt"),
        rules=rules,
    )


def mentions(operator: Sequence[Layer], hosts: Sequence[str]) -> tuple[str, ...]:
    """Return the hosts that may be told of placeholders: those named, and `hosts`, which presets bring."""
    return tuple(sorted({*_hosts(operator, "mentions"), *hosts}))


def on_taint(ordered: Sequence[Layer]) -> TaintResponse:
    """Return what a run loses once something in it has reached for a secret.

    Some responses are neither tighter nor looser than each other: a project's counts where the operator's is `record`,
    or it is `off` itself.
    """
    ours, theirs = _operator(ordered, "on_taint"), _project(ordered, "on_taint")
    response = TaintResponse.NO_NEW_HOSTS if ours is UNSET else TaintResponse(ours)
    for other in map(TaintResponse, theirs):
        if response is TaintResponse.RECORD or other is TaintResponse.OFF:
            response = other
    return response


def refused_keys(layer: Layer) -> list[str]:
    """List what a project's table says that it may not."""
    return [name for name in OPERATOR_KEYS if _said(layer, name) not in (UNSET, ())]


def _verdict(written: Sequence[Layer], name: str) -> Verdict:
    ours = _operator(written, name)
    said = ["deny" if ours is UNSET else ours, *_project(written, name)]
    return max(_VERDICTS[word] for word in said)


def _said(layer: Layer, name: str) -> Any:
    table = layer.document.leaks
    return UNSET if table is UNSET else getattr(table, name)


def _rules(layer: Layer) -> tuple[str, ...] | None:
    """Return the rules that a layer names, None where it says nothing; raise `UsageError` for one there is not."""
    said = _said(layer, "rules")
    if said is UNSET:
        return None
    for index, name in enumerate(said):
        if name not in RULES:
            meant = nearest(name, sorted(RULES))
            hint = f"did you mean `{meant}`?" if meant else "docs/secrets.md lists them"
            place = str(layer.source("leaks", "rules", index))
            raise UsageError(f"there is no rule `{name}` for credentials", place=place, hint=hint)
    return tuple(sorted(set(said)))


def _operator(ordered: Sequence[Layer], name: str) -> Any:
    """Return what the highest layer says that is not a project's, or UNSET."""
    said = (_said(layer, name) for layer in ordered if layer.scope != "project")
    return next((value for value in said if value is not UNSET), UNSET)


def _project(ordered: Sequence[Layer], name: str) -> list[str]:
    said = (_said(layer, name) for layer in ordered if layer.scope == "project")
    return [value for value in said if value is not UNSET]


def _hosts(layers: Sequence[Layer], name: str) -> tuple[str, ...]:
    """Join the hosts that layers list, in canonical form."""
    found = set()
    for layer in layers:
        said = _said(layer, name)
        for index, host in enumerate(() if said is UNSET else said):
            place = layer.source("leaks", name, index)
            found.add(host_rule(HostEntry(host=host, ports=(443,)), Verdict.ALLOW, place).host)
    return tuple(sorted(found))
