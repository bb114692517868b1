"""Settings of sandbox-runtime as a policy file: what is kept, what is narrowed, what is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ringfence.integrations import srt_import
from ringfence.model.decision import Verdict
from ringfence.model.egress import Inspection
from ringfence.model.errors import UsageError
from ringfence.policy import layers, parse
from ringfence.policy.document import Document, Layer
from ringfence.policy.effective import Policy
from ringfence.policy.egress import inspection

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests/data/srt-behaviour-dev.jsonl"
CASES = [json.loads(line) for line in CORPUS.read_text("utf-8").splitlines()]
SETTINGS = {json.dumps(case["cfg"], sort_keys=True) for case in CASES}
HOME, WORKSPACE = "/home/u", "/home/u/w"
# What the corpus has that no policy file can say, or that sandbox-runtime refuses too.
REFUSED = ("cannot be kept", "is no domain", "ends in a slash", "masking needs", "expected `object`")


def imported(settings: Any) -> tuple[str, Layer]:
    text = srt_import.policy_text(json.dumps(settings).encode(), "settings.json", home=HOME, workspace=WORKSPACE)
    return text, parse.parse(text, file="policy.toml", scope="user")


def from_srt(**parts: Any) -> tuple[str, Document]:
    network = {"allowedDomains": [], "deniedDomains": []} | parts.pop("network", {})
    files = {"denyRead": [], "allowWrite": ["."], "denyWrite": []} | parts.pop("filesystem", {})
    text, layer = imported({"network": network, "filesystem": files, **parts})
    return text, layer.document


def merged(document: Document) -> Policy:
    return layers.merge([Layer(scope="user", document=document)], home=HOME, workspace=WORKSPACE)


def refused(call: Callable[..., Any], **parts: Any) -> str:
    with pytest.raises(UsageError) as caught:
        call(**parts)
    assert caught.value.exit_status == 2
    return str(caught.value)


@pytest.mark.parametrize("settings", sorted(SETTINGS))
def test_every_settings_file_of_the_corpus_is_kept_or_refused_by_name(settings: str) -> None:
    found = json.loads(settings)
    layer, message = None, ""
    try:
        layer = imported(found)[1]
    except UsageError as error:
        message = str(error)
    if layer is None:
        assert any(words in message for words in REFUSED)
        return
    policy = layers.merge([layer], home=HOME, workspace=WORKSPACE)
    rules = policy.egress.rules if policy.egress else ()
    allowed = [rule for rule in rules if rule.verdict is Verdict.ALLOW]
    assert len(allowed) == len({rule.host + str(rule.ports) for rule in allowed})
    assert bool(allowed) == (bool(found["network"]["allowedDomains"]) and policy.network != "off")
    assert len(policy.deny_read) >= len(set(map(str, found["filesystem"]["denyRead"])))
    assert len(policy.deny_write) == len(set(map(str, found["filesystem"]["denyWrite"])))


def test_most_of_the_corpus_is_kept() -> None:
    kept = 0
    for case in CASES:
        try:
            imported(case["cfg"])
        except UsageError:
            continue
        kept += 1
    assert kept / len(CASES) > 0.85


def test_hosts_keep_their_port_their_look_and_their_reason() -> None:
    text, document = from_srt(
        network={
            "allowedDomains": ["example.com", "db.example.com:5432", "localhost:3000", "10.1.2.3"],
            "deniedDomains": ["bad.example.com"],
            "deniedDomainReasons": {"bad.example.com": "no\nway"},
            "deniedResolvedAddresses": ["192.0.2.0/24"],
            "strictAllowlist": True,
        }
    )
    egress = merged(document).egress
    assert egress is not None
    assert inspection(egress, "example.com", 443) is Inspection.SNI
    assert inspection(egress, "db.example.com", 5432) is Inspection.RAW
    assert [rule.reason for rule in egress.rules if rule.verdict is Verdict.DENY] == ["no way"]
    assert document.network.unknown == "deny"
    assert '"host-loopback:3000",  # network.allowedDomains' in text
    assert "# network.allowedDomains: without a port there means every port, here 80 and 443" in text


def test_opened_tls_is_inspected_but_where_it_is_excluded() -> None:
    hosts = {
        "allowedDomains": ["a.example.com", "b.example.com"],
        "tlsTerminate": {"excludeDomains": ["b.example.com"]},
    }
    egress = merged(from_srt(network=hosts)[1]).egress
    assert egress is not None
    assert inspection(egress, "a.example.com", 443) is Inspection.INSPECT
    assert inspection(egress, "b.example.com", 443) is Inspection.SNI


def test_everything_denied_is_a_network_that_is_off() -> None:
    assert from_srt(network={"allowedDomains": ["example.com"], "deniedDomains": ["*"]})[1].network.mode == "off"


def test_paths_start_where_they_did() -> None:
    _, document = from_srt(
        filesystem={"denyRead": [".env", "~/.ssh/**", "a[b]"], "denyWrite": ["x"], "allowRead": ["/srv"]}
    )
    policy = merged(document)
    assert [rule.pattern for rule in policy.deny_read] == [f"{WORKSPACE}/.env", f"{HOME}/.ssh", f"{WORKSPACE}/a[b]"]
    assert [rule.pattern for rule in policy.deny_write] == [f"{WORKSPACE}/x"]
    assert "/srv" in [rule.pattern for rule in policy.read]


def test_without_the_working_directory_nothing_of_it_is_written() -> None:
    text, document = from_srt(filesystem={"allowWrite": ["/srv/out"]})
    assert document.workspace.mode == "readonly" and "`.` is the workspace" not in text
    assert "# filesystem.allowWrite: `.` is the workspace, " in from_srt(filesystem={"allowWrite": ["./"]})[0]


def test_a_masked_variable_becomes_a_secret() -> None:
    item = {"name": "API_TOKEN", "mode": "mask", "injectHosts": ["example.com"]}
    text, document = from_srt(
        network={"allowedDomains": ["example.com"], "tlsTerminate": {}},
        credentials={"envVars": [item, {"name": "OTHER", "mode": "deny"}], "files": [{"path": "~/.k", "mode": "deny"}]},
        git={"safeDirectories": ["/srv/r"]},
        ripgrep={"command": "rg"},
    )
    policy = merged(document)
    assert [secret.name for secret in policy.secrets.secrets] == ["api-token"]
    assert f"{HOME}/.k" in [rule.pattern for rule in policy.deny_read]
    assert {rule.name: rule.value for rule in policy.environment}["GIT_CONFIG_VALUE_0"] == "/srv/r"
    assert "# ripgrep: has no effect here" in text


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"network": {"allowedDomains": ["localhost"]}}, "network.allowedDomains"),
        ({"network": {"deniedDomains": ["*:22"]}}, "network.deniedDomains"),
        ({"network": {"allowAllUnixSockets": True}}, "network.allowAllUnixSockets"),
        ({"network": {"mitmProxy": {"socketPath": "/x"}}}, "network.mitmProxy"),
        ({"network": {"socksProxyPort": 1080}}, "network.socksProxyPort"),
        ({"network": {"tlsTerminate": {"extraCaCertPaths": ["/x"]}}}, "network.tlsTerminate.extraCaCertPaths"),
        ({"filesystem": {"allowWrite": ["build"]}}, "filesystem.allowWrite"),
        ({"filesystem": {"allowWrite": [".", "~"]}}, "filesystem.allowWrite"),
        (
            {"network": {"tlsTerminate": {}}, "credentials": {"files": [{"path": "~/k", "mode": "mask"}]}},
            "credentials.files",
        ),
        (
            {"network": {"tlsTerminate": {}}, "credentials": {"envVars": [{"name": "T", "mode": "mask"}]}},
            "credentials.envVars T",
        ),
        ({"network": {"tlsTerminate": {}}, "credentials": {"sigv4": {"a": "b"}}}, "credentials.sigv4"),
    ],
)
def test_what_cannot_be_kept_is_named(parts: dict[str, Any], name: str) -> None:
    assert refused(from_srt, **parts).startswith(f"settings.json: `{name}` cannot be kept: ")


def test_all_that_cannot_be_kept_is_named_at_once() -> None:
    text = refused(from_srt, network={"allowAllUnixSockets": True}, filesystem={"allowWrite": ["build"]})
    assert text.endswith("nor can `filesystem.allowWrite`")


def test_unsound_settings_are_refused_as_the_user_s_error() -> None:
    assert "unknown field" in refused(from_srt, netwrok={})
