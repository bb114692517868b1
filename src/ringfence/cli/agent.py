"""`ringfence claude`, `ringfence codex` and `ringfence agent NAME`: run an agent inside the boundary, as it is."""

import sys

from ringfence.integrations import agent_catalogue, agents
from ringfence.model.errors import UsageError
from ringfence.session import options as options_module
from ringfence.session.options import Options

from . import help as help_text
from . import trust
from .run import summarise

STATE = "--state"


def main(name: str, words: list[str]) -> int:
    """Run the agent; its exit status is ours."""
    if words[:1] in (["-h"], ["--help"]) or (name == "agent" and not words):
        return help_text.show([name])
    if name == "agent":
        name, words = words[0], words[1:]
    agent = agent_catalogue.find(name)
    options, state, arguments = split(words)
    finished = agents.run(agent, options, arguments, state=state, offer=trust.offered)
    if options.verbose or sys.stderr.isatty():
        summarise(finished)
    return finished.status


def split(words: list[str]) -> tuple[Options, str, list[str]]:
    """Our options, the kind of state, and the agent's words: ours are only what stands before a `--`, if all of it is.

    Without a `--` every word is the agent's, since both have options of the same name.
    """
    own, dashes, rest = partition(words)
    state, taken = "private", []
    try:
        at = 0
        while at < len(own):
            key, equals, value = own[at].partition("=")
            if key == STATE:
                at += not equals
                state = value if equals else own[at]
            else:
                taken.append(own[at])
            at += 1
        options, left = options_module.parse(taken)
    except (UsageError, IndexError):
        return Options(), "private", words
    if not dashes or left:
        return Options(), "private", words
    return options, state, rest


def partition(words: list[str]) -> tuple[list[str], bool, list[str]]:
    """What stands before the first `--`, whether there is one, and what stands behind it."""
    if "--" not in words:
        return [], False, words
    at = words.index("--")
    return words[:at], True, words[at + 1 :]
