"""Credentials that rules find in what goes out. Samples are put together here, so that no scanner minds them."""

import base64
import json
import time
from urllib.parse import quote

import pytest

from ringfence.secrets.credentials import RULES, Rule
from ringfence.secrets.expressions import compiled
from ringfence.secrets.leaks import OVERLAP, Rules, Watch, decodings, entropy

LETTERS = "q7Zx3Vb9Nm1Lk5Jh2Gf8Ds4Ap6Oi0Uy7Tr3Ew5Qa9Sd2Fg4Hj6Kl8Zc1Xv3Bn5M" * 4
DIGITS = "4f9c1e7ab3d80256" * 6
CAPITALS = "Q7ZX3VB5NM2LK4JH6GF"
SAMPLES = {
    "aws-access-key": "AKIA" + "QZX3VB5NM2LK4JH6"[:16],
    "aws-secret-key": 'aws_secret_access_key = "' + LETTERS[:38] + "/+" + '"',
    "github-token": "ghp_" + LETTERS[:36],
    "github-fine-grained-token": "github_pat_" + LETTERS[:22] + "_" + LETTERS[30:89],
    "gitlab-token": "glpat-" + LETTERS[:20],
    "slack-token": "xox" + "b-123456789012-" + LETTERS[:24],
    "slack-webhook": f"https://hooks.slack.com/services/T{LETTERS[:9]}/B{LETTERS[9:18]}/{LETTERS[:24]}",
    "stripe-key": "sk_" + "live_" + LETTERS[:24],
    "npm-token": "npm_" + LETTERS[:36],
    "pypi-token": "pypi-AgEIcHlwaS5vcmc" + LETTERS[:60],
    "rubygems-token": "rubygems_" + DIGITS[:48],
    "docker-token": "dckr_pat_" + LETTERS[:27],
    "openai-key": "sk-" + LETTERS[:20] + "T3Blbk" + "FJ" + LETTERS[20:40],
    "anthropic-key": "sk-ant-" + "api03-" + LETTERS[:93],
    "huggingface-token": "hf_" + LETTERS[:34],
    "groq-key": "gsk_" + LETTERS[:52],
    "xai-key": "xai-" + LETTERS[:80],
    "replicate-token": "r8_" + LETTERS[:37],
    "google-api-key": "AIza" + LETTERS[:35],
    "google-oauth-token": "ya29." + LETTERS[:60],
    "google-client-secret": "GOCSPX-" + LETTERS[:28],
    "azure-storage-key": "AccountKey=" + LETTERS[:86] + "==",
    "azure-client-secret": "abc8Q~" + LETTERS[:32],
    "twilio-key": "SK" + DIGITS[:32],
    "sendgrid-key": "SG." + LETTERS[:22] + "." + LETTERS[:43],
    "mailgun-key": "key-" + DIGITS[:32],
    "digitalocean-token": "dop_v1_" + DIGITS[:64],
    "shopify-token": "shpat_" + DIGITS[:32],
    "hashicorp-vault-token": "hvs." + LETTERS[:30],
    "databricks-token": "dapi" + DIGITS[:32],
    "grafana-token": "glsa_" + LETTERS[:40],
    "linear-key": "lin_api_" + LETTERS[:40],
    "notion-token": "ntn_" + LETTERS[:46],
    "telegram-bot-token": "1234567:" + "AA" + LETTERS[:33],
    "discord-webhook": "https://discord.com/api/webhooks/" + "9" * 18 + "/" + LETTERS[:68],
    "age-secret-key": "AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2,
    "private-key": "-----BEGIN RSA PRIVATE" + " KEY-----\n" + "\n".join([LETTERS[:64]] * 3),
    "json-web-token": "eyJhbGciOiJIUzI1NiJ9." + "eyJ" + LETTERS[:60] + "." + LETTERS[:43],
    "password-in-url": "postgres://me:" + LETTERS[:12] + "@db.internal/x",
    "assigned-secret": 'client_secret: "' + LETTERS[:32] + '"',
}
SAMPLES["age-secret-key"] = SAMPLES["age-secret-key"][: 16 + 58]
ALL = Rules()
HOST = "paste.example"


def test_every_rule_has_a_sample() -> None:
    assert set(SAMPLES) == {rule.name for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_finds_its_sample_and_its_words_begin_what_it_finds(rule: Rule) -> None:
    sample = f"x {SAMPLES[rule.name]} y".encode()
    alone = Rules([rule.name])
    assert alone.find(sample, HOST) == rule.name
    assert ALL.find(sample, HOST) is not None
    assert alone.hold(sample) < len(sample)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_expression_has_one_group(rule: Rule) -> None:
    expression = compiled(rule.expression.encode())
    found = expression.search(f"x {SAMPLES[rule.name]} y".encode())
    assert found is not None and len(found.group(1)) >= 8
    with pytest.raises(IndexError):
        found.group(2)


TOKEN = SAMPLES["github-token"]


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(f"my {TOKEN}!".encode()).decode(),
        base64.b64encode(base64.b64encode(f"my {TOKEN}!".encode())).decode(),
        "abc" + base64.b64encode(f"my {TOKEN}!".encode()).decode(),
        base64.encodebytes(b"word " * 20 + TOKEN.encode()).decode(),
        json.dumps(base64.encodebytes(b"word " * 20 + TOKEN.encode()).decode()),
        "".join(f"%{ord(mark):02x}" for mark in TOKEN),
        quote(base64.b64encode(TOKEN.encode())),
        "".join(f"\\u{ord(mark):04x}" for mark in TOKEN),
        json.dumps({"a": json.dumps({"b": TOKEN})}),
        "z" * 6000 + base64.b64encode(b"words and words " * 400 + TOKEN.encode() + b" more" * 800).decode(),
    ],
)
def test_it_is_found_beneath_encodings(text: str) -> None:
    assert ALL.find(text.encode(), HOST) == "github-token"


def test_a_credential_may_go_home_unless_the_run_has_one_of_its_own_there() -> None:
    assert ALL.find(TOKEN.encode(), "api.github.com") is None
    assert ALL.find(TOKEN.encode(), "api.github.com", home=False) == "github-token"
    assert ALL.find(TOKEN.encode(), "github.com.evil.example") == "github-token"


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + "IOSFODNN7EXAMPLE",
        'token = "your_token_goes_here_please_now"',
        "ghp_" + "x" * 36,
        "password: aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "https://example.com/a:b@c",
        "def secret_token_from_environment_variables(name): return",
        "sha256:" + DIGITS[:64],
    ],
)
def test_dummies_and_ordinary_text_are_none(text: str) -> None:
    assert ALL.find(text.encode(), HOST) is None


def test_only_named_rules_are_in_force() -> None:
    assert Rules(["npm-token"]).find(TOKEN.encode(), HOST) is None
    assert Rules([]).find(TOKEN.encode(), HOST) is None
    assert Rules([]).hold(b"ghp_") == 4


@pytest.mark.parametrize("size", [1, 3, 7, 50])
@pytest.mark.parametrize("text", [TOKEN, base64.b64encode(f"my own {TOKEN}!".encode()).decode()])
def test_it_is_found_however_it_is_cut(text: str, size: int) -> None:
    data = b"some words before it " + text.encode() + b" and words behind it"
    watch, kept, went, found = Watch(ALL, HOST), b"", b"", None
    for at in range(0, len(data), size):
        piece = kept + data[at : at + size]
        found, hold = watch.judge(piece, last=at + size >= len(data))
        if found:
            break
        watch.passed(piece[:hold])
        went, kept = went + piece[:hold], piece[hold:]
    assert found == "github-token"
    assert TOKEN[:20].encode() not in went


def test_what_was_before_is_remembered_for_as_long_as_it_can_matter() -> None:
    watch = Watch(ALL, HOST)
    watch.passed(b"a" * 5000)
    assert len(watch._before) == OVERLAP


def test_entropy() -> None:
    assert entropy(b"") == 0 and entropy(b"aaaa") == 0 and entropy(b"abcd") == 2


def test_time_is_linear() -> None:
    start = time.process_time()
    for text in (b"eyJ" * 100_000, b"token=" * 50_000, b"%61" * 100_000, b"A" * 300_000, b"sk-ant-api03-" * 20_000):
        ALL.find(text, HOST)
    assert time.process_time() - start < 20


def test_decodings_of_nothing() -> None:
    assert list(decodings(b"plain words, 100% of them")) == []
