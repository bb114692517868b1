"""The secrets of several layers, presets and agents: whose definition counts, and what must fit together."""

import pytest

from ringfence.model.errors import UsageError
from ringfence.model.secrets import Secret
from ringfence.policy.effective import Policy
from ringfence.policy.entries import Places
from ringfence.policy.evaluate import variable_rule
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse
from ringfence.policy.secrets.merge import merge_secrets

KEY = '[secrets.anthropic-api-key]\nsource = { file = "~/key" }\nvariables = ["ANTHROPIC_API_KEY"]\n'


def policy(**texts: str) -> Policy:
    layers = [parse(f"version = 1\n{text}\n", file=f"{scope}.toml", scope=scope) for scope, text in texts.items()]
    return merge(layers, home="/home/u", workspace="/home/u/w")


def secrets(**texts: str) -> dict[str, Secret]:
    return {one.name: one for one in policy(**texts).secrets.secrets}


def refused(**texts: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        policy(**texts)
    assert caught.value.hint
    return caught.value


def test_the_higher_layer_s_definition_is_the_only_one() -> None:
    texts = {
        "cli": '[secrets.a]\nsource.env = "C"',
        "user": '[secrets.a]\nsource.env = "U"\nvariables = ["V"]\n[secrets.b]\nsource.env = "B"',
    }
    for order in (texts, dict(reversed(texts.items()))):
        found = secrets(**order)
        assert (found["a"].source.locator, found["a"].variables) == ("C", ())
        assert (found["b"].declared.scope, str(found["a"].declared)) == ("user", "cli.toml:2")


def test_a_preset_brings_its_own_and_the_user_s_count_before_it() -> None:
    assert secrets(user='extends = ["claude"]')["anthropic-api-key"].declared.file == "preset:claude"
    found = secrets(user=f'extends = ["claude"]\n{KEY}')["anthropic-api-key"]
    assert (found.source.locator, found.declared.scope) == ("/home/u/key", "user")


def test_a_project_s_preset_brings_none() -> None:
    assert secrets(project='extends = ["claude"]') == {}
    assert secrets(default='extends = ["claude"]') == {}


def test_one_can_be_taken_back() -> None:
    back = "[secrets.anthropic-api-key]\nenabled = false\n"
    found = policy(user=f'extends = ["claude"]\n{back}')
    assert "anthropic-api-key" not in {one.name for one in found.secrets.secrets}
    assert variable_rule(found, "ANTHROPIC_API_KEY") is not None
    assert "anthropic-api-key" in secrets(managed=KEY, user=back)
    assert secrets(managed=back, user=KEY) == {}


def test_a_variable_with_a_secret_does_not_pass() -> None:
    found = policy(user='[env]\npass = ["A", "B", "AB_*"]\n[secrets.s]\nsource.env = "B"\nvariables = ["A"]')
    names = [rule.name for rule in found.environment]
    assert "AB_*" in names
    assert not {"A", "B"} & set(names)


def test_what_presets_bring_gives_way() -> None:
    own = '[secrets.own]\nsource.env = "X"\nvariables = ["ANTHROPIC_API_KEY"]\n'
    assert "anthropic-api-key" not in secrets(user=f'extends = ["claude"]\n{own}')
    fixed = policy(user='extends = ["claude"]\nenv.set = { ANTHROPIC_API_KEY = "dummy" }')
    assert "anthropic-api-key" not in {one.name for one in fixed.secrets.secrets}
    rule = variable_rule(fixed, "ANTHROPIC_API_KEY")
    assert rule is not None
    assert rule.value == "dummy"


def test_two_presets_share_a_secret() -> None:
    found = secrets(user='extends = ["claude", "opencode", "aider"]')
    assert [name for name in found if name == "anthropic-api-key"] == ["anthropic-api-key"]


ASKED = 'network.allow = ["x.example"]\n[secrets.a]\nsource.env = "A"\n'
TWO = '[secrets.a]\nsource.env = "A"\nvariables = ["V"]\n[secrets.b]\nsource.env = "A"\nvariables = ["V"]'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TWO, "`b` fills `V`, and so does the secret `a`"),
        ('env.set = { V = "1" }\n[secrets.a]\nsource.env = "A"\nvariables = ["V"]', "and so does `env.set.V`"),
        (f'{ASKED}inject = [{{ host = "x.example", sigv4 = true, key-id = "b" }}]', "there is no such secret"),
        (f'{ASKED}inject = [{{ host = "x.example", sigv4 = true, key-id = "a" }}]', "is its own `key-id`"),
        (f'{ASKED}capture = [{{ host = "x.example", paths = ["/t"], fields = {{ t = "b" }} }}]', "names `b`"),
        ('[secrets.a]\nsource.env = "A"\ninject = [{ host = "x.example", header = "x" }]', "which no rule allows"),
    ],
)
def test_what_does_not_fit_together(text: str, message: str) -> None:
    error = refused(user=text)
    assert message in error.message
    assert error.place.startswith("user.toml:")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[secrets.a]\nsource.env = "A"', "secrets.a"),
        ("[secrets.anthropic-api-key]\nenabled = false", "secrets.anthropic-api-key"),
        ('[[secret-files]]\npath = "~/.x"\ntext = "x"', "secret-files"),
        ('leaks.exempt = ["a.example"]', "leaks.exempt"),
        ('leaks.rules = ["x"]', "leaks.rules"),
    ],
)
def test_a_project_defines_nothing(text: str, key: str) -> None:
    error = refused(project=text)
    assert f"so it may not set `{key}`" in error.message
    assert error.place == "project.toml:2"


def test_with_the_network_off_hosts_do_not_matter() -> None:
    text = '[secrets.a]\nsource.env = "A"\nvariables = ["A"]\ninject = [{ host = "x.example", header = "x" }]'
    found = policy(user=text, cli='network.mode = "off"')
    assert [one.name for one in found.secrets.secrets] == ["a"]
    assert variable_rule(found, "A") is None


def test_the_secret_of_an_access_key_s_identifier_may_be_named() -> None:
    text = (
        "network.allow = ['x.example']\n[secrets.id]\nsource.env = 'I'\n[secrets.key]\nsource.env = 'K'\nscopes = []\n"
        "inject = [{ host = 'x.example', sigv4 = true, key-id = 'id' }]"
    )
    found = secrets(user=text)
    assert [one.key_id for one in found["key"].inject] == ["id"]
    assert (found["id"].scopes, found["key"].scopes) == (None, ())


def test_of_two_operators_the_higher_counts() -> None:
    found = policy(managed='[leaks]\nknown = "allow"', user='[leaks]\nknown = "deny"').secrets.leaks
    assert found is not None and found.known.name == "ALLOW"


def test_a_project_that_says_nothing_of_leaks() -> None:
    leaks = policy(project="[leaks]\nexempt = []").secrets.leaks
    assert leaks is not None and leaks.exempt == ()


def test_a_project_s_secrets_are_passed_over() -> None:
    layer = parse(f"version = 1\n{KEY}", file="p", scope="project")
    places = Places(home="/home/u", workspace="/home/u/w")
    assert merge_secrets([layer], [], places, egress=None, variables=[]).secrets == ()
