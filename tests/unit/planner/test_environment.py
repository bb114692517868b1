"""Which variables the command gets, and on whose word."""

import pytest

from ringfence.model.plan import Variable
from ringfence.planner.environment import variables
from ringfence.policy.evaluate import variable_rule
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse
from tests.fake_host import ALICE, HOME, WORKSPACE


def prepared(managed: str = "", user: str = "") -> dict[str, Variable]:
    layers = [
        parse(f"version = 1\n[env]\n{text}\n", file=scope, scope=scope)
        for scope, text in (("managed", managed), ("user", user))
    ]
    rules = merge(layers, home=HOME, workspace=WORKSPACE)
    found = {item.name: item for item in variables(rules, ALICE, "/w")}
    for name in ("LC_ALL", "LC_X", "APP_A", "APP_B"):  # the same answer as `explain` gives
        rule = variable_rule(rules, name)
        assert rule is None or (found.get(rule.name) is not None and found[rule.name].value == rule.value)
    return found


def test_what_the_boundary_sets_wins() -> None:
    found = prepared(managed='set = { HOME = "/evil", PWD = "/evil" }\npass = ["USER"]')
    assert [found[name].value for name in ("HOME", "PWD", "USER", "TMPDIR")] == [HOME, "/w", "user", "/tmp"]


def test_a_higher_pattern_beats_a_lower_exact_name() -> None:
    found = prepared(managed='pass = ["APP_*"]', user='set = { APP_A = "1" }\npass = ["APP_B", "APP_A*"]')
    assert found["APP_*"].value is None
    assert not {"APP_A", "APP_B", "APP_A*"} & found.keys()


@pytest.mark.parametrize(("text", "value"), [('set = { LC_ALL = "C" }', "C"), ('pass = ["LC_ALL"]', None)])
def test_a_higher_exact_name_stands_beside_a_lower_pattern(text: str, value: str | None) -> None:
    found = prepared(user=text)
    assert (found["LC_ALL"].value, found["LC_ALL"].origin.scope) == (value, "user")
    assert "LC_*" in found


def test_names_come_in_order_and_once() -> None:
    found = list(prepared(user='pass = ["Z", "A"]'))
    assert found == sorted(set(found))
