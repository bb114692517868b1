"""What the generated .gitconfig says of remotes: no SSH leaves, so their addresses lead to HTTPS, with a token."""

from collections.abc import Sequence

from ringfence.model.egress import Egress
from ringfence.model.secrets import Placing, Secret
from ringfence.policy.effective import Policy
from ringfence.policy.hosts import bracketed, is_address, matches

LOGIN = "x-access-token"  # what forges take beside a token; most take any name


def settings(policy: Policy) -> str:
    """Lines for each host of a git remote (git-config(1), `url.<base>.insteadOf`), and for those with a token."""
    if policy.egress is None:
        return ""
    named = sorted({remote.host for remote in policy.egress.git_remotes if not remote.host.startswith("*.")})
    bases = {host: _base(host, policy.egress) for host in named}
    tokens = {host: f"https://{host}" for secret in policy.secrets.secrets for host in _forges(secret)} | bases
    found = [_instead(host, base) for host, base in bases.items()]
    found += [_credential(host, base, policy.secrets.secrets) for host, base in sorted(tokens.items())]
    return "".join(found)


def _base(host: str, egress: Egress) -> str:
    """The address of a host, with the port of its remotes where that is not the usual one."""
    sources = [remote.source for remote in egress.git_remotes if remote.host == host]
    ports = [low for rule in egress.rules if rule.host == host and rule.source in sources for low, _ in rule.ports]
    usual = 443 in ports or not ports
    return f"https://{bracketed(host)}" + ("" if usual else f":{ports[0]}")


def _instead(host: str, base: str) -> str:
    forms = (f"git@{bracketed(host)}:", f"ssh://git@{bracketed(host)}/", f"ssh://{bracketed(host)}/")
    return f'[url "{base}/"]\n' + "".join(f"\tinsteadOf = {form}\n" for form in forms)


def _forges(secret: Secret) -> list[str]:
    """The hosts where a secret is put into git's requests by name of their paths."""
    return [one.host for one in secret.inject if any(path.endswith("/git-upload-pack") for path in one.paths)]


def _credential(host: str, base: str, secrets: Sequence[Secret]) -> str:
    """A helper that gives git the placeholder in a variable, where it is set; git sends it as `Basic`."""
    names = [secret.variables[0] for secret in secrets if secret.variables and _serves(secret, host)]
    if not names or is_address(host):
        return ""
    value = "".join(f"${{{name}:-" for name in names) + "}" * len(names)
    script = f'!f() {{ p={value}; test $1 = get && test -n \\"$p\\" && echo \\"password=$p\\"; }}; f'
    return f'[credential "{base}"]\n\tusername = {LOGIN}\n\thelper = "{script}"\n'


def _serves(secret: Secret, host: str) -> bool:
    """Whether a secret is put into the `authorization` of requests to a host."""
    headers = [one for one in secret.inject if one.placing is Placing.HEADER and one.name == "authorization"]
    return any(matches(one.host, host) for one in headers)
