"""`[network.gateways.NAME]`: what is a gateway, and what is refused with its line."""

import pytest

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress, Gateway
from ringfence.policy.gateways import gateways as made
from ringfence.policy.parse import parse
from tests.unit.policy.test_network import policy, refused

ALLOWED = 'allow = ["api.example", "10.1.2.3:2375", "host-loopback:2375"]\n'
WEB = '[network.gateways.web]\nhost = "{host}"\n{more}'


def gateways(text: str, **layers: str) -> tuple[Gateway, ...]:
    found = policy(user=ALLOWED + text, **layers)
    assert found.egress
    return found.egress.gateways


@pytest.mark.parametrize(
    ("host", "more", "port", "tls"),
    [
        ("api.example", "", 443, True),
        ("API.example.", "", 443, True),
        ("api.example", "tls = false", 80, False),
        ("api.example:80", "", 80, True),
        ("host-loopback:2375", "tls = false", 2375, False),
        ("10.1.2.3:2375", "tls = false", 2375, False),
    ],
)
def test_a_gateway_leads_to_one_host_and_port(host: str, more: str, port: int, tls: bool) -> None:
    (one,) = gateways(WEB.format(host=host, more=more))
    assert (one.name, one.host, one.port, one.tls) == ("web", host.partition(":")[0].lower().rstrip("."), port, tls)


def test_its_variables_say_where_it_is() -> None:
    (one,) = gateways(WEB.format(host="api.example", more='variables = { B = "unix://{path}", A = "{path}" }'))
    path = "/run/ringfence/gateway/web.sock"
    assert one.variables == (("A", path), ("B", f"unix://{path}"))


def test_the_highest_layer_defines_it() -> None:
    found = gateways(WEB.format(host="api.example:80", more=""), cli=WEB.format(host="api.example", more=""))
    assert [(one.port, one.source.scope) for one in found] == [(443, "cli")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WEB.format(host="other.example", more=""), "the gateway `web` leads to `other.example:443`, which no rule"),
        (WEB.format(host="api.example:8443", more=""), "which no rule allows"),
        ('deny = ["bad.example:443"]\n' + WEB.format(host="bad.example", more=""), "which no rule allows"),
        (WEB.format(host="*.api.example", more=""), "is not one host and port"),
        (WEB.format(host="api.example:80-90", more=""), "is not one host and port"),
        (WEB.format(host="api.example:80,443", more=""), "is not one host and port"),
        (WEB.format(host="http://api.example", more=""), "is a URL, not a host"),
        (WEB.format(host="api.example", more='variables = { A = "/elsewhere" }'), "`A` does not say where"),
        (WEB.format(host="api.example", more='variables = { "A=B" = "{path}" }'), "variables"),
        ('[network.gateways."../x"]\nhost = "api.example"', "gateways"),
        (
            "".join(
                f'[network.gateways.{name}]\nhost = "api.example"\nvariables = {{ A = "{{path}}" }}\n' for name in "ab"
            ),
            "both set `A`",
        ),
        ("".join(f'[network.gateways.g{at}]\nhost = "api.example"\n' for at in range(9)), "more than 8 gateways"),
    ],
)
def test_what_is_not_sound_is_refused_with_its_line(text: str, message: str) -> None:
    error = refused(user=ALLOWED + text)
    assert message in error.message
    assert error.place.startswith("user.toml:")


def test_a_project_defines_none() -> None:
    error = refused(user=ALLOWED, project=WEB.format(host="api.example", more=""))
    assert "may not set `network.gateways`" in error.message


def test_a_project_s_are_passed_over() -> None:
    layer = parse("version = 1\n[network]\n" + WEB.format(host="api.example", more=""), file="p", scope="project")
    assert made([layer], Egress(unknown=Verdict.ASK)) == ()


def test_there_may_be_eight() -> None:
    assert len(gateways("".join(f'[network.gateways.g{at}]\nhost = "api.example"\n' for at in range(8)))) == 8


def test_with_questions_any_host_may_be_named() -> None:
    found = policy(user='unknown = "ask"\n' + WEB.format(host="any.example", more=""))
    assert found.egress and found.egress.gateways[0].host == "any.example"


def test_without_a_network_there_is_none() -> None:
    assert policy(user='mode = "off"\n' + ALLOWED + WEB.format(host="api.example", more="")).egress is None
