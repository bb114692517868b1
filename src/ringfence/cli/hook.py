"""`ringfence hook CLIENT`: an agent's hook. Whatever goes wrong is a refusal.

Agents let a call pass when a hook fails with any other status than 2, so no error may leave this module. `ringfence
setup` installs it behind `|| exit 2`, for what ends the interpreter itself; an alarm ends it before the agent gives up.
"""

import os
import sys
from _signal import alarm

from ringfence.model.errors import UsageError

REFUSED = 2
ALARM_S = 60
CLIENTS = ("claude-code", "codex")


def main(name: str, words: "list[str]") -> int:
    """Answer the event on standard input; 0, or 2 with the reason on standard error."""
    if words[:1] in (["-h"], ["--help"]):
        from . import help as text

        return text.show([name])
    if words == ["permission-prompt"]:
        from ringfence.integrations import permission_prompt

        permission_prompt.serve(sys.stdin.buffer, sys.stdout.buffer, os.getcwd())
        return 0
    alarm(ALARM_S)
    try:
        status, output = answer(words)
    except BaseException as error:  # an interrupt, too, must not let the call pass
        said = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        status, output = REFUSED, f"ringfence: {said}; so this is denied\n".encode()
    os.write(2 if status else 1, output)
    return status


def started_in() -> str:
    """Where the agent was started. SECURITY: a hook runs where the agent has moved to, away from its rules."""
    named = os.environ.get("CLAUDE_PROJECT_DIR", "")  # set by Claude Code for each hook
    return os.path.realpath(named) if named.startswith("/") and os.path.isdir(named) else os.getcwd()


def containing() -> str:
    """The program that contains commands, by its path: what runs is beside it, and PATH is the agent's."""
    beside = os.path.join(os.path.dirname(sys.argv[0]), "ringfence")
    return beside if os.path.isabs(beside) and os.access(beside, os.X_OK) else "ringfence"


def answer(words: "list[str]") -> "tuple[int, bytes]":
    """Exit status and output."""
    contain = containing() if "--contain" in words else ""
    clients = [word for word in words if word != "--contain"]
    if len(clients) != 1 or clients[0] not in CLIENTS:
        raise UsageError("`ringfence hook` takes the name of a client: " + " or ".join(CLIENTS))
    from ringfence.integrations import hook_client

    event, directory = sys.stdin.buffer.read(), started_in()
    wanted = hook_client.is_wanted()
    found = hook_client.ask((clients[0], contain, directory), event) if wanted else None
    if found is not None:
        return found
    if wanted:
        hook_client.leave()
    from ringfence.integrations import hook_process

    return hook_process.respond(clients[0], event, directory=directory, contain=contain)
