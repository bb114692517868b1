"""Landlock scopes: what a process may signal and which abstract sockets it may reach (kernel 6.12, ABI 6).

The pid and network namespaces already isolate one sandbox from another. The scope closes what they leave
open: `kill(0)` and terminal-generated groups reach every member of a process group whatever its pid
namespace, and commands that share namespaces must not reach one another. See landlock(7), "Scoping".
"""

import os

from . import privilege

CREATE_RULESET, RESTRICT_SELF = 444, 446  # the same on every architecture
CREATE_RULESET_VERSION = 1
SCOPES = {"abstract-sockets": 1, "signals": 2}  # LANDLOCK_SCOPE_*, <linux/landlock.h>


def restrict(scopes: list[str]) -> None:
    """Enter a Landlock domain with the named scopes and no file-system rules; raise OSError if refused."""
    mask = 0
    for name in scopes:
        mask |= SCOPES[name]
    # struct landlock_ruleset_attr: handled_access_fs, handled_access_net, scoped
    attributes = b"".join(value.to_bytes(8, "little") for value in (0, 0, mask))
    ruleset = privilege.syscall(CREATE_RULESET, attributes, len(attributes), 0)
    try:
        privilege.syscall(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
