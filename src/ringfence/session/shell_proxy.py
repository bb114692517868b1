"""A proxy that the launching shell names. Runs do not use it, unless policy names it as `network.parent-proxy`.

The variables are for programs; what they ask for may differ from program to program, and whoever sets them decides
where all connections go. So they are pointed out, and not followed.
"""

import os

VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def variable() -> str:
    """The variable by which programs outside would find a proxy; empty where there is none."""
    return next((name for name in VARIABLES if os.environ.get(name)), "")


def setting(name: str) -> str:
    """What to write in a policy file for the proxy that a variable names. SECURITY: without its credentials."""
    from ringfence.model.errors import UsageError
    from ringfence.policy.network import parent_proxy

    url = os.environ.get(name, "").rpartition("@")[2].removeprefix("http://")
    try:
        return f'parent-proxy = "{parent_proxy(f"http://{url}")}"'
    except UsageError:
        return 'parent-proxy = "http://HOST:PORT"'
