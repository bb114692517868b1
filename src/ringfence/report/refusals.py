"""Why the boundary refuses something, and what its operator can do about it: one sentence each, by code.

The codes are those of `denial` records. What is said is for the operator; the contained side gets the code at most.
"""

import msgspec

NEVER = "no setting allows it"


class Refusal(msgspec.Struct, frozen=True):
    """`why` it is refused, and `how` it can be allowed."""

    why: str
    how: str = NEVER


REFUSALS: dict[str, Refusal] = {
    # system calls, see sandbox/refused_syscalls.py and sandbox/argument_rules.py
    "namespace-denied": Refusal(
        "a sandbox or container of one's own opens most of the kernel's privileged surface",
        "`--seccomp nested` allows it",
    ),
    "mount-denied": Refusal("it changes what can be seen of the host's files", "`--seccomp nested` allows it"),
    "host-state": Refusal("it belongs to the machine as a whole", "do it on the host"),
    "file-handle": Refusal("it opens files past the view"),
    "kernel-surface": Refusal(
        "this part of the kernel has a record of exploits, profilers and tracers use it",
        "no setting allows it; profile on the host",
    ),
    "process-access": Refusal(
        "it reads or controls another process", "`--seccomp debug` allows it for processes inside"
    ),
    "keyring-denied": Refusal("the kernel's keyrings are shared with the host"),
    "io-uring": Refusal("it performs calls past the filter", "programs fall back to epoll by themselves"),
    "terminal-injection": Refusal("it types into your terminal"),
    "setuid-denied": Refusal("nothing inside gains privileges, nor leaves a program that does"),
    "device-denied": Refusal("devices reach past the view"),
    "personality-denied": Refusal("it changes the rules by which memory becomes executable"),
    "seccomp-listener": Refusal("a filter of its own could overrule this one; programs probe for it"),
    "foreign-abi": Refusal(
        "a program of another processor's or an older kind", "have it as a program of this machine's own kind"
    ),
    "socket-family": Refusal("only TCP, UDP and unix sockets are needed and guarded"),
    "socket-type": Refusal(
        "raw packets (`ping`, `traceroute`, `nmap`) go past the rules for hosts", "try a host with `curl`"
    ),
    "socket-protocol": Refusal("this protocol goes past the rules for hosts, or speaks to the kernel"),
    "unix-socket": Refusal(
        "a service of the host listens there, and acts for whoever reaches it (Docker's: as root)",
        "`--read PATH` of the socket hands it over",
    ),
    "signal-denied": Refusal("that process is not of this run", "signal it from the host"),
    "control-denied": Refusal(
        "only the operator speaks to a live run: within no more walls than its supervisor",
        "ask from a shell like the one that started it",
    ),
    # files
    "path-protected": Refusal("policy, or what is known of secrets, protects it", "`ringfence explain PATH` says who"),
    # network, see docs/egress.md
    "egress-denied": Refusal("policy does not allow it", "`--allow HOST[:PORT]` does"),
    "address-denied": Refusal(
        "the name leads to an address that is special", "a rule with `addresses` that hold it allows it"
    ),
    "mismatch": Refusal("the request names another host than its connection"),
    "upstream-certificate": Refusal(
        "this host does not trust the server's certificate", "its authority in `SSL_CERT_FILE`, before the run"
    ),
    "budget-exceeded": Refusal("the rule's budget is used up", "raise it in the rule"),
    "rate-exceeded": Refusal("the rule allows fewer requests at a time", "raise it in the rule"),
    "bad-request": Refusal("it cannot be read in one way only, so no rule can be applied to it", "mend the program"),
    # git and secrets, see docs/git.md and docs/secrets.md
    "git-denied": Refusal("no rule for this repository allows it", "a rule of `[[git.remotes]]` allows it"),
    "push-denied": Refusal(
        "no rule lets this ref be changed so", "`push.refs` of a rule in `[[git.remotes]]` allows it"
    ),
    "signing-denied": Refusal("policy does not let this be signed", "see docs/git.md"),
    "secret-misuse": Refusal("a placeholder of a secret is where it may not go", "name the host at the secret"),
    "secret-leak": Refusal("what looks like a secret would have gone out", "see `ringfence log`"),
}

# Denied in the ordinary course of many programs, which go on without: another denial says more about a failure.
PROBES = frozenset({"io-uring", "seccomp-listener", "socket-protocol"})
_NO_NETWORK = {"look-up of a name": Refusal("the network is off", "`--allow HOST` opens it to a host")}


def telling(denials: list[tuple[str, str]]) -> tuple[str, str]:
    """The denial, as code and target, that says most about why a program failed: the first that is no mere probe."""
    return next((found for found in denials if found[0] not in PROBES), denials[0])


def advice(code: str, target: str) -> str:
    """Why `code` is denied and what allows it, in one line; empty for a code of which nothing is known."""
    found = _NO_NETWORK.get(target) or REFUSALS.get(code)
    return f"{found.why}; {found.how}" if found else ""
