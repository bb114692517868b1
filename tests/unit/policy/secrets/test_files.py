"""Files with placeholders: what each kind of tool reads, and texts that could not be filled."""

import configparser
import json
import netrc
from pathlib import Path

import pytest

from ringfence.model.errors import UsageError
from ringfence.model.filling import filled
from ringfence.model.secrets import SecretFile
from ringfence.policy.parse import parse
from ringfence.policy.secrets.files import files

NAMES = {"a", "b-1"}
VALUES = {"a": "AAAA", "b-1": "BBBB"}


def built(*bodies: str, **layers: str) -> dict[str, SecretFile]:
    texts = layers or {"user": "".join(f"[[secret-files]]\n{body}\n" for body in bodies)}
    ordered = [parse(f"version = 1\n{text}\n", file=f"{scope}.toml", scope=scope) for scope, text in texts.items()]
    return {file.path: file for file in files(ordered, NAMES)}


def text_of(body: str) -> str:
    (file,) = built(body).values()
    return filled(file.text, VALUES)


def test_a_text_of_ones_own() -> None:
    file = built('path = "~/.x"\ntext = "{{k: {a}-{b-1}}}"\nreason = "x reads it"')["~/.x"]
    assert filled(file.text, VALUES) == "{k: AAAA-BBBB}"
    assert (file.reason, str(file.declared)) == ("x reads it", "user.toml:2")


def test_netrc(tmp_path: Path) -> None:
    body = 'kind = "netrc"\nsecret = "{}"\nhost = "{}"\nlogin = "me"'
    (file,) = built(body.format("a", "one.example"), body.format("b-1", "two.example")).values()
    place = tmp_path / "netrc"
    place.write_text(filled(file.text, VALUES))
    read = netrc.netrc(str(place))
    assert read.authenticators("one.example") == ("me", "", "AAAA")
    assert read.authenticators("two.example") == ("me", "", "BBBB")


def test_ini_files() -> None:
    aws, pypi = configparser.ConfigParser(), configparser.ConfigParser()
    aws.read_string(text_of('kind = "aws"\nsecret = "a"\nkey-id = "b-1"'))
    assert dict(aws["default"]) == {"aws_access_key_id": "BBBB", "aws_secret_access_key": "AAAA"}
    pypi.read_string(text_of('kind = "pypirc"\nsecret = "a"\nhost = "upload.example/legacy"'))
    section = pypi[pypi["distutils"]["index-servers"].strip()]
    assert (section["repository"], section["password"]) == ("https://upload.example/legacy/", "AAAA")


def test_docker() -> None:
    found = json.loads(text_of('kind = "docker"\nsecret = "a"\nhost = "registry.example:5000"\nlogin = "me"'))
    assert found == {"auths": {"https://registry.example:5000": {"username": "me", "password": "AAAA"}}}


@pytest.mark.parametrize(
    ("body", "path", "line"),
    [
        ('kind = "gh"\nsecret = "a"', "~/.config/gh/hosts.yml", "    oauth_token: AAAA"),
        ('kind = "npmrc"\nsecret = "a"\nhost = "r.example"', "~/.npmrc", "//r.example/:_authToken=AAAA"),
        ('kind = "kubeconfig"\nsecret = "a"\nhost = "k.example:6443"', "~/.kube/config", "    token: AAAA"),
        ('kind = "gh"\nsecret = "a"\npath = "~/x/hosts.yml"', "~/x/hosts.yml", "    oauth_token: AAAA"),
    ],
)
def test_other_kinds(body: str, path: str, line: str) -> None:
    (file,) = built(body).values()
    assert file.path == path
    assert line in filled(file.text, VALUES).splitlines()


def test_a_higher_layer_s_file_stays() -> None:
    found = built(
        managed='[[secret-files]]\npath = "~/.x"\ntext = "m{a}"',
        user='[[secret-files]]\npath = "~/.x"\ntext = "u{a}"\n[[secret-files]]\npath = "~/.y"\ntext = "u{a}"',
    )
    assert {path: file.text for path, file in found.items()} == {"~/.x": "m{a}", "~/.y": "u{a}"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('path = "~/.x"', "needs either `text` or `kind`"),
        ('kind = "gh"\ntext = "{a}"\nsecret = "a"', "needs either `text` or `kind`"),
        ('text = "{a}"', "with a `text` needs a `path`"),
        ('path = "x"\ntext = "{a}"', "`x` is not the place of a secret file"),
        ('path = "~"\ntext = "{a}"', "is not the place"),
        ('path = "~/a/../../b"\ntext = "{a}"', "is not the place"),
        ('path = "/a//b"\ntext = "{a}"', "is not the place"),
        ('path = "~/.x"\ntext = "{a"', "is not sound"),
        ('path = "~/.x"\ntext = "a}"', "is not sound"),
        ('path = "~/.x"\ntext = "{}"', "is not the name of a secret"),
        ('path = "~/.x"\ntext = "{a!r}"', "is not the name of a secret"),
        ('path = "~/.x"\ntext = "{a:>99}"', "is not the name of a secret"),
        ('path = "~/.x"\ntext = "{a.b}"', "is not the name of a secret"),
        ('path = "~/.x"\ntext = "{a[0]}"', "is not the name of a secret"),
        ('path = "~/.x"\ntext = "{c}"', "there is no secret `c`"),
        ('path = "~/.x"\ntext = "plain"', "holds no secret"),
        ('kind = "netrc"\nsecret = "a"', "`netrc` needs `host`"),
        ('kind = "gh"', "`gh` needs `secret`"),
        ('kind = "aws"\nsecret = "a"', "`aws` needs `key-id`"),
        ('kind = "npmrc"\nsecret = "a"\nlogin = "me"', "`npmrc` takes no `login`"),
        ('kind = "aws"\nsecret = "a"\nkey-id = "b-1"\nhost = "x"', "`aws` takes no `host`"),
        ('kind = "gh"\nsecret = "c"', "there is no secret `c`"),
        ('kind = "npmrc"\nsecret = "a"\nhost = "https://x.example"', "is not a host"),
        ('kind = "netrc"\nsecret = "a"\nhost = "x\\nmachine y"', "is not a host"),
    ],
)
def test_what_is_not_sound(body: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        built(body)
    assert message in caught.value.message
    assert caught.value.place in ("user.toml:2", "user.toml:4")  # the table's line, or that of its text
    assert caught.value.hint


def test_two_texts_at_one_path() -> None:
    with pytest.raises(UsageError, match=r"two secret files are `~/\.x`"):
        built('path = "~/.x"\ntext = "{a}"', 'path = "~/.x"\ntext = "{a}"')


@pytest.mark.parametrize("path", ["/../x", "/./x", "/a/./b", "/a//b", "~/a/../b", "/a\\u0007", "a"])
def test_a_place_that_is_none(path: str) -> None:
    with pytest.raises(UsageError, match="is not the place of a secret file"):
        built(f'path = "{path}"\ntext = "{{a}}"')


def test_an_absolute_place() -> None:
    assert "/etc/x" in built('path = "/etc/x"\ntext = "{a}"')


@pytest.mark.parametrize("kind", ["netrc", "gh", "npmrc"])
def test_tables_of_one_kind_are_one_file(kind: str) -> None:
    body = 'kind = "{}"\nsecret = "{}"\nhost = "{}.example"' + ('\nlogin = "me"' if kind != "npmrc" else "")
    (file,) = built(body.format(kind, "a", "one"), body.format(kind, "b-1", "two")).values()
    assert "one.example" in file.text and "two.example" in file.text


def test_two_files_that_are_not_joined() -> None:
    body = 'kind = "pypirc"\nsecret = "a"\nhost = "x.example"'
    with pytest.raises(UsageError, match="two secret files are"):
        built(body, body)
