"""The options of a run as a layer: what is wrong in one is told by the option that a person wrote."""

import pytest

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.policy.layers import merge
from ringfence.session import option_layer
from ringfence.session.options import parse


def place_of_the_error(words: str) -> str:
    options, _ = parse(words.split())
    with pytest.raises(UsageError) as caught:
        merge(option_layer.layers(options), home="/home/u", workspace="/home/u/w")
    return caught.value.place


@pytest.mark.parametrize(
    "option",
    [
        *("--allow *", "--ask 10.0.0.0/8", "--deny a.example:80-", "--publish 99999", "--network of", "--preset nod"),
        *("--env A=B", "--timeout soon", "--workspace here", "--apply now", "--trust me", "--seccomp x"),
        *("--deny-read !x", "--allow a/b"),
    ],
)
def test_an_option_is_named_and_no_line_of_a_text_that_nobody_wrote(option: str) -> None:
    place = place_of_the_error(f"--allow good.example {option}")
    name, value = option.split(" ")
    assert place.startswith(name) and place.endswith(value)


def test_of_several_the_wrong_one_is_named() -> None:
    assert place_of_the_error("--publish 8099:3000 --publish 8099:3001") == "--publish 8099:3001"


def test_rules_have_their_option_as_origin() -> None:
    options, _ = parse(["--allow", "a.example", "--timeout", "30", "--secret", "TOKEN@a.example"])
    policy = merge(option_layer.layers(options), home="/home/u", workspace="/home/u/w")
    assert policy.egress is not None
    assert policy.egress.rules[0].source == Source(scope="cli", file="--allow a.example")
    assert str(policy.origins["limits.wall-time"]) == "--timeout 30"
    assert [str(secret.declared) for secret in policy.secrets.secrets] == ["--secret TOKEN@a.example"]


def test_the_wrong_host_of_a_secret_is_named() -> None:
    assert place_of_the_error("--allow a.example --secret T@a.example --secret T@*") == "--secret T@*"


def test_what_a_terminal_would_act_on_is_not_shown() -> None:
    options, _ = parse(["--allow", "a\x1b[31m"])
    with pytest.raises(UsageError) as caught:
        merge(option_layer.layers(options), home="/home/u", workspace="/home/u/w")
    assert "\x1b" not in caught.value.place


def test_a_secret_for_plain_http_is_refused() -> None:
    options, _ = parse(["--secret", "T@a.example:80"])
    with pytest.raises(UsageError, match="values leave only within TLS") as caught:
        option_layer.layers(options)
    assert "--secret T@a.example`" in caught.value.hint
