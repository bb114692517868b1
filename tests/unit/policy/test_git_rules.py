"""`[[git.remotes]]` and `[git.signing]`: canonical remotes, what they allow as requests, whose word counts."""

import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.errors import UsageError
from ringfence.model.git import GitRemote, LargeFiles, Pushes, Signing
from ringfence.policy import git_rules
from ringfence.policy.connect import asked, decide
from ringfence.policy.effective import Policy
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse

REMOTE = '[[git.remotes]]\nhost = "git.example"\nrepositories = ["a/b"]\n'


def policy(**texts: str) -> Policy:
    layers = [parse(f"version = 1\n{text}\n", file=f"{scope}.toml", scope=scope) for scope, text in texts.items()]
    return merge(layers, home="/home/u", workspace="/home/u/w")


def remotes(**texts: str) -> tuple[GitRemote, ...]:
    found = policy(**texts)
    return found.egress.git_remotes if found.egress else ()


def allowed(text: str, request: str) -> bool:
    found = policy(user=text)
    assert found.egress is not None
    return decide(found.egress, asked(request)).verdict is Verdict.ALLOW


def refused(**texts: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        policy(**texts)
    assert caught.value.hint
    return caught.value


def test_a_whole_remote() -> None:
    (found,) = remotes(
        user="""
[[git.remotes]]
host = "Git.Example."
repositories = ["b/c.git", "a/*", "!a/secret"]
lfs = "download"
reason = "work"
[git.remotes.push]
refs = ["refs/heads/agent/**", "!refs/heads/agent/main"]
force = true
authors = ["*@example.com"]
max-bytes = "1KiB"
"""
    )
    assert (found.host, found.repositories, found.lfs) == (
        "git.example",
        ("!a/secret", "a/*", "b/c"),
        LargeFiles.DOWNLOAD,
    )
    assert found.push == Pushes(
        refs=("refs/heads/agent/**", "!refs/heads/agent/main"), force=True, authors=("*@example.com",), max_bytes=1024
    )
    assert (found.reason, str(found.source)) == ("work", "user.toml:3")


@pytest.mark.parametrize(
    ("keys", "request_text", "verdict"),
    [
        ("", "GET https://git.example/a/b/info/refs", True),
        ("", "GET https://git.example/a/b.git/info/refs", True),
        ("", "POST https://git.example/a/b.git/git-upload-pack", True),
        ("", "POST https://git.example/a/b.git/git-receive-pack", False),
        ("", "GET https://git.example/a/b", False),
        ("", "GET https://git.example/a/c.git/info/refs", False),
        ("", "GET http://git.example/a/b.git/info/refs", False),
        ("fetch = false", "POST https://git.example/a/b.git/git-upload-pack", False),
        ('push.refs = ["refs/heads/x"]', "POST https://git.example/a/b.git/git-receive-pack", True),
        ('push.refs = ["refs/heads/x"]', "POST https://git.example/a/b.git/info/lfs/objects/batch", False),
        ('lfs = "download"', "POST https://git.example/a/b.git/info/lfs/objects/batch", True),
        ('lfs = "download"', "POST https://git.example/a/b.git/info/lfs/locks/verify", False),
        ('lfs = "upload"', "POST https://git.example/a/b.git/info/lfs/locks/verify", True),
        ("", "GET https://git.example/a/b.git/info/lfs/objects/01ab", False),
        ('lfs = "download"', "GET https://git.example/a/b.git/info/lfs/objects/01ab", True),
        ('lfs = "download"', "GET https://git.example/a/b/info/lfs/objects/01ab", True),
        ('lfs = "download"', "GET https://git.example/a/b.git/gitlab-lfs/objects/01ab", True),
        ('lfs = "download"', "GET https://git.example/a/b/gitlab-lfs/objects/01ab", False),
        ('lfs = "download"', "GET https://git.example/a/c.git/gitlab-lfs/objects/01ab", False),
        ('lfs = "download"', "PUT https://git.example/a/b.git/gitlab-lfs/objects/01ab/5", False),
        ('lfs = "download"', "PUT https://git.example/a/b.git/info/lfs/objects/01ab", False),
        ('lfs = "upload"', "PUT https://git.example/a/b.git/gitlab-lfs/objects/01ab/5", True),
        ('lfs = "upload"', "PUT https://git.example/a/b.git/info/lfs/objects/01ab", True),
        ('lfs = "upload"', "POST https://git.example/a/b.git/info/lfs/verify", True),
        ('lfs = "upload"', "DELETE https://git.example/a/b.git/info/lfs/objects/01ab", False),
        ("", "GET https://git.example/a/b.git/HEAD", True),
        ("", "GET https://git.example/a/b.git/objects/info/packs", True),
        ("", "GET https://git.example/a/b.git/objects/pack/pack-01.pack", True),
        ("", "PUT https://git.example/a/b.git/objects/01/ab", False),
        ("", "GET https://git.example/a/b.git/config", False),
        ("", "GET https://git.example/a/b/HEAD", False),
        ("fetch = false", "GET https://git.example/a/b.git/objects/01/ab", False),
    ],
)
def test_a_remote_allows_the_requests_of_git_alone(keys: str, request_text: str, verdict: bool) -> None:
    assert allowed(f"{REMOTE}{keys}", request_text) is verdict


def test_wildcards_take_in_the_suffix() -> None:
    text = REMOTE.replace("a/b", "a/**")
    assert allowed(text, "GET https://git.example/a/x/y.git/info/refs")
    assert not allowed(text, "GET https://git.example/b/x.git/info/refs")
    for pattern in ("a/**", "a/*"):
        text = REMOTE.replace("a/b", pattern) + 'lfs = "download"\n'
        assert allowed(text, "GET https://git.example/a/x.git/gitlab-lfs/objects/01ab")
        assert allowed(text, "GET https://git.example/a/x.git/objects/01/ab")
        assert not allowed(text, "GET https://git.example/a/x/objects/01/ab")


@pytest.mark.parametrize(
    ("repositories", "read"),
    [
        ('["a/b"]', ["/a/b/info/refs", "/a/b.git/info/refs", "/a/b.git/HEAD", "/a/b.git/objects/**"]),
        ('["a/*", "!a/x"]', ["/a/*/info/refs", "/a/*.git/HEAD", "/a/*.git/objects/**"]),
        ('["a*/b"]', ["/a*/b/info/refs", "/a*/b.git/info/refs", "/a*/b.git/HEAD", "/a*/b.git/objects/**"]),
        ('["a/**"]', ["/a/**/info/refs", "/a/**/*.git/HEAD", "/a/**/*.git/objects/**"]),
        ('["**"]', ["/**/info/refs", "/**/*.git/HEAD", "/**/*.git/objects/**"]),
    ],
)
def test_the_paths_below_which_git_reads(repositories: str, read: list[str]) -> None:
    text = REMOTE.replace('["a/b"]', repositories)
    found = policy(user=text).egress
    assert found is not None
    assert [(rule.paths, rule.reason) for rule in found.rules if "GET" in rule.methods] == [(tuple(read), "git")]
    named = policy(user=f'{text}reason = "work"').egress
    assert named is not None and {rule.reason for rule in named.rules} == {"work"}


def test_what_a_push_may_not_touch_is_a_pattern() -> None:
    (one,) = remotes(user=f'{REMOTE}push = {{ refs = ["refs/**"], deny-paths = ["x", "a/!b"] }}')
    assert one.push and one.push.deny_paths == ("x", "a/!b")


def test_a_project_s_tables_are_passed_over() -> None:
    text = f'version = 1\n{REMOTE}[git.signing]\nkey = "/k"\n'
    layer = parse(text, file="p", scope="project")
    assert git_rules.remotes([layer]) == () and git_rules.signing([layer], "/home/u") == Signing()


def test_a_project_may_say_that_it_has_none() -> None:
    assert remotes(project="git.remotes = []") == ()


def test_ports_are_written_behind_the_host() -> None:
    text = REMOTE.replace("git.example", "git.example:8443")
    assert allowed(text, "GET https://git.example:8443/a/b.git/info/refs")
    assert not allowed(text, "GET https://git.example/a/b.git/info/refs")
    assert not allowed(REMOTE, "GET https://git.example:444/a/b.git/info/refs")
    assert remotes(user=text)[0].host == "git.example"


def test_a_remote_turns_the_network_on() -> None:
    found = policy(user=REMOTE)
    assert (found.network, str(found.origins["network.mode"])) == ("allow-list", "user.toml:2")


def test_the_highest_layer_that_names_a_host_decides_for_it() -> None:
    wide = f'{REMOTE}push.refs = ["refs/**"]\n' + REMOTE.replace("git.example", "other.example")
    for order in ({"managed": REMOTE, "user": wide}, {"user": wide, "managed": REMOTE}):
        found = remotes(**order)
        assert [(one.host, one.push, one.source.scope) for one in found] == [
            ("git.example", None, "managed"),
            ("other.example", None, "user"),
        ]


def test_order_within_a_layer_is_nothing() -> None:
    other = REMOTE.replace("a/b", "c/d")
    hosts = [[(one.host, one.repositories) for one in remotes(user=text)] for text in (REMOTE + other, other + REMOTE)]
    assert hosts[0] == hosts[1] == [("git.example", ("a/b",)), ("git.example", ("c/d",))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (REMOTE.replace('"a/b"', ""), "names no repositories"),
        (REMOTE.replace("a/b", "!a/b"), "names no repositories"),
        *(
            (REMOTE.replace("a/b", name), "is not a repository")
            for name in ("/a/b", "a//b", "a/b/", "a/../b", "a/b?c", "a/x**", "https://x/a", "a b", ".git")
        ),
        (REMOTE.replace("git.example", "*"), "every host"),
        (REMOTE.replace("git.example", "10.0.0.1"), "needs a port"),
        *(
            (f'{REMOTE}push.refs = ["{ref}"]', "is not the name of a ref")
            for ref in (
                "main",
                "heads/x",
                "refs/heads/a..b",
                "refs/heads/a b",
                "refs//x",
                "refs/heads/x.lock",
                "refs/a^",
            )
        ),
        (f"{REMOTE}push.refs = []", "names no refs"),
        (f'{REMOTE}push.refs = ["!refs/heads/x"]', "names no refs"),
        (f'{REMOTE}push = {{ refs = ["refs/**"], committers = ["A <a@b>"] }}', "is not an e-mail address"),
        (f'{REMOTE}push = {{ refs = ["refs/**"], authors = ["A <a@b>"] }}', "is not an e-mail address"),
        (f'{REMOTE}push = {{ refs = ["refs/**"], deny-paths = ["!x"] }}', "is negated"),
        (f'{REMOTE}push = {{ refs = ["refs/**"], signers = ["ssh-x y"] }}', "`ssh-x y` is no key that signs"),
        (f'network.allow = [{{ host = "git.example", http2 = true }}]\n{REMOTE}', "of a git remote is not inspected"),
        (f'network.allow = [{{ host = "git.example", inspection = "sni" }}]\n{REMOTE}', "is not inspected"),
        ('[git.signing]\nkey = "id"', "is not the absolute path of a key"),
        ('[git.signing]\nkey = "~/a/../b"', "is not the absolute path of a key"),
        ('[git.signing]\nkey = "--x"\nformat = "openpgp"', "identifies no key"),
    ],
)
def test_what_is_not_sound(text: str, message: str) -> None:
    error = refused(user=text)
    assert message in error.message
    assert error.place.startswith("user.toml:")


def test_ssh_beside_a_remote_is_another_matter() -> None:
    assert remotes(user=f'network.allow = [{{ host = "git.example", ports = [22], inspection = "raw" }}]\n{REMOTE}')


def test_signing() -> None:
    assert policy().signing == Signing()
    above = parse('version = 1\n[git.signing]\nkey = "~/k"\n', file="p", scope="user")
    assert git_rules.signing([above], "/").key == "/k"
    assert policy(user='[git.signing]\nkey = "/media/key"').signing.key == "/media/key"
    low = '[git.signing]\nkey = "ABCDEF"\nformat = "openpgp"\ntags = false\nmax-signatures = 3'
    place = Source(scope="user", file="user.toml", line=3)
    wanted = Signing(key="ABCDEF", format="openpgp", tags=False, max_signatures=3, source=place)
    assert policy(user=low).signing == wanted
    found = policy(user=low, managed='[git.signing]\nkey = "~/.ssh/id"').signing
    assert found == Signing(key="/home/u/.ssh/id", source=Source(scope="managed", file="managed.toml", line=3))


@pytest.mark.parametrize(("text", "key"), [(REMOTE, "git.remotes"), ('[git.signing]\nkey = "/k"', "git.signing")])
def test_a_project_says_nothing_of_git(text: str, key: str) -> None:
    error = refused(project=text)
    assert f"so it may not set `{key}`" in error.message
    assert error.place == "project.toml:2"
