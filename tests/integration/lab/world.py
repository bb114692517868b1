"""What exists in the lab: addresses, names and what each of them is for.

The host's side is an ordinary machine with one cable; everything beyond the cable is played by the remote side, which
answers on *every* address, so that whatever escapes arrives somewhere and is logged. These names exist in the lab's
DNS only.
"""

HOST = "198.51.100.1"
REMOTE = "198.51.100.10"
"""Where most names of the corpus point: a documentation address (RFC 5737), which is not a public one."""

PUBLIC = "11.22.33.10"
"""An address that is public by every list, for what must work without naming special addresses."""

UNREACHABLE = "11.22.33.66"
SILENT = "11.22.33.67"
METADATA = "169.254.169.254"
LAN = "10.9.8.7"
HOST6 = "2001:db8:5::1"
REMOTE6 = "2001:db8:5::10"
PUBLIC6 = "2a00:11:22::10"

HTTP_PORTS = (80, 8080, 8443)
HTTPS_PORTS = (443, 4443)
ECHO_PORTS = (22, 9000)
UDP_ECHO_PORT = 9001
HOST_PORT = 8080
HOST_ECHO_PORT = 5432

# One name for each class of address that is not public: `special-CLASS.example.com`.
SPECIAL = {
    "loopback": "127.0.0.1",
    "loopback-other": "127.8.9.10",
    "unspecified": "0.0.0.0",
    "this-network": "0.1.2.3",
    "private-10": LAN,
    "private-172": "172.16.5.4",
    "private-192": "192.168.3.2",
    "link-local": "169.254.3.2",
    "metadata": METADATA,
    "carrier-grade-nat": "100.64.1.1",
    "alibaba-metadata": "100.100.100.200",
    "ietf-protocol": "192.0.0.192",
    "documentation": "192.0.2.5",
    "benchmarking": "198.18.0.7",
    "multicast": "224.0.0.251",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "loopback-6": "::1",
    "unspecified-6": "::",
    "mapped": "::ffff:127.0.0.1",
    "compatible": "::127.0.0.1",
    "nat64": "64:ff9b::7f00:1",
    "6to4": "2002:7f00:1::1",
    "teredo": "2001:0:7f00:1::1",
    "unique-local": "fd00:ec2::254",
    "link-local-6": "fe80::1",
    "site-local": "fec0::1",
    "multicast-6": "ff02::1",
}

# Registries of packages by their own names, as presets allow them; tests lay their files down (sites.py).
PYTHON_INDEX, PYTHON_FILES = "pypi.org", "files.pythonhosted.org"
NODE_REGISTRY, YARN_REGISTRY, NODE_HEADERS = "registry.npmjs.org", "registry.yarnpkg.com", "nodejs.org"
CRATE_INDEX, CRATE_FILES, CRATE_API = "index.crates.io", "static.crates.io", "crates.io"
GO_PROXY = "proxy.golang.org"
MAVEN_CENTRAL, OLD_MAVEN_CENTRAL = "repo.maven.apache.org", "repo1.maven.org"
GEMS, GEM_INDEX = "rubygems.org", "index.rubygems.org"
REGISTRIES = (
    *(PYTHON_INDEX, PYTHON_FILES, NODE_REGISTRY, YARN_REGISTRY, NODE_HEADERS, CRATE_INDEX, CRATE_FILES),
    *(GO_PROXY, MAVEN_CENTRAL, OLD_MAVEN_CENTRAL, GEMS, GEM_INDEX),
)

ZONE: dict[str, tuple[str, ...]] = {
    "allowed.example.com": (REMOTE,),
    "denied.example.com": (REMOTE,),
    "other.example.net": (REMOTE,),
    "*.wild.example.org": (REMOTE,),
    "rebind.example.com": ("127.0.0.1",),
    "meta.example.com": (METADATA,),
    "lan.example.com": (LAN,),
    "self.example.com": (HOST,),
    # Public addresses: what a rule reaches that says nothing of addresses.
    "public.example.net": (PUBLIC,),
    "*.public.example.net": (PUBLIC,),
    "git.example.com": (PUBLIC,),
    "pypi.example.com": (PUBLIC,),
    "npm.example.com": (PUBLIC,),
    "h2.example.com": (PUBLIC,),
    "grpc.example.com": (PUBLIC,),
    "dual.example.com": (PUBLIC, PUBLIC6),
    "six.example.com": (PUBLIC6,),
    "many.example.com": (UNREACHABLE, SILENT, PUBLIC),
    "mixed.example.com": ("127.0.0.1", PUBLIC),
    "unreachable.example.com": (UNREACHABLE,),
    "silent.example.com": (SILENT,),
    # The model APIs, which answer as models.py says.
    "api.anthropic.com": (PUBLIC,),
    "api.openai.com": (PUBLIC,),
    "chatgpt.com": (PUBLIC,),
    "generativelanguage.googleapis.com": (PUBLIC,),
    "models.dev": (PUBLIC,),
    # Where credentials are used; see apis.py.
    "github.com": (PUBLIC,),
    "api.github.com": (PUBLIC,),
    "gitlab.com": (PUBLIC,),
    "upload.pypi.org": (PUBLIC,),
    "*.amazonaws.com": (PUBLIC,),
    "platform.claude.com": (PUBLIC,),
    "auth.openai.com": (PUBLIC,),
    **dict.fromkeys(REGISTRIES, (PUBLIC,)),
    # What a server may do wrong; see certificates.py.
    "wrong-name.example.com": (PUBLIC,),
    "self-signed.example.com": (PUBLIC,),
    "expired.example.com": (PUBLIC,),
    "other-ca.example.com": (PUBLIC,),
    **{f"special-{name}.example.com": (address,) for name, address in SPECIAL.items()},
}
"""Addresses of both families in one list; `*.` stands for any number of labels."""

ALIASES = {"alias.example.com": "www.public.example.net", "alias-loopback.example.com": "rebind.example.com"}

# Each query for it is answered by the next list, round and round.
ALTERNATING = {"alternate.example.com": (PUBLIC, "127.0.0.1")}

# What a DNS server may do besides answering; see names.py.
MISCHIEF = {
    "slow.dns.example.com": "slow",
    "silent.dns.example.com": "silent",
    "servfail.dns.example.com": "servfail",
    "refused.dns.example.com": "refused",
    "big.dns.example.com": "big",
    "nodata.dns.example.com": "nodata",
}

HTTP2_NAMES = frozenset({"h2.example.com", "grpc.example.com"})


def find(name: str) -> tuple[str, ...] | None:
    """Give the addresses of `name`, in lower case without the last dot; None where there is no such name."""
    if name in ZONE:
        return ZONE[name]
    labels = name.split(".")
    above = (".".join(["*", *labels[at:]]) for at in range(1, len(labels)))
    return next((ZONE[wildcard] for wildcard in above if wildcard in ZONE), None)
