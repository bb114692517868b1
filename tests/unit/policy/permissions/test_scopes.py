"""Who may say what: managed, command line, local, project, user."""

import json
from typing import Any

import pytest

from ringfence.model.decision import Source
from ringfence.model.errors import UsageError
from ringfence.policy.permissions import claude_settings, scopes
from ringfence.policy.permissions.paths import Unresolved
from ringfence.policy.permissions.settings import Mode, Settings
from tests.permission_cases import CWD, HOME, verdict


def merged(*, trusted: bool = True, mode: Mode | None = None, **said: Any) -> Settings:
    read = [
        claude_settings.read_settings(json.dumps(what), scope=scope, file=f"/{scope}/s.json", cwd=CWD)
        for scope, what in said.items()
    ]
    return scopes.merge(read, scopes.Request(cwd=CWD, home=HOME, mode=mode, trusted=trusted), Unresolved())


def rules(**lists: object) -> Any:
    return {"permissions": lists}


def test_a_denial_of_any_scope_beats_an_allowance_of_any_other() -> None:
    for high, low in (("managed", "user"), ("user", "managed"), ("project", "cli")):
        settings = merged(**{high: rules(allow=["Bash(x)"]), low: rules(deny=["Bash(x)"])})
        assert verdict(settings, "Bash", "x") == "deny"


def test_rules_stand_by_scope_and_denials_first() -> None:
    said = rules(allow=["Read", "Edit"], ask=["Glob"], deny=["Bash(a)", "Bash(b)"])
    listed = [(rule.source.scope, rule.text) for rule in merged(user=said, managed=said, project=said).rules]
    in_order = ["Bash(b)", "Bash(a)", "Glob", "Read", "Edit"]
    assert listed == [(scope, text) for scope in ("managed", "project", "user") for text in in_order]


def test_a_project_question_beats_a_local_allowance() -> None:
    settings = merged(project=rules(ask=["Bash(mkdir *)"]), local=rules(allow=["Bash(mkdir *)"]))
    assert verdict(settings, "Bash", "mkdir z") == "ask"


@pytest.mark.parametrize("scope", ["project", "local"])
def test_an_untrusted_checkout_can_only_tighten(scope: str) -> None:
    said = rules(allow=["Bash(x)"], deny=["Bash(y)"], additionalDirectories=["/srv"])
    settings = merged(trusted=False, user=rules(allow=["Bash(y)"]), **{scope: said})
    assert verdict(settings, "Bash", "x") == "ask"
    assert verdict(settings, "Bash", "y") == "deny"
    assert verdict(settings, "Read", "/srv/a") == "ask"


def test_added_directories_are_like_the_workspace() -> None:
    settings = merged(user=rules(additionalDirectories=["../other", "~/shared"]), mode=Mode.ACCEPT_EDITS)
    assert verdict(settings, "Read", "/w/other/a") == "allow"
    assert verdict(settings, "Write", "/w/home/shared/a") == "allow"
    assert verdict(settings, "Write", "/w/else/a") == "ask"


@pytest.mark.parametrize(
    ("said", "mode"),
    [
        ({"user": "plan"}, Mode.PLAN),
        ({"user": "plan", "managed": "dontAsk"}, Mode.DONT_ASK),
        ({"project": "bypassPermissions"}, Mode.DEFAULT),
        ({"local": "auto"}, Mode.DEFAULT),
        ({"project": "acceptEdits"}, Mode.ACCEPT_EDITS),
        ({"user": "bypassPermissions"}, Mode.BYPASS),
        ({"user": "manual"}, Mode.DEFAULT),
    ],
)
def test_the_mode_is_the_highest_scopes_that_may_say_so(said: dict[str, str], mode: Mode) -> None:
    assert merged(**{scope: rules(defaultMode=name) for scope, name in said.items()}).mode is mode


@pytest.mark.parametrize("scope", scopes.ORDER[:-1])
def test_any_scope_can_forbid_bypassing(scope: str) -> None:
    settings = merged(mode=Mode.BYPASS, **{scope: rules(disableBypassPermissionsMode="disable")})
    assert settings.mode is Mode.DEFAULT


def test_managed_rules_only() -> None:
    managed = {"allowManagedPermissionRulesOnly": True, **rules(allow=["Bash(m)"])}
    settings = merged(managed=managed, user=rules(allow=["Bash(u)"], deny=["Bash(d)"]))
    assert [verdict(settings, "Bash", name) for name in "mud"] == ["allow", "ask", "deny"]


def test_a_checkout_cannot_claim_that_it_is_contained() -> None:
    claim: Any = {"sandbox": {"enabled": True, "autoAllowBashIfSandboxed": True}}
    assert not merged(project=claim).contained
    assert not merged(local=claim).contained
    assert not merged(local=claim, user={"sandbox": {"enabled": True}}).contained
    assert merged(user=claim).contained
    assert not merged(user=claim, project={"sandbox": {"enabled": False}}).contained


def test_the_highest_scope_that_speaks_of_a_sandbox_counts() -> None:
    said: Any = {"enabled": True, "autoAllowBashIfSandboxed": True}
    for key in said:
        assert not merged(managed={"sandbox": {key: False}}, user={"sandbox": said}).contained
        assert merged(managed={"sandbox": said}, user={"sandbox": {key: False}}).contained


def test_within_a_boundary_of_ours_commands_are_contained() -> None:
    for mode, expected in ((Mode.DEFAULT, "allow"), (Mode.PLAN, "deny"), (Mode.DONT_ASK, "deny")):
        request = scopes.Request(cwd=CWD, home=HOME, mode=mode, contained=True)
        settings = scopes.merge([], request, Unresolved())
        assert verdict(settings, "Bash", "make install") == expected
        assert verdict(settings, "WebSearch", {}) != "allow"


def test_auto_mode_drops_allowances_of_everything() -> None:
    settings = merged(user=rules(allow=["Bash", "Bash(python3 *)", "Bash(git *)"]), mode=Mode.AUTO)
    assert [rule.text for rule in settings.rules] == ["Bash(git *)"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"permissions": []}',
        '{"permissions": {"allow": "Bash"}}',
        '{"permissions": {"deny": [1]}}',
        '{"permissions": {"defaultMode": "all"}}',
        '{"permissions": {"deny": ["Read([)"]}}',
    ],
)
def test_settings_that_are_not_understood_are_refused_with_their_place(text: str) -> None:
    request = scopes.Request(cwd=CWD, home=HOME)
    with pytest.raises(UsageError, match=r"/x/s\.json"):
        scopes.merge(
            [claude_settings.read_settings(text, scope="user", file="/x/s.json", cwd=CWD)], request, Unresolved()
        )


def test_a_rule_is_found_in_its_line() -> None:
    text = '{\n "permissions": {\n  "deny": [\n   "Bash(a)",\n   "Bash(b \\"c\\")"\n  ]\n }\n}'
    read = claude_settings.read_settings(text, scope="user", file="s.json", cwd=CWD)
    assert [rule.source.line for rule in read.rules] == [4, 5]


def test_rules_of_the_command_line() -> None:
    found = claude_settings.command_line(["Bash(git commit -m a,b),Read", "Edit(src/**) WebSearch"], cwd=CWD)
    assert [rule.text for rule in found] == ["Bash(git commit -m a,b)", "Read", "Edit(src/**)", "WebSearch"]


def test_scopes_that_do_not_exist() -> None:
    with pytest.raises(UsageError, match="is not a scope"):
        claude_settings.read_settings("{}", scope="global", file="s.json", cwd=CWD)


def test_directories_count_where_the_one_who_names_them_is_heard() -> None:
    assert verdict(merged(project=rules(additionalDirectories=["/srv"])), "Read", "/srv/a") == "allow"
    assert verdict(merged(trusted=False, user=rules(additionalDirectories=["/srv"])), "Read", "/srv/a") == "allow"


def test_a_linked_directory_is_added_by_both_names() -> None:
    class Linked(Unresolved):
        def resolve(self, path: str) -> str:
            return path.replace("/srv", "/real")

    project = scopes.Scope(name="project", source=Source(scope="project"), directories=("/srv",))
    found = scopes.merge([project], scopes.Request(cwd=CWD, home=HOME), Linked())
    assert found.places.roots == (CWD, "/srv", "/real")


def test_allowances_of_others_count_in_an_untrusted_checkout() -> None:
    assert verdict(merged(trusted=False, user=rules(allow=["Bash(x)"])), "Bash", "x") == "allow"


def test_only_the_managed_scope_silences_the_others() -> None:
    user = {**rules(allow=["Bash(x)"]), "allowManagedPermissionRulesOnly": True}
    assert verdict(merged(user=user), "Bash", "x") == "allow"
    assert verdict(merged(user=user, managed={"allowManagedPermissionRulesOnly": True}), "Bash", "x") == "ask"


def test_a_managed_policy_of_ours_silences_nobody() -> None:
    [allowed] = claude_settings.command_line(["Bash(x)"], cwd=CWD)
    listed = [
        scopes.Scope(name="managed", source=Source(scope="managed")),
        scopes.Scope(name="user", source=Source(scope="user"), rules=(allowed,)),
    ]
    assert scopes.merge(listed, scopes.Request(cwd=CWD, home=HOME), Unresolved()).rules == (allowed,)


@pytest.mark.parametrize(
    ("mode", "contained"),
    [(Mode.DEFAULT, True), (Mode.ACCEPT_EDITS, True), (Mode.PLAN, False), (Mode.BYPASS, False), (Mode.AUTO, False)],
)
def test_modes_in_which_a_boundary_settles_questions(mode: Mode, contained: bool) -> None:
    request = scopes.Request(cwd=CWD, home=HOME, mode=mode, contained=True)
    assert scopes.merge([], request, Unresolved()).contained is contained


YES, NO = True, False


@pytest.mark.parametrize(
    ("user", "project", "contained"),
    [
        ((YES, YES), (None, None), True),
        ((None, None), (YES, YES), False),
        ((YES, None), (None, YES), False),
        ((None, YES), (YES, None), False),
        ((YES, YES), (NO, None), False),
        ((YES, YES), (None, NO), False),
        ((YES, YES), (YES, YES), True),
        ((YES, NO), (None, None), False),
    ],
)
def test_a_checkout_only_says_that_nothing_is_contained(
    user: tuple[bool | None, bool | None], project: tuple[bool | None, bool | None], contained: bool
) -> None:
    said = [
        scopes.Scope(name=name, source=Source(scope=name), sandboxed=sandboxed, allows_sandboxed=allows)
        for name, (sandboxed, allows) in (("user", user), ("project", project))
    ]
    assert scopes.merge(said, scopes.Request(cwd=CWD, home=HOME), Unresolved()).contained is contained


@pytest.mark.parametrize(
    ("scope", "file", "anchor"),
    [("project", "/a/s.json", "/w"), ("local", "/a/s.json", "/w"), ("cli", "", "/w"), ("user", "/a/s.json", "/a")],
)
def test_where_the_paths_of_a_scope_begin(scope: str, file: str, anchor: str) -> None:
    assert scopes.anchor_of(scope, file, "/w") == anchor
    assert scopes.known_scope(scope) == scope


def test_the_workspace_is_where_the_agent_was_started() -> None:
    request = scopes.Request(cwd=f"{CWD}/sub", workspace=CWD, home=HOME)
    places = scopes.merge([], request, Unresolved()).places
    assert (places.cwd, places.workspace, places.roots) == (f"{CWD}/sub", CWD, (CWD,))


def test_a_path_of_a_user_s_file_begins_beside_it() -> None:
    settings = merged(user=rules(deny=["Read(/x)"]), mode=Mode.BYPASS)
    assert verdict(settings, "Read", "/user/x") == "deny"
    assert verdict(settings, "Read", f"{CWD}/x") == "allow"
