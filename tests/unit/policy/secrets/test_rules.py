"""One `[secrets.NAME]` to a `Secret`: canonical, or one error with place and remedy."""

import pytest

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.secrets import Capture, Injection, Placing, Secret
from ringfence.policy.entries import Places
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse
from ringfence.policy.secrets.rules import secret

PLACES = Places(home="/home/u", workspace="/home/u/w")


def built(body: str) -> Secret:
    """The secret `a` of a user's file; its table begins on line 3."""
    layer = parse(f"version = 1\n\n[secrets.a]\n{body}\n", file="u.toml", scope="user")
    assert layer.document.secrets
    return secret("a", layer.document.secrets["a"], layer, PLACES)


def injected(entry: str) -> Injection:
    (found,) = built(f'source.env = "A"\ninject = [{{ {entry} }}]').inject
    return found


def test_a_whole_secret() -> None:
    found = built(
        """
        source = { env = "A" }
        inject = [{ host = "API.Example.com.", header = "Authorization", methods = ["GET"], paths = ["/v1/%7eme/**"] }]
        capture = [{ host = "login.example.com", paths = ["/token"], fields = { refresh = "b", access = "a" } }]
        variables = ["A", "B", "A"]
        optional = true
        scopes = ["repo"]
        reason = "for tests"
        """
    )
    place = Injection(
        host="api.example.com",
        placing=Placing.HEADER,
        name="authorization",
        methods=("GET",),
        paths=("/v1/~me/**",),
        declared=Source(scope="user", file="u.toml", line=6),
    )
    assert found.inject == (place,)
    fields = (("access", "a"), ("refresh", "b"))
    line = Source(scope="user", file="u.toml", line=7)
    assert found.captures == (Capture(host="login.example.com", paths=("/token",), fields=fields, declared=line),)
    assert (found.variables, found.optional, found.scopes) == (("A", "B"), True, ("repo",))
    assert (found.reason, found.declared) == ("for tests", Source(scope="user", file="u.toml", line=3))


@pytest.mark.parametrize(
    ("entry", "placing", "name"),
    [
        ('header = "X-Api-Key"', Placing.HEADER, "x-api-key"),
        ('query = "Key"', Placing.QUERY, "Key"),
        ('body = "a.refresh_token"', Placing.BODY, "a.refresh_token"),
        ('sigv4 = true, key-id = "b"', Placing.SIGV4, ""),
    ],
)
def test_places_in_a_request(entry: str, placing: Placing, name: str) -> None:
    found = injected(f'host = "x.example", {entry}')
    assert (found.placing, found.name, found.ports) == (placing, name, ((443, 443),))
    assert found.key_id == ("b" if placing is Placing.SIGV4 else "")


def test_ports_are_those_of_egress_rules() -> None:
    assert injected('host = "x.example", header = "x", ports = [8443, "443-445"]').ports == ((443, 445), (8443, 8443))


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        ('inject = [{ host = "x", header = "a" }]', "`secrets.a` lacks `source`", "source = "),
        ('source.env = "A"\ninject = [{ host = "x" }]', "names 0 places in a request", "`header`"),
        ('source.env = "A"\ninject = [{ host = "x", header = "a", query = "b" }]', "names 2 places", "`header`"),
        ('source.env = "A"\ninject = [{ host = "x", sigv4 = true }]', "`sigv4` needs `key-id`", "identifier"),
        (
            'source.env = "A"\ninject = [{ host = "x", header = "a", key-id = "b" }]',
            "`key-id` has no meaning without `sigv4`",
            "identifier",
        ),
        ('source.env = "A"\ninject = [{ host = "x", header = "Host" }]', "in the header `host`", "authorization"),
        ('source.env = "A"\ninject = [{ host = "*", header = "a" }]', "`*` alone is every host", ""),
        ('source.env = "A"\ninject = [{ host = "*.com", header = "a" }]', "anybody registers", ""),
        ('source.env = "A"\ninject = [{ host = "a@b", header = "a" }]', "is not a host", ""),
        ('source.env = "A"\ninject = [{ host = "x", header = "a", paths = ["v1"] }]', "is not a path", ""),
        ('source.env = "A"\ninject = [{ host = "x", header = "a", ports = [0] }]', "is not a port", ""),
        ('source.env = "A"\ncapture = [{ host = "x", paths = [], fields = {} }]', "needs `paths` and `fields`", ""),
    ],
)
def test_what_is_not_sound(body: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        built(body)
    assert message in caught.value.message
    assert caught.value.place.startswith("u.toml:")
    assert caught.value.hint
    assert hint in caught.value.hint


FRAMING = "connection content-length expect host te trailer transfer-encoding upgrade"


@pytest.mark.parametrize("name", FRAMING.split())
def test_no_secret_is_put_into_what_frames_a_request(name: str) -> None:
    text = 'version = 1\nnetwork.allow = ["x.example"]\n[secrets.a]\nsource.env = "A"\n'
    text += f'inject = [{{ host = "x.example", header = "{name}" }}]\n'
    with pytest.raises(UsageError, match=name):
        merge([parse(text, file="u", scope="user")], home="/home/u", workspace="/w")
