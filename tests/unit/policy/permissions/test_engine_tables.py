"""Entries of tables that no measured decision of the client speaks of, each by what it is good for."""

import pytest

from ringfence.model.errors import UsageError
from ringfence.policy.permissions.lint import lint
from ringfence.policy.permissions.settings import RENAMED
from tests.permission_cases import settings, verdict

# The tools of Claude Code 2.1.329 by the names that its rules know, and names of earlier clients.
TOOLS = (
    "Agent Artifact AskUserQuestion Bash ClaudeDesign CronCreate CronDelete CronList Edit EndConversation "
    "EnterPlanMode EnterWorktree ExitPlanMode ExitWorktree Glob Grep LSP ListAgents ListMcpResourcesTool Monitor "
    "NotebookEdit OfferChromeSetup PowerShell Projects PushNotification Read ReadMcpResourceDirTool "
    "ReadMcpResourceTool ReadNotifications RemoteTrigger ReportFindings ScheduleWakeup SendFeedback SendMessage "
    "SendUserFile SendUserMessage SetGoal ShareOnboardingGuide ShowOnboardingRolePicker Skill SubagentHandback "
    "TaskCreate TaskGet TaskList TaskStop TaskUpdate TodoWrite ToolSearch WaitForMcpServers WebFetch WebSearch "
    "Workflow Write propose_skills"
).split()
EARLIER = "BashOutput Cd LS MultiEdit NotebookRead REPL SlashCommand TaskOutput".split()
FORMER = (
    "Brief KillBash KillShell ListMcpResources ListPeers ProposeGoal ReadMcpResource ReadMcpResourceDir Task"
).split()
LAUNCHERS = (
    "python python3.11 node ruby perl php bash sh zsh npx npm pnpm yarn bun bunx uv uvx pipx deno env sudo xargs"
)
MANY = " ".join(f"w{number}" for number in range(63))


def complaints(*deny: str) -> list[str]:
    """What is said about denials."""
    return [f"{complaint.code}: {complaint.message}" for complaint in lint(settings(deny=deny))]


@pytest.mark.parametrize("tool", [*TOOLS, *EARLIER, *FORMER])
def test_a_tool_that_there_is_or_was(tool: str) -> None:
    assert complaints(tool) == []
    assert complaints(tool.swapcase()) == [f"unknown-tool: no tool has this name; `{tool}` has"]


def test_a_tool_that_never_was() -> None:
    assert complaints("Bsh", "Reed") == ["unknown-tool: no tool has this name"] * 2


def test_a_name_that_went_leads_to_one_that_there_is() -> None:
    assert sorted(RENAMED) == FORMER
    assert not set(FORMER) & {*TOOLS, *EARLIER} and set(RENAMED.values()) <= set(TOOLS)
    # Where the wording tells which: an ending that came, a word that stayed, two names of one tool.
    for old in ("ListMcpResources", "ReadMcpResource", "ReadMcpResourceDir"):
        assert RENAMED[old] == f"{old}Tool"
    assert RENAMED["ListPeers"].startswith("List") and RENAMED["ProposeGoal"].endswith("Goal")
    assert RENAMED["KillBash"] == RENAMED["KillShell"]


@pytest.mark.parametrize("old", FORMER)
def test_a_tool_under_its_old_name_and_its_new_one_is_the_same(old: str) -> None:
    new = RENAMED[old]
    for rule in (old, new):
        denied = settings(deny=[rule], mode="bypassPermissions")
        assert [verdict(denied, tool, {}) for tool in (old, new, "Other")] == ["deny", "deny", "allow"]


@pytest.mark.parametrize(
    "command",
    [
        f"for i in {MANY} dny; do $i x; done",
        f"for i in {MANY} dny; do j=$i; $j x; done",
        f"for i in {MANY} dny; do j=$i; k=$j; $k x; done",
        f'for i in {MANY} dny; do bash -c "$i x"; done',
        f"for i in {MANY} dny; do j=$i; eval $j x; done",
    ],
)
def test_each_of_many_values_is_followed(command: str) -> None:
    denied = settings(deny=["Bash(dny *)"], mode="bypassPermissions")
    assert verdict(denied, "Bash", command) == "deny"
    assert verdict(denied, "Bash", command.replace("dny", "w")) == "allow"
    # One more is more than is followed: nobody can say whether it is denied, and no mode settles that.
    assert verdict(denied, "Bash", command.replace("w0", "v w0").replace("dny", "w")) == "ask"


def test_many_values_that_are_only_passed_on_are_no_question() -> None:
    bypassing = settings(deny=["Bash(dny *)"], mode="bypassPermissions")
    assert verdict(bypassing, "Bash", f"for i in {MANY} a b c d; do j=$i; echo $j > $i; done") == "allow"


@pytest.mark.parametrize("command", ["cat $HOME/x", "cat $PWD/x"])
def test_what_every_shell_has_set_is_not_empty(command: str) -> None:
    assert verdict(settings(deny=["Bash(cat /x)"], mode="bypassPermissions"), "Bash", command) == "allow"
    other = command.replace("HOME", "OTHER").replace("PWD", "OTHER")
    assert verdict(settings(deny=["Bash(cat /x)"], mode="bypassPermissions"), "Bash", other) == "deny"


@pytest.mark.parametrize("choice", ["-depth", "-d", "-xdev", "-mount", "! -not", "( -depth )", ""])
def test_find_deletes_everything_where_no_test_chooses(choice: str) -> None:
    command = f"find . {choice} -delete".replace("( ", "'(' ").replace(" )", " ')'")
    assert verdict(settings(mode="bypassPermissions"), "Bash", command) == "ask"
    assert verdict(settings(mode="bypassPermissions"), "Bash", command.replace("-delete", "-name x -delete")) == "allow"


@pytest.mark.parametrize("tool", ["Read", "Edit"])
def test_a_rule_whose_path_is_no_pattern_is_refused(tool: str) -> None:
    with pytest.raises(UsageError, match="is not closed"):
        settings(deny=[f"{tool}([)"])


@pytest.mark.parametrize("command", ["cp", "mv"])
def test_the_directory_that_an_option_names_is_written(command: str) -> None:
    denied = settings(deny=["Edit(secrets/**)"], mode="bypassPermissions")
    for option in ("--target-directory=secrets/k", "--target-directory secrets/k", "-t secrets/k", "-tsecrets/k"):
        assert verdict(denied, "Bash", f"{command} {option} a") == "deny"


@pytest.mark.parametrize("program", LAUNCHERS.split())
def test_an_allowance_of_what_runs_anything_is_none_in_the_mode_of_a_classifier(program: str) -> None:
    rule, command = f"Bash({program} x *)", f"{program} x y"
    assert verdict(settings(allow=[rule]), "Bash", command) == "allow"
    assert verdict(settings(allow=[rule], mode="auto"), "Bash", command) == "deny"
    assert verdict(settings(allow=["Bash(other x *)"], mode="auto"), "Bash", "other x y") == "allow"


@pytest.mark.parametrize("rule", ["Bash", "Bash(*)", "Bash(:*)"])
def test_neither_is_one_of_every_command(rule: str) -> None:
    assert verdict(settings(allow=[rule], mode="auto"), "Bash", "other x y") == "deny"
