"""Which files of a workspace hold secrets: by name and by what stands in them."""

import pytest

from ringfence.planner.secret_files import SECRET_FILES, is_marked, kind


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        (".env", b"KEY=value\n"),
        (".env.production", b"KEY=value\n"),
        (".envrc", b"export KEY=value\n"),
        ("id_ed25519", b"-----BEGIN OPENSSH PRIVATE KEY-----\n"),
        ("server.pem", b"-----BEGIN RSA PRIVATE KEY-----\n"),
        ("credentials.json", b'{"client_secret": "x"}'),
        ("credentials-prod.json", b'{"private_key": "x"}'),
        (".npmrc", b"//registry.example.com/:_authToken=x\n"),
        ("store.p12", b"\x30\x82"),
        ("secrets.yaml", b"key: x\n"),
        ("secrets.yml", b"key: x\n"),
    ],
)
def test_secrets_are_known(name: str, beginning: bytes) -> None:
    found = kind(name)
    assert found is not None and is_marked(found[0], beginning) and found[1]


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        (".env", b"# nothing yet\n"),
        ("id_rsa", b"a table of identifiers"),
        ("ca.pem", b"-----BEGIN CERTIFICATE-----\n"),
        ("credentials.json", b'{"schema": 1}'),
        (".npmrc", b"save-exact=true\n"),
    ],
)
def test_a_name_alone_is_not_enough(name: str, beginning: bytes) -> None:
    found = kind(name)
    assert found is not None and not is_marked(found[0], beginning)


@pytest.mark.parametrize(
    "name", [".env.example", ".env.sample", ".env.template", "id_rsa.pub", "env", ".environment", "README.md", "pem"]
)
def test_what_only_looks_like_one(name: str) -> None:
    assert kind(name) is None


def test_patterns_have_one_star_and_a_reason() -> None:
    for pattern, markers, reason in SECRET_FILES:
        assert pattern.count("*") <= 1 and reason and all(markers), pattern
