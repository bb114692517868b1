"""The command's environment: a named list, nothing inherited by accident."""

from ringfence.model.decision import Source
from ringfence.model.plan import Identity, Variable
from ringfence.policy.effective import Policy

DEFAULT = Source(scope="default")


def variables(policy: Policy, identity: Identity, cwd: str) -> tuple[Variable, ...]:
    """Variables that pass by name (value None) and those that are set; what is set here wins.

    A name that ends in `*` stays a pattern: the launcher resolves it against the launching environment.
    """
    fixed = {
        "HOME": (identity.home, "the private home"),
        "USER": (identity.user, "account inside"),
        "LOGNAME": (identity.user, "account inside"),
        "TMPDIR": ("/tmp", "private temporary files"),
        "XDG_RUNTIME_DIR": (f"/run/user/{identity.uid}", "private run-time state"),
        "PWD": (cwd, "working directory"),
        "RINGFENCE": ("1", "tells programs that they are contained"),
    }
    result = {
        rule.name: Variable(name=rule.name, value=rule.value, reason=rule.reason or "policy", origin=rule.source)
        for rule in policy.environment
    }
    for name, (value, reason) in fixed.items():
        result[name] = Variable(name=name, value=str(value), reason=reason, origin=DEFAULT)
    return tuple(result[name] for name in sorted(result))
