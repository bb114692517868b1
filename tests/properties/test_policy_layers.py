"""What must hold however layers are combined: order is nothing, precedence is all, and a project only tightens."""

import itertools

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from ringfence.model.action import Action, ActionKind
from ringfence.model.errors import UsageError
from ringfence.policy.document import (
    AuditTable,
    Document,
    Env,
    Filesystem,
    Isolation,
    Layer,
    LimitsTable,
    MountEntry,
    Network,
    WorkspaceTable,
)
from ringfence.policy.effective import Policy
from ringfence.policy.evaluate import evaluate
from ringfence.policy.layers import PRECEDENCE, merge

HOME, WORKSPACE = "/home/u", "/home/u/w"
PATTERNS = ["a", "*.k", "./a", "a/b", "~/a", "~/d/**", "/srv", "/srv/[ab]", "**/b", "../x", "~/.cargo", "/s*"]
TARGETS = ["a", "a/b", "x/a.k", "b", "/home/u/a", "/home/u/d/e", "/srv/a/b", "/srv", "/home/u/x", "/home/u/.cargo/bin"]
TARGETS += ["/m/a", "/home/u/.ssh/id", "ringfence.toml"]
VARIABLES = ["TZ", "AWS_KEY", "LC_ALL", "PATH"]

HOSTS = ["a.t.example", "*.t.example", "a.t.example:443", "b.t.example:1-90", "10.0.0.1:443", "host-loopback:443"]
CONNECTIONS = ["a.t.example:443", "b.t.example:80", "b.t.example", "10.0.0.1:443", "host-loopback:443", "c.example"]
CONNECTIONS += ["GET https://a.t.example/", "POST https://b.t.example/x"]
hosts = st.lists(st.sampled_from(HOSTS), max_size=2).map(tuple)
networks = st.builds(
    Network,
    mode=st.sampled_from([UNSET, UNSET, "off", "allow-list"]),
    allow=hosts,
    ask=hosts,
    deny=hosts,
    unknown=st.sampled_from([UNSET, "deny", "ask"]),
    requests=st.sampled_from([UNSET, 0, 5, 9]),
)
project_networks = st.builds(
    Network,
    mode=st.sampled_from([UNSET, "off", "allow-list"]),
    ask=hosts,
    deny=hosts,
    unknown=st.sampled_from([UNSET, "deny", "ask"]),
    denied_addresses=st.sampled_from([(), ("10.0.0.0/8",)]),
    requests=st.sampled_from([UNSET, 0, 5, 9]),
)
paths = st.lists(st.sampled_from(PATTERNS), max_size=2).map(tuple)
sizes = st.sampled_from([0, 1, "1KiB", "4GiB", "8GiB", 2**62])
filesystems = st.builds(
    Filesystem,
    read=paths,
    write=paths,
    deny_read=paths,
    deny_write=paths,
    mounts=st.sampled_from([(), (MountEntry(source="/srv", target="/m", writable=True),)]),
)
documents = st.builds(
    Document,
    version=st.just(1),
    filesystem=filesystems,
    network=networks,
    isolation=st.builds(Isolation, seccomp=st.sampled_from(["default", "debug", "nested"])),
    env=st.builds(Env, pass_=st.lists(st.sampled_from(["TZ", "AWS_*"]), max_size=1).map(tuple)),
    limits=st.builds(LimitsTable, memory=sizes),
    workspace=st.builds(WorkspaceTable, mode=st.sampled_from(["overlay", "direct", "readonly"])),
    audit=st.builds(AuditTable, fsync=st.sampled_from(["always", "exit", "never"])),
)
operators = st.lists(
    st.builds(Layer, scope=st.sampled_from(["managed", "cli", "user"]), document=documents), max_size=3
)
project_documents = st.builds(
    Document,
    version=st.just(1),
    filesystem=st.builds(Filesystem, deny_read=paths, deny_write=paths),
    network=project_networks,
    limits=st.builds(LimitsTable, memory=sizes),
    workspace=st.builds(WorkspaceTable, mode=st.sampled_from(["overlay", "direct", "readonly"])),
)


def merged(layers: list[Layer]) -> Policy:
    return merge(layers, home=HOME, workspace=WORKSPACE)


def verdicts(policy: Policy) -> list[int]:
    """Decide on one action of each kind for each target of this file."""
    actions = [
        Action(kind=kind, target=target)
        for kind, targets in (
            (ActionKind.READ, TARGETS),
            (ActionKind.WRITE, TARGETS),
            (ActionKind.ENVIRONMENT, VARIABLES),
            (ActionKind.CONNECT, CONNECTIONS),
        )
        for target in targets
    ]
    return [evaluate(policy, action, workspace=WORKSPACE).verdict for action in actions]


def unlimited_last(value: int) -> float:
    return value or float("inf")


@settings(max_examples=60, deadline=None)
@given(
    operators,
    st.sampled_from([scope for scope in PRECEDENCE if scope != "default"]),
    st.sampled_from(PATTERNS),
    st.sampled_from(HOSTS),
    st.booleans(),
)
def test_adding_a_denial_never_loosens(layers: list[Layer], scope: str, pattern: str, host: str, reading: bool) -> None:
    filesystem = Filesystem(deny_read=(pattern,)) if reading else Filesystem(deny_write=(pattern,))
    document = Document(version=1, filesystem=filesystem, network=Network(deny=(host,)))
    denial = Layer(scope=scope, document=document)
    before, after = verdicts(merged(layers)), verdicts(merged([*layers, denial]))
    assert all(tighter >= verdict for verdict, tighter in zip(before, after, strict=True))


@settings(max_examples=80, deadline=None)
@given(operators, st.builds(Layer, scope=st.just("project"), document=project_documents))
def test_a_project_layer_tightens_or_is_refused(layers: list[Layer], project: Layer) -> None:
    without = merged(layers)
    try:
        policy = merged([project, *layers])
    except UsageError:
        assume(False)
    assert all(tight >= loose for loose, tight in zip(verdicts(without), verdicts(policy), strict=True))
    assert unlimited_last(policy.limits.memory_bytes) <= unlimited_last(without.limits.memory_bytes)
    if policy.egress and without.egress:
        budgets = policy.egress.request_limit, without.egress.request_limit
        assert unlimited_last(budgets[0]) <= unlimited_last(budgets[1])
        assert set(policy.egress.listen) <= set(without.egress.listen)
        assert policy.egress.literals == without.egress.literals
    assert policy.egress is None or without.egress is not None
    modes = ["readonly", "overlay", "direct"]
    assert modes.index(policy.workspace_mode) <= modes.index(without.workspace_mode)
    assert (policy.read, policy.write, policy.mounts) == (without.read, without.write, without.mounts)
    assert (policy.environment, policy.seccomp) == (without.environment, without.seccomp)


@settings(max_examples=40, deadline=None)
@given(st.tuples(documents, documents, documents))
def test_the_order_in_which_layers_are_given_is_nothing(parts: tuple[Document, Document, Document]) -> None:
    layers = [Layer(scope=scope, document=part) for scope, part in zip(("user", "cli", "managed"), parts, strict=True)]
    policies = [merged(list(order)) for order in itertools.permutations(layers)]
    assert all(policy == policies[0] for policy in policies)


@settings(max_examples=60, deadline=None)
@given(documents)
def test_a_document_may_be_split_into_layers_of_its_scope(document: Document) -> None:
    whole = Layer(scope="user", document=document)
    halves = [
        Layer(scope="user", document=Document(version=1, filesystem=document.filesystem, env=document.env)),
        Layer(
            scope="user",
            document=Document(
                version=1,
                network=document.network,
                isolation=document.isolation,
                limits=document.limits,
                workspace=document.workspace,
                audit=document.audit,
            ),
        ),
    ]
    assert merged(halves) == merged([whole]) == merged(halves[::-1])


@settings(max_examples=60, deadline=None)
@given(operators, documents)
def test_what_managed_sets_is_in_force(layers: list[Layer], document: Document) -> None:
    assume(all(layer.scope != "managed" for layer in layers))
    policy = merged([Layer(scope="managed", document=document), *layers])
    alone = merged([Layer(scope="managed", document=document)])
    assert (policy.limits.memory_bytes, policy.workspace_mode) == (alone.limits.memory_bytes, alone.workspace_mode)
    assert (policy.seccomp, policy.audit_fsync) == (alone.seccomp, alone.audit_fsync)
