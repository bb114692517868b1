"""Every bypass that is known of agents, and the test that holds it, or its like, here.

The numbers are those of the catalogue that the engine was built against (CVEs, advisories and changelogs of Claude
Code, Codex, Copilot, Cursor, Gemini); the words say what the trick was. Where the trick was another product's own, the
test is about what would be its like in ringfence. `ENGINE` stands for the cases of that number in one table.
"""

import ast
from functools import cache

import pytest

from tests.house.sources import ROOT
from tests.unit.policy.permissions import test_engine_bypasses as bypasses

ENGINE = "unit/policy/permissions/test_engine_bypasses.py::test_a_known_trick_is_asked_about"
EDITS = "unit/policy/permissions/test_engine_bypasses.py::test_a_known_trick_is_asked_about_where_edits_are_not"
OWN = "unit/policy/permissions/test_engine_bypasses.py::"
UNTRUSTED = "attacks/test_t2_trust.py::test_nothing_of_a_never_trusted_checkout_runs_or_is_seen"
CARRIED = "attacks/test_t2_trust.py::test_trust_is_not_carried"
HOSTILE = "e2e/test_agents.py::test_nothing_of_a_checkout_that_nobody_trusted_runs"
TASK = "e2e/test_agents.py::test_claude_does_its_task_and_nothing_else"

CATALOGUE: dict[int, tuple[str, tuple[str, ...]]] = {
    1: ("quoting in `echo` breaks out", (ENGINE,)),
    2: (
        "the workspace by the beginning of its name",
        (OWN + "test_2_a_name_that_begins_like_the_workspace_is_another",),
    ),
    3: ("harmless commands that carry data out", (ENGINE, "attacks/test_e2_egress_bypass.py::test_names_as_a_channel")),
    4: (
        "a local service that answers anybody",
        (
            "attacks/test_a1_agents.py::test_nobody_inside_can_answer_in_the_supervisor_s_place",
            "attacks/test_e4_egress_machinery.py::test_nothing_inside_speaks_as_the_operator",
        ),
    ),
    5: ("`rg --pre`", (ENGINE,)),
    6: ("words split by $IFS", (ENGINE,)),
    7: ("abbreviated long options of git", (ENGINE,)),
    8: ("`sort` runs and writes", (ENGINE,)),
    9: ("`man` runs", (ENGINE,)),
    10: ("`history` writes", (ENGINE,)),
    11: ("`sed` runs and writes", (ENGINE,)),
    12: ("a pipe into the agent's settings", (EDITS,)),
    13: ("options of `xargs` taken for its command", (ENGINE,)),
    14: ("expansions that run", (ENGINE,)),
    15: ("`find` runs, removes and writes", (ENGINE,)),
    16: ("clobbering redirections", (ENGINE,)),
    17: ("`cd` to what is protected, then a write", (ENGINE, EDITS)),
    18: ("a rule for the first command matched the whole line", (ENGINE,)),
    19: ("a continued line hides a word", (ENGINE,)),
    20: ("more commands than are looked at", (ENGINE, OWN + "test_20_a_denied_command_is_denied_behind_many_others")),
    21: ("an option with a backslash in it", (ENGINE,)),
    22: ("redirections to the network", (ENGINE,)),
    23: ("launchers before a denied command", (OWN + "test_23_a_denied_command_is_denied_behind_a_launcher",)),
    24: ("assignments that change what runs", (ENGINE,)),
    25: ("a working directory that is out of date", (ENGINE,)),
    26: ("subscripts and comparisons that run", (ENGINE,)),
    27: ("options of `help`, `man` and `file`", (ENGINE,)),
    28: ("another daemon of docker", (ENGINE,)),
    29: (
        "an allowed directory at any depth",
        (OWN + "test_29_an_allowed_directory_is_not_every_directory_of_that_name",),
    ),
    30: ("a critical removal in a substitution", (ENGINE,)),
    31: ("a slash at the end of a denial", (OWN + "test_31_a_slash_at_the_end_changes_nothing",)),
    32: ("a host by the beginning of its name", (OWN + "test_32_a_host_that_begins_like_an_allowed_one_is_another",)),
    33: ("an allowed host as a channel", (ENGINE, OWN + "test_33_a_host_that_counts_requests_is_asked_about")),
    34: (
        "no allowed host taken for every host",
        ("unit/policy/test_egress.py::test_without_rules_nothing_is_reached",),
    ),
    35: ("a NUL in a host's name", ("unit/policy/test_hosts.py::test_what_has_more_than_one_meaning_has_none",)),
    36: (
        "domain fronting",
        (
            "attacks/test_e3_egress_requests.py::test_domain_fronting_is_what_inspection_is_for",
            "attacks/test_e3_egress_requests.py::test_names_of_one_connection",
        ),
    ),
    37: ("a link above a new file", (EDITS,)),
    38: ("a link planted inside, followed outside", (EDITS, "attacks/test_w1_apply.py::test_apply")),
    39: ("settings that do not exist yet", (EDITS, "attacks/test_n1_new_names.py::test_name", TASK)),
    40: ("a repository in a worktree, and ~/.zshenv", (ENGINE, "attacks/test_g1_git_as_a_loader.py::test_git")),
    41: ("a predictable name in /tmp", (ENGINE, "attacks/test_f2_files_write.py::test_outside")),
    42: ("a checkout's hooks before trust", (UNTRUSTED, HOSTILE)),
    43: ("git's own settings in a shell line before trust", (UNTRUSTED,)),
    44: ("`yarn --version` loads plugins", (ENGINE, UNTRUSTED)),
    45: ("a checkout says where the model is", (HOSTILE,)),
    46: (
        "a checkout chooses the mode that asks nothing",
        ("unit/policy/permissions/test_scopes.py::test_the_mode_is_the_highest_scopes_that_may_say_so",),
    ),
    47: (
        "a worktree that points at what is trusted",
        (CARRIED, "attacks/test_t2_trust.py::test_the_repository_behind_a_worktree_waits_as_well"),
    ),
    48: ("a status line before trust", (UNTRUSTED, HOSTILE)),
    49: ("servers that a checkout approves itself", (UNTRUSTED, HOSTILE)),
    50: ("settings above all others that anybody can write", (CARRIED,)),
    51: ("a substitution in a name", (ENGINE,)),
    52: (
        "a value that smuggles an option",
        ("unit/cli/test_agent.py::test_ours_is_only_what_stands_before_the_dashes",),
    ),
    53: (
        "a bare repository buried in the checkout",
        (EDITS, OWN + "test_53_git_is_asked_about_where_a_repository_is_buried"),
    ),
    54: ("a remote that is a command", (ENGINE, "attacks/test_g1_git_as_a_loader.py::test_git")),
    55: ("helpers of `git diff` and `git log`", (ENGINE,)),
    56: (
        "a hook's allowance beats a denial",
        (
            OWN + "test_56_what_another_allows_is_denied_all_the_same",
            "unit/integrations/test_hook_decisions.py::test_commands_are_put_into_a_boundary_of_their_own",
        ),
    ),
    57: ("`.env` moves the agent's own settings", (UNTRUSTED, OWN + "test_57_env_files_wait_for_trust")),
    58: (
        "a directory chosen by the model becomes the workspace",
        (
            "integration/test_agent_hooks.py::test_where_an_agent_has_moved_to_is_not_its_workspace",
            "unit/policy/permissions/test_launched.py::test_where_a_call_is_made_is_not_where_rules_begin",
        ),
    ),
    59: ("writing a list of servers starts one", (EDITS, "attacks/test_n1_new_names.py::test_name")),
    60: (
        "a server approved by name, its command swapped later",
        (
            "e2e/test_cli_trust.py::test_a_decision_holds_until_something_changes",
            "unit/trust/test_scan.py::test_whatever_a_settings_file_leads_to_is_in_the_digest",
        ),
    ),
    61: (
        "another letter case",
        (ENGINE, "unit/trust/test_scan.py::test_a_surface_is_found_at_any_depth_and_in_any_case"),
    ),
    62: ("settings of an editor that approve tools", (EDITS,)),
    63: (
        "a denied command in another notation",
        (
            ENGINE,
            OWN + "test_63_a_denied_command_is_denied_in_another_notation",
            "unit/policy/permissions/test_launched.py::test_a_denial_holds_in_every_notation",
        ),
    ),
    64: (
        "trust without a person; only the first command looked at",
        (ENGINE, "e2e/test_agent_trust.py::test_without_a_person_nothing_is_asked_and_nothing_is_shown"),
    ),
    65: ("a file fetched as a page", (OWN + "test_65_a_file_is_not_fetched_as_a_page",)),
    66: ("git's hooks written inside, run outside", (EDITS, "attacks/test_g1_git_as_a_loader.py::test_git")),
    67: (
        "a program of the workspace in git's place",
        (ENGINE, "attacks/test_a1_agents.py::test_a_checkout_s_program_is_not_taken_for_the_agent"),
    ),
}


@cache
def functions(path: str) -> frozenset[str]:
    """The tests in a file."""
    tree = ast.parse((ROOT / "tests" / path).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_no_entry_is_missing() -> None:
    assert sorted(CATALOGUE) == list(range(1, 68))


@pytest.mark.parametrize("number", CATALOGUE)
def test_an_entry_names_tests_that_exist(number: int) -> None:
    _, tests = CATALOGUE[number]
    assert tests
    for name in tests:
        path, _, function = name.partition("::")
        assert function in functions(path), name
    assert (ENGINE in tests) == any(case == number for case, _ in bypasses.ASKED)
    assert (EDITS in tests) == any(case == number for case, _ in bypasses.EDITED)
