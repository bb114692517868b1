"""Which variables secrets fill, and which stay out because of them."""

from ringfence.model.action import Action, ActionKind
from ringfence.model.decision import Source, Verdict
from ringfence.model.secrets import Origin, Secret, Secrets, SecretSource
from ringfence.policy.effective import VariableRule
from ringfence.policy.evaluate import evaluate
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse
from ringfence.policy.secrets.variables import filler, passing, reader, settled, withheld

USER = Source(scope="user", file="u", line=1)


def made(name: str, *variables: str, env: str = "", scope: str = "user") -> Secret:
    origin = Origin.ENVIRONMENT if env else Origin.FILE
    source = SecretSource(origin=origin, locator=env or "/f")
    return Secret(name=name, source=source, variables=variables, declared=Source(scope=scope, file=scope))


SECRETS = Secrets(secrets=(made("a", "A1", "A2", env="A0"), made("b", "B1")))


def test_what_is_withheld() -> None:
    assert withheld(SECRETS) == ("A0", "A1", "A2", "B1")
    rules = [VariableRule(name=name, source=USER) for name in ("A0", "A1", "B1", "C", "A*")]
    assert [rule.name for rule in passing(rules, SECRETS)] == ["C", "A*"]


def test_a_fixed_value_is_not_the_environment_s() -> None:
    rule = VariableRule(name="A0", source=USER, value="1")
    assert passing([rule], SECRETS) == (rule,)


def test_who_fills_and_who_reads() -> None:
    assert [found.name if (found := filler(SECRETS, name)) else "" for name in ("A1", "B1", "A0")] == ["a", "b", ""]
    assert [found.name if (found := reader(SECRETS, name)) else "" for name in ("A0", "A1")] == ["a", ""]


def test_what_is_brought_gives_way_and_order_is_nothing() -> None:
    brought, own, other = made("z", "V", scope="preset"), made("a", "V"), made("y", "W", scope="default")
    assert settled([brought, own, other], []) == settled([other, own, brought], []) == (own, other)
    assert settled([made("b", "V", scope="default"), own], []) == (own,)
    assert settled([brought], [VariableRule(name="V", source=USER, value="x")]) == ()
    assert settled([brought], [VariableRule(name="V", source=USER)]) == (brought,)


def test_evaluate_says_so() -> None:
    text = 'version = 1\nenv.pass = ["A*"]\n[secrets.s]\nsource.env = "A0"\nvariables = ["A1"]\n'
    policy = merge([parse(text, file="u", scope="user")], home="/home/u", workspace="/home/u/w")
    found = {
        name: evaluate(policy, Action(kind=ActionKind.ENVIRONMENT, target=name), workspace="/home/u/w")
        for name in ("A0", "A1", "A2")
    }
    assert [found[name].verdict for name in found] == [Verdict.DENY, Verdict.ALLOW, Verdict.ALLOW]
    assert (found["A1"].rule, found["A0"].rule) == ("secrets.s", "secrets.s")


def test_only_a_variable_is_read_from_a_variable() -> None:
    source = SecretSource(origin=Origin.FILE, locator="A0")
    assert reader(Secrets(secrets=(Secret(name="a", source=source),)), "A0") is None
