"""When a run needs a vault, and what is said of a secret without a value."""

from types import SimpleNamespace

import msgspec
import pytest

from ringfence.model.decision import Source
from ringfence.model.secrets import Origin, Secret, Secrets, SecretSource
from ringfence.sandbox.artefact import Artefact
from ringfence.session import vault
from ringfence.session.vault_messages import Absent, Kept


def artefact(*, secrets: bytes = b"{}", egress: bytes = b"{}", vault_if: tuple[str, ...] = ()) -> Artefact:
    return SimpleNamespace(secrets=secrets, egress=egress, vault_if=list(vault_if))  # type: ignore[return-value] # all it asks


def secret(name: str, *, optional: bool = False) -> Secret:
    place = Source(scope="user", file="policy.toml", line=7)
    source = SecretSource(origin=Origin.ENVIRONMENT, locator="TOKEN")
    return Secret(name=name, source=source, optional=optional, declared=place)


@pytest.mark.parametrize(
    ("found", "given", "needed"),
    [
        (artefact(), {}, True),
        (artefact(secrets=b""), {}, False),
        (artefact(egress=b""), {}, False),
        (artefact(vault_if=("SURELY_NOT_SET",)), {}, False),
        (artefact(vault_if=("SURELY_NOT_SET",)), {"SURELY_NOT_SET": "x"}, True),
        (artefact(vault_if=("SURELY_NOT_SET", "PATH")), {}, True),
    ],
)
def test_when_a_vault_is_needed(found: Artefact, given: dict[str, str], needed: bool) -> None:
    assert vault.is_needed(found, given) is needed


def test_the_first_missing_one_that_is_needed_is_told_with_its_place() -> None:
    kept = Kept(placeholders={}, missing=(Absent("a", "gone"), Absent("b", "gone as well", "look")))
    found = vault.first_missing((secret("a", optional=True), secret("b")), kept)
    assert found is not None
    assert str(found) == "policy.toml:7: the secret `b`: gone as well" and found.hint == "look"
    assert vault.first_missing((secret("a", optional=True), secret("c")), kept) is None
    plain = vault.first_missing((secret("a"),), kept)
    assert plain is not None and plain.hint == "`ringfence secrets check` tests every source"


def test_what_policy_declares_survives_the_way_through_the_artefact() -> None:
    secrets = Secrets(secrets=(secret("a"), secret("b", optional=True)))
    assert vault.declared(msgspec.json.encode(secrets)) == secrets.secrets


def test_a_variable_that_is_set_and_is_no_value_is_told_to_the_operator() -> None:
    secrets = (secret("a", optional=True), secret("b", optional=True))
    missing = (Absent("a", "it is too short", "use a longer one"),)
    lines = vault.unusable(secrets, missing, {"TOKEN": "short"})
    assert lines == [
        "ringfence: the secret `a` is left out, though `TOKEN` is set: it is too short",
        "  hint: use a longer one",
    ]
    assert vault.unusable(secrets, missing, {}) == vault.unusable(secrets, missing, {"TOKEN": ""}) == []
    assert vault.unusable(secrets, (), {"TOKEN": "long enough"}) == []


def test_a_value_of_a_file_that_is_no_use_is_told_as_well() -> None:
    """One that is simply not there is not."""
    for is_unfit in (True, False):
        missing = (Absent("a", "it is too short", is_unfit=is_unfit),)
        lines = vault.unusable((secret("a", optional=True),), missing, {})
        assert lines == ["ringfence: the secret `a` is left out, though it has a value: it is too short"] * is_unfit
