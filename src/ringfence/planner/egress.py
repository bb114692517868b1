"""The inside's share of egress: a resolver of what policy names, the session's certificates, proxy variables."""

from ringfence.model.egress import Egress
from ringfence.model.guest_network import PROXY, RESOLVER
from ringfence.model.plan import HostFacts, Mount, MountKind
from ringfence.policy.effective import Policy
from ringfence.policy.egress import needs_inspection

from . import trust_store

RESOLV_CONF = f"nameserver {RESOLVER}\noptions timeout:5 attempts:2 ndots:1\n"
_PROXY_URL = f"http://{PROXY[0]}:{PROXY[1]}"
_PROXY_REASON = "a refusal can say why; programs that ignore it are served all the same"
# ALL_PROXY is left out: with a SOCKS address httpx and requests fail unless further packages are installed.
PROXY_VARIABLES: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), (_PROXY_URL, _PROXY_REASON)),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), ("localhost,127.0.0.1,::1", "servers of the sandbox's own")),
}


def inspected(policy: Policy) -> bool:
    """Whether connections are looked into, so that programs inside must trust the session's authority."""
    return policy.egress is not None and needs_inspection(policy.egress)


def resolver(egress: Egress | None) -> tuple[str, str]:
    """The text of /etc/resolv.conf, and why."""
    return (RESOLV_CONF, "names that policy allows") if egress else ("", "no resolver: the network is off")


def trust(policy: Policy, facts: HostFacts) -> list[Mount]:
    """The files that hold the session's authority, made when the run starts, wherever programs look for one."""
    if not inspected(policy):
        return []
    return [
        Mount(kind=MountKind.RUN_FILE, target=item.target, text=f"trust.{item.store}", reason=item.reason)
        for item in trust_store.trust_mounts(facts)
    ]


def variables(policy: Policy) -> dict[str, tuple[str, str]]:
    """Name -> (value, reason) of what egress sets in the command's environment."""
    found: dict[str, tuple[str, str]] = {}
    if policy.egress and policy.egress.proxy_variables:
        found |= PROXY_VARIABLES
    for gateway in policy.egress.gateways if policy.egress else ():
        reason = gateway.reason or f"the socket that leads to {gateway.host}"
        found |= {name: (value, reason) for name, value in gateway.variables}
    if inspected(policy):
        found |= {name: (str(path), reason) for name, path, reason in trust_store.VARIABLES}
    return found
