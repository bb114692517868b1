"""Deployment patterns: presets that say how a run is watched and, for that, the least that must hold.

| pattern | who watches | holds |
|---|---|---|
| `daily` | a person | changes arrive as they are made; hosts that no rule names are asked about |
| `refactor` | a person, at the end | edits are accepted; hosts that no rule names are denied |
| `triage` | a person; the checkout is hostile | nothing can be changed, no secret of yours, no host but a model's |
| `pipeline` | nobody | changes kept apart, an allow-list, requests searched for secrets, all of it recorded |

What a pattern sets stands just below the layer that names it, so that layer can say otherwise; the floor is checked
against what is in force in the end. INVARIANT: no layer gets a run below it (tests/unit/session/test_deployments.py).
The tier is `process` for all four: a stronger one is no policy's to choose yet.
"""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from ringfence.model.decision import Verdict
from ringfence.model.errors import UsageError
from ringfence.policy import layers
from ringfence.policy.document import (
    AuditTable,
    Document,
    Env,
    Filesystem,
    Isolation,
    Layer,
    LimitsTable,
    Network,
    Pattern,
    PermissionsTable,
    TrustTable,
    WorkspaceTable,
)
from ringfence.policy.effective import Policy
from ringfence.policy.git_tables import GitTable
from ringfence.policy.secrets.tables import LeaksTable

Floor = tuple[tuple[str, tuple[str, ...]], ...]
"""Dotted keys, each with the values that are tight enough."""


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern. Where `bare`, no layer but the command line grants anything, and that no secret and no write."""

    purpose: str
    settings: Document
    floor: Floor = ()
    bare: bool = False


_APART = ("workspace.mode", ("readonly", "overlay"))
_LISTED = ("network.unknown", ("deny",))
_PLAIN = ("isolation.seccomp", ("default",))
_HIDDEN = ("trust.mode", ("hide", "refuse"))

DEPLOYMENTS: dict[Pattern, Deployment] = {
    "daily": Deployment(
        purpose="a person works along: changes arrive as they are made, other hosts are asked about",
        settings=Document(
            version=1,
            network=Network(unknown="ask"),
            workspace=WorkspaceTable(mode="overlay", apply="live"),
            permissions=PermissionsTable(mode="default"),
            trust=TrustTable(mode="hide"),
        ),
        floor=(_APART,),
    ),
    "refactor": Deployment(
        purpose="a person reads the result: edits are accepted, other hosts are denied",
        settings=Document(
            version=1,
            network=Network(unknown="deny"),
            workspace=WorkspaceTable(mode="overlay", apply="exit"),
            permissions=PermissionsTable(mode="acceptEdits"),
            trust=TrustTable(mode="hide"),
        ),
        floor=(_APART, _LISTED),
    ),
    "triage": Deployment(
        purpose="a look at a hostile checkout: read-only, no host but a model's, no secret, no command that changes",
        settings=Document(
            version=1,
            isolation=Isolation(seccomp="default"),
            network=Network(unknown="deny"),
            limits=LimitsTable(wall_time="30m"),
            workspace=WorkspaceTable(mode="readonly"),
            permissions=PermissionsTable(mode="plan"),
            trust=TrustTable(mode="hide"),
            audit=AuditTable(fsync="always"),
        ),
        floor=(("workspace.mode", ("readonly",)), _LISTED, _PLAIN, _HIDDEN),
        bare=True,
    ),
    "pipeline": Deployment(
        purpose="nobody watches: changes apart, hosts by allow-list, secrets by injection, everything on record",
        settings=Document(
            version=1,
            isolation=Isolation(seccomp="default"),
            network=Network(unknown="deny"),
            limits=LimitsTable(wall_time="2h"),
            workspace=WorkspaceTable(mode="overlay", apply="exit"),
            permissions=PermissionsTable(mode="bypassPermissions"),
            trust=TrustTable(mode="hide"),
            audit=AuditTable(fsync="always"),
            leaks=LeaksTable(known="deny", found="allow"),
        ),
        floor=(_APART, _LISTED, _PLAIN, _HIDDEN, ("audit.fsync", ("always", "exit"))),
    ),
}


def named(layer: Layer) -> list[Pattern]:
    """List the patterns that `layer` names."""
    return [name for name in DEPLOYMENTS if name in (layer.document.extends or ())]


def expanded(given: Sequence[Layer]) -> list[Layer]:
    """Put what each pattern sets just below the layer that names it; of a bare one, take the other layers' grants away.

    As everywhere, of two layers of one scope the later counts. Raises `UsageError` for a project that names one.
    """
    found = []
    for layer in given:
        for name in named(layer):
            if layer.scope == "project":
                place = str(layer.source("extends"))
                hint = "name it with `--preset`, or in your own policy"
                raise UsageError(f"a project cannot choose the pattern `{name}`", place=place, hint=hint)
            found.append(Layer(scope=layer.scope, file=f"preset:{name}", document=DEPLOYMENTS[name].settings))
        found.append(layer)
    if any(DEPLOYMENTS[name].bare for layer in given for name in named(layer)):
        return [_without_grants(layer) for layer in found]
    return found


def merged(given: Sequence[Layer], *, home: str, workspace: str) -> Policy:
    """Merge layers that are `expanded`; raise `UsageError` where that is below the floor of a pattern they name."""
    policy = layers.merge(given, home=home, workspace=workspace)
    check_floor(policy.presets, policy)
    return policy


def _without_grants(layer: Layer) -> Layer:
    """Return the layer with what it denies and sets; only the command line and what is built in grant besides."""
    if layer.scope in ("cli", "default"):
        return layer
    document = layer.document
    replace = msgspec.structs.replace
    closed = replace(
        document,
        extends=tuple(named(layer)) or UNSET,
        filesystem=Filesystem(deny_read=document.filesystem.deny_read, deny_write=document.filesystem.deny_write),
        network=replace(document.network, allow=UNSET, ask=UNSET, publish=UNSET, gateways=UNSET),
        env=Env(),
        secrets=UNSET,
        secret_files=UNSET,
        git=GitTable(),
    )
    return replace(layer, document=closed)


def check_floor(names: Sequence[str], policy: Policy) -> None:
    """Raise `UsageError`, with the place that says so, where `policy` is looser than a preset in `names` needs."""
    for name, deployment in DEPLOYMENTS.items():
        if name not in names:
            continue
        check_values(f"`{name}`", deployment.floor, policy)
        if deployment.bare:
            _check_bare(f"`{name}`", policy)


def check_values(who: str, floor: Floor, policy: Policy) -> None:
    """Raise `UsageError` where a value of `policy` is looser than `floor`, on behalf of `who`."""
    for key, enough in floor:
        value = _values(policy)[key]
        if value not in enough:
            raise _below(who, f"`{key}` is `{value}`", str(policy.origins[key]), enough)


def refuse_learning(names: Sequence[str]) -> None:
    """Raise `UsageError` where a pattern in `names` keeps out what no rule names, which a run that learns reaches."""
    for name, deployment in DEPLOYMENTS.items():
        if name in names and _LISTED in deployment.floor:
            hint = "learn without the preset, then run with it"
            raise UsageError(f"`{name}` keeps hosts that no rule names out of reach", hint=hint)


def refuse_foreign(names: Sequence[str]) -> None:
    """Raise `UsageError` where `names` has a pattern: another tool's settings choose what it would settle."""
    for name in DEPLOYMENTS:
        if name in names:
            hint = "take the preset out of your policy, or turn the settings into one: `ringfence init --from-srt`"
            raise UsageError(f"`{name}` does not hold for a run under another tool's settings", hint=hint)


def _values(policy: Policy) -> dict[str, str]:
    unknown = policy.egress.unknown if policy.egress else Verdict.DENY
    return {
        "workspace.mode": policy.workspace_mode,
        "network.unknown": unknown.name.lower(),
        "isolation.seccomp": policy.seccomp,
        "trust.mode": policy.trust.mode,
        "audit.fsync": policy.audit_fsync,
    }


def _check_bare(who: str, policy: Policy) -> None:
    for rule in policy.write:
        raise _below(who, f"`{rule.pattern}` can be written", str(rule.source))
    for mount in policy.mounts:
        if mount.writable:
            raise _below(who, f"`{mount.guest}` can be written", str(mount.source))
    for secret in policy.secrets.secrets:
        if secret.declared.scope not in ("preset", "default"):
            raise _below(who, f"it would have the secret `{secret.name}`", str(secret.declared))


def _below(who: str, what: str, place: str, enough: Sequence[str] = ()) -> UsageError:
    hint = "it takes " + " or ".join(f"`{value}`" for value in enough) if enough else "leave it out"
    return UsageError(f"{who} refuses to start: {what}", place=place, hint=hint)
