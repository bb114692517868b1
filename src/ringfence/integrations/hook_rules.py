"""Every rule about tool calls that holds for an agent: ringfence's own, and the settings of the agent itself."""

import msgspec

from ringfence.policy.permissions import own_rules
from ringfence.policy.permissions.scopes import ORDER, Scope
from ringfence.session import places, prepare
from ringfence.session.options import Options, workspace_of

from . import claude_files


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is set, by scope; where the checkout is not `trusted`, what it allows does not count."""

    scopes: tuple[Scope, ...]
    trusted: bool


def rules_for(client: str, options: Options, directory: str) -> Rules:
    """Read them for an agent that was started in `directory`; raise UsageError, with the place, for an unreadable one.

    Ringfence's own rules are those of the whole checkout; the agent reads its settings in `directory`.
    A checkout is trusted only where somebody has looked at it: where trust is off, nobody has.
    """
    workspace = workspace_of(directory)
    layers, standing = prepare.judged_layers(options, workspace)
    trusted = standing.trusted and standing.manifest is not None
    found = [own_rules.scope_of(layer, home=places.home(), workspace=workspace) for layer in layers]
    scopes = tuple(scope for scope in found if scope.name in ORDER)
    if client == "claude-code":
        scopes += claude_files.scopes_of(directory, trusted=trusted)
    return Rules(scopes=scopes, trusted=trusted)
