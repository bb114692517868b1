"""What `ringfence secrets` says of each secret, and of a host's answer to it."""

import msgspec
import pytest

from ringfence.cli import secrets as subject
from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.secrets import Capture, Injection, Origin, Placing, Secret, SecretFile, Secrets, SecretSource
from ringfence.session.secret_trial import Trial

SECRET = Secret(
    name="github",
    source=SecretSource(origin=Origin.ENVIRONMENT, locator="GITHUB_TOKEN"),
    inject=(
        Injection(host="api.example.com", placing=Placing.HEADER, name="authorization", methods=("GET", "POST")),
        Injection(host="*.example.org", placing=Placing.SIGV4, ports=((443, 443), (8000, 8010)), paths=("/a/**",)),
    ),
    captures=(Capture(host="login.example.com", paths=("/token",), fields=(("access_token", "github"),)),),
    variables=("GITHUB_TOKEN",),
    scopes=("repo",),
    optional=True,
    declared=Source(scope="user", file="policy.toml", line=3),
)
SECRETS = Secrets(
    secrets=(SECRET,),
    files=(SecretFile(path="~/.netrc", text="password {github}"), SecretFile(path="~/.other", text="{other}")),
)


def test_everything_about_a_secret_in_lines() -> None:
    lines = [line.split(maxsplit=1) for line in subject.details(SECRET, SECRETS)]
    assert [(key, " ".join(rest.split())) for key, rest in lines] == [
        ("into", "api.example.com header authorization GET POST"),
        ("into", "*.example.org:443,8000-8010 /a/** sigv4"),
        ("from", "login.example.com /token access_token -> github"),
        ("inside", "$GITHUB_TOKEN"),
        ("inside", "~/.netrc"),
        ("scopes", "repo"),
        ("says", "policy.toml:3, optional"),
    ]


def test_as_json() -> None:
    found = subject.as_json(SECRET, SECRETS)
    assert found["name"] == "github" and found["files"] == ["~/.netrc"] and found["declared"] == "policy.toml:3"


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        (Trial(secret="github", request="GET /", status=200), ""),
        (Trial(secret="github", request="GET /", status=404), ""),
        (Trial(secret="github", request="GET /", status=401), "the host refuses it"),
        (Trial(secret="github", request="GET /", status=403), "the host refuses it"),
        (Trial(secret="github", request="GET /", status=200, scopes=("repo",)), ""),
        (Trial(secret="github", request="GET /", status=200, scopes=()), ""),
        (
            Trial(secret="github", request="GET /", status=200, scopes=("repo", "workflow", "admin:org")),
            "it may do more than policy says: admin:org, workflow",
        ),
        (Trial(secret="github", request="GET /", problem="unreachable"), "unreachable"),
    ],
)
def test_what_is_wrong_with_an_answer(trial: Trial, said: str) -> None:
    assert subject.problem(SECRET, trial) == said


def test_scopes_are_named_where_the_host_names_them() -> None:
    assert subject.scopes(Trial(secret="a", request="")) == ""
    assert subject.scopes(Trial(secret="a", request="", scopes=())) == "scopes: none"
    assert subject.scopes(Trial(secret="a", request="", scopes=("repo", "gist"))) == "scopes: repo, gist"


def test_a_host_is_canonical_or_refused() -> None:
    assert subject.read_host("API.Example.com.") == "api.example.com"
    with pytest.raises(UsageError):
        subject.read_host("not a host")
    with pytest.raises(UsageError) as caught:
        subject.read_host("https://api.example.com/v1")
    assert caught.value.hint == "write the host alone, as in `api.example.com`"


@pytest.mark.parametrize("words", [["list", "--preset", "github"], ["--preset", "github", "--json", "list"]])
def test_the_options_of_a_run_count(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert subject.main("secrets", words) == 0
    assert "GITHUB_TOKEN" in capsys.readouterr().out
    assert subject.main("secrets", ["list"]) == 0
    assert "GITHUB_TOKEN" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["frob"],
        [],
        ["list", "more"],
        ["test"],
        ["test", "a.example", "b.example"],
        ["reload", "x"],
        ["reload", "--preset", "nothing"],
        ["list", "--run", "x"],
    ],
)
def test_words_that_mean_nothing(words: list[str]) -> None:
    with pytest.raises(UsageError):
        subject.main("secrets", words)


@pytest.mark.parametrize(
    ("status", "without", "said"),
    [
        (200, 401, "accepted"),
        (204, 0, "accepted"),
        (200, 200, "no proof: the host answers the same without it"),
        (404, 404, "not refused"),
    ],
)
def test_a_host_that_answers_anybody_proves_nothing(status: int, without: int, said: str) -> None:
    assert subject.accepted(Trial(secret="a", request="", status=status, status_without=without)) == said


def test_an_optional_secret_may_have_no_value() -> None:
    absent = Trial(secret="github", request="", problem="the variable is not set", is_absent=True)
    assert subject.spared(SECRET, absent)
    assert not subject.spared(SECRET, Trial(secret="github", request="", problem="unreachable"))
    assert not subject.spared(msgspec.structs.replace(SECRET, optional=False), absent)
