"""The secrets that presets bring: optional, at the hosts of their services, and moved as a whole."""

import pytest

from ringfence.model.egress import Egress
from ringfence.model.secrets import Placing
from ringfence.policy.agent_presets import AGENT_VARIABLES
from ringfence.policy.document import PresetName
from ringfence.policy.layers import merge
from ringfence.policy.network import preset_rules
from ringfence.policy.parse import parse
from ringfence.policy.secrets.presets import FOLLOWING, MODELS, PRESET_SECRETS, moved
from ringfence.policy.secrets.reach import check_reach


@pytest.mark.parametrize("preset", PRESET_SECRETS)
def test_each_is_optional_and_fits_its_preset(preset: PresetName) -> None:
    text = f'version = 1\nextends = ["{preset}"]\n'
    found = merge([parse(text, file="u", scope="user")], home="/home/u", workspace="/home/u/w").secrets.secrets
    assert [one.name for one in found] == sorted(name for name, _ in PRESET_SECRETS[preset])
    assert all(one.optional and one.inject and one.reason and len(one.variables) == 1 for one in found)
    assert all(one.source.locator == one.variables[0] for one in found)
    check_reach(found, Egress(rules=tuple(preset_rules(preset))))


def test_one_name_is_one_secret() -> None:
    named: dict[str, object] = {}
    for bundle in PRESET_SECRETS.values():
        for name, table in bundle:
            assert named.setdefault(name, table) == table


@pytest.mark.parametrize("preset", AGENT_VARIABLES)
def test_every_key_that_an_agent_is_given_is_a_secret(preset: PresetName) -> None:
    kept = {variable for _, table in PRESET_SECRETS[preset] for variable in table.variables}
    keys = {name for name, _ in AGENT_VARIABLES[preset] if name.endswith(("_KEY", "_TOKEN"))}
    assert keys <= kept


@pytest.mark.parametrize(
    ("preset", "variable"),
    [
        ("claude", "ANTHROPIC_BASE_URL"),
        ("codex", "OPENAI_BASE_URL"),
        ("aider", "OPENAI_API_BASE"),
        ("gemini", "GOOGLE_GEMINI_BASE_URL"),
    ],
)
def test_keys_follow_to_another_host_and_go_nowhere_else(preset: PresetName, variable: str) -> None:
    fallback = parse("version = 1\n" + moved(preset, variable, "gw.example", 8443), file="agent", scope="default")
    named = parse(f'version = 1\nextends = ["{preset}"]\nnetwork.allow = ["gw.example:8443"]', file="c", scope="cli")
    found = merge([fallback, named], home="/home/u", workspace="/home/u/w").secrets.secrets
    places = {(place.host, place.ports) for one in found if one.name in FOLLOWING[variable] for place in one.inject}
    assert places == {("gw.example", ((8443, 8443),))}
    assert {one.name for one in found} == {name for name, _ in PRESET_SECRETS[preset]}
    assert "gw.example" in merge([fallback, named], home="/home/u", workspace="/home/u/w").secrets.mentions


@pytest.mark.parametrize("preset", MODELS)
def test_models_are_told_what_programs_print(preset: PresetName) -> None:
    named = parse(f'version = 1\nextends = ["{preset}"]', file="c", scope="cli")
    found = merge([named], home="/home/u", workspace="/home/u/w")
    assert found.secrets.mentions == tuple(sorted(MODELS[preset]))
    assert set(MODELS[preset]) <= {rule.host for rule in preset_rules(preset)}


def test_a_query_follows_as_well() -> None:
    fallback = parse("version = 1\n" + moved("gemini", "GOOGLE_GEMINI_BASE_URL", "g", 443), file="a", scope="default")
    named = parse('version = 1\nextends = ["gemini"]\nnetwork.allow = ["g"]', file="c", scope="cli")
    found = merge([fallback, named], home="/home/u", workspace="/home/u/w").secrets.secrets
    assert {place.placing for one in found for place in one.inject} == {Placing.HEADER, Placing.QUERY}


def test_without_a_host_they_are_taken_back() -> None:
    fallback = parse("version = 1\n" + moved("claude", "ANTHROPIC_BASE_URL", "", 0), file="agent", scope="default")
    named = parse('version = 1\nextends = ["claude"]', file="c", scope="cli")
    found = merge([fallback, named], home="/home/u", workspace="/home/u/w")
    assert found.secrets.secrets == ()
    assert "ANTHROPIC_API_KEY" in {rule.name for rule in found.environment}


def test_the_text_for_a_moved_secret_ends_its_last_line() -> None:
    for host in ("m.example", ""):
        assert moved("claude", "ANTHROPIC_BASE_URL", host, 443).endswith("\n")


def test_what_follows_another_variable_stays_where_it_is() -> None:
    text = moved("aider", "OPENAI_API_BASE", "m.example", 443)
    assert [line for line in text.splitlines() if line.startswith("[secrets")] == [
        "[secrets.openai-api-key]",
        "[secrets.aider-openai-api-key]",
    ]


def test_a_moved_secret_is_put_in_where_it_was_before() -> None:
    text = moved("gemini", "GOOGLE_GEMINI_BASE_URL", "m.example", 443)
    assert text.count("header = ") == text.count("query = ") == 2
