"""The secrets of all layers and presets to the `Secrets` of a run.

- Of two definitions of one name the higher layer's is the only one; a preset's, and what an agent is given by
  default, come last. `enabled = false` takes a definition back, and with it those below.
- A project defines none, and takes none back: without one the variable's real value could pass.
- Nothing depends on the order within a layer.
INVARIANT: adding a project's layer adds no secret, no place to put one in and no file, and loosens no verdict
(tests/properties/test_secrets_policy.py).
"""

from collections.abc import Iterable, Sequence

from msgspec import UNSET

from ringfence.model.decision import Source
from ringfence.model.egress import Egress
from ringfence.model.errors import UsageError
from ringfence.model.secrets import Secret, Secrets
from ringfence.policy.document import Document, Layer, PresetName
from ringfence.policy.effective import VariableRule
from ringfence.policy.entries import Places

from .files import files
from .leaks import leaks, mentions, on_taint, refused_keys
from .presets import MODELS
from .reach import check_reach
from .rules import secret
from .tables import SecretTable
from .variables import settled

Bundle = tuple[PresetName, tuple[tuple[str, SecretTable], ...]]
"""A preset's name, and its secrets by name."""


def merge_secrets(
    ordered: Sequence[Layer],
    bundles: Sequence[Bundle],
    places: Places,
    *,
    egress: Egress | None,
    variables: Sequence[VariableRule],
) -> Secrets:
    """Merge what `ordered`, highest layer first, and the presets in `bundles` say of secrets.

    Raises `UsageError`, with file and line, for what is not sound by itself or beside the rest: a name that is no
    secret's, a variable that is filled twice, a host that the network does not allow or not look into.
    """
    operator = [layer for layer in ordered if layer.scope != "project"]
    defined = (secret(name, table, layer, places) for name, (table, layer) in _defined(operator, bundles).items())
    secrets = settled(defined, variables)
    _check_references(secrets)
    if egress is not None:
        check_reach(secrets, egress)
    return Secrets(
        secrets=secrets,
        files=files(operator, {one.name for one in secrets}),
        leaks=leaks(ordered),
        mentions=mentions(operator, [host for name, _ in bundles for host in MODELS.get(name, ())]),
        on_taint=on_taint(ordered),
    )


def refuse_loosening(layer: Layer, hint: str) -> None:
    """Raise `UsageError` for what a project's tables about secrets may not say."""
    document = layer.document
    places = [(f"secrets.{name}", layer.source("secrets", name)) for name in document.secrets or ()]
    places += [("secret-files", layer.source("secret-files"))] if document.secret_files else []
    places += [(f"leaks.{name}", layer.source("leaks", name)) for name in refused_keys(layer)]
    for key, place in places:
        raise UsageError(f"a project's policy can only tighten, so it may not set `{key}`", place=str(place), hint=hint)


def _defined(operator: Sequence[Layer], bundles: Iterable[Bundle]) -> dict[str, tuple[SecretTable, Layer]]:
    """Map each name to the definition that counts."""
    found: dict[str, tuple[SecretTable, Layer]] = {}
    for layer in operator:
        named = layer.document.secrets
        for name, table in ({} if named is UNSET else named).items():
            found.setdefault(name, (table, layer))
    for preset, tables in bundles:
        layer = Layer(scope="preset", file=f"preset:{preset}", document=Document(version=1))
        for name, table in tables:
            found.setdefault(name, (table, layer))
    return {name: (table, layer) for name, (table, layer) in found.items() if table.enabled}


def _check_references(secrets: Sequence[Secret]) -> None:
    """Raise for a secret that names another which there is not."""
    names = {one.name for one in secrets}
    for one in secrets:
        named = [(injection.key_id, injection.declared) for injection in one.inject if injection.key_id]
        for _, place in (pair for pair in named if pair[0] == one.name):
            hint = "`key-id` names the secret that holds the access key's identifier"
            raise UsageError(f"the secret `{one.name}` is its own `key-id`", place=str(place), hint=hint)
        named += [(name, capture.declared) for capture in one.captures for _, name in capture.fields]
        for name, place in named:
            if name not in names:
                raise _no_secret(name, one.name, place)


def _no_secret(name: str, by: str, place: Source) -> UsageError:
    message = f"the secret `{by}` names `{name}`, and there is no such secret"
    return UsageError(message, place=str(place), hint=f"define `[secrets.{name}]`")
