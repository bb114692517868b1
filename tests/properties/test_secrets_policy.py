"""What must hold of secrets however layers are combined: a project adds none, order is nothing, no value passes."""

import itertools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from ringfence.model.errors import UsageError
from ringfence.model.secrets import Secrets, TaintResponse
from ringfence.policy.document import Document, Env, Layer, Network
from ringfence.policy.effective import Policy
from ringfence.policy.git_tables import GitTable, PushTable, RemoteTable, SigningTable
from ringfence.policy.layers import merge
from ringfence.policy.secrets.tables import InjectTable, LeaksTable, SecretFileTable, SecretTable, SourceTable
from ringfence.policy.secrets.variables import withheld

HOME, WORKSPACE = "/home/u", "/home/u/w"
NAMES = ["a", "b", "github-token"]
VARIABLES = ["A", "B", "GITHUB_TOKEN"]
verdicts = st.sampled_from([UNSET, "deny", "ask", "allow"])
injections = st.builds(InjectTable, host=st.just("x.example"), header=st.sampled_from(["authorization", "x-key"]))
tables = st.builds(
    SecretTable,
    source=st.sampled_from([SourceTable(env="A"), SourceTable(env="C"), SourceTable(file="/f")]),
    inject=st.lists(injections, max_size=1).map(tuple),
    variables=st.lists(st.sampled_from(VARIABLES), max_size=1).map(tuple),
    enabled=st.sampled_from([True, True, False]),
)
texts = st.sampled_from([f"{{{name}}}" for name in NAMES])
files = st.builds(SecretFileTable, path=st.sampled_from(["~/.x", "~/.y"]), text=texts)
leaks = st.builds(
    LeaksTable,
    known=verdicts,
    found=verdicts,
    on_taint=st.sampled_from([UNSET, "record", "ask", "no-new-hosts", "no-writes", "off"]),
)
pushes = st.sampled_from([UNSET, PushTable(refs=("refs/heads/x",)), PushTable(refs=("refs/**",), force=True)])
remotes = st.builds(
    RemoteTable, host=st.sampled_from(["x.example", "github.com"]), repositories=st.just(("o/r",)), push=pushes
)
gits = st.builds(
    GitTable,
    remotes=st.lists(remotes, max_size=2).map(tuple),
    signing=st.sampled_from([UNSET, SigningTable(key="/k")]),
)
documents = st.builds(
    Document,
    version=st.just(1),
    extends=st.sampled_from([UNSET, ("github",), ("claude",)]),
    network=st.just(Network(allow=("x.example",))),
    env=st.builds(Env, pass_=st.lists(st.sampled_from([*VARIABLES, "C", "A*"]), max_size=2).map(tuple)),
    secrets=st.dictionaries(st.sampled_from(NAMES), tables, max_size=2),
    secret_files=st.lists(files, max_size=1).map(tuple),
    leaks=st.one_of(st.just(UNSET), leaks),
    git=gits,
)
project_documents = st.builds(
    Document,
    version=st.just(1),
    extends=st.sampled_from([UNSET, ("github",), ("claude",)]),
    network=st.builds(Network, deny=st.sampled_from([(), ("x.example",), ("*.example",)])),
    leaks=st.one_of(st.just(UNSET), leaks),
)


def layers(scopes: list[str]) -> st.SearchStrategy[list[Layer]]:
    made = [st.builds(Layer, scope=st.just(scope), file=st.just(scope), document=documents) for scope in scopes]
    return st.tuples(*made).map(list)


def merged(found: list[Layer]) -> Policy:
    """The policy of layers that fit together; others are no example."""
    try:
        return merge(found, home=HOME, workspace=WORKSPACE)
    except UsageError:
        assume(False)
        raise


def loosened(before: Secrets, after: Secrets) -> bool:
    """Whether less is searched for or refused than before."""
    if before.leaks is not None:
        if after.leaks is None or (after.leaks.known, after.leaks.found) < (before.leaks.known, before.leaks.found):
            return True
        if after.leaks.known < before.leaks.known or after.leaks.found < before.leaks.found:
            return True
        if after.leaks.exempt != before.leaks.exempt or after.leaks.rules != before.leaks.rules:
            return True
    free = before.on_taint is TaintResponse.RECORD
    return not free and after.on_taint not in (before.on_taint, TaintResponse.OFF)


@settings(max_examples=150)
@given(layers(["managed", "user"]), project_documents)
def test_a_project_adds_nothing_and_loosens_nothing(operator: list[Layer], document: Document) -> None:
    before = merged(operator)
    after = merged([*operator, Layer(scope="project", file="p", document=document)])
    assert after.secrets.secrets == before.secrets.secrets
    assert after.secrets.files == before.secrets.files
    assert after.secrets.mentions == before.secrets.mentions
    assert after.signing == before.signing
    remotes_before, remotes_after = (found.egress.git_remotes if found.egress else () for found in (before, after))
    assert remotes_after in (remotes_before, ())
    assert not loosened(before.secrets, after.secrets)


@settings(max_examples=150)
@given(documents)
def test_a_project_that_defines_something_is_refused(document: Document) -> None:
    assume(document.secrets or document.secret_files or document.git.remotes or document.git.signing is not UNSET)
    project = Document(
        version=1, secrets=document.secrets, secret_files=document.secret_files, git=document.git, leaks=document.leaks
    )
    with pytest.raises(UsageError, match="can only tighten"):
        merge([Layer(scope="project", file="p", document=project)], home=HOME, workspace=WORKSPACE)


@settings(max_examples=100)
@given(layers(["managed", "cli", "user"]))
def test_the_order_of_layers_is_nothing(operator: list[Layer]) -> None:
    first = merged(operator)
    for order in itertools.permutations(operator):
        found = merged(list(order))
        assert (found.secrets, found.signing, found.egress) == (first.secrets, first.signing, first.egress)


@settings(max_examples=100)
@given(documents)
def test_the_order_within_a_layer_is_nothing(document: Document) -> None:
    listed = document.git.remotes
    turned = Document(
        version=1,
        extends=document.extends,
        network=document.network,
        env=document.env,
        secrets=dict(reversed((document.secrets or {}).items())),
        secret_files=document.secret_files,
        leaks=document.leaks,
        git=GitTable(remotes=() if listed is UNSET else listed[::-1], signing=document.git.signing),
    )
    found = [merged([Layer(scope="user", file="u", document=one)]) for one in (document, turned)]
    assert found[0].secrets == found[1].secrets
    pairs = [{(one.host, one.push) for one in each.egress.git_remotes} for each in found if each.egress]
    assert pairs[0] == pairs[1]


@settings(max_examples=150)
@given(layers(["managed", "user"]))
def test_no_rule_passes_what_is_withheld_and_nothing_is_filled_twice(operator: list[Layer]) -> None:
    found = merged(operator)
    kept = set(withheld(found.secrets))
    assert not [rule for rule in found.environment if rule.value is None and rule.name in kept]
    filled = [name for one in found.secrets.secrets for name in one.variables]
    assert len(filled) == len(set(filled))
