"""The command's environment: a named list, nothing inherited by accident."""

from ringfence.model.decision import Source
from ringfence.model.plan import Identity, Variable
from ringfence.policy.effective import Policy

from . import egress

DEFAULT = Source(scope="default")


def variables(policy: Policy, identity: Identity, cwd: str) -> tuple[Variable, ...]:
    """Variables that pass by name (value None) and those that are set; what is set here wins.

    Policy's rules are ordered, highest first, and the first that names a variable decides (evaluate.variable_rule).
    A name that ends in `*` stays a pattern, which the launcher resolves against the launching environment, exact
    names first; so an exact rule is left out where a higher pattern takes its name.
    """
    fixed = {
        "HOME": (identity.home, "the private home"),
        "USER": (identity.user, "account inside"),
        "LOGNAME": (identity.user, "account inside"),
        "TMPDIR": ("/tmp", "private temporary files"),
        "XDG_RUNTIME_DIR": (f"/run/user/{identity.uid}", "private run-time state"),
        "PWD": (cwd, "working directory"),
        "RINGFENCE": ("1", "tells programs that they are contained"),
        **egress.variables(policy),
    }
    result: dict[str, Variable] = {}
    higher: tuple[str, ...] = ()
    for rule in policy.environment:
        if not rule.name.startswith(higher):
            reason = rule.reason or "policy"
            result.setdefault(rule.name, Variable(name=rule.name, value=rule.value, reason=reason, origin=rule.source))
        if rule.name.endswith("*"):
            higher += (rule.name[:-1],)
    for name, (value, reason) in fixed.items():
        result[name] = Variable(name=name, value=str(value), reason=reason, origin=DEFAULT)
    return tuple(result[name] for name in sorted(result))
