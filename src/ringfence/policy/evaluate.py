"""An action and the policy in force to a decision, with the rule that determined it.

Rules: any matching denial beats every allowance; what no rule allows is denied; a rule that cannot be
evaluated denies. The workspace itself is governed by `workspace.mode` and needs no rule. Paths are those of
the sandbox's view, judged by name alone: the caller asks again about what a link resolves to.
"""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from ringfence.model.action import Action, ActionKind
from ringfence.model.decision import Decision, Verdict

from . import connect
from .effective import ExtraMount, PathRule, Policy, VariableRule
from .patterns import compile_rule
from .secrets.variables import filler, reader


def evaluate(policy: Policy, action: Action, *, workspace: str, system: Sequence[PathRule] = ()) -> Decision:
    """Decide on `action`; `system` holds the readable paths that every view has besides what policy names.

    `workspace` is an absolute path; a relative target is taken from the action's `cwd`, or from `workspace`.
    """
    match action.kind:
        case ActionKind.RUN:
            return Decision(verdict=Verdict.ALLOW, reason="commands are bounded by what they can reach, not by name")
        case ActionKind.CONNECT:
            return _connect(policy, action.target)
        case ActionKind.ENVIRONMENT:
            return _environment(policy, action.target)
        case ActionKind.READ | ActionKind.WRITE:
            return _Paths(policy, workspace, system).decide(action)
        case _:
            assert_never(action.kind)


def variable_rule(policy: Policy, name: str) -> VariableRule | None:
    """Return the rule that lets the variable `name` in: the first that names it or its prefix."""
    return next((rule for rule in policy.environment if _names(rule, name)), None)


def _names(rule: VariableRule, name: str) -> bool:
    return name.startswith(rule.name[:-1]) if rule.name.endswith("*") else name == rule.name


def normal_path(path: str, *, start: str) -> str:
    """Resolve `path` by name alone, relative to the absolute path `start`."""
    result: list[str] = []
    for name in (path if path.startswith("/") else f"{start}/{path}").split("/"):
        if name == "..":
            del result[-1:]
        elif name not in ("", "."):
            result.append(name)
    return "/" + "/".join(result)


def _connect(policy: Policy, target: str) -> Decision:
    if policy.egress is None:
        source = policy.origins["network.mode"]
        return Decision(
            verdict=Verdict.DENY, reason="the network is off", rule=f'network.mode = "{policy.network}"', source=source
        )
    try:
        found = connect.decide(policy.egress, connect.asked(target))
    except ValueError as error:
        return Decision(verdict=Verdict.DENY, reason=f"not a host: {error}")
    rule = connect.quoted(policy.egress, found)
    source = found.source if found.rule or not rule else policy.origins["network.unknown"]
    return msgspec.structs.replace(found, rule=rule, source=source)


def _environment(policy: Policy, name: str) -> Decision:
    if secret := filler(policy.secrets, name):
        reason = secret.reason or "a placeholder stands for it"
        return Decision(verdict=Verdict.ALLOW, reason=reason, rule=f"secrets.{secret.name}", source=secret.declared)
    rule = variable_rule(policy, name)
    if (secret := reader(policy.secrets, name)) and (rule is None or rule.value is None):
        reason = "a secret is read from it, so its value stays outside"
        return Decision(verdict=Verdict.DENY, reason=reason, rule=f"secrets.{secret.name}", source=secret.declared)
    if rule is None:
        return Decision(verdict=Verdict.DENY, reason="no rule passes or sets this variable")
    if rule.value is None:
        reason, text = rule.reason or "passed from the launching environment", f'env.pass = "{rule.name}"'
    else:
        reason, text = rule.reason or "set to a fixed value", f"env.set.{rule.name}"
    return Decision(verdict=Verdict.ALLOW, reason=reason, rule=text, source=rule.source)


class _Paths:
    """The rules of one policy as they bear on one path."""

    def __init__(self, policy: Policy, workspace: str, system: Sequence[PathRule]) -> None:
        self.policy = policy
        self.workspace = normal_path(workspace, start="/")
        self.system = system
        self.errors: list[str] = []

    def decide(self, action: Action) -> Decision:
        """Decide on a READ or WRITE."""
        path = normal_path(action.target, start=action.cwd or self.workspace)
        if "\x00" in path:
            return Decision(verdict=Verdict.DENY, reason="a path cannot hold a NUL character")
        decision = self.denied(path, write=action.kind is ActionKind.WRITE)
        if decision is None:
            allow = self.write if action.kind is ActionKind.WRITE else self.read
            decision = allow(path)
        if self.errors and decision.verdict is Verdict.ALLOW:
            return Decision(verdict=Verdict.DENY, reason="a rule cannot be evaluated", errors=tuple(self.errors))
        return decision

    def denied(self, path: str, *, write: bool) -> Decision | None:
        """Return the denial that covers `path`, seen where it is and where a mount takes it from."""
        mounted = self.mount_of(path)
        paths = [path] if mounted is None else [path, f"{mounted.host}{path[len(mounted.guest) :]}"]
        lists = [("deny-read", self.policy.deny_read, "hidden by a rule")]
        if write:
            # What is hidden cannot be written either: its stand-in is immutable.
            lists.insert(0, ("deny-write", self.policy.deny_write, "protected by a rule"))
        for name, rules, reason in lists:
            for place in paths:
                rule = self.first(rules, place, ignore_case=True)
                if rule is not None:
                    return _by_rule(Verdict.DENY, name, rule, reason)
        return None

    def read(self, path: str) -> Decision:
        if self.in_workspace(path):
            return Decision(verdict=Verdict.ALLOW, reason="in the workspace")
        return (
            self.by_mount(path, write=False)
            or self.allowed(path, (("read", self.policy.read), ("write", self.policy.write)))
            or self.by_system(path)
            or Decision(verdict=Verdict.DENY, reason="no rule makes it readable")
        )

    def write(self, path: str) -> Decision:
        # What is mounted covers what was there, in the workspace as well.
        mounted = self.by_mount(path, write=True)
        if mounted is None and self.in_workspace(path):
            mode = self.policy.workspace_mode
            return Decision(
                verdict=Verdict.DENY if mode == "readonly" else Verdict.ALLOW,
                reason=f"in the workspace, which is {mode}",
                rule=f'workspace.mode = "{mode}"',
                source=self.policy.origins["workspace.mode"],
            )
        return (
            mounted
            or self.allowed(path, (("write", self.policy.write),))
            or Decision(verdict=Verdict.DENY, reason="no rule makes it writable")
        )

    def allowed(self, path: str, lists: Sequence[tuple[str, Sequence[PathRule]]]) -> Decision | None:
        for name, rules in lists:
            rule = self.first(rules, path, ignore_case=False)
            if rule is not None:
                return _by_rule(Verdict.ALLOW, name, rule, "allowed by a rule")
        return None

    def by_mount(self, path: str, *, write: bool) -> Decision | None:
        mounted = self.mount_of(path)
        if mounted is None:
            return None
        text = f'filesystem.mounts = "{mounted.guest}"'
        verdict = Verdict.DENY if write and not mounted.writable else Verdict.ALLOW
        reason = f"mounted from {mounted.host}, {'writable' if mounted.writable else 'read-only'}"
        return Decision(verdict=verdict, reason=reason, rule=text, source=mounted.source)

    def by_system(self, path: str) -> Decision | None:
        rule = self.first(self.system, path, ignore_case=False)
        if rule is None:
            return None
        return Decision(verdict=Verdict.ALLOW, reason=rule.reason or "part of the system", source=rule.source)

    def mount_of(self, path: str) -> ExtraMount | None:
        """Return the deepest mount that `path` is in."""
        inside = [mount for mount in self.policy.mounts if _is_within(path, mount.guest)]
        return max(inside, key=lambda mount: len(mount.guest), default=None)

    def in_workspace(self, path: str) -> bool:
        return _is_within(path, self.workspace)

    def first(self, rules: Sequence[PathRule], path: str, *, ignore_case: bool) -> PathRule | None:
        """Return the first rule that matches; a rule that cannot be compiled is noted and matches nothing."""
        for rule in rules:
            try:
                if compile_rule(rule, workspace=self.workspace, ignore_case=ignore_case).matches(path):
                    return rule
            except ValueError as error:
                self.errors.append(f"{rule.source}: {rule.pattern}: {error}")
        return None


def _is_within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _by_rule(verdict: Verdict, name: str, rule: PathRule, reason: str) -> Decision:
    text = f'filesystem.{name} = "{rule.pattern}"'
    return Decision(verdict=verdict, reason=rule.reason or reason, rule=text, source=rule.source)
