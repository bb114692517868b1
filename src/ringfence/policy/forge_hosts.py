"""What the presets `github` and `gitlab` let through: reading, and contributions that somebody else decides about.

A run may open a pull request, an issue, and comment. What takes effect without a further person's word is denied:
merging, branches and files by the API (git is checked by ref, see `[[git.remotes]]`), releases, settings, keys, hooks,
pipelines, and what holds credentials. GraphQL has one address for reading and for every change, so nothing allows it.
Paths begin with `/**` where the same thing has several addresses, such as `/repos/OWNER/NAME` and `/repositories/ID`.
"""

from .preset_entries import WRITES, PresetHost, deny, post, read

PUSH = "git push, unless `[[git.remotes]]` says to which refs"
_FETCH = "git fetch and clone"
_READ_API = "the REST API, to look"
_MERGE = "merging is for a person to do"
_REVIEW = "approving is for a person to do"
_BRANCHES = "branches, tags and files are changed by git, which is checked by ref"
_DELETE = "nothing is deleted"
_SETTINGS = "settings, members and the repositories themselves"
_KEYS = "keys and tokens: they would let others in"
_HOOKS = "hooks: they would tell others of everything from then on"
_PIPELINES = "workflows and pipelines: they run code, with secrets of their own"
_STATUS = "they would say that checks have passed"
_PUBLISH = "releases and packages: others would install what a run puts there"
_ANYBODY = "snippets that anybody may read"
_VALUES = "values of secrets"

_GITHUB_API = "api.github.com"


def _github(reason: str, *paths: str) -> PresetHost:
    return deny(reason, _GITHUB_API, *paths, methods=WRITES)


GITHUB = (
    *read("pages, and the first half of git fetch", "github.com"),
    post(_FETCH, "github.com", "/**/git-upload-pack"),
    *read(_READ_API, _GITHUB_API),
    post("open a pull request", _GITHUB_API, "/repos/*/*/pulls"),
    post("open an issue", _GITHUB_API, "/repos/*/*/issues"),
    post(
        "comment on issues, pull requests and commits",
        _GITHUB_API,
        *("/repos/*/*/issues/*/comments", "/repos/*/*/pulls/*/comments", "/repos/*/*/pulls/*/comments/*/replies"),
        "/repos/*/*/commits/*/comments",
    ),
    *read("single files of repositories", "raw.githubusercontent.com"),
    *read("archives of repositories", "codeload.github.com"),
    *read("files of releases", "objects.githubusercontent.com", "release-assets.githubusercontent.com"),
    deny(PUSH, "github.com", "/**/git-receive-pack"),
    deny("files of releases, uploaded", "uploads.github.com"),
    deny(_DELETE, _GITHUB_API, methods=("DELETE",)),
    _github(_MERGE, "/**/pulls/*/merge", "/**/merges", "/**/merge-upstream", "/**/pulls/*/update-branch"),
    _github(_REVIEW, "/**/pulls/*/reviews", "/**/pulls/*/reviews/**"),
    _github(_BRANCHES, "/**/git/**", "/**/contents/**", "/**/branches/**"),
    _github(
        _SETTINGS,
        *("/repos/*/*", "/repositories/*", "/**/rulesets", "/**/rulesets/**", "/**/collaborators/**", "/**/topics"),
        *("/**/transfer", "/**/forks", "/**/generate", "/**/environments/**", "/**/pages", "/**/pages/**"),
        *("/**/teams", "/**/teams/**", "/**/invitations", "/**/invitations/**", "/**/memberships/**", "/**/members/**"),
        *("/user", "/user/repos", "/orgs/*", "/orgs/*/repos", "/**/autolinks", "/**/security-advisories/**"),
    ),
    _github(
        _KEYS,
        *("/**/keys", "/**/keys/**", "/user/gpg_keys", "/user/gpg_keys/**", "/user/ssh_signing_keys"),
        *("/user/ssh_signing_keys/**", "/applications/**", "/app/**", "/app-manifests/**", "/authorizations"),
    ),
    _github(_HOOKS, "/**/hooks", "/**/hooks/**"),
    _github(
        _PIPELINES,
        *("/**/actions/**", "/**/dispatches", "/**/deployments", "/**/deployments/**", "/**/secrets/**"),
        *("/**/variables", "/**/variables/**", "/**/codespaces", "/**/codespaces/**"),
    ),
    _github(
        _STATUS, "/**/statuses/**", "/**/check-runs", "/**/check-runs/**", "/**/check-suites", "/**/check-suites/**"
    ),
    _github(_PUBLISH, "/**/releases", "/**/releases/**", "/**/packages/**"),
    _github(_ANYBODY, "/gists", "/gists/**"),
)

_GITLAB = "gitlab.com"
_V4 = "/api/v4"


def _gitlab(reason: str, *paths: str) -> PresetHost:
    return deny(reason, _GITLAB, *(f"{_V4}{path}" for path in paths), methods=WRITES)


GITLAB = (
    *read("pages, the REST API to look, and the first half of git fetch", _GITLAB),
    post(_FETCH, _GITLAB, "/**/git-upload-pack"),
    # A project's identifier may hold slashes, encoded or not.
    post("open a merge request", _GITLAB, f"{_V4}/projects/**/merge_requests"),
    post("open an issue", _GITLAB, f"{_V4}/projects/**/issues"),
    post(
        "comment on issues",
        _GITLAB,
        *(f"{_V4}/projects/**/issues/*/{place}" for place in ("notes", "discussions", "discussions/*/notes")),
    ),
    deny(PUSH, _GITLAB, "/**/git-receive-pack"),
    deny(_DELETE, _GITLAB, methods=("DELETE",)),
    deny(
        _VALUES,
        _GITLAB,
        *(f"{_V4}/**/{place}" for place in ("variables", "variables/**", "deploy_tokens", "deploy_tokens/**")),
        *(f"{_V4}/**/{place}" for place in ("triggers", "triggers/**", "secure_files", "secure_files/**")),
    ),
    _gitlab(_MERGE, "/**/merge", "/**/rebase", "/**/merge_trains/**"),
    _gitlab(
        "a comment there can merge: GitLab carries out what its lines begin with (`/merge`)",
        *(f"/**/merge_requests/*/{place}" for place in ("notes", "notes/**", "discussions", "discussions/**")),
        *(f"/**/merge_requests/*/{place}" for place in ("draft_notes", "draft_notes/**")),
    ),
    _gitlab(_REVIEW, "/**/approve", "/**/approvals", "/**/approval_rules", "/**/approval_rules/**"),
    _gitlab(_BRANCHES, "/**/repository/**", "/**/wikis", "/**/wikis/**"),
    _gitlab(
        _SETTINGS,
        *("/projects", "/projects/*", "/projects/user/*", "/groups", "/groups/*", "/**/members", "/**/members/**"),
        *("/**/protected_branches", "/**/protected_branches/**", "/**/protected_tags", "/**/protected_tags/**"),
        *("/**/fork", "/**/transfer", "/**/share", "/**/invitations", "/**/invitations/**", "/**/push_rule"),
        *("/**/environments", "/**/environments/**", "/**/remote_mirrors", "/**/remote_mirrors/**", "/**/pages"),
    ),
    _gitlab(
        _KEYS,
        *("/**/keys", "/**/keys/**", "/**/deploy_keys", "/**/deploy_keys/**", "/**/gpg_keys", "/**/gpg_keys/**"),
        *("/**/access_tokens", "/**/access_tokens/**", "/**/personal_access_tokens/**", "/**/impersonation_tokens"),
    ),
    _gitlab(_HOOKS, "/**/hooks", "/**/hooks/**", "/**/integrations/**", "/**/services/**"),
    _gitlab(
        _PIPELINES,
        *("/**/pipeline", "/**/pipelines", "/**/pipelines/**", "/**/trigger/**", "/**/jobs/**", "/**/runners"),
        *("/**/runners/**", "/**/pipeline_schedules", "/**/pipeline_schedules/**"),
    ),
    _gitlab(_STATUS, "/**/statuses/**", "/**/external_status_checks/**"),
    _gitlab(_PUBLISH, "/**/releases", "/**/releases/**", "/**/packages/**"),
    _gitlab(_ANYBODY, "/snippets", "/snippets/**", "/projects/**/snippets", "/projects/**/snippets/**"),
)
