"""What is said of secrets: by whose word, where from, where they are put in; never a value."""

import msgspec
import pytest

from ringfence.cli.explain_secret import (
    explain_secret_variable,
    holder,
    injection_text,
    remarks,
    remote_text,
    source_text,
)
from ringfence.model.decision import Source
from ringfence.model.git import GitRemote, LargeFiles, Pushes
from ringfence.model.secrets import Injection, Origin, Placing, SecretSource
from tests.fake_host import policy

TEXT = """
network.allow = ["x.example"]
[secrets.a]
source.env = "SOURCE"
inject = [{ host = "x.example", header = "authorization", methods = ["GET"], paths = ["/v1/**"] }]
variables = ["A"]
optional = true
reason = "for the tests"
[[git.remotes]]
host = "x.example"
repositories = ["o/r"]
"""


def test_a_variable_that_holds_a_placeholder() -> None:
    found = explain_secret_variable(policy(TEXT).secrets, "A")
    assert found is not None
    answer = found.answers["seen"]
    assert (answer.status, answer.rule, answer.origin) == ("yes", "secrets.a", "p.toml:4")
    assert "for the tests" in answer.reason
    text = " ".join(found.notes)
    assert "`SOURCE` outside" in text
    assert "put in at x.example:443, header `authorization`, GET /v1/**" in text
    assert "without a value it is not set" in text


def test_a_variable_that_is_read_stays_outside() -> None:
    found = explain_secret_variable(policy(TEXT).secrets, "SOURCE")
    assert found is not None
    assert (found.answers["seen"].status, found.answers["seen"].origin) == ("no", "p.toml:4")


def test_another_variable_is_no_matter_of_secrets() -> None:
    assert explain_secret_variable(policy(TEXT).secrets, "B") is None


def test_a_file_that_a_value_is_read_from_is_known() -> None:
    secrets = policy(TEXT.replace('source.env = "SOURCE"', 'source.file = "/srv/token"')).secrets
    found = holder(secrets, ("/srv/link", "/srv/token"))
    assert found is not None and found.name == "a"
    assert holder(secrets, ("/srv/other",)) is None
    assert holder(policy(TEXT).secrets, ("SOURCE",)) is None


def test_a_host_is_told_of_its_secrets_and_remotes() -> None:
    rules = policy(TEXT)
    assert rules.egress is not None
    found = remarks(rules.secrets, rules.egress.git_remotes, "x.example")
    assert len(found) == 2
    assert found[1] == "git: o/r, fetch, no push (p.toml:10)"
    assert remarks(rules.secrets, rules.egress.git_remotes, "y.example") == []


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (SecretSource(origin=Origin.FILE, locator="/f", field="a.b"), "`/f`, `a.b`"),
        (SecretSource(origin=Origin.COMMAND, argv=("pass", "show", "x")), "the command `pass`"),
        (SecretSource(origin=Origin.HASHICORP_VAULT, locator="p#f"), "vault `p#f`"),
    ],
)
def test_where_a_value_is_from(source: SecretSource, text: str) -> None:
    assert source_text(source) == text


def test_where_a_value_is_put_in() -> None:
    place = Injection(host="*.amazonaws.com", placing=Placing.SIGV4, key_id="b", ports=((443, 443), (8000, 8010)))
    assert injection_text(place) == "*.amazonaws.com:443,8000-8010, the signature of AWS"


def test_what_git_may_do() -> None:
    remote = GitRemote(host="h", repositories=("o/r", "!o/s"), source=Source(scope="user"), fetch=False)
    assert remote_text(remote) == "o/r !o/s, no fetch, no push"
    pushes = Pushes(refs=("refs/heads/agent/*",))
    more = msgspec.structs.replace(remote, fetch=True, push=pushes, lfs=LargeFiles.UPLOAD)
    assert remote_text(more) == "o/r !o/s, fetch, push to refs/heads/agent/*, LFS upload"
