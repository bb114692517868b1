"""Ask the kernel where an address leads: rtnetlink(7), `RTM_GETROUTE`, what `ip route get ADDRESS` does."""

import _socket
import errno
import struct

RTM_GETROUTE, NLMSG_ERROR = 26, 2  # <linux/rtnetlink.h>, <linux/netlink.h>
NLM_F_REQUEST, RTA_DST, RTN_UNICAST = 1, 1, 1
HEADER = 16  # struct nlmsghdr
# What the kernel says of an address without a route, or with one of type unreachable, prohibit or blackhole.
NOWHERE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL)


def leads_here(address: str) -> bool:
    """Whether packets to a numeric address would be delivered to this host itself, or to all of a network.

    True also where the kernel does not say, which the dialer takes for a refusal. An address that cannot be reached
    leads nowhere. Unlike a list of the interfaces' addresses this is never out of date, and knows networks of which
    every address is local.
    """
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    packed = _socket.inet_pton(family, address)
    message = struct.pack("=BBBBBBBBI", family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    message += struct.pack("=HH", 4 + len(packed), RTA_DST) + packed
    try:
        kernel = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, 0)
    except OSError:
        return True
    try:
        kernel.send(struct.pack("=IHHII", HEADER + len(message), RTM_GETROUTE, NLM_F_REQUEST, 1, 0) + message)
        reply = kernel.recv(4096)
    except OSError:
        return True
    finally:
        kernel.close()
    if struct.unpack_from("=H", reply, 4)[0] == NLMSG_ERROR:
        return -struct.unpack_from("=i", reply, HEADER)[0] not in NOWHERE
    return reply[HEADER + 7] != RTN_UNICAST  # rtm_type
