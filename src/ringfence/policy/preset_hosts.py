"""The hosts of presets, each with its reason.

Registries are read, never published to: what a run can publish, everybody's next installation executes. Services where
anybody can leave data (files of a model API, releases, gists) are denied where it can be told from the path, because
whoever holds an account there can fetch what a run was talked into sending. All on port 443.
"""

import msgspec

from .document import PresetName


class PresetHost(msgspec.Struct, frozen=True):
    """One host of a preset; `verdict` is `allow` or `deny`. Without methods or paths it means every request."""

    host: str
    reason: str
    verdict: str = "allow"
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    ports: tuple[int | str, ...] = (443,)


def _read(reason: str, *hosts: str, paths: tuple[str, ...] = ()) -> tuple[PresetHost, ...]:
    return tuple(PresetHost(host, reason, methods=("GET", "HEAD"), paths=paths) for host in hosts)


def _post(reason: str, host: str, *paths: str) -> PresetHost:
    return PresetHost(host, reason, methods=("POST",), paths=paths)


def _deny(reason: str, host: str, *paths: str, methods: tuple[str, ...] = ()) -> PresetHost:
    return PresetHost(host, reason, verdict="deny", methods=methods, paths=paths, ports=("1-65535",))


_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_PUBLISH = "publishing: others would install what a run puts there"
_LOGIN = "accounts and tokens of the registry"
_PUSH = "git push"
_FETCH = "git fetch and clone"
_STORE = "keeps what is sent, for whoever holds the key"
_CHAT = "ask the model; answers stream"
_MODELS = "list the models"

HOSTS: dict[PresetName, tuple[PresetHost, ...]] = {
    "python": (
        *_read("the index of Python packages", "pypi.org"),
        *_read("files of Python packages", "files.pythonhosted.org"),
        _deny(_PUBLISH, "upload.pypi.org"),
        _deny(_PUBLISH, "pypi.org", "/legacy", "/legacy/**"),
    ),
    "node": (
        *_read("the registry of npm packages", "registry.npmjs.org"),
        *_read("the same registry, as yarn names it", "registry.yarnpkg.com"),
        *_read("headers to build native modules with", "nodejs.org", paths=("/dist/**", "/download/**")),
        _post(
            "npm audit: names and versions of what is installed",
            "registry.npmjs.org",
            *("/-/npm/v1/security/audits", "/-/npm/v1/security/audits/*", "/-/npm/v1/security/advisories/bulk"),
        ),
        *(
            _deny(_PUBLISH, f"registry.{name}", methods=("PUT", "PATCH", "DELETE"))
            for name in ("npmjs.org", "yarnpkg.com")
        ),
        *(
            _deny(_LOGIN, f"registry.{name}", "/-/v1/login", "/-/user/**", "/-/npm/v1/tokens", "/-/npm/v1/tokens/**")
            for name in ("npmjs.org", "yarnpkg.com")
        ),
    ),
    "rust": (
        *_read("the index of crates", "index.crates.io"),
        *_read("files of crates", "static.crates.io"),
        _deny(_PUBLISH, "crates.io", methods=_WRITES),
    ),
    "go": (
        *_read("Go modules", "proxy.golang.org"),
        *_read("checksums of Go modules", "sum.golang.org"),
    ),
    "java": (
        *_read("Maven Central", "repo.maven.apache.org", "repo1.maven.org"),
        *_read("plugins of Gradle", "plugins.gradle.org", "plugins-artifacts.gradle.org"),
        *_read("distributions that the Gradle wrapper fetches", "services.gradle.org", "downloads.gradle.org"),
        _deny(_PUBLISH, "*.sonatype.com"),
        _deny(_PUBLISH, "*.sonatype.org"),
    ),
    "ruby": (
        *_read("gems and their index", "rubygems.org", "index.rubygems.org"),
        _deny(_PUBLISH, "rubygems.org", methods=_WRITES),
        _deny(_LOGIN, "rubygems.org", "/api/v1/api_key", "/api/v1/api_key.*", "/api/v1/profile/**"),
    ),
    "github": (
        *_read("pages, and the first half of git fetch", "github.com"),
        _post(_FETCH, "github.com", "/**/git-upload-pack"),
        *_read("the REST API, to look", "api.github.com"),
        *_read("single files of repositories", "raw.githubusercontent.com"),
        *_read("archives of repositories", "codeload.github.com"),
        *_read("files of releases", "objects.githubusercontent.com", "release-assets.githubusercontent.com"),
        _deny(_PUSH, "github.com", "/**/git-receive-pack"),
        _deny("files of releases, uploaded", "uploads.github.com"),
    ),
    "gitlab": (
        *_read("pages, the REST API to look, and the first half of git fetch", "gitlab.com"),
        _post(_FETCH, "gitlab.com", "/**/git-upload-pack"),
        _deny(_PUSH, "gitlab.com", "/**/git-receive-pack"),
    ),
    "anthropic": (
        _post(_CHAT, "api.anthropic.com", "/v1/messages", "/v1/messages/count_tokens", "/v1/complete"),
        *_read(_MODELS, "api.anthropic.com", paths=("/v1/models", "/v1/models/*")),
        _deny(_STORE, "api.anthropic.com", "/v1/files", "/v1/files/**"),
    ),
    "openai": (
        _post(
            _CHAT,
            "api.openai.com",
            *("/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings"),
        ),
        *_read(
            "answers in the background or by WebSocket", "api.openai.com", paths=("/v1/responses", "/v1/responses/*")
        ),
        *_read(_MODELS, "api.openai.com", paths=("/v1/models", "/v1/models/*")),
        _deny(_STORE, "api.openai.com", "/v1/files", "/v1/files/**", "/v1/uploads", "/v1/uploads/**"),
    ),
    "google-ai": (
        _post(
            _CHAT,
            "generativelanguage.googleapis.com",
            *("/v1/models/*", "/v1beta/models/*", "/v1beta/openai/chat/completions", "/v1beta/openai/embeddings"),
        ),
        *_read(
            _MODELS,
            "generativelanguage.googleapis.com",
            paths=("/v1/models", "/v1/models/*", "/v1beta/models", "/v1beta/models/*", "/v1beta/openai/models"),
        ),
        _deny(_STORE, "generativelanguage.googleapis.com", "/upload/**", "/v1beta/files", "/v1beta/files/**"),
    ),
    "mistral": (
        _post(_CHAT, "api.mistral.ai", "/v1/chat/completions", "/v1/fim/completions", "/v1/embeddings"),
        _post(_CHAT, "codestral.mistral.ai", "/v1/chat/completions", "/v1/fim/completions"),
        *_read(_MODELS, "api.mistral.ai", paths=("/v1/models", "/v1/models/*")),
        _deny(_STORE, "api.mistral.ai", "/v1/files", "/v1/files/**"),
    ),
    "openrouter": (
        _post(
            _CHAT,
            "openrouter.ai",
            *("/api/v1/chat/completions", "/api/v1/completions", "/api/v1/responses", "/api/v1/messages"),
        ),
        *_read(_MODELS, "openrouter.ai", paths=("/api/v1/models", "/api/v1/models/**")),
    ),
}
