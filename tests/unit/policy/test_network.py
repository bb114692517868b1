"""The `network` tables of several layers to the egress in force."""

import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.errors import UsageError
from ringfence.model.guest_network import PROXY
from ringfence.policy.effective import Policy
from ringfence.policy.egress import decide_connection, rule_text
from ringfence.policy.forge_hosts import PUSH
from ringfence.policy.layers import merge
from ringfence.policy.network import preset_rules
from ringfence.policy.parse import parse
from ringfence.policy.preset_hosts import HOSTS

ALLOW, ASK, DENY = Verdict.ALLOW, Verdict.ASK, Verdict.DENY


def policy(**texts: str) -> Policy:
    """Merge layers, each the keys of its `network` table (or a whole text, where it begins with `extends`)."""
    found = []
    for scope, text in texts.items():
        head = "" if text.startswith("extends") else "[network]\n"
        found.append(parse(f"version = 1\n{head}{text}\n", file=f"{scope}.toml", scope=scope))
    return merge(found, home="/home/u", workspace="/home/u/w")


def refused(**texts: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        policy(**texts)
    assert caught.value.place
    return caught.value


def reached(found: Policy) -> list[str]:
    return [rule_text(rule) for rule in found.egress.rules] if found.egress else []


# ---- on and off


@pytest.mark.parametrize(
    ("texts", "mode", "place"),
    [
        ({}, "off", "default"),
        ({"user": 'allow = ["a.example"]'}, "allow-list", "user.toml:3"),
        ({"user": 'ask = ["a.example"]'}, "allow-list", "user.toml:3"),
        ({"user": 'unknown = "ask"'}, "allow-list", "user.toml:3"),
        ({"user": "publish = [3000]"}, "allow-list", "user.toml:3"),
        ({"user": 'mode = "off"', "cli": "publish = [3000]"}, "allow-list", "cli.toml:3"),
        ({"user": 'deny = ["a.example"]'}, "off", "default"),
        ({"user": 'unknown = "deny"'}, "off", "default"),
        ({"user": 'mode = "allow-list"'}, "allow-list", "user.toml:3"),
        ({"user": 'extends = ["python"]'}, "allow-list", "user.toml:2"),
        ({"project": 'extends = ["python", "github"]'}, "off", "default"),
        ({"project": 'ask = ["a.example"]'}, "off", "default"),
        ({"user": 'mode = "off"\nallow = ["a.example"]'}, "off", "user.toml:3"),
        ({"managed": 'mode = "off"', "user": 'allow = ["a.example"]'}, "off", "managed.toml:3"),
        ({"managed": 'mode = "off"', "cli": 'allow = ["a.example"]'}, "off", "managed.toml:3"),
        ({"project": 'mode = "off"', "user": 'allow = ["a.example"]'}, "off", "project.toml:3"),
        ({"project": 'mode = "off"', "user": 'mode = "allow-list"'}, "off", "project.toml:3"),
        ({"user": 'mode = "off"', "cli": 'allow = ["a.example"]'}, "allow-list", "cli.toml:3"),
        ({"user": 'mode = "off"', "cli": 'ask = ["a.example"]'}, "allow-list", "cli.toml:3"),
        ({"project": 'mode = "off"', "cli": 'allow = ["a.example"]'}, "allow-list", "cli.toml:3"),
        ({"user": 'mode = "off"', "cli": 'mode = "allow-list"'}, "allow-list", "cli.toml:3"),
        ({"managed": 'mode = "off"', "cli": 'mode = "allow-list"'}, "off", "managed.toml:3"),
        ({"managed": 'mode = "allow-list"', "user": 'mode = "off"'}, "off", "user.toml:3"),
        ({"user": 'mode = "off"', "cli": 'deny = ["a.example"]'}, "off", "user.toml:3"),
        ({"user": 'allow = ["a.example"]', "cli": 'mode = "off"'}, "off", "cli.toml:3"),
        ({"cli": 'mode = "off"\nallow = ["a.example"]'}, "off", "cli.toml:3"),
    ],
)
def test_whether_the_network_is_on(texts: dict[str, str], mode: str, place: str) -> None:
    found = policy(**texts)
    assert (found.network, str(found.origins["network.mode"])) == (mode, place)
    assert (found.egress is None) == (mode == "off")


# ---- lists


def test_lists_are_joined_highest_layer_first_and_presets_last() -> None:
    found = policy(
        user='extends = ["gitlab"]\n[network]\nallow = ["u.example"]\ndeny = ["d.example"]',
        managed='allow = ["m.example"]',
        project='deny = ["p.example"]\nask = ["q.example"]',
        cli='allow = ["c.example"]',
    )
    assert reached(found) == [
        *("m.example:80,443", "c.example:80,443", "d.example", "u.example:80,443", "p.example", "q.example:80,443"),
        *(rule_text(rule) for rule in preset_rules("gitlab")),
    ]


def test_every_rule_has_its_place() -> None:
    found = policy(user='extends = ["gitlab"]\n[network]\nallow = [\n"a.example",\n{ host = "b.example" },\n]')
    assert found.egress is not None
    assert [str(rule.source) for rule in found.egress.rules] == [
        "user.toml:5",
        "user.toml:6",
        *["preset:gitlab"] * len(HOSTS["gitlab"]),
    ]
    assert found.egress.rules[-1].source == Source(scope="preset", file="preset:gitlab")


def test_a_denial_of_any_layer_counts() -> None:
    for scope in ("managed", "cli", "user", "project"):
        texts = {"user": 'allow = ["*.t.example"]'} if scope != "user" else {}
        own = 'deny = ["a.t.example"]' + ("" if texts else '\nallow = ["*.t.example"]')
        found = policy(**{**texts, scope: own})
        assert found.egress is not None
        assert [decide_connection(found.egress, f"{name}.t.example", 443).verdict for name in "ab"] == [DENY, ALLOW]


def test_what_is_captured() -> None:
    found = policy(
        user='allow = ["a.example", "10.0.0.1:5432", "[fd00::1]:80", "b.example:8000-8002"]\ndeny = ["10.0.0.9:99"]',
        project='ask = ["10.0.0.2:77"]',
    ).egress
    assert found is not None
    assert found.listen == (80, 443, 5432, 8000, 8001, 8002)
    assert found.literals == ("10.0.0.1", "fd00::1")
    asked = policy(user='unknown = "ask"').egress
    assert asked is not None and asked.listen == (80, 443)


def test_no_more_ports_than_can_be_listened_on() -> None:
    found = policy(user='allow = ["a.example:1000-1239"]').egress
    assert found is not None and len(found.listen) == 240
    for ports in ("1000-1240", "1-65535"):
        error = refused(user=f'deny = ["x.example"]\nallow = [\n"a.example:{ports}"]')
        assert (error.place, error.message) == (
            "user.toml:5",
            "more than 240 ports would be open: `a.example` adds the last",
        )
    assert "ports that are needed" in refused(user='allow = ["a.example:1-200", "b.example:300-400"]').hint


@pytest.mark.parametrize("second", ['"8080:81"', "8080"])
def test_one_port_of_the_host_leads_to_one_port_inside(second: str) -> None:
    error = refused(user=f'publish = [\n"8080:80",\n{second}]')
    assert (error.message, error.place) == ("port 8080 of the host is published twice", "user.toml:5")


def test_single_values_are_known_while_the_network_is_off() -> None:
    found = policy(project="requests = 5", user='bytes = "1KiB"\nparent-proxy = "http://proxy.example:3128"')
    assert found.egress is None
    said = found.network_values
    assert (said.request_limit, said.byte_limit, said.parent_proxy) == (5, 1024, "http://proxy.example:3128")
    assert said.rules == ()


def test_denied_addresses_and_published_ports_are_joined() -> None:
    found = policy(
        managed='denied-addresses = ["192.0.2.0/24"]\npublish = ["8080:1"]',
        user='allow = ["a.example"]\npublish = ["8080:2", 3000]',
        project='denied-addresses = ["10.0.0.7", "192.0.2.0/24"]',
    ).egress
    assert found is not None
    assert found.denied_addresses == ("192.0.2.0/24", "10.0.0.7/32")
    assert found.publish == ((8080, 1), (3000, 3000))


# ---- single values


def test_the_values_without_a_word() -> None:
    found = policy(user='allow = ["a.example"]')
    assert found.egress is not None
    assert (found.egress.unknown, found.egress.ask_timeout_s, found.egress.proxy_variables) == (DENY, 60, True)
    assert (found.egress.request_limit, found.egress.byte_limit, found.egress.parent_proxy) == (0, 0, "")
    assert found.egress.learning is False
    keys = ("unknown", "requests", "bytes", "ask-timeout", "proxy-variables", "parent-proxy")
    assert [str(found.origins[f"network.{key}"]) for key in keys] == ["default"] * 6


def test_the_highest_layer_decides() -> None:
    found = policy(
        user='unknown = "ask"\nrequests = 5\nbytes = "1MB"\nask-timeout = "2m"\nproxy-variables = false',
        managed='requests = 50\nparent-proxy = "http://Proxy.example:3128/"',
    )
    assert found.egress is not None
    assert (found.egress.unknown, found.egress.request_limit, found.egress.byte_limit) == (ASK, 50, 1_000_000)
    assert (found.egress.ask_timeout_s, found.egress.proxy_variables) == (120, False)
    assert found.egress.parent_proxy == "http://proxy.example:3128"
    assert str(found.origins["network.requests"]) == "managed.toml:3"


@pytest.mark.parametrize(
    ("user", "project", "requests", "place"),
    [(0, 7, 7, "project"), (9, 7, 7, "project"), (5, 7, 5, "user"), (5, 0, 5, "user"), (5, 5, 5, "user")],
)
def test_a_project_s_budget_counts_where_it_is_smaller(user: int, project: int, requests: int, place: str) -> None:
    found = policy(user=f'allow = ["a.example"]\nrequests = {user}', project=f"requests = {project}")
    assert found.egress is not None and found.egress.request_limit == requests
    assert found.origins["network.requests"].scope == place


def test_a_project_may_have_unknown_hosts_denied() -> None:
    found = policy(user='unknown = "ask"\nallow = ["a.example"]', project='unknown = "deny"')
    assert found.egress is not None and found.egress.unknown is DENY
    assert found.origins["network.unknown"].scope == "project"


# ---- what a project may not


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('deny = []\nallow = [\n"a.example"]', 5, "may not set `network.allow`"),
        ('mode = "allow-list"', 3, "may not set `network.mode` `allow-list`"),
        ('unknown = "ask"', 3, "may not set `network.unknown` `ask`"),
        ("publish = [3000]", 3, "may not set `network.publish`"),
        ('parent-proxy = "http://a.example:1"', 3, "may not set `network.parent-proxy`"),
        ("proxy-variables = true", 3, "may not set `network.proxy-variables`"),
        ('ask-timeout = "1h"', 3, "may not set `network.ask-timeout`"),
    ],
)
def test_a_project_may_not_loosen(text: str, line: int, message: str) -> None:
    error = refused(project=text, user='allow = ["a.example"]')
    assert error.place == f"project.toml:{line}"
    assert message in error.message and "user policy" in error.hint


# ---- what is refused


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('allow = [\n"a.example",\n"*"]', 5, "`*` alone"),
        ('ask = ["a.example:0"]', 3, "`0` is not a port"),
        ('denied-addresses = ["10.0.0.0/8",\n"x"]', 4, "`x` is not a network"),
        ("publish = [1, 0]", 3, "`0` is not a port"),
        ("ask-timeout = 0", 3, "between 1 second and 1 day"),
        ('ask-timeout = "2d"', 3, "between 1 second and 1 day"),
        ('parent-proxy = "https://a.example:1"', 3, "is not a proxy's URL"),
        ('parent-proxy = "http://a.example"', 3, "is not a proxy's URL"),
        ('parent-proxy = "http://a.example:1/x"', 3, "is not a proxy's URL"),
        ('parent-proxy = "http://a.example:0"', 3, "`0` is not a port"),
        ('parent-proxy = "http://0x7f.1:80"', 3, "names no host"),
        ('parent-proxy = "a.example:1"', 3, "is not a proxy's URL"),
    ],
)
def test_mistakes_have_their_place(text: str, line: int, message: str) -> None:
    error = refused(user=text)
    assert error.place == f"user.toml:{line}"
    assert message in error.message and error.hint


def test_credentials_of_a_parent_proxy_are_refused_and_not_shown() -> None:
    error = refused(user='parent-proxy = "http://joe:sesame@a.example:3128"')
    assert "credentials" in error.message
    assert "sesame" not in f"{error.message} {error.hint}"


def test_an_address_as_parent_proxy() -> None:
    found = policy(user='allow = ["a.example"]\nparent-proxy = "http://[FD00::1]:3128"').egress
    assert found is not None and found.parent_proxy == "http://[fd00::1]:3128"


def test_ports_that_are_ours_inside_are_not_listened_on() -> None:
    found = policy(user=f'allow = ["a.example:53,54,{PROXY[1]},{PROXY[1] + 1}"]').egress
    assert found is not None and found.listen == (54, PROXY[1] + 1)


@pytest.mark.parametrize(("seconds", "fits"), [(0, False), (1, True), (86400, True), (86401, False)])
def test_how_long_an_answer_is_waited_for(seconds: int, fits: bool) -> None:
    text = f"ask-timeout = {seconds}"
    if fits:
        assert policy(user=text).network_values.ask_timeout_s == seconds
    else:
        assert refused(user=text).place == "user.toml:3"


@pytest.mark.parametrize(
    ("texts", "place"),
    [
        ({"cli": "allow = []", "user": 'allow = ["a.example"]'}, "user.toml:3"),
        ({"cli": 'deny = ["b.example"]', "user": 'extends = ["github"]'}, "user.toml:2"),
        ({"user": 'extends = ["github"]', "project": 'ask = ["a.example"]'}, "user.toml:2"),
    ],
)
def test_who_opened_the_network(texts: dict[str, str], place: str) -> None:
    assert str(policy(**texts).origins["network.mode"]) == place


def test_an_empty_list_opens_nothing() -> None:
    assert policy(user='mode = "off"\nallow = ["a.example"]', cli="allow = []").egress is None


@pytest.mark.parametrize(("push", "kept"), [("", True), ('push.refs = ["refs/heads/agent/*"]\n', False)])
def test_a_preset_s_denial_of_pushes_gives_way_to_refs_alone(push: str, kept: bool) -> None:
    remote = f'[[git.remotes]]\nhost = "github.com"\nrepositories = ["o/r"]\n{push}'
    found = policy(user=f'extends = ["github"]\n{remote}').egress
    assert found is not None
    bundled = [rule for rule in found.rules if rule.source.scope == "preset" and rule.host == "github.com"]
    assert any(rule.reason == PUSH for rule in bundled) is kept
    assert [rule for rule in bundled if rule.reason != PUSH]


def test_a_project_s_list_is_not_shown() -> None:
    assert refused(project='allow = ["a.example"]').message.endswith("may not set `network.allow`")
    assert refused(project='mode = "allow-list"').message.endswith("may not set `network.mode` `allow-list`")
