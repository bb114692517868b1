"""What well-known credentials look like: the rules by which they are found in what goes out.

Each rule has an RE2 expression with one group, the credential; the words (small letters) one of which its matches begin
with, so that one can tell where at the end of a piece of text it may be beginning; and the hosts to which such a
credential may go. `entropy` is what it must have at least, in bits per character: dummies and plain words have less.
"""

import msgspec


class Rule(msgspec.Struct, frozen=True):
    """One kind of credential. `hosts` are patterns as in egress rules; `entropy` 0 where the form says enough."""

    name: str
    words: tuple[str, ...]
    expression: str
    hosts: tuple[str, ...] = ()
    entropy: float = 0.0


_GITHUB = ("github.com", "*.github.com", "*.githubusercontent.com", "ghcr.io", "*.githubcopilot.com")
_GITLAB = ("gitlab.com", "*.gitlab.com")
_AWS = ("*.amazonaws.com", "*.amazonaws.com.cn", "*.api.aws")
_GOOGLE = ("*.googleapis.com", "accounts.google.com")
_AZURE = ("*.azure.com", "*.windows.net", "login.microsoftonline.com", "*.microsoft.com")
_SLACK = ("slack.com", "*.slack.com")
_OPENAI = ("api.openai.com", "*.openai.com", "chatgpt.com")
_ANTHROPIC = ("api.anthropic.com", "*.anthropic.com", "*.claude.com", "claude.ai")
_STRIPE = ("*.stripe.com",)

# `\b` where RE2 has it in ASCII; a token that goes on into more letters is some other text.
RULES: tuple[Rule, ...] = (
    Rule("aws-access-key", ("akia", "asia", "abia", "acca"), r"\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})\b", _AWS, 3.0),
    Rule(
        "aws-secret-key",
        ("secret",),
        r"""(?i)secret[_-]?(?:access)?[_-]?key[\\"'\s]{0,8}(?:=>|:=|=|:|,)[\\"'\s]{0,8}([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+]|\z)""",
        _AWS,
        4.0,
    ),
    Rule(
        "github-token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\b(gh[pousr]_[0-9A-Za-z]{36,255})\b", _GITHUB, 3.0
    ),
    Rule("github-fine-grained-token", ("github_pat_",), r"\b(github_pat_[0-9A-Za-z_]{60,255})\b", _GITHUB, 3.0),
    Rule(
        "gitlab-token",
        ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glagent-"),
        r"\b(gl(?:pat|dt|rt|ptt|cbt|agent)-[0-9A-Za-z_.-]{20,120})",
        _GITLAB,
        3.0,
    ),
    Rule(
        "slack-token",
        ("xox", "xapp-"),
        r"\b(xox[abeoprs]-[0-9A-Za-z-]{20,240}|xapp-[0-9]-[0-9A-Za-z-]{20,240})",
        _SLACK,
        3.0,
    ),
    Rule(
        "slack-webhook",
        ("hooks.slack.com",),
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9+/]{30,80})",
        _SLACK,
    ),
    Rule(
        "stripe-key",
        ("sk_live_", "rk_live_", "sk_test_", "rk_test_", "whsec_"),
        r"\b((?:[sr]k_(?:live|test)|whsec)_[0-9A-Za-z]{16,120})\b",
        _STRIPE,
        3.0,
    ),
    Rule("npm-token", ("npm_",), r"\b(npm_[0-9A-Za-z]{36})\b", ("registry.npmjs.org",), 3.0),
    Rule(
        "pypi-token", ("pypi-ageichlwas5vcmc",), r"\b(pypi-AgEIcHlwaS5vcmc[0-9A-Za-z_-]{50,400})", ("*.pypi.org",), 3.0
    ),
    Rule("rubygems-token", ("rubygems_",), r"\b(rubygems_[0-9a-f]{48})\b", ("rubygems.org",), 3.0),
    Rule("docker-token", ("dckr_pat_", "dckr_oat_"), r"\b(dckr_[po]at_[0-9A-Za-z_-]{24,40})", ("*.docker.com",), 3.0),
    Rule(
        "openai-key",
        ("sk-",),
        r"\b(sk-(?:(?:proj|svcacct|admin)-)?[0-9A-Za-z_-]{20,180}T3BlbkFJ[0-9A-Za-z_-]{20,180}"
        r"|sk-(?:proj|svcacct|admin)-[0-9A-Za-z_-]{40,200})",
        _OPENAI,
        3.5,
    ),
    Rule("anthropic-key", ("sk-ant-",), r"\b(sk-ant-[a-z]{3,8}[0-9]{2}-[0-9A-Za-z_-]{40,120})", _ANTHROPIC, 3.5),
    Rule("huggingface-token", ("hf_", "api_org_"), r"\b((?:hf|api_org)_[A-Za-z0-9]{34})\b", ("*.huggingface.co",), 3.0),
    Rule("groq-key", ("gsk_",), r"\b(gsk_[0-9A-Za-z]{40,60})\b", ("api.groq.com",), 3.5),
    Rule("xai-key", ("xai-",), r"\b(xai-[0-9A-Za-z_-]{70,90})", ("api.x.ai",), 3.5),
    Rule("replicate-token", ("r8_",), r"\b(r8_[0-9A-Za-z]{37})\b", ("api.replicate.com",), 3.0),
    Rule("google-api-key", ("aiza",), r"\b(AIza[0-9A-Za-z_-]{35})(?:[^0-9A-Za-z_-]|\z)", _GOOGLE, 3.0),
    Rule("google-oauth-token", ("ya29.",), r"\b(ya29\.[0-9A-Za-z_-]{30,400})", _GOOGLE, 3.5),
    Rule("google-client-secret", ("gocspx-",), r"\b(GOCSPX-[0-9A-Za-z_-]{28})", _GOOGLE, 3.0),
    Rule(
        "azure-storage-key",
        ("accountkey", "sharedaccesskey"),
        r"(?i)(?:account|sharedaccess)key[\\\"'\s]{0,4}[=:][\\\"'\s]{0,4}([A-Za-z0-9+/]{42,88}={1,2})",
        _AZURE,
        4.0,
    ),
    Rule("azure-client-secret", ("7q~", "8q~"), r"([78]Q~[A-Za-z0-9_~.-]{31,34})", _AZURE, 3.5),
    Rule("twilio-key", ("sk",), r"\b(SK[0-9a-f]{32})\b", ("*.twilio.com",), 3.0),
    Rule("sendgrid-key", ("sg.",), r"\b(SG\.[0-9A-Za-z_-]{20,24}\.[0-9A-Za-z_-]{39,50})", ("api.sendgrid.com",), 3.5),
    Rule("mailgun-key", ("key-",), r"\b(key-[0-9a-f]{32})\b", ("api.mailgun.net", "api.eu.mailgun.net"), 3.0),
    Rule(
        "digitalocean-token",
        ("dop_v1_", "doo_v1_", "dor_v1_"),
        r"\b(do[por]_v1_[0-9a-f]{64})\b",
        ("*.digitalocean.com",),
    ),
    Rule("shopify-token", ("shpat_", "shpca_", "shppa_", "shpss_"), r"\b(shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32})\b"),
    Rule("hashicorp-vault-token", ("hvs.", "hvb."), r"\b(hv[sb]\.[0-9A-Za-z_-]{24,300})", (), 3.5),
    Rule(
        "databricks-token",
        ("dapi",),
        r"\b(dapi[0-9a-f]{32}(?:-[0-9])?)\b",
        ("*.databricks.com", "*.azuredatabricks.net"),
        3.0,
    ),
    Rule("grafana-token", ("glc_", "glsa_"), r"\b(gl(?:c|sa)_[0-9A-Za-z+/_]{32,400})", ("*.grafana.net",), 3.5),
    Rule("linear-key", ("lin_api_",), r"\b(lin_api_[0-9A-Za-z]{40})\b", ("api.linear.app",), 3.0),
    Rule(
        "notion-token",
        ("ntn_", "secret_"),
        r"\b(ntn_[0-9A-Za-z]{40,60}|secret_[0-9A-Za-z]{43})\b",
        ("api.notion.com",),
        3.5,
    ),
    Rule(
        "telegram-bot-token",
        (":aa",),
        r"([0-9]:AA[0-9A-Za-z_-]{33})(?:[^0-9A-Za-z_-]|\z)",
        ("api.telegram.org",),
        3.5,
    ),
    Rule(
        "discord-webhook",
        ("/api/webhooks/",),
        r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/([0-9A-Za-z_-]{60,80})",
        ("discord.com", "discordapp.com"),
    ),
    Rule("age-secret-key", ("age-secret-key-",), r"\b(AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58})\b"),
    Rule(
        "private-key",
        ("-----begin",),
        r"-----BEGIN (?:[A-Z0-9]{2,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----([\sA-Za-z0-9+/=\\:,.-]{60,600})",
    ),
    Rule(
        "json-web-token",
        ("eyj",),
        r"\b(eyJ[0-9A-Za-z_-]{10,300}\.eyJ[0-9A-Za-z_-]{30,})",
        (),
        3.5,
    ),
    Rule(
        "password-in-url",
        ("postgres", "mysql", "mariadb", "mongodb", "redis", "amqp", "smtp", "http", "ftp", "ldap", "mssql"),
        r"\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|smtps?|https?|ftps?|ldaps?|mssql)"
        r"://[^\s:/@\"'<>]{1,80}:([^\s:/@\"'<>$*{}]{8,120})@",
        (),
        2.8,
    ),
    Rule(
        "assigned-secret",
        ("secret", "token", "passw", "api_key", "apikey", "api-key", "access_key", "private_key", "credential"),
        r"(?i)(?:secret|token|passw(?:or)?d|api[_-]?key|access_key|private_key|credential)[0-9a-z_.-]{0,24}"
        r"[\\\"'\]]{0,4}\s{0,3}(?:=>|:=|=|:)\s{0,3}[\\\"'`]{0,4}([0-9A-Za-z+/=_.~!@#$%^*-]{20,160})",
        (),
        4.2,
    ),
)
"""In the order of their precedence: the first to match names what was found."""

DUMMIES = ("example", "xxxx", "your_", "your-", "placeholder", "changeme", "dummy", "redacted", "0000000000")
"""Words, in small letters, in what documentation and tests show in the place of a credential."""
