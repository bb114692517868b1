"""The environment, masks and remarks that settings of sandbox-runtime lead to."""

import json
from typing import Any

import pytest

from ringfence.integrations.srt import masked, remarks, shell_command, variables
from ringfence.integrations.srt_settings import CredentialVariable, Settings, SettingsError, parse
from ringfence.model.egress import Egress


def settings(**more: Any) -> Settings:
    found: dict[str, Any] = {
        "network": {"allowedDomains": [], "deniedDomains": []},
        "filesystem": {"denyRead": [], "allowWrite": [], "denyWrite": []},
    }
    return parse(json.dumps({**found, **more}).encode(), "s.json")


def credentials(*items: dict[str, str]) -> Settings:
    return settings(credentials={"envVars": list(items), "allowPlaintextInject": True})


def test_the_environment_passes_by_name_and_carries_the_marker() -> None:
    found = {variable.name: variable.value for variable in variables(settings(), {"A": "1", "HTTP_PROXY": "x"})}
    assert found == {"A": None, "SANDBOX_RUNTIME": "1", "RINGFENCE": "1", "TMPDIR": "/run/tmp"}


def test_what_egress_adds_is_set_and_replaces_what_the_host_has() -> None:
    found = {item.name: item.value for item in variables(settings(), {"FTP_PROXY": "x", "A": "1"}, more={"A": "2"})}
    assert found["A"] == "2" and "FTP_PROXY" not in found


def test_declared_variables_never_pass() -> None:
    items = ({"name": "D", "mode": "deny"}, {"name": "M", "mode": "mask"}, {"name": "N", "mode": "mask"})
    found = {item.name: item.value for item in variables(credentials(*items), {"D": "secret", "M": "secret"})}
    assert "D" not in found and "N" not in found
    assert found["M"] is not None and found["M"].startswith("fake_value_")


def test_a_mask_keeps_what_is_not_secret() -> None:
    item = CredentialVariable(name="U", mode="mask", extract=r":(\w+)@")
    text = masked(item, "db://u:secret@h/x", "U")
    assert text.startswith("db://u:fake_value_") and text.endswith("@h/x")


def test_a_mask_that_finds_nothing_shows_nothing() -> None:
    item = CredentialVariable(name="U", mode="mask", extract=r":(\w+)@")
    assert masked(item, "secret", "U") == ""
    with pytest.raises(SettingsError):
        masked(CredentialVariable(name="U", mode="mask", extract="(x)", on_extract_no_match="error"), "secret", "U")


def test_two_masks_differ() -> None:
    item = CredentialVariable(name="U", mode="mask")
    assert masked(item, "s", "U") != masked(item, "s", "U")


def test_git_learns_of_safe_directories() -> None:
    found = {item.name: item.value for item in variables(settings(git={"safeDirectories": ["/src"]}), {})}
    assert found["GIT_CONFIG_COUNT"] == "1"
    assert (found["GIT_CONFIG_KEY_0"], found["GIT_CONFIG_VALUE_0"]) == ("safe.directory", "/src")


def test_what_is_not_granted_is_said() -> None:
    assert remarks(settings(), Egress()) == []
    network = {"allowedDomains": ["a.com"], "deniedDomains": []}
    asked = settings(network=network, enableWeakerNestedSandbox=True)
    assert len(remarks(asked, None)) == 2
    assert len(remarks(asked, Egress())) == 1
    assert len(remarks(credentials({"name": "M", "mode": "mask"}), Egress())) == 1


def test_a_command_text_is_the_shells() -> None:
    assert shell_command("exit 7")[1:] == ["-c", "exit 7"]
