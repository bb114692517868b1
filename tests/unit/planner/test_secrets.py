"""Files with placeholders in the view, and what of secrets a Plan promises."""

import pytest

from ringfence.model.errors import UsageError
from ringfence.model.plan import MountKind
from ringfence.model.secrets import Leaks, Secrets, TaintResponse
from ringfence.planner.secrets import kept, needed_if
from ringfence.sandbox.bubblewrap import compile_plan
from tests.fake_host import HOME, WORKSPACE, Host, at, filesystem, plan, policy, request

SECRET = '[secrets.a]\nsource.env = "A"\nvariables = ["A"]\n'
OPTIONAL = SECRET + "optional = true\n"


def file(path: str, text: str = "x {a}") -> str:
    return f"[[secret-files]]\npath = '{path}'\ntext = '{text}'\n"


def test_a_secret_file_is_a_private_copy_in_the_home() -> None:
    mount = at(plan(SECRET + file("~/.config/tool/login")), f"{HOME}/.config/tool/login")
    assert (mount.kind, mount.text, mount.mode) == (MountKind.SECRET_FILE, "x {a}", 0o600)
    assert (str(mount.origin), bool(mount.reason)) == ("p.toml:5", True)


def test_it_takes_the_place_of_a_notice_and_is_not_watched() -> None:
    host = Host({f"{HOME}/.netrc": "machine x password y"})
    before, after = plan("", host), plan(SECRET + file("~/.netrc"), host)
    assert at(before, f"{HOME}/.netrc").kind is MountKind.FILE
    assert [mount.kind for mount in after.mounts if mount.target == f"{HOME}/.netrc"] == [MountKind.SECRET_FILE]
    assert f"{HOME}/.netrc" in [watch.target for watch in before.watches]
    assert f"{HOME}/.netrc" not in [watch.target for watch in after.watches]


def test_the_backend_is_told_which_files_are_templates() -> None:
    host = Host()
    asked = request()
    text = SECRET + file("~/.one") + file("/run/secrets/two", "{a}{{")
    rules = policy(text)
    launch = compile_plan(plan(text, host), host.facts(rules, asked))
    assert [launch.files[number] for number in launch.secret_files] == ["{a}{{", "x {a}"]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("~/.gitconfig", ""),
        ("/etc/passwd", ""),
        ("/etc", ""),
        ("/usr/lib/x", ""),
        (f"{WORKSPACE}/.netrc", ""),
        ("~/.pyenv/versions/token", ""),
        ("~/.x/token", filesystem(read=["~/.x"])),
    ],
)
def test_what_is_the_host_s_or_the_sandbox_s_own_is_not_replaced(path: str, more: str) -> None:
    with pytest.raises(UsageError, match="a secret file cannot stand at") as caught:
        plan(more + SECRET + file(path), Host({f"{HOME}/.x/other": ""}))
    assert caught.value.place.startswith("p.toml:")
    assert caught.value.hint


def test_a_denial_beats_a_secret_file() -> None:
    found = plan(filesystem(deny_read=["~/.netrc"]) + SECRET + file("~/.netrc"))
    assert MountKind.SECRET_FILE not in {mount.kind for mount in found.mounts}


def test_no_value_of_a_secret_s_variable_is_passed() -> None:
    found = plan(f'[env]\npass = ["A", "AB", "A*"]\n{SECRET}')
    assert [item.name for item in found.environment if item.name.startswith("A")] == ["A*", "AB"]


def test_what_the_plan_promises() -> None:
    assert plan().secrets is None
    found = plan(f'{SECRET}[leaks]\non-taint = "off"\n')
    assert found.secrets is not None
    assert ([one.name for one in found.secrets.secrets], found.on_taint) == (["a"], TaintResponse.OFF)
    assert plan('leaks.on-taint = "ask"').on_taint is TaintResponse.ASK


@pytest.mark.parametrize(
    ("text", "keeps"),
    [
        ("", False),
        ('leaks.known = "deny"', False),  # with the network off nothing goes out
        ('network.allow = ["x.example"]\n[leaks]', False),
        ('network.allow = ["x.example"]\nleaks.known = "deny"', True),
        (SECRET, True),
    ],
)
def test_when_there_is_something_to_keep(text: str, keeps: bool) -> None:
    assert (kept(policy(text)) is not None) is keeps


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (OPTIONAL, ("A",)),
        (f'{OPTIONAL}[secrets.b]\nsource.env = "B"\noptional = true\n', ("A", "B")),
        (SECRET, ()),
        (f'{OPTIONAL}[secrets.b]\nsource.file = "/b"\noptional = true\n', ()),
    ],
)
def test_when_a_vault_is_needed(text: str, names: tuple[str, ...]) -> None:
    assert needed_if(policy(text).secrets) == names


def test_a_search_for_leaks_always_needs_one() -> None:
    assert needed_if(Secrets(leaks=Leaks())) == ()
    assert needed_if(None) == ()
