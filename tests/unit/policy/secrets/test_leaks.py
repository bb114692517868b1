"""What may carry a secret out: the highest word counts, a project's only where it is tighter."""

from pathlib import Path

import pytest

from ringfence.model.decision import Verdict
from ringfence.model.errors import UsageError
from ringfence.model.secrets import Leaks, TaintResponse
from ringfence.policy.parse import parse
from ringfence.policy.secrets.leaks import RULES, leaks, mentions, on_taint, refused_keys
from ringfence.secrets import credentials

ALLOW, ASK, DENY = Verdict.ALLOW, Verdict.ASK, Verdict.DENY


def merged(**layers: str) -> Leaks | None:
    return leaks([parse(f"version = 1\n{text}\n", file=scope, scope=scope) for scope, text in layers.items()])


def tainted(**layers: str) -> TaintResponse:
    found = [
        parse(f'version = 1\nleaks.on-taint = "{word}"\n' if word else "version = 1\n", file=scope, scope=scope)
        for scope, word in layers.items()
    ]
    return on_taint(found)


def test_without_a_table_nothing_is_searched() -> None:
    assert merged(user="", project="") is None


@pytest.mark.parametrize("text", ["[leaks]", 'leaks.on-taint = "ask"', 'leaks.mentions = ["m.example"]'])
def test_what_asks_for_no_search(text: str) -> None:
    assert merged(user=text) is None


def test_a_table_denies_what_it_does_not_speak_of() -> None:
    assert merged(user="leaks.exempt = []") == Leaks()


def test_models_may_be_told_of_placeholders() -> None:
    layer = parse('version = 1\nleaks.mentions = ["M.example"]', file="u", scope="user")
    assert mentions([layer], ["api.example"]) == ("api.example", "m.example")


def test_the_highest_layer_that_says_something_counts() -> None:
    found = merged(
        managed='leaks.known = "ask"',
        user='leaks = { known = "allow", found = "ask", rules = ["npm-token", "age-secret-key"] }',
    )
    assert found == Leaks(known=ASK, found=ASK, rules=("age-secret-key", "npm-token"))


def test_exemptions_are_joined_in_canonical_form() -> None:
    found = merged(managed='leaks.exempt = ["B.example"]', user='leaks.exempt = ["*.a.example", "b.example."]')
    assert found is not None
    assert found.exempt == ("*.a.example", "b.example")


@pytest.mark.parametrize(
    ("user", "project", "known"),
    [("allow", "deny", DENY), ("deny", "allow", DENY), ("ask", "allow", ASK), ("allow", "ask", ASK)],
)
def test_a_project_only_tightens(user: str, project: str, known: Verdict) -> None:
    found = merged(user=f'leaks.known = "{user}"', project=f'leaks.known = "{project}"')
    assert found is not None
    assert found.known is known


def test_a_project_can_have_requests_searched() -> None:
    assert merged(user="", project='leaks.known = "allow"') == Leaks()


@pytest.mark.parametrize(
    ("user", "project", "found"),
    [
        ("", "", "no-new-hosts"),
        ("record", "", "record"),
        ("record", "ask", "ask"),
        ("ask", "record", "ask"),
        ("ask", "no-new-hosts", "ask"),  # neither is the tighter one
        ("no-writes", "off", "off"),
        ("off", "record", "off"),
    ],
)
def test_the_response_to_a_taint(user: str, project: str, found: str) -> None:
    assert tainted(user=user, project=project).value == found
    assert tainted(project=project, user=user).value == found


def test_what_a_project_may_not_say() -> None:
    layer = parse(
        'version = 1\nleaks = { exempt = ["a"], rules = ["x"], mentions = ["m"], known = "deny" }', file="p", scope="p"
    )
    assert refused_keys(layer) == ["exempt", "rules", "mentions"]


def test_a_wildcard_on_a_public_suffix_is_no_exemption() -> None:
    with pytest.raises(UsageError, match="anybody registers"):
        merged(user='leaks.exempt = ["*.com"]')


@pytest.mark.parametrize(("name", "hint"), [("github-tokens", "did you mean `github-token`?"), ("zzz", "secrets.md")])
def test_a_rule_that_there_is_not_is_an_error(name: str, hint: str) -> None:
    """Else a misspelt name would find nothing, and say nothing."""
    with pytest.raises(UsageError, match=f"there is no rule `{name}` for credentials") as caught:
        merged(user=f'[leaks]\nrules = ["npm-token",\n"{name}"]')
    assert hint in caught.value.hint
    assert caught.value.place.startswith("user:")


def test_the_rules_are_those_that_are_searched_for() -> None:
    text = (Path(__file__).parents[4] / "docs/secrets.md").read_text()
    assert {rule.name for rule in credentials.RULES} == RULES
    assert [name for name in sorted(RULES) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("key", ["known", "found"])
def test_each_word_alone_has_what_goes_out_searched(key: str) -> None:
    found = merged(user=f'leaks.{key} = "ask"')
    assert found is not None and getattr(found, key) is ASK
