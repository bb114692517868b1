"""Layers to the policy in force: who may say what, and whose word counts.

- A scalar comes from the highest layer that sets it: managed, cli, user, project, default. Of two layers of
  one scope the later counts, as with repeated options.
- Lists are joined, highest layer first; whoever reads them takes the first match as the answer, except that
  any denial beats every allowance.
- A project's file is written by whoever wrote the checkout. It can deny more and choose tighter values, and
  nothing else; an attempt to loosen is an error, because ignoring it would leave its author believing in it.
  INVARIANT: adding a project layer never turns a denial into an allowance (tests/properties/test_policy_layers.py).
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET

from ringfence.model.decision import Source
from ringfence.model.egress import Egress
from ringfence.model.errors import UsageError
from ringfence.model.plan import Limits
from ringfence.model.secrets import Origin, Secrets

from . import git_rules
from .document import KeyPath, Layer, PathEntry, PresetName
from .effective import ExtraMount, PathRule, Policy, TrustRules, VariableRule
from .entries import Places, mount, path_rule, write_rule
from .network import merge_network, refuse_loosening
from .parse import dotted, shown
from .permissions.own_rules import scope_of
from .presets import DEFAULT, DEFAULT_LAYER, PRESETS, Preset
from .secrets import merge as secrets
from .secrets.variables import passing
from .units import size_bytes, size_text, time_s

PRECEDENCE = ("managed", "cli", "user", "project", "default")

# Closed choices, tightest first. `debug` and `nested` both open system calls that `default` refuses.
_CHOICES: dict[KeyPath, tuple[str, ...]] = {
    ("isolation", "tier"): ("process",),
    ("isolation", "seccomp"): ("default", "debug", "nested"),
    ("workspace", "mode"): ("readonly", "overlay", "direct"),
    ("workspace", "apply"): ("ask", "exit", "live"),
    ("audit", "fsync"): ("always", "exit", "never"),
}

_Reader = Callable[[int | str], int]

_LIMITS: dict[KeyPath, tuple[str, _Reader]] = {
    ("limits", "processes"): ("processes", size_bytes),
    ("limits", "memory"): ("memory_bytes", size_bytes),
    ("limits", "cpu-time"): ("cpu_time_s", time_s),
    ("limits", "file-size"): ("file_size_bytes", size_bytes),
    ("limits", "open-files"): ("open_files", size_bytes),
    ("limits", "wall-time"): ("wall_time_s", time_s),
    ("limits", "tmp-size"): ("tmp_bytes", size_bytes),
    ("limits", "home-size"): ("home_bytes", size_bytes),
    ("limits", "run-size"): ("run_bytes", size_bytes),
    ("limits", "shm-size"): ("shm_bytes", size_bytes),
    ("limits", "workspace-size"): ("workspace_bytes", size_bytes),
}

_ROTATE: KeyPath = ("audit", "rotate-size")
_TRUST: tuple[KeyPath, ...] = (("trust", "mode"), ("trust", "only-pinned"))
_SCALARS: tuple[KeyPath, ...] = (*_CHOICES, *_LIMITS, *_TRUST, _ROTATE)

# What a project may not say at all. Paths inside the workspace need no rule, and a link there can lead anywhere.
_OPERATOR_ONLY: tuple[KeyPath, ...] = (
    ("filesystem", "read"),
    ("filesystem", "write"),
    ("filesystem", "mounts"),
    ("env", "pass"),
    ("env", "set"),
    ("permissions", "allow"),
    ("permissions", "directories"),
    ("permissions", "mode"),
    *_TRUST,
    ("trust", "pin"),
    ("trust", "forbid"),
    ("trust", "signers"),
    _ROTATE,
)
_TO_USER = "move it to the user policy `~/.config/ringfence/policy.toml`, where it is yours to grant"


def merge(layers: Sequence[Layer], *, home: str, workspace: str) -> Policy:
    """Merge `layers`, in any order, over the built-in default.

    `home` and `workspace` are absolute paths. Raises `UsageError`, with file and line, for an entry that is
    not sound and for a project layer that would loosen.
    """
    ordered = sorted([*reversed(layers), DEFAULT_LAYER], key=lambda layer: PRECEDENCE.index(layer.scope))
    _refuse_loosening(ordered)
    places = Places(home=home, workspace=workspace)
    for layer in ordered:
        scope_of(layer, home=home, workspace=workspace)
    deciding = {key: _deciding(ordered, key) for key in _SCALARS}
    presets = _named(ordered, "project")
    chosen = _named(ordered, "project", "default")
    network = merge_network(ordered, chosen)
    environment = _environment(ordered, presets)
    kept = secrets.merge_secrets(
        ordered,
        [(name, PRESETS[name].secrets) for name in chosen],
        places,
        # Off because nothing is allowed is another thing than off because somebody says so.
        egress=network.egress or (Egress() if network.origins["network.mode"].scope == "default" else None),
        variables=environment,
    )
    preset_rules = [rule for name in presets for rule in _preset_reads(name, PRESETS[name], places)]
    return Policy(
        tier=_text(deciding, "isolation", "tier"),
        seccomp=_text(deciding, "isolation", "seccomp"),
        network=network.mode,
        egress=network.egress,
        network_values=network.single_values,
        read=(*_rules(ordered, "read", places), *preset_rules),
        write=_rules(ordered, "write", places),
        deny_read=(*_rules(ordered, "deny-read", places), *_sources_of_secrets(kept)),
        deny_write=_rules(ordered, "deny-write", places),
        mounts=_mounts(ordered, places),
        environment=passing(environment, kept),
        limits=_limits(deciding),
        workspace_mode=_text(deciding, "workspace", "mode"),
        workspace_apply=_text(deciding, "workspace", "apply"),
        audit_fsync=_text(deciding, "audit", "fsync"),
        audit_rotate_bytes=size_bytes(_value(deciding[_ROTATE], _ROTATE)),
        presets=tuple(presets),
        trust=_trust(ordered, deciding),
        secrets=kept,
        signing=git_rules.signing(ordered, home),
        origins={dotted(key): layer.source(*key) for key, layer in deciding.items()} | network.origins,
    )


def _named(ordered: Sequence[Layer], *without: str) -> list[PresetName]:
    """List the presets that layers name, but for those of the scopes `without`."""
    named = [layer.document.extends or () for layer in ordered if layer.scope not in without]
    return [name for name in PRESETS if any(name in names for names in named)]


def _value(layer: Layer, key: KeyPath) -> Any:
    """Return what `layer` says under a key of a table, or UNSET."""
    table, name = (str(step).replace("-", "_") for step in key)
    return getattr(getattr(layer.document, table), {"pass": "pass_"}.get(name, name))


def _entries(layer: Layer, *key: str) -> Any:
    """Return what `layer` lists under a key of a table."""
    value = _value(layer, key)
    return () if value is UNSET else value


def _deciding(ordered: Sequence[Layer], key: KeyPath) -> Layer:
    return next(layer for layer in ordered if _value(layer, key) is not UNSET)


def _text(deciding: dict[KeyPath, Layer], *key: str) -> str:
    return str(_value(deciding[key], key))


def _limits(deciding: dict[KeyPath, Layer]) -> Limits:
    return Limits(**{field: read(_value(deciding[key], key)) for key, (field, read) in _LIMITS.items()})


def _rules(ordered: Sequence[Layer], name: str, places: Places) -> tuple[PathRule, ...]:
    build = write_rule if name == "write" else path_rule
    return tuple(
        build(entry, layer.source("filesystem", name, index), places)
        for layer in ordered
        for index, entry in enumerate(_entries(layer, "filesystem", name))
    )


def _preset_reads(name: str, preset: Preset, places: Places) -> list[PathRule]:
    source = _preset_source(name)
    return [path_rule(PathEntry(path=path, reason=reason), source, places) for path, reason in preset.read]


def _sources_of_secrets(secrets: Secrets) -> list[PathRule]:
    """Hide the files that values are read from, wherever they lie."""
    files = [one for one in secrets.secrets if one.source.origin is Origin.FILE]
    return [
        PathRule(pattern=one.source.locator, source=one.declared, reason=f"the secret `{one.name}`", literal=True)
        for one in files
    ]


def _preset_source(name: str) -> Source:
    return Source(scope="preset", file=f"preset:{name}")


def _mounts(ordered: Sequence[Layer], places: Places) -> tuple[ExtraMount, ...]:
    """Join the mounts; of two at one place the higher layer's stays."""
    mounts: dict[str, ExtraMount] = {}
    for layer in ordered:
        for index, entry in enumerate(_entries(layer, "filesystem", "mounts")):
            added = mount(entry, layer.source("filesystem", "mounts", index), places)
            mounts.setdefault(added.guest, added)
    return tuple(mounts.values())


def _environment(ordered: Sequence[Layer], presets: Sequence[str]) -> tuple[VariableRule, ...]:
    """Join the variable rules, each name once; within a layer a fixed value comes before passing."""
    rules: list[VariableRule] = []
    for layer in ordered:
        for name, value in dict(_entries(layer, "env", "set")).items():
            rules.append(VariableRule(name=name, value=value, source=layer.source("env", "set", name)))
        for index, name in enumerate(_entries(layer, "env", "pass")):
            rules.append(VariableRule(name=name, source=layer.source("env", "pass", index)))
    bundles = [(PRESETS[name], _preset_source(name)) for name in PRESETS if name in presets]
    for bundle, source in [*bundles, (DEFAULT, Source(scope="default"))]:
        rules += [VariableRule(name=name, source=source, reason=reason) for name, reason in bundle.variables]
    unique: dict[str, VariableRule] = {}
    for rule in rules:
        unique.setdefault(rule.name, rule)
    return tuple(unique.values())


def _refuse_loosening(ordered: Sequence[Layer]) -> None:
    """Raise `UsageError` for the first thing a project layer says that it may not."""
    others = [layer for layer in ordered if layer.scope != "project"]
    for layer in (layer for layer in ordered if layer.scope == "project"):
        for key in _OPERATOR_ONLY:
            if _value(layer, key) not in (UNSET, (), {}):
                raise UsageError(
                    f"a project's policy can only tighten, so it may not set `{dotted(key)}`",
                    place=str(layer.source(*key, 0)),  # of a list the first entry
                    hint=_TO_USER,
                )
        refuse_loosening(layer, _TO_USER)
        secrets.refuse_loosening(layer, _TO_USER)
        git_rules.refuse_loosening(layer, _TO_USER)
        for key in (*_CHOICES, *_LIMITS):
            _refuse_looser(layer, key, others)


def _trust(ordered: Sequence[Layer], deciding: dict[KeyPath, Layer]) -> TrustRules:
    """Join what is said of trust; where only pins count, only the layer that says so and those above it are heard."""
    decider = deciding["trust", "only-pinned"]
    only = bool(decider.document.trust.only_pinned)
    heard = ordered[: ordered.index(decider) + 1] if only else ordered
    return TrustRules(
        mode=_text(deciding, "trust", "mode"),
        pinned=tuple(digest for layer in heard for digest in _entries(layer, "trust", "pin")),
        signers=tuple(key for layer in heard for key in _entries(layer, "trust", "signers")),
        forbidden=tuple(digest for layer in ordered for digest in _entries(layer, "trust", "forbid")),
        only_pinned=only,
    )


def _refuse_looser(layer: Layer, key: KeyPath, others: Sequence[Layer]) -> None:
    """Raise where `layer` is looser than both the default and what is in force without it."""
    value = _value(layer, key)
    # Compared with the looser of the two: where a higher layer sets the key, that layer decides anyway, and
    # a project's value between the default and the user's must not become an error by the user's choice.
    bound = max(
        (_value(other, key) for other in (DEFAULT_LAYER, _deciding(others, key))), key=lambda v: _looseness(key, v)
    )
    if value is not UNSET and _looseness(key, value) > _looseness(key, bound):
        is_size = key in _LIMITS and _LIMITS[key][0].endswith("_bytes")  # the default's are numbers
        most = size_text(bound) if is_size and isinstance(bound, int) else bound
        raise UsageError(
            f"a project's policy can only tighten, and `{dotted(key)}` {shown(value)} is looser than {shown(most)}",
            place=str(layer.source(*key)),
            hint=_TO_USER,
        )


def _looseness(key: KeyPath, value: int | str) -> float:
    """Order the values of a scalar from tight to loose; a limit of 0 is no limit."""
    if key in _CHOICES:
        return _CHOICES[key].index(str(value))
    return _LIMITS[key][1](value) or float("inf")
