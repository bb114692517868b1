"""Files of a workspace that hold secrets by their name and by what stands in them, as data with reasons.

They are readable, because programs need them; that one is opened is seen and taints the run (docs/secrets.md). A name
is not enough: certificates are `.pem` files too. Import budget: nothing, because every run loads this.
"""

# Pattern with one `*` at most, markers of which one stands in the file's beginning (none: the name is enough), reason.
SECRET_FILES: tuple[tuple[str, tuple[bytes, ...], str], ...] = (
    (".env", (b"=",), "environment of a program, with its keys"),
    (".env.*", (b"=",), "environment of a program, with its keys"),
    (".envrc", (b"export ",), "environment of a shell, with its keys"),
    ("id_*", (b"PRIVATE KEY",), "private key"),
    ("*.pem", (b"PRIVATE KEY",), "private key"),
    ("*.key", (b"PRIVATE KEY",), "private key"),
    ("*.p12", (), "private key"),
    ("*.pfx", (), "private key"),
    ("*.jks", (), "private key"),
    ("*.kdbx", (), "passwords"),
    ("credentials*.json", (b"private_key", b"client_secret", b"refresh_token"), "cloud credentials"),
    ("service-account*.json", (b"private_key",), "cloud credentials"),
    ("client_secret*.json", (b"client_secret",), "cloud credentials"),
    ("kubeconfig*", (b"client-key-data", b"token:"), "cluster credentials"),
    ("*.tfvars", (b"=",), "variables of an infrastructure, with its keys"),
    ("secrets.toml", (b"=",), "secrets by name"),
    ("secrets.y*ml", (b":",), "secrets by name"),
    (".npmrc", (b"_authToken", b"_password", b"_auth"), "registry token"),
    (".yarnrc.yml", (b"npmAuthToken", b"npmAuthIdent"), "registry token"),
    (".pypirc", (b"password",), "registry token"),
    (".netrc", (b"password",), "passwords"),
    (".git-credentials", (b"://",), "passwords"),
    (".htpasswd", (b":",), "passwords"),
    (".vault-token", (), "vault token"),
)
EXAMPLES = (".example", ".sample", ".template", ".dist", ".defaults", ".pub")
"""How files end that only show what one would look like."""

_HEADS = tuple({pattern.partition("*")[0] for pattern, _, _ in SECRET_FILES} - {""})
_TAILS = tuple({pattern[1:] for pattern, _, _ in SECRET_FILES if pattern.startswith("*")})

# Directories that are not searched: what is installed or built there is not the user's.
PASSED_OVER = frozenset(
    (".git", "node_modules", ".venv", "venv", "site-packages", "__pycache__", "target", ".tox", ".cache", "vendor")
)


def kind(name: str) -> "tuple[tuple[bytes, ...], str] | None":
    """The markers and the reason for a file's name; None where the name says nothing."""
    if not name.startswith(_HEADS) and not name.endswith(_TAILS):
        return None  # thousands of names are asked about while a run starts
    if name.endswith(EXAMPLES):
        return None
    for pattern, markers, reason in SECRET_FILES:
        head, star, tail = pattern.partition("*")
        if name == pattern or (
            star and len(name) >= len(head + tail) and name.startswith(head) and name.endswith(tail)
        ):
            return markers, reason
    return None


def is_marked(markers: "tuple[bytes, ...]", beginning: bytes) -> bool:
    """Whether the beginning of a file holds what its name promises."""
    return not markers or any(marker in beginning for marker in markers)
