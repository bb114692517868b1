"""The hosts of presets, each with its reason.

Registries are read, never published to: what a run can publish, everybody's next installation executes. Services where
anybody can leave data (files of a model API, releases, gists) are denied where it can be told from the path, because
whoever holds an account there can fetch what a run was talked into sending. All on port 443.
"""

from .document import PresetName
from .forge_hosts import GITHUB, GITLAB
from .preset_entries import WRITES, PresetHost, deny, post, read

_PUBLISH = "publishing: others would install what a run puts there"
_LOGIN = "accounts and tokens of the registry"
_STORE = "keeps what is sent, for whoever holds the key"
_CHAT = "ask the model; answers stream"
_MODELS = "list the models"

HOSTS: dict[PresetName, tuple[PresetHost, ...]] = {
    "python": (
        *read("the index of Python packages", "pypi.org"),
        *read("files of Python packages", "files.pythonhosted.org"),
        deny(_PUBLISH, "upload.pypi.org"),
        deny(_PUBLISH, "pypi.org", "/legacy", "/legacy/**"),
    ),
    "node": (
        *read("the registry of npm packages", "registry.npmjs.org"),
        *read("the same registry, as yarn names it", "registry.yarnpkg.com"),
        *read("headers to build native modules with", "nodejs.org", paths=("/dist/**", "/download/**")),
        post(
            "npm audit: names and versions of what is installed",
            "registry.npmjs.org",
            *("/-/npm/v1/security/audits", "/-/npm/v1/security/audits/*", "/-/npm/v1/security/advisories/bulk"),
        ),
        *(
            deny(_PUBLISH, f"registry.{name}", methods=("PUT", "PATCH", "DELETE"))
            for name in ("npmjs.org", "yarnpkg.com")
        ),
        *(
            deny(_LOGIN, f"registry.{name}", "/-/v1/login", "/-/user/**", "/-/npm/v1/tokens", "/-/npm/v1/tokens/**")
            for name in ("npmjs.org", "yarnpkg.com")
        ),
    ),
    "rust": (
        *read("the index of crates", "index.crates.io"),
        *read("files of crates", "static.crates.io"),
        deny(_PUBLISH, "crates.io", methods=WRITES),
    ),
    "go": (
        *read("Go modules", "proxy.golang.org"),
        *read("checksums of Go modules", "sum.golang.org"),
    ),
    "java": (
        *read("Maven Central", "repo.maven.apache.org", "repo1.maven.org"),
        *read("plugins of Gradle", "plugins.gradle.org", "plugins-artifacts.gradle.org"),
        *read("distributions that the Gradle wrapper fetches", "services.gradle.org", "downloads.gradle.org"),
        deny(_PUBLISH, "*.sonatype.com"),
        deny(_PUBLISH, "*.sonatype.org"),
    ),
    "ruby": (
        *read("gems and their index", "rubygems.org", "index.rubygems.org"),
        deny(_PUBLISH, "rubygems.org", methods=WRITES),
        deny(_LOGIN, "rubygems.org", "/api/v1/api_key", "/api/v1/api_key.*", "/api/v1/profile/**"),
    ),
    "github": GITHUB,
    "gitlab": GITLAB,
    "anthropic": (
        post(_CHAT, "api.anthropic.com", "/v1/messages", "/v1/messages/count_tokens", "/v1/complete"),
        *read(_MODELS, "api.anthropic.com", paths=("/v1/models", "/v1/models/*")),
        deny(_STORE, "api.anthropic.com", "/v1/files", "/v1/files/**"),
    ),
    "openai": (
        post(
            _CHAT,
            "api.openai.com",
            *("/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings"),
        ),
        *read(
            "answers in the background or by WebSocket", "api.openai.com", paths=("/v1/responses", "/v1/responses/*")
        ),
        *read(_MODELS, "api.openai.com", paths=("/v1/models", "/v1/models/*")),
        deny(_STORE, "api.openai.com", "/v1/files", "/v1/files/**", "/v1/uploads", "/v1/uploads/**"),
    ),
    "google-ai": (
        post(
            _CHAT,
            "generativelanguage.googleapis.com",
            *("/v1/models/*", "/v1beta/models/*", "/v1beta/openai/chat/completions", "/v1beta/openai/embeddings"),
        ),
        *read(
            _MODELS,
            "generativelanguage.googleapis.com",
            paths=("/v1/models", "/v1/models/*", "/v1beta/models", "/v1beta/models/*", "/v1beta/openai/models"),
        ),
        deny(_STORE, "generativelanguage.googleapis.com", "/upload/**", "/v1beta/files", "/v1beta/files/**"),
    ),
    "mistral": (
        post(_CHAT, "api.mistral.ai", "/v1/chat/completions", "/v1/fim/completions", "/v1/embeddings"),
        post(_CHAT, "codestral.mistral.ai", "/v1/chat/completions", "/v1/fim/completions"),
        *read(_MODELS, "api.mistral.ai", paths=("/v1/models", "/v1/models/*")),
        deny(_STORE, "api.mistral.ai", "/v1/files", "/v1/files/**"),
    ),
    "openrouter": (
        post(
            _CHAT,
            "openrouter.ai",
            *("/api/v1/chat/completions", "/api/v1/completions", "/api/v1/responses", "/api/v1/messages"),
        ),
        *read(_MODELS, "openrouter.ai", paths=("/api/v1/models", "/api/v1/models/**")),
    ),
}
