"""An action and a policy to a decision, with the rule that determined it."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from ringfence.model.action import Action, ActionKind
from ringfence.model.decision import Decision, Source, Verdict
from ringfence.model.secrets import Origin, Secret, Secrets, SecretSource
from ringfence.policy.effective import PathRule, Policy, VariableRule
from ringfence.policy.evaluate import evaluate, normal_path
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse

ALLOW, DENY = Verdict.ALLOW, Verdict.DENY
READ, WRITE = ActionKind.READ, ActionKind.WRITE

TEXT = """\
version = 1
[filesystem]
read = ["~/data", { path = "/srv/models", reason = "weights" }]
write = ["~/out"]
deny-read = ["secrets/", "~/data/private"]
deny-write = ["migrations", "~/out/keep"]
mounts = [
  { source = "~/data", target = "/data" },
  { source = "~/out", target = "/out", writable = true },
  { source = "~/data", target = "/out/data" },
  { source = "~/data", target = "/home/u/w/fixtures" },
]
[env]
pass = ["AWS_PROFILE"]
set = { TZ = "UTC" }
"""


def policy(extra: str = "") -> Policy:
    return merge([parse(TEXT + extra, file="p.toml", scope="user")], home="/home/u", workspace="/home/u/w")


def decide(
    kind: ActionKind, target: str, *, extra: str = "", cwd: str = "", system: Sequence[PathRule] = ()
) -> Decision:
    return evaluate(policy(extra), Action(kind=kind, target=target, cwd=cwd), workspace="/home/u/w", system=system)


@pytest.mark.parametrize(
    ("kind", "target", "verdict", "line"),
    [
        (READ, "/home/u/w", ALLOW, 0),
        (READ, "/home/u/w/src/a", ALLOW, 0),
        (READ, "src/a", ALLOW, 0),
        (READ, "/home/u/w/migrations/1", ALLOW, 0),
        (WRITE, "/home/u/w/migrations/secrets/x", DENY, 6),
        (READ, "/home/u/w2/a", DENY, 0),
        (READ, "../w2", DENY, 0),
        (READ, "/home/u/w/x/secrets/k", DENY, 5),
        (READ, "/home/u/w/SECRETS/k", DENY, 5),
        (READ, "/home/u/data/x", ALLOW, 3),
        (READ, "/home/u/Data/x", DENY, 0),
        (READ, "/home/u/data/private/x", DENY, 5),
        (READ, "/home/u/data/y/../private", DENY, 5),
        (READ, "/home/u/out/x", ALLOW, 4),
        (READ, "/home/u/.ssh/id", DENY, 0),
        (READ, "/data/x", ALLOW, 8),
        (READ, "/data/private/x", DENY, 5),
        (READ, "/etc/shadow", DENY, 0),
        (READ, "/home/u/.cargo/bin/cargo", ALLOW, 0),
        (READ, "/home/u/.cargo/credentials.toml", DENY, 0),
        (READ, "/home/u/w/a\x00b", DENY, 0),
        (WRITE, "/home/u/w/a", ALLOW, 0),
        (WRITE, "/home/u/w/migrations/1", DENY, 6),
        (WRITE, "/home/u/w/secrets/new", DENY, 5),
        (WRITE, "/home/u/w/fixtures/x", DENY, 11),
        (WRITE, "/home/u/data/x", DENY, 0),
        (WRITE, "/home/u/out/x", ALLOW, 4),
        (WRITE, "/home/u/out/keep/x", DENY, 6),
        (WRITE, "/data/x", DENY, 8),
        (WRITE, "/out/x", ALLOW, 9),
        (WRITE, "/out/keep", DENY, 6),
        (WRITE, "/out/data/x", DENY, 10),
        (WRITE, "/home/u/.bashrc", DENY, 0),
        (WRITE, "/home/u/.config/ringfence/policy.toml", DENY, 0),
    ],
)
def test_paths(kind: ActionKind, target: str, verdict: Verdict, line: int) -> None:
    decision = decide(kind, target)
    assert (decision.verdict, decision.source.line) == (verdict, line)
    assert decision.reason


def test_a_decision_names_its_rule_and_reason() -> None:
    decision = decide(READ, "/srv/models/x")
    assert (decision.reason, decision.rule) == ("weights", 'filesystem.read = "/srv/models"')
    assert decide(WRITE, "migrations").rule == 'filesystem.deny-write = "migrations"'
    assert decide(READ, "/data").rule == 'filesystem.mounts = "/data"'
    assert decide(READ, "/data").reason == "mounted from /home/u/data, read-only"


def test_a_relative_target_is_taken_from_the_working_directory() -> None:
    assert decide(READ, "x", cwd="/home/u/data").verdict is ALLOW
    assert decide(READ, "x", cwd="/home/u").verdict is DENY


@pytest.mark.parametrize(("mode", "verdict"), [("overlay", ALLOW), ("direct", ALLOW), ("readonly", DENY)])
def test_the_workspace_mode_governs_writes(mode: str, verdict: Verdict) -> None:
    decision = decide(WRITE, "a", extra=f'[workspace]\nmode = "{mode}"\n')
    assert decision.verdict is verdict
    assert decision.rule == f'workspace.mode = "{mode}"'
    assert str(decision.source) == "p.toml:17"


def test_system_paths_are_readable_only() -> None:
    system = (PathRule(pattern="/usr", source=Source(scope="default"), reason="programs"),)
    assert decide(READ, "/usr/bin/env", system=system).reason == "programs"
    assert decide(READ, "/usr/bin/env").verdict is DENY
    assert decide(WRITE, "/usr/bin/env", system=system).verdict is DENY
    assert decide(READ, "/USR/bin/env", system=system).verdict is DENY
    assert decide(READ, "/usr", system=[replace(system[0], reason="")]).reason == "part of the system"


def test_a_workspace_may_be_everything() -> None:
    action = Action(kind=READ, target="/x", cwd="")
    assert evaluate(policy(), action, workspace="/").reason == "in the workspace"


def test_the_network_is_off() -> None:
    decision = decide(ActionKind.CONNECT, "example.com:443")
    assert (decision.verdict, decision.rule) == (DENY, 'network.mode = "off"')


@pytest.mark.parametrize(
    ("target", "verdict", "rule", "place"),
    [
        ("a.example:443", ALLOW, 'network.allow = "a.example:443"', "p.toml:18"),
        ("a.example", ALLOW, 'network.allow = "a.example:443"', "p.toml:18"),
        ("a.example:80", Verdict.ASK, 'network.unknown = "ask"', "p.toml:17"),
        ("x.b.example:1", DENY, 'network.deny = "*.b.example"', "p.toml:19"),
        ("POST https://c.example/x", DENY, 'network.deny = "c.example" (POST)', "p.toml:19"),
        ("10.0.0.1:443", DENY, "", "default"),
    ],
)
def test_hosts_and_requests(target: str, verdict: Verdict, rule: str, place: str) -> None:
    extra = '[network]\nunknown = "ask"\nallow = ["a.example:443"]\n'
    extra += 'deny = ["*.b.example", { host = "c.example", methods = ["POST"] }]\n'
    decision = decide(ActionKind.CONNECT, target, extra=extra)
    assert (decision.verdict, decision.rule, str(decision.source)) == (verdict, rule, place)


def test_what_is_no_host_is_denied() -> None:
    decision = decide(ActionKind.CONNECT, "0x7f.1", extra='[network]\nallow = ["a.example"]\n')
    assert (decision.verdict, decision.reason[:10]) == (DENY, "not a host")


def test_commands_are_not_judged_by_name() -> None:
    assert decide(ActionKind.RUN, "rm").verdict is ALLOW


@pytest.mark.parametrize(
    ("name", "verdict", "rule", "place"),
    [
        ("AWS_PROFILE", ALLOW, 'env.pass = "AWS_PROFILE"', "p.toml:14"),
        ("TZ", ALLOW, "env.set.TZ", "p.toml:15"),
        ("LC_ALL", ALLOW, 'env.pass = "LC_*"', "default"),
        ("LCX", DENY, "", "default"),
        ("AWS_PROFILE2", DENY, "", "default"),
        ("AWS_SECRET_ACCESS_KEY", DENY, "", "default"),
        ("LD_PRELOAD", DENY, "", "default"),
    ],
)
def test_variables(name: str, verdict: Verdict, rule: str, place: str) -> None:
    decision = decide(ActionKind.ENVIRONMENT, name)
    assert (decision.verdict, decision.rule, str(decision.source)) == (verdict, rule, place)


def secret(name: str, origin: Origin, *variables: str, reason: str = "") -> Secret:
    source = SecretSource(origin=origin, locator=name.upper())
    return Secret(name=name, source=source, variables=variables, reason=reason, declared=PLACE)


PLACE = Source(scope="user", file="p.toml", line=4)
SECRETS = Secrets(
    secrets=(
        secret("one", Origin.ENVIRONMENT, "TOKEN"),
        secret("two", Origin.FILE, "SAID", reason="for the forge"),
        secret("three", Origin.ENVIRONMENT),
    )
)
RULES = (
    VariableRule(name="THREE", source=PLACE),
    VariableRule(name="ONE", source=PLACE, value="x", reason="a stand-in"),
    VariableRule(name="SET", source=PLACE, value="x"),
    VariableRule(name="PASSED", source=PLACE),
    VariableRule(name="WANTED", source=PLACE, reason="wanted"),
)


@pytest.mark.parametrize(
    ("name", "verdict", "rule", "reason"),
    [
        ("TOKEN", ALLOW, "secrets.one", "a placeholder stands for it"),
        ("SAID", ALLOW, "secrets.two", "for the forge"),
        ("THREE", DENY, "secrets.three", "a secret is read from it, so its value stays outside"),
        ("ONE", ALLOW, "env.set.ONE", "a stand-in"),
        ("SET", ALLOW, "env.set.SET", "set to a fixed value"),
        ("PASSED", ALLOW, 'env.pass = "PASSED"', "passed from the launching environment"),
        ("WANTED", ALLOW, 'env.pass = "WANTED"', "wanted"),
        ("OTHER", DENY, "", "no rule passes or sets this variable"),
    ],
)
def test_variables_and_the_secrets_behind_them(name: str, verdict: Verdict, rule: str, reason: str) -> None:
    action = Action(kind=ActionKind.ENVIRONMENT, target=name)
    found = replace(policy(), secrets=SECRETS, environment=RULES)
    decision = evaluate(found, action, workspace="/home/u/w")
    assert (decision.verdict, decision.rule, decision.reason) == (verdict, rule, reason)
    unruled = evaluate(replace(found, environment=()), replace(action, target="THREE"), workspace="/home/u/w")
    assert (unruled.verdict, unruled.rule) == (DENY, "secrets.three")


def test_a_denial_beside_a_rule_that_cannot_be_evaluated_is_its_own() -> None:
    broken = PathRule(pattern="a[", source=Source(scope="user", file="p.toml", line=3))
    found = replace(policy(), deny_read=(broken, *policy().deny_read))
    decision = evaluate(found, Action(kind=READ, target="/home/u/w/secrets/x"), workspace="/home/u/w")
    assert (decision.verdict, decision.rule) == (DENY, 'filesystem.deny-read = "secrets"')


def test_a_rule_that_cannot_be_evaluated_denies() -> None:
    broken = PathRule(pattern="a[", source=Source(scope="user", file="p.toml", line=3))
    action = Action(kind=READ, target="/home/u/w/x")
    decision = evaluate(replace(policy(), deny_read=(broken,)), action, workspace="/home/u/w")
    assert (decision.verdict, decision.reason) == (DENY, "a rule cannot be evaluated")
    assert decision.errors == ("p.toml:3: a[: a `[` is not closed; write `\\[` for the character itself",)


def test_paths_are_resolved_by_name() -> None:
    assert normal_path("/a//./b/../c/", start="/x") == "/a/c"
    assert normal_path("../../..", start="/x/y") == "/"
