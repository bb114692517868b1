"""Every rule about tool calls that holds for an agent: ringfence's own, and the settings of the agent itself."""

from collections.abc import Iterable

import msgspec

from ringfence.policy.permissions import own_rules
from ringfence.policy.permissions.scopes import ORDER, Scope
from ringfence.policy.permissions.settings import Mode
from ringfence.session import places, prepare
from ringfence.session.options import Options, workspace_of

from . import claude_files


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is set, by scope; where the checkout is not `trusted`, what it allows does not count.

    `held` is a mode of the operator's in which the agent cannot choose another one that does more.
    """

    scopes: tuple[Scope, ...]
    trusted: bool
    held: Mode | None = None


def rules_for(client: str, options: Options, directory: str) -> Rules:
    """Read them for an agent that was started in `directory`; raise UsageError, with the place, for an unreadable one.

    Ringfence's own rules are those of the whole checkout; the agent reads its settings in `directory`.
    A checkout is trusted only where somebody has looked at it: where trust is off, nobody has.
    """
    workspace = workspace_of(directory)
    layers, standing = prepare.judged_layers(options, workspace)
    trusted = standing.trusted and standing.manifest is not None
    latest_first = layers[::-1]  # of two of one scope the later counts
    listed = sorted(latest_first, key=lambda layer: ORDER.index(layer.scope))
    found = [own_rules.scope_of(layer, home=places.home(), workspace=workspace) for layer in listed]
    scopes = tuple(scope for scope in found if scope.name in ORDER)
    if client == "claude-code":
        scopes += claude_files.scopes_of(directory, trusted=trusted)
    return Rules(scopes=scopes, trusted=trusted, held=held(found))


def held(scopes: Iterable[Scope]) -> Mode | None:
    """The mode of the highest of ringfence's own scopes that sets one, where it is one that changes nothing."""
    mode = next((scope.mode for scope in scopes if scope.mode), None)
    return mode if mode in (Mode.PLAN, Mode.DONT_ASK) else None
