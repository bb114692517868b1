"""The agents as data."""

import pytest

from ringfence.integrations.agent_catalogue import AGENTS, Agent, find
from ringfence.model.errors import UsageError
from ringfence.policy.agent_presets import AGENT_HOSTS, AGENT_READS, AGENT_VARIABLES
from ringfence.policy.presets import PRESETS


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_every_agent_has_a_preset_with_its_model(agent: Agent) -> None:
    preset = PRESETS[agent.name]
    assert preset.hosts and preset.variables
    assert set(agent.addresses) <= {name for name, _ in preset.variables}
    assert agent.source.startswith("https://") and agent.install


def test_nothing_is_a_preset_of_no_agent() -> None:
    names = {agent.name for agent in AGENTS}
    assert set(AGENT_HOSTS) == set(AGENT_VARIABLES) == names and set(AGENT_READS) <= names


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_state_lies_in_directories_below_the_home(agent: Agent) -> None:
    assert agent.state
    for directory in agent.state:
        assert not directory.path.startswith("/") and ".." not in directory.path.split("/")
        names = [*directory.login, *(name.rstrip("/") for name in directory.steering)]
        assert all("/" not in name for name in names) and len(set(names)) == len(names)


def test_models_can_be_asked_but_nothing_can_be_left_there() -> None:
    for name in ("claude", "codex"):
        denied = {(host.host, path) for host in PRESETS[name].hosts if host.verdict == "deny" for path in host.paths}
        assert any(path.startswith("/v1/files") for _, path in denied)


def test_an_unknown_agent_is_named_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="no preset") as raised:
        find("clod")
    assert "claude" in raised.value.hint
