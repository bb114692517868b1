"""Egress: the only way out of a boundary, decided by one policy.

Nouns: an authority (host and port as requested), a connection, a request, a session (one run's egress).
Parsers (authority addresses tls_hello dns socks5 http1) are pure: bytes in, values out.

In: connections accepted on sockets that were opened inside the sandbox's network namespace, and the rules in
force (`model.egress.Egress`). Out: connections to upstream hosts, and records of what passed and what did not.

Two processes share the work. The *proxy* parses hostile input and may neither open files nor make sockets; the
*dialer*, beside the supervisor, decides again on host and port, resolves, checks every address, connects and hands
over the connected socket. They speak in `messages`. Whoever takes over the proxy gets no further than policy.

Never: a packet to anything that was not decided upon; a query for a name that policy does not allow.
"""
