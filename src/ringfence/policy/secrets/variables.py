"""Which variables secrets fill, and which must not pass because of them."""

from collections.abc import Iterable

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.secrets import Origin, Secret, Secrets
from ringfence.policy.effective import VariableRule

# What presets and agents bring gives way to what the operator writes.
_YIELDING = ("preset", "default")


def filler(secrets: Secrets, name: str) -> Secret | None:
    """Return the secret whose placeholder is in the variable `name` inside."""
    return next((secret for secret in secrets.secrets if name in secret.variables), None)


def reader(secrets: Secrets, name: str) -> Secret | None:
    """Return the secret whose value is read from the variable `name` outside."""
    named = (one for one in secrets.secrets if one.source.origin is Origin.ENVIRONMENT)
    return next((one for one in named if one.source.locator == name), None)


def withheld(secrets: Secrets) -> tuple[str, ...]:
    """Return the variables whose real values must not enter: those that are filled, and those that are read from."""
    found = {name for secret in secrets.secrets for name in secret.variables}
    found |= {one.source.locator for one in secrets.secrets if one.source.origin is Origin.ENVIRONMENT}
    return tuple(sorted(found))


def passing(rules: Iterable[VariableRule], secrets: Secrets) -> tuple[VariableRule, ...]:
    """Return the rules for variables without those that would pass what is withheld; patterns stay."""
    kept = set(withheld(secrets))
    return tuple(rule for rule in rules if rule.value is not None or rule.name not in kept)


def settled(secrets: Iterable[Secret], rules: Iterable[VariableRule]) -> tuple[Secret, ...]:
    """Return the secrets that stand, sorted by name, no variable filled twice; raise `UsageError` where two would.

    What a preset or an agent brings is left out where something else of the operator's fills its variable.
    """
    taken = {rule.name: (f"`env.set.{rule.name}`", rule.source) for rule in rules if rule.value is not None}
    found = []
    for one in sorted(secrets, key=lambda one: (one.declared.scope in _YIELDING, one.name)):
        both = next((name for name in one.variables if name in taken), None)
        if both is not None and one.declared.scope not in _YIELDING:
            raise _filled_twice(both, one, *taken[both])
        if both is None:
            found.append(one)
            taken |= dict.fromkeys(one.variables, (f"the secret `{one.name}`", one.declared))
    return tuple(sorted(found, key=lambda one: one.name))


def _filled_twice(name: str, secret: Secret, other: str, place: Source) -> UsageError:
    message = f"the secret `{secret.name}` fills `{name}`, and so does {other} at {place}"
    return UsageError(message, place=str(secret.declared), hint=f"take `{name}` out of one of them")
