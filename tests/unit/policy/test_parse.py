"""A policy file's text to a layer; every mistake with its place and what is valid."""

import pytest

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.policy.document import Document, PathEntry
from ringfence.policy.parse import nearest, parse, shown

FULL = """\
version = 1
extends = [
  "python",  # one
  "rust",
]
network.mode = "off"

[isolation]
tier = "process"
seccomp = "debug"

[filesystem]
read = ["~/data", { path = "a*b", literal = true, reason = "odd name" }]
deny-read = [
  ".env",
  "secrets/",
]
[[filesystem.mounts]]
source = "~/x"
target = "/x"
[[filesystem.mounts]]
source = "~/y"
target = "/y"
writable = true

[env]
pass = ["A", "B_*"]
set = { TZ = "UTC", "C" = "" }

[limits]
memory = "2 GiB"
wall-time = "1h"
processes = 7
"""


def refused(text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse(text, file="p.toml", scope="user")
    assert caught.value.exit_status == 2
    assert "\n" not in caught.value.message
    return caught.value


def test_a_full_document_is_read() -> None:
    document = parse(FULL, file="p.toml", scope="user").document
    assert document.extends == ("python", "rust")
    assert document.isolation.seccomp == "debug"
    assert document.filesystem.read == ("~/data", PathEntry(path="a*b", literal=True, reason="odd name"))
    assert document.env.pass_ == ("A", "B_*")
    assert document.env.set == {"TZ": "UTC", "C": ""}
    assert document.limits.memory == "2 GiB"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("version",), 1),
        (("extends", 1), 4),
        (("network", "mode"), 6),
        (("isolation",), 8),
        (("filesystem", "read", 1), 13),
        (("filesystem", "read", 1, "reason"), 13),
        (("filesystem", "deny-read", 1), 16),
        (("filesystem", "mounts", 1, "target"), 23),
        (("env", "set", "C"), 28),
        (("limits", "wall-time"), 32),
    ],
)
def test_every_key_has_its_line(path: tuple[str | int, ...], line: int) -> None:
    assert parse(FULL, file="p.toml", scope="user").source(*path) == Source(scope="user", file="p.toml", line=line)


def test_an_unknown_place_falls_back_to_what_is_around_it() -> None:
    layer = parse(FULL, file="p.toml", scope="user")
    assert layer.source("limits", "memory", "x").line == 31
    assert layer.source("nowhere").line == 0


def test_a_layer_without_a_file_is_named_by_its_scope() -> None:
    assert str(parse("version = 1", file="", scope="cli").source("version")) == "cli"


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("", "p.toml:1", "`version` is missing", "begin the file"),
        ("isolation = 1", "p.toml:1", "`isolation` is `1`, not a table", ""),
        ("version = 2", "p.toml:1", "`version` is `2`, not the number `1`", "version 1 of the format"),
        ('version = "1"', "p.toml:1", "`version` is `1`, not the number `1`", "version 1 of the format"),
        ("version = true", "p.toml:1", "`version` is `true`, not", ""),
        ("version = 1\n[filesys]", "p.toml:2", "unknown key `filesys`", "did you mean `filesystem`?"),
        ("version = 1\n[monitor]", "p.toml:2", "unknown key `monitor`", "`monitor` is not available in this version"),
        ("version = 1\nzzz = 1", "p.toml:2", "unknown key `zzz`", "valid here: `version`, `extends`"),
        ("version = 1\n[limits]\nmemry = 1", "p.toml:3", "unknown key `memry` in `limits`", "`memory`?"),
        ("version = 1\n[limits]\ncpu_time = 1", "p.toml:3", "unknown key `cpu_time` in `limits`", "`cpu-time`?"),
        ("version = 1\n[network]\nhosts = []", "p.toml:3", "unknown key `hosts` in `network`", "valid here: `mode`"),
        ('version = 1\n[network]\nmode = "open"', "p.toml:3", "`network.mode` is `open`, not `off` or", ""),
        ('version = 1\n[isolation]\ntier = "vm"', "p.toml:3", "`isolation.tier` is `vm`", "not built in this version"),
        ('version = 1\n[isolation]\ntier = "processx"', "p.toml:3", "`isolation.tier`", "did you mean `process`?"),
        ('version = 1\n[isolation]\nseccomp = "?"', "p.toml:3", "not `default`, `debug` or `nested`", ""),
        ('version = 1\nextends = [\n"python",\n"nod"]', "p.toml:4", "`extends[1]` is `nod`", "did you mean `node`?"),
        ('version = 1\nextends = "go"', "p.toml:2", "`extends` is `go`, not a list of presets", ""),
        ("version = 1\nlimits = []", "p.toml:2", "`limits` is an empty list, not a table", ""),
        *(
            (
                f'version = 1\n[network]\n{rules} = [\n{{ host = "a.example", {name} = [] }}]',
                "p.toml:4",
                f"`network.{rules}[0].{name}` is an empty list",
                f"leave `{name}` out",
            )
            for rules in ("allow", "deny")
            for name in ("methods", "paths")
        ),
        ("version = 1\n[[limits]]", "p.toml:2", "`limits` is a list, not a table", ""),
        ('version = 1\n[limits]\nmemory = "4 gigs"', "p.toml:3", '`limits.memory` is `4 gigs`, not bytes', ""),
        ('version = 1\n[limits]\nmemory = "4GiB\\n"', "p.toml:3", "`limits.memory` is `4GiB\\n`, not", ""),
        ("version = 1\n[limits]\nmemory = {}", "p.toml:3", "`limits.memory` is a table, not bytes", ""),
        ("version = 1\n[limits]\nprocesses = -1", "p.toml:3", "`limits.processes` is `-1`, not a whole number", ""),
        ('version = 1\n[limits]\nwall-time = "1y"', "p.toml:3", "`limits.wall-time` is `1y`, not seconds", ""),
        (f"version = 1\n[limits]\nmemory = {2**63}", "p.toml:3", "`limits.memory`", ""),
        ("version = 1\n[limits]\ncpu-time = 1979-05-27", "p.toml:3", "`limits.cpu-time` is `1979-05-27`", ""),
        ('version = 1\n[filesystem]\nread = "a"', "p.toml:3", "`filesystem.read` is `a`, not a list of paths", ""),
        ('version = 1\n[filesystem]\nread = [\n"a",\n1]', "p.toml:5", "`filesystem.read[1]` is `1`, not a path or", ""),
        ('version = 1\n[filesystem]\nread = [""]', "p.toml:3", '`filesystem.read[0]` is `""`, not a path or', ""),
        ('version = 1\n[filesystem]\nread = ["a\\u0000"]', "p.toml:3", "`filesystem.read[0]` is `a\\x00`, not", ""),
        ('version = 1\n[filesystem]\nread = [{ path = "" }]', "p.toml:3", "`filesystem.read[0].path`", ""),
        ("version = 1\n[filesystem]\nread = [{ literal = true }]", "p.toml:3", "`filesystem.read[0]` lacks `path`", ""),
        ('version = 1\n[filesystem]\nread = [{ pth = "a" }]', "p.toml:3", "unknown key `pth`", "`path`?"),
        (
            'version = 1\n[filesystem]\nread = [{ path = "a", reason = "\\u001b[2J" }]',
            "p.toml:3",
            "`filesystem.read[0].reason` is `\\x1b[2J`, not one line of text",
            "",
        ),
        ('version = 1\n[[filesystem.mounts]]\nsource = "/a"', "p.toml:2", "`filesystem.mounts[0]` lacks `target`", ""),
        ('version = 1\n[env]\npass = ["A",\n"*"]', "p.toml:4", "`env.pass[1]` is `*`", "would pass every secret"),
        ('version = 1\n[env]\npass = ["A=1"]', "p.toml:3", "`env.pass[0]` is `A=1`, not a variable name", "alone"),
        ('version = 1\n[env.set]\nA = "x"\nB = 1', "p.toml:4", "`env.set.B` is `1`, not a string", ""),
        ('version = 1\n[env.set]\n"a.b" = "x"', "p.toml:3", "`env.set.a.b` is `x`, not a string under a name", ""),
        ("version = 1\n[secrets.A]", "p.toml:2", "`secrets.A` is a table, not `[secrets.NAME]` with NAME of `a-z`", ""),
        ("version = 1\n[env]\nset = 3", "p.toml:3", "`env.set` is `3`, not a table of variables", ""),
        ('version = 1\n"\\u001b[1m" = 2', "p.toml:2", "unknown key `\\x1b[1m`", ""),
        ("version = 1\n" + "k" * 99 + " = 2", "p.toml:2", "unknown key `" + "k" * 60 + "…`", ""),
        ("version = 1\nx", "p.toml:2", "not valid TOML: expected '='", ""),
        ('version = 1\nversion = 1\n', "p.toml:2", "not valid TOML: cannot overwrite a value", ""),
        ('version = 1\na = """\n\n', "p.toml:2", "not valid TOML: unterminated string", ""),
        ("a = " + "9" * 5000, "p.toml", "not valid TOML: a number is too long", ""),
        ("a = " + "[" * 9000, "p.toml", "policy is nested too deeply", ""),
        ("#" * 262_145, "p.toml", "policy is longer than 262144 characters", ""),
    ],
)  # fmt: skip
def test_mistakes_are_refused(text: str, place: str, message: str, hint: str) -> None:
    error = refused(text)
    assert error.place == place
    assert error.message.startswith(message) or f", {message}" in error.message
    assert hint in error.hint


def test_a_missing_version_is_not_reported_as_a_table() -> None:
    assert parse("version = 1", file="p.toml", scope="user").document == Document(version=1)


def test_nearest_offers_nothing_far_away() -> None:
    assert nearest("filesys", ["filesystem", "network"]) == "filesystem"
    assert nearest("qqqq", ["filesystem", "network"]) == ""


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("x\ny = 1\n", "p.toml:2", "not valid TOML", ""),
        ("zzzzzz = 1", "p.toml:2", "unknown key `zzzzzz`", None),
        ("[limits]\nmonitor = 1", "p.toml:3", "unknown key `monitor` in `limits`", "valid here"),
        ("secrets = 3", "p.toml:2", "`secrets` is `3`, not ", None),
        ("[secrets]\na = 3", "p.toml:3", "`secrets.a` is `3`, not ", None),
        ('[secrets.a]\nsource = "hidden"', "p.toml:3", "`secrets.a.source` is text, not ", "name where the value is"),
        ("[secrets.a]\nsource = 3", "p.toml:3", "`secrets.a.source` is `3`, not ", ""),
        ('[secrets.a]\nvariables = "x"', "p.toml:3", "`secrets.a.variables` is `x`, not ", ""),
        ('[secrets.a]\nvalue = "x"', "p.toml:3", "unknown key `value` in `secrets.a`", "valid here"),
        (
            '[secrets.a.source]\nvalue = "x"',
            "p.toml:3",
            "unknown key `value` in `secrets.a.source`",
            "a value does not",
        ),
        (
            '[secrets.a.source]\nenvv = "x"',
            "p.toml:3",
            "unknown key `envv` in `secrets.a.source`",
            "did you mean `env`?",
        ),
        ('[workspace]\nmode = "vm"', "p.toml:3", "`workspace.mode` is `vm`, not ", ""),
        ('extends = ["*"]', "p.toml:2", "`extends[0]` is `*`, not ", ""),
        ('[env]\npass = ["A=1"]', "p.toml:3", "`env.pass[0]` is `A=1`, not ", "the name alone"),
        ('[env]\npass = ["A B"]', "p.toml:3", "`env.pass[0]` is `A B`, not ", ""),
        ("[env]\npass = [1]", "p.toml:3", "`env.pass[0]` is `1`, not ", ""),
        ('[workspace]\nmode = "a=b"', "p.toml:3", "`workspace.mode` is `a=b`, not ", ""),
        ("limits = []", "p.toml:2", "`limits` is an empty list, not a table", ""),
        (
            '[[filesystem.mounts]]\nsource = "/a"\ntarget = "/b"\n[[filesystem.mounts]]\nsorce = "/a"',
            "p.toml:6",
            "unknown key `sorce` in `filesystem.mounts[1]`",
            "did you mean `source`?",
        ),
    ],
)
def test_what_more_is_said_of_a_mistake(text: str, place: str, message: str, hint: str | None) -> None:
    error = refused(f"version = 1\n{text}")
    assert error.place == place
    assert error.message.startswith(message)
    assert hint is None or (error.hint.startswith(hint) if hint else not error.hint)


def test_the_top_level_is_not_named() -> None:
    assert refused("version = 1\nzzzzzz = 1").message == "unknown key `zzzzzz`"


def test_the_longest_policy_is_read() -> None:
    text = "version = 1\n"
    assert parse(text + "#" * (262_144 - len(text)), file="", scope="user").document == Document(version=1)


def test_what_a_person_wrote_instead_is_the_place() -> None:
    layer = parse("version = 1\n", file="p.toml", scope="cli", spelled={("version",): "--this"})
    assert str(layer.source("version")) == "--this"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 60, f"`{'x' * 60}`"),
        ("x" * 61, f"`{'x' * 60}…`"),
        ("é", "`é`"),
        ("\x1b", "`\\x1b`"),
        ([], "an empty list"),
    ],
)
def test_how_a_value_is_shown(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[secrets.a]\nsource = 3", '`secrets.a.source` is `3`, not a table such as `{ env = "TOKEN" }`'),
        ("[secrets.a]\nvariables = 3", "`secrets.a.variables` is `3`, not a list of variable names"),
        ("[secrets.a]\nvariables = [1]", "`secrets.a.variables[0]` is `1`, not a variable name"),
        ("[secrets]\na = 3", "`secrets.a` is `3`, not `[secrets.NAME]` with NAME of `a-z`, `0-9`, `-`"),
        ("[secrets.a]\ninject = [{ host = 3 }]", "`secrets.a.inject[0].host` is `3`, not a host, or `*.host`"),
        ("[network.gateways.web]\nhost = 3", "`network.gateways.web.host` is `3`, not a host"),
        (
            '[network.gateways.web]\nhost = "a.example"\nvariables = { A = 3 }',
            "`network.gateways.web.variables.A` is `3`, not a string under a name of letters, digits and `_`",
        ),
        ("[git]\nremotes = [3]", "`git.remotes[0]` is `3`, not a table `{ host, repositories }`"),
    ],
)
def test_what_is_valid_is_said_of_the_very_place(text: str, message: str) -> None:
    assert refused(f"version = 1\n{text}").message == message


@pytest.mark.parametrize("tier", ["gvisor", "vm", "container", "seatbelt"])
def test_tiers_that_are_not_built(tier: str) -> None:
    error = refused(f'version = 1\nisolation.tier = "{tier}"')
    assert error.hint == f"the tier `{tier}` is not built in this version; use `process`"


@pytest.mark.parametrize("table", ["approvals", "monitor"])
def test_tables_that_are_not_read_yet(table: str) -> None:
    assert refused(f"version = 1\n[{table}]").hint == f"`{table}` is not available in this version"
