"""What may be reached over the network: the rules in force, as the planner hands them to those who enforce them.

An `Egress` is complete and holds no secret. The same value decides everywhere: which names resolve
(network/dns.py), which connections and requests pass the proxy, and which addresses the dialer connects to.
"""

from enum import Enum

import msgspec

from .decision import Source, Verdict
from .git import GitRemote

DEFAULT_PORTS = ((80, 80), (443, 443))
HOST_LOOPBACK = "host-loopback"
"""The name, in rules and inside, of the host's own loopback interface."""


class Inspection(Enum):
    """How deeply the connections that a rule allows are looked into."""

    INSPECT = "inspect"  # TLS is terminated, every HTTP request is decided on its own
    SNI = "sni"  # TLS passes through where its server name is the host of the rule; plain HTTP is inspected
    RAW = "raw"  # any bytes


class EgressRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rule.

    `host` is canonical: a name, `*.name` (its subdomains, not itself), an IP address without brackets, or
    `host-loopback`. `ports` are inclusive ranges. Without `methods` or `paths` the rule is about all of them; a rule
    with either says nothing about other requests. `addresses` are networks that are not public, to which the host may
    resolve nonetheless. Budgets: 0 where there is none; `rate` is in requests (or raw connections) per minute.
    """

    host: str
    verdict: Verdict
    source: Source
    ports: tuple[tuple[int, int], ...] = DEFAULT_PORTS
    inspection: Inspection = Inspection.INSPECT
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    http2: bool = False
    addresses: tuple[str, ...] = ()
    request_limit: int = 0
    byte_limit: int = 0
    rate: int = 0
    reason: str = ""


class Gateway(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A unix socket inside (`guest_network.GATEWAYS`) that speaks HTTP to one host, where the rules allow the request.

    With `tls` the host is spoken to in TLS. `variables` pair the name of a variable inside with its value.
    """

    name: str
    host: str
    port: int
    source: Source
    tls: bool = True
    variables: tuple[tuple[str, str], ...] = ()
    reason: str = ""


class Egress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything one run is promised about the network.

    `unknown` is the verdict on what no rule speaks of (DENY, ASK, or ALLOW while learning: public addresses only).
    `listen` are the TCP ports that are captured inside, `literals` the addresses named by rules, which are captured
    beside the synthetic ones. `denied_addresses` are networks that nothing may resolve to. `publish` are pairs of a
    port on the host's loopback and the port inside that it leads to. `parent_proxy` is a URL without credentials.
    `git_remotes` narrow what git may do at their hosts, beyond what the rules allow as requests.
    """

    rules: tuple[EgressRule, ...] = ()
    unknown: Verdict = Verdict.DENY
    listen: tuple[int, ...] = ()
    literals: tuple[str, ...] = ()
    denied_addresses: tuple[str, ...] = ()
    ask_timeout_s: int = 60
    request_limit: int = 0
    byte_limit: int = 0
    proxy_variables: bool = True
    parent_proxy: str = ""
    publish: tuple[tuple[int, int], ...] = ()
    learning: bool = False
    git_remotes: tuple[GitRemote, ...] = ()
    gateways: tuple[Gateway, ...] = ()
