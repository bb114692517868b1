"""Addresses that every captured network has inside. Light: the hot path imports it."""

SYNTHETIC_NETWORK = ("198.18.0.1", 15)
"""What `lo` inside is given: RFC 2544's network, which no real host has; every captured name gets an address of it."""
SYNTHETIC_PREFIXES = ("198.18.", "198.19.")
"""How the addresses of that network begin."""
RESOLVER = "198.18.0.2"
PROXY = ("127.0.0.1", 3128)
"""Where programs inside find the resolver, and the proxy for those that can use one."""
HOOKS = ("127.0.0.1", 3127)
"""Where an agent's hooks find the supervisor (inside/hook.py says the same)."""
GATEWAYS = "/run/ringfence/gateway"
"""Where the unix sockets are that lead to one host each: `NAME.sock`."""
SIGNING = ("127.0.0.1", 3126)
"""Where git's signing program finds the supervisor (inside/sign.py says the same)."""
