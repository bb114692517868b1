"""Layers to the policy in force: precedence, origins, and what a project may not do."""

import pytest

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.model.plan import Limits
from ringfence.policy.document import Layer
from ringfence.policy.effective import Policy, TrustRules
from ringfence.policy.layers import PRECEDENCE, merge
from ringfence.policy.parse import parse
from ringfence.policy.presets import PRESETS
from ringfence.policy.template import render


def layer(scope: str, body: str) -> Layer:
    return parse(f"version = 1\n{body}", file=f"{scope}.toml", scope=scope)


def merged(*layers: Layer) -> Policy:
    return merge(layers, home="/home/u", workspace="/home/u/w")


def test_the_default_alone() -> None:
    policy = merged()
    assert (policy.tier, policy.seccomp, policy.network) == ("process", "default", "off")
    assert (policy.workspace_mode, policy.workspace_apply) == ("overlay", "exit")
    assert (policy.audit_fsync, policy.audit_rotate_bytes) == ("exit", 64 << 20)
    assert policy.limits == Limits()
    assert policy.presets == ("python", "node", "rust", "go", "java", "ruby")
    assert policy.egress is None
    assert not (policy.write or policy.deny_read or policy.deny_write)
    assert not policy.mounts
    assert {rule.source.scope for rule in policy.read} == {"preset"}
    assert set(policy.origins.values()) == {Source(scope="default")}
    assert policy.origins.keys() >= {"isolation.tier", "network.mode", "limits.memory", "audit.rotate-size"}


@pytest.mark.parametrize("above", range(3))
def test_a_scalar_comes_from_the_highest_layer(above: int) -> None:
    high, low = PRECEDENCE[above], PRECEDENCE[above + 1]
    layers = layer(high, "\nlimits.memory = 1000"), layer(low, "limits.memory = '1KiB'\nlimits.processes = 9")
    for order in (layers, layers[::-1]):
        policy = merged(*order)
        assert (policy.limits.memory_bytes, policy.limits.processes) == (1000, 9)
        assert str(policy.origins["limits.memory"]) == f"{high}.toml:3"
        assert str(policy.origins["limits.processes"]) == f"{low}.toml:3"


def test_every_scalar_is_taken_over() -> None:
    text = """
        isolation.seccomp = "nested"
        workspace = { mode = "direct", apply = "ask" }
        audit = { fsync = "never", rotate-size = "1MiB" }
        [limits]
        processes = 1
        memory = 2
        cpu-time = "3m"
        file-size = 4
        open-files = 5
        wall-time = 6
        tmp-size = 7
        home-size = 8
        run-size = 9
        shm-size = 10
        workspace-size = 11
    """
    policy = merged(layer("user", text))
    assert (policy.seccomp, policy.workspace_mode, policy.workspace_apply) == ("nested", "direct", "ask")
    assert (policy.audit_fsync, policy.audit_rotate_bytes) == ("never", 1 << 20)
    assert policy.limits == Limits(
        processes=1,
        memory_bytes=2,
        cpu_time_s=180,
        file_size_bytes=4,
        open_files=5,
        wall_time_s=6,
        tmp_bytes=7,
        home_bytes=8,
        run_bytes=9,
        shm_bytes=10,
        workspace_bytes=11,
    )


def test_of_two_layers_of_one_scope_the_later_counts() -> None:
    assert merged(layer("cli", "limits.processes = 1"), layer("cli", "limits.processes = 2")).limits.processes == 2


def test_lists_are_joined_highest_first_with_their_lines() -> None:
    policy = merged(
        layer("project", 'filesystem.deny-read = [\n"p1",\n"p2"]'),
        layer("managed", 'filesystem.deny-read = ["m"]'),
        layer("user", 'filesystem.read = ["~/r"]\nfilesystem.write = ["/srv"]'),
    )
    denied = [(rule.pattern, str(rule.source)) for rule in policy.deny_read]
    assert denied[:3] == [("m", "managed.toml:2"), ("p1", "project.toml:3"), ("p2", "project.toml:4")]
    assert (policy.read[0].pattern, str(policy.read[0].source)) == ("/home/u/r", "user.toml:2")
    assert [rule.pattern for rule in policy.write] == ["/srv"]


def test_presets_name_their_source_and_reason() -> None:
    rule = next(rule for rule in merged().read if rule.pattern == "/home/u/.rustup")
    assert str(rule.source) == "preset:rust"
    assert rule.reason


def test_of_two_mounts_at_one_place_the_higher_stays() -> None:
    user = layer(
        "user",
        '[[filesystem.mounts]]\nsource = "/a"\ntarget = "/x"\n[[filesystem.mounts]]\nsource = "/b"\ntarget = "/y"',
    )
    managed = layer("managed", '[[filesystem.mounts]]\nsource = "/c"\ntarget = "/x"')
    assert [(m.host, m.guest, str(m.source)) for m in merged(user, managed).mounts] == [
        ("/c", "/x", "managed.toml:2"),
        ("/b", "/y", "user.toml:5"),
    ]


def test_each_variable_is_named_once_by_the_highest_layer() -> None:
    policy = merged(
        layer("user", 'env.pass = ["A", "B"]\nenv.set = { B = "set", TZ = "UTC" }'),
        layer("managed", 'env.pass = ["TZ"]'),
    )
    rules = {rule.name: rule for rule in policy.environment}
    assert len(rules) == len(policy.environment)
    assert (rules["A"].value, str(rules["A"].source)) == (None, "user.toml:2")
    assert (rules["B"].value, str(rules["B"].source)) == ("set", "user.toml:3")
    assert (rules["TZ"].value, str(rules["TZ"].source)) == (None, "managed.toml:2")
    assert (rules["PATH"].source, rules["VIRTUAL_ENV"].source.file) == (Source(scope="default"), "preset:python")


@pytest.mark.parametrize(
    ("body", "line", "key"),
    [
        ('filesystem.read = [\n"~/.ssh"]', 3, "filesystem.read"),
        ('filesystem.read = ["inside"]', 2, "filesystem.read"),
        ('filesystem.write = ["/srv"]', 2, "filesystem.write"),
        ('[[filesystem.mounts]]\nsource = "/a"\ntarget = "/b"', 2, "filesystem.mounts"),
        ('env.pass = ["AWS_*"]', 2, "env.pass"),
        ('[env]\nset = { PATH = "." }', 3, "env.set"),
        ("audit.rotate-size = 1", 2, "audit.rotate-size"),
        ('isolation.seccomp = "debug"', 2, "isolation.seccomp"),
        ('isolation.seccomp = "nested"', 2, "isolation.seccomp"),
        ('workspace.mode = "direct"', 2, "workspace.mode"),
        ('audit.fsync = "never"', 2, "audit.fsync"),
        ('limits.memory = "8GiB"', 2, "limits.memory"),
        ("limits.memory = 0", 2, "limits.memory"),
    ],
)
def test_a_project_cannot_loosen(body: str, line: int, key: str) -> None:
    with pytest.raises(UsageError) as caught:
        merged(layer("project", body))
    assert caught.value.message.startswith("a project's policy can only tighten")
    assert f"`{key}`" in caught.value.message
    assert caught.value.place == f"project.toml:{line}"
    assert "user policy" in caught.value.hint


def test_a_project_can_tighten() -> None:
    policy = merged(
        layer(
            "project",
            """
            extends = ["go"]
            network = { mode = "off", unknown = "deny", deny = ["a.example"], ask = ["b.example"], allow = [] }
            isolation = { tier = "process", seccomp = "default" }
            filesystem = { read = [], deny-read = ["/usr/share/x"], deny-write = ["m"] }
            env = { pass = [], set = {} }
            limits = { memory = "1GiB", cpu-time = "1h" }
            workspace = { mode = "readonly", apply = "ask" }
            audit.fsync = "always"
            """,
        )
    )
    assert (policy.workspace_mode, policy.workspace_apply, policy.audit_fsync) == ("readonly", "ask", "always")
    assert (policy.limits.memory_bytes, policy.limits.cpu_time_s) == (1 << 30, 3600)
    assert policy.deny_read[0].pattern == "/usr/share/x"


@pytest.mark.parametrize(
    ("user", "project", "in_force"),
    [("8GiB", "6GiB", 8 << 30), ("1GiB", "2GiB", 1 << 30), ("0", "6GiB", 0), ("8GiB", "2GiB", 8 << 30)],
)
def test_a_project_between_the_default_and_the_user_is_no_error(user: str, project: str, in_force: int) -> None:
    layers = (
        layer("user", f"limits.memory = {int(user) if user == '0' else repr(user)}"),
        layer("project", f"limits.memory = '{project}'"),
    )
    assert merged(*layers).limits.memory_bytes == in_force


def test_a_project_looser_than_default_and_user_is_an_error() -> None:
    with pytest.raises(UsageError, match="`16GiB` is looser than `8GiB`"):
        merged(layer("user", "limits.memory = '8GiB'"), layer("project", "limits.memory = '16GiB'"))


@pytest.mark.parametrize(
    ("setting", "value", "most"),
    [
        ("memory", "'5GiB'", "4GiB"),
        ("processes", "2048", "1024"),
        ("memory", "0", "4GiB"),
        ("shm-size", "'1TiB'", "256MiB"),
    ],
)
def test_the_bound_is_told_in_the_unit_of_its_setting(setting: str, value: str, most: str) -> None:
    with pytest.raises(UsageError, match=f"is looser than `{most}`$"):
        merged(layer("project", f"limits.{setting} = {value}"))


def test_an_unknown_scope_is_a_defect() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        merged(layer("preset", ""))


def test_presets_hold_nothing_that_loads_code_or_holds_credentials() -> None:
    names = {rule.name for rule in merged().environment}
    assert not {name for name in names if name.startswith(("LD_", "GIT_", "DYLD_", "SSH_", "AWS_"))}
    assert not names & {"PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "NODE_OPTIONS", "NODE_PATH", "BASH_ENV", "ENV"}
    assert not names & {"RUSTFLAGS", "RUSTC_WRAPPER", "GOFLAGS", "PERL5OPT", "RUBYOPT", "JAVA_TOOL_OPTIONS"}
    paths = [path for preset in PRESETS.values() for path, _ in preset.read]
    assert not set(paths) & {"~", "~/.cargo", "~/.config", "~/.local", "~/.local/share", "~/go"}
    assert all(not set("*?[") & set(path) for path in paths)
    assert all(reason for preset in PRESETS.values() for _, reason in (*preset.read, *preset.variables))


def test_the_template_is_a_project_s_policy_that_merges() -> None:
    policy = merged(parse(render(["python"]), file="ringfence.toml", scope="project"))
    assert [rule.pattern for rule in policy.deny_read if rule.source.scope == "project"] == [".env", ".env.local"]


# ---- trust


A, B = "a" * 64, "b" * 64


def test_nobody_is_asked_about_trust_by_default() -> None:
    assert merged().trust == TrustRules(mode="off")


def test_the_mode_of_an_agent_gives_way_to_every_file() -> None:
    agent = parse('version = 1\n[trust]\nmode = "hide"\n', file="agent", scope="default")
    assert merged(agent).trust.mode == "hide"
    assert merged(agent, layer("user", '[trust]\nmode = "refuse"\n')).trust.mode == "refuse"


def test_pins_and_prohibitions_are_joined() -> None:
    trust = merged(
        layer("user", f'[trust]\npin = ["{A}"]\n'), layer("managed", f'[trust]\npin = ["{B}"]\nforbid = ["{A}"]\n')
    ).trust
    assert (trust.pinned, trust.forbidden, trust.only_pinned) == ((B, A), (A,), False)


@pytest.mark.parametrize(("scope", "pinned"), [("managed", (A,)), ("cli", (A, B)), ("user", (A, B, A))])
def test_where_only_pins_count_those_of_lower_layers_do_not(scope: str, pinned: tuple[str, ...]) -> None:
    bodies = {
        name: f'[trust]\npin = ["{digest}"]\n'
        for name, digest in zip(("managed", "cli", "user"), (A, B, A), strict=True)
    }
    bodies[scope] += "only-pinned = true\n"
    trust = merged(*(layer(name, body) for name, body in bodies.items())).trust
    assert (trust.only_pinned, trust.pinned) == (True, pinned)


def test_keys_that_approve_text_are_joined_as_pins_are() -> None:
    a, b = (f"ssh-ed25519 {letter * 68} {letter}" for letter in "AB")
    lower = layer("user", f'[trust]\nsigners = ["{a}"]\n')
    assert merged(lower, layer("managed", f'[trust]\nsigners = ["{b}"]\n')).trust.signers == (b, a)
    only = layer("managed", f'[trust]\nsigners = ["{b}"]\nonly-pinned = true\n')
    assert merged(lower, only).trust.signers == (b,)


@pytest.mark.parametrize(
    "body", ['mode = "off"', 'mode = "refuse"', f'pin = ["{A}"]', f'forbid = ["{A}"]', "only-pinned = true"]
)
def test_a_project_has_no_say_in_its_own_trust(body: str) -> None:
    with pytest.raises(UsageError, match="can only tighten"):
        merged(layer("project", f"[trust]\n{body}\n"))


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "a" * 64 + "\\n", "*"])
def test_a_digest_is_64_small_hexadecimal_digits(digest: str) -> None:
    with pytest.raises(UsageError):
        layer("user", f'[trust]\npin = ["{digest}"]\n')


def test_the_file_of_a_secret_is_hidden_as_it_is_called() -> None:
    text = '[secrets.a]\nsource.file = "~/key*"\n[secrets.b]\nsource.env = "B"'
    (rule,) = merged(layer("user", text)).deny_read
    assert (rule.pattern, rule.literal, rule.reason, str(rule.source)) == (
        "/home/u/key*",
        True,
        "the secret `a`",
        "user.toml:2",
    )


def test_a_permission_that_is_no_rule_refuses_the_whole_policy() -> None:
    with pytest.raises(UsageError, match=r"Bash\(x"):
        merged(layer("user", '[permissions]\ndeny = ["Bash(x"]'))


def test_variables_of_presets_that_nobody_named_stay_out() -> None:
    assert "ANTHROPIC_API_KEY" not in {rule.name for rule in merged().environment}
    assert "VIRTUAL_ENV" in {rule.name for rule in merged().environment}


def test_where_not_only_pins_count_those_of_lower_layers_are_heard() -> None:
    pin = "a" * 64
    found = merged(layer("managed", "trust.only-pinned = false"), layer("user", f'trust.pin = ["{pin}"]'))
    assert found.trust.pinned == (pin,)


def test_a_layer_that_would_write_the_home_is_refused() -> None:
    with pytest.raises(UsageError, match="whole home directory"):
        merged(layer("user", 'filesystem.write = ["~"]'))
    assert merged(layer("user", 'filesystem.read = ["~"]')).read[0].pattern == "/home/u"


def test_the_file_of_a_project_that_needs_no_preset() -> None:
    assert '# extends = ["python"]' in render([]).splitlines()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("filesystem.read", 'filesystem.read = ["~/a"]'),
        ("filesystem.write", 'filesystem.write = ["~/a"]'),
        ("filesystem.mounts", 'filesystem.mounts = [{ source = "/a", target = "/b" }]'),
        ("env.pass", 'env.pass = ["A"]'),
        ("env.set", 'env.set = { A = "x" }'),
        ("permissions.allow", 'permissions.allow = ["Bash(x)"]'),
        ("permissions.directories", 'permissions.directories = ["/a"]'),
        ("permissions.mode", 'permissions.mode = "acceptEdits"'),
        ("trust.mode", 'trust.mode = "hide"'),
        ("trust.only-pinned", "trust.only-pinned = true"),
        ("trust.pin", f'trust.pin = ["{"a" * 64}"]'),
        ("trust.forbid", f'trust.forbid = ["{"a" * 64}"]'),
        ("trust.signers", 'trust.signers = ["{signer}"]'),
        ("audit.rotate-size", "audit.rotate-size = 1048576"),
        ("network.allow", 'network.allow = ["a.example"]'),
        ("network.ask-timeout", 'network.ask-timeout = "5s"'),
        ("network.proxy-variables", "network.proxy-variables = true"),
        ("network.parent-proxy", 'network.parent-proxy = "http://a.example:1"'),
        ("network.publish", "network.publish = [3000]"),
        ("network.gateways", 'network.gateways.web = { host = "a.example" }'),
    ],
)
def test_what_only_the_operator_says(key: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"a project's policy can only tighten, so it may not set `{key}`"):
        merged(layer("project", text.replace("{signer}", f"ssh-ed25519 {'A' * 68}")))


@pytest.mark.parametrize(
    "text",
    [
        "network.allow = []",
        "network.publish = []",
        "filesystem.read = []",
        "env.set = {}",
        'network.deny = ["a.example"]',
    ],
)
def test_a_project_may_say_nothing_and_deny(text: str) -> None:
    assert merged(layer("project", text)).network == "off"


def test_a_project_may_not_have_changes_applied_while_it_runs() -> None:
    with pytest.raises(UsageError, match=r"`workspace\.apply` `live` is looser than `exit`"):
        merged(layer("project", 'workspace.apply = "live"'))
