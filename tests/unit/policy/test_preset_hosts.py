"""What the hosts of presets let through, request by request; registries are read and not published to."""

from typing import get_args

import pytest

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress, Inspection
from ringfence.policy.agent_presets import AGENT_HOSTS
from ringfence.policy.connect import asked, decide
from ringfence.policy.document import Pattern, PresetName
from ringfence.policy.egress import inspection
from ringfence.policy.network import preset_rules
from ringfence.policy.preset_hosts import HOSTS
from ringfence.policy.presets import PRESETS

ALLOWED: dict[PresetName, tuple[str, ...]] = {
    "python": (
        "GET https://pypi.org/simple/x/",
        "HEAD https://pypi.org/x",
        "GET https://files.pythonhosted.org/a/b.whl",
    ),
    "node": (
        "GET https://registry.npmjs.org/@scope%2fname",
        "POST https://registry.npmjs.org/-/npm/v1/security/advisories/bulk",
        "POST https://registry.npmjs.org/-/npm/v1/security/audits/quick",
        "GET https://registry.yarnpkg.com/x",
        "GET https://nodejs.org/dist/v22.0.0/node-v22.0.0-headers.tar.gz",
    ),
    "rust": ("GET https://index.crates.io/se/rd/serde", "GET https://static.crates.io/crates/serde/serde-1.0.0.crate"),
    "go": ("GET https://proxy.golang.org/x/@v/list", "GET https://sum.golang.org/lookup/x@v1"),
    "java": ("GET https://repo.maven.apache.org/maven2/a", "GET https://services.gradle.org/distributions/x.zip"),
    "ruby": ("GET https://rubygems.org/gems/rake.gem", "GET https://index.rubygems.org/versions"),
    "github": (
        "GET https://github.com/a/b.git/info/refs",
        "POST https://github.com/a/b.git/git-upload-pack",
        "POST https://github.com/a/b/git-upload-pack",
        "GET https://api.github.com/repos/a/b",
        "GET https://raw.githubusercontent.com/a/b/main/x",
        "GET https://codeload.github.com/a/b/tar.gz/main",
        "GET https://objects.githubusercontent.com/x",
        "GET https://release-assets.githubusercontent.com/x",
        "POST https://api.github.com/repos/a/b/pulls",
        "POST https://api.github.com/repos/a/b/issues",
        "POST https://api.github.com/repos/a/b/issues/1/comments",
        "POST https://api.github.com/repos/a/b/pulls/1/comments",
        "POST https://api.github.com/repos/a/b/pulls/1/comments/2/replies",
        "GET https://api.github.com/repos/a/b/actions/runs/1/logs",
        "GET https://api.github.com/repos/a/b/branches/main/protection",
    ),
    "gitlab": (
        "POST https://gitlab.com/group/sub/b.git/git-upload-pack",
        "GET https://gitlab.com/api/v4/projects",
        "POST https://gitlab.com/api/v4/projects/7/merge_requests",
        "POST https://gitlab.com/api/v4/projects/group%2Fsub%2Fb/merge_requests",
        "POST https://gitlab.com/api/v4/projects/7/issues",
        "POST https://gitlab.com/api/v4/projects/group%2Fb/issues/1/notes",
    ),
    "anthropic": ("POST https://api.anthropic.com/v1/messages", "GET https://api.anthropic.com/v1/models"),
    "openai": ("POST https://api.openai.com/v1/responses", "POST https://api.openai.com/v1/chat/completions"),
    "google-ai": ("POST https://generativelanguage.googleapis.com/v1beta/models/g:streamGenerateContent",),
    "mistral": (
        "POST https://api.mistral.ai/v1/chat/completions",
        "POST https://codestral.mistral.ai/v1/fim/completions",
    ),
    "openrouter": ("POST https://openrouter.ai/api/v1/chat/completions", "GET https://openrouter.ai/api/v1/models"),
}
DENIED: dict[PresetName, tuple[str, ...]] = {
    "python": (
        "POST https://pypi.org/simple/x/",
        "GET http://pypi.org/simple/x/",
        "POST https://upload.pypi.org/legacy/",
        "POST https://pypi.org/legacy/",
        "POST https://pypi.org//legacy/",
        "GET https://pypi.org/Legacy/",
        "GET https://test.pypi.org/",
    ),
    "node": (
        "PUT https://registry.npmjs.org/left-pad",
        "DELETE https://registry.npmjs.org/left-pad/-rev/1",
        "POST https://registry.npmjs.org/-/v1/login",
        "PUT https://registry.npmjs.org/-/user/org.couchdb.user:joe",
        "GET https://registry.npmjs.org/-/npm/v1/tokens",
        "POST https://registry.npmjs.org/-/npm/v1/tokens",
        "POST https://registry.npmjs.org/left-pad",
        "GET https://nodejs.org/en/",
    ),
    "rust": ("PUT https://crates.io/api/v1/crates/new", "PUT https://index.crates.io/x"),
    "go": ("POST https://proxy.golang.org/x",),
    "java": ("PUT https://repo.maven.apache.org/maven2/a", "POST https://central.sonatype.com/api/v1/publisher/upload"),
    "ruby": ("POST https://rubygems.org/api/v1/gems", "GET https://rubygems.org/api/v1/api_key.json"),
    "github": (
        "POST https://github.com/a/b.git/git-receive-pack",
        "POST https://github.com/a/b.git/Git-Receive-Pack",
        "POST https://github.com/a/b/x%2f..%2fgit-receive-pack",
        "POST https://github.com/a/b/issues",
        "POST https://api.github.com/graphql",
        "PUT https://api.github.com/repos/a/b/contents/x",
        "PUT https://api.github.com/repos/a/b/pulls/1/merge",
        "POST https://api.github.com/repos/a/b/pulls/1/merge",
        "PUT https://api.github.com/repositories/7/pulls/1/merge",
        "PUT https://api.github.com/repos/a/b/pulls/1/Merge",
        "POST https://api.github.com/repos/a/b/merges",
        "POST https://api.github.com/repos/a/b/pulls/1/reviews",
        "PATCH https://api.github.com/repos/a/b/pulls/1",
        "DELETE https://api.github.com/repos/a/b/git/refs/heads/x",
        "DELETE https://api.github.com/repos/a/b/issues/comments/1",
        "POST https://api.github.com/repos/a/b/git/refs",
        "PATCH https://api.github.com/repos/a/b/git/refs/heads/main",
        "PATCH https://api.github.com/repos/a/b",
        "PUT https://api.github.com/repos/a/b/branches/main/protection",
        "PUT https://api.github.com/repos/a/b/collaborators/x",
        "POST https://api.github.com/repos/a/b/forks",
        "POST https://api.github.com/user/repos",
        "POST https://api.github.com/repos/a/b/keys",
        "POST https://api.github.com/user/keys",
        "POST https://api.github.com/repos/a/b/hooks",
        "POST https://api.github.com/orgs/a/hooks",
        "POST https://api.github.com/repos/a/b/actions/workflows/ci.yml/dispatches",
        "POST https://api.github.com/repos/a/b/dispatches",
        "PUT https://api.github.com/repos/a/b/actions/secrets/X",
        "POST https://api.github.com/repos/a/b/statuses/0123",
        "POST https://api.github.com/repos/a/b/check-runs",
        "POST https://api.github.com/repos/a/b/releases",
        "POST https://api.github.com/gists",
        "POST https://uploads.github.com/repos/a/b/releases/1/assets",
        "POST https://gist.github.com/",
    ),
    "gitlab": (
        "POST https://gitlab.com/a/b.git/git-receive-pack",
        "POST https://gitlab.com/api/graphql",
        "PUT https://gitlab.com/api/v4/projects/7/merge_requests/1/merge",
        "PUT https://gitlab.com/api/v4/projects/g%2Fb/merge_requests/1/merge",
        "POST https://gitlab.com/api/v4/projects/7/merge_requests/1/notes",
        "POST https://gitlab.com/api/v4/projects/7/merge_requests/1/discussions",
        "POST https://gitlab.com/api/v4/projects/7/merge_requests/1/approve",
        "PUT https://gitlab.com/api/v4/projects/7",
        "PUT https://gitlab.com/api/v4/projects/g%2Fb",
        "DELETE https://gitlab.com/api/v4/projects/7/repository/branches/x",
        "POST https://gitlab.com/api/v4/projects/7/repository/commits",
        "POST https://gitlab.com/api/v4/projects/7/hooks",
        "POST https://gitlab.com/api/v4/projects/7/deploy_keys",
        "POST https://gitlab.com/api/v4/user/keys",
        "POST https://gitlab.com/api/v4/projects/7/access_tokens",
        "POST https://gitlab.com/api/v4/projects/7/pipeline",
        "POST https://gitlab.com/api/v4/projects/7/trigger/pipeline",
        "POST https://gitlab.com/api/v4/projects/7/jobs/1/play",
        "GET https://gitlab.com/api/v4/projects/7/variables",
        "GET https://gitlab.com/api/v4/groups/g%2Fsub/variables/X",
        "POST https://gitlab.com/api/v4/projects/7/releases",
        "POST https://gitlab.com/api/v4/snippets",
    ),
    "anthropic": ("POST https://api.anthropic.com/v1/files", "GET https://api.anthropic.com/v1/files/x/content"),
    "openai": ("POST https://api.openai.com/v1/files", "POST https://api.openai.com/v1/uploads"),
    "google-ai": ("POST https://generativelanguage.googleapis.com/upload/v1beta/files",),
    "mistral": ("POST https://api.mistral.ai/v1/files",),
    "openrouter": ("POST https://openrouter.ai/api/v1/keys", "GET https://openrouter.ai/api/v1/credits"),
}


def egress(name: PresetName) -> Egress:
    return Egress(rules=tuple(preset_rules(name)))


@pytest.mark.parametrize("name", HOSTS)
def test_what_a_preset_is_for_works(name: PresetName) -> None:
    assert [text for text in ALLOWED[name] if decide(egress(name), asked(text)).verdict is not Verdict.ALLOW] == []


@pytest.mark.parametrize("name", HOSTS)
def test_nothing_is_published_or_left_behind(name: PresetName) -> None:
    assert [text for text in DENIED[name] if decide(egress(name), asked(text)).verdict is not Verdict.DENY] == []


@pytest.mark.parametrize("name", [*HOSTS, *AGENT_HOSTS])
def test_every_host_has_its_reason_and_is_inspected(name: PresetName) -> None:
    for item, rule in zip(PRESETS[name].hosts, preset_rules(name), strict=True):
        assert item.reason and rule.reason == item.reason
        assert not item.host.startswith("*.") or item.verdict == "deny"
        assert inspection(egress(name), rule.host.removeprefix("*."), 443) is Inspection.INSPECT


def test_every_preset_says_something() -> None:
    assert list(PRESETS) == [*HOSTS, *AGENT_HOSTS, *get_args(Pattern)]
    assert all(bool(preset.hosts) != (name in get_args(Pattern)) for name, preset in PRESETS.items())
