"""Host names and addresses in one canonical form, and patterns that match them.

Everything that names a host goes through `canonical_host`: rules, DNS questions, `Host` headers, `:authority`, CONNECT
targets, TLS server names. What has more than one meaning, depending on who reads it, has none here: it is refused.

SECURITY: two spellings of one host that are judged differently are a bypass. So there is one form for each (lower
case, no trailing dot, A-labels of RFC 5890, addresses as RFC 5952 writes them), and numeric forms that the C library's
inet_aton() would take for an address (decimal, octal, hexadecimal, short) are errors.
INVARIANT: canonical_host(canonical_host(text)) == canonical_host(text) (tests/properties/test_egress_policy.py).
"""

import encodings.punycode
import ipaddress
import re

MAX_NAME = 253
MAX_LABEL = 63  # both RFC 1035, section 2.3.4

# Letters, digits and hyphens (RFC 1123, section 2.1), and underscores, which DNS has in practice (RFC 8552).
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
_PLAIN = re.compile(r"[a-z0-9_.-]*")
# What URL parsers take for the last part of an IPv4 address (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_WHY = {
    "@": "a user name is no part of a host",
    "%": "percent signs and IPv6 zones have no place in a host",
    "\\": "a backslash has no place in a host",
    "/": "a path is no part of a host",
    "*": "a wildcard stands only for all subdomains, as in `*.example.com`",
    "?": "a query is no part of a host",
    "#": "a fragment is no part of a host",
}


def canonical_host(text: str) -> str:
    """Return the one form of a host name or address; raise ValueError, with the reason, for what is neither.

    An IPv6 address may stand in brackets and is returned without; an IPv4-mapped one is returned as IPv4, because
    that is what the kernel connects to.
    """
    if not text:
        raise ValueError("it is empty")
    if len(text) > MAX_NAME + 1:
        raise ValueError(f"it is longer than {MAX_NAME} characters")
    if ":" in text or text[0] == "[":
        return _ipv6(text)
    if not text.isascii():
        text = ".".join(_a_label(label) for label in text.split("."))
    name = text.lower()
    if not _PLAIN.fullmatch(name):
        raise ValueError(_unfit(name))
    labels = name.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(name)
    if len(name.removesuffix(".")) > MAX_NAME:
        raise ValueError(f"it is longer than {MAX_NAME} characters")
    for label in labels:
        _check_label(label)
    return ".".join(labels)


def canonical_pattern(text: str) -> str:
    """Return the one form of a host or of `*.name`; raise ValueError for other wildcards."""
    if not text.startswith("*"):
        return canonical_host(text)
    if not text.startswith("*."):
        raise ValueError(_WHY["*"])
    name = canonical_host(text[2:])
    if is_address(name):
        raise ValueError("an address has no subdomains")
    return f"*.{name}"


def is_address(host: str) -> bool:
    """Tell whether a canonical host is an IP address."""
    return ":" in host or host.rpartition(".")[2].isdigit()


def matches(pattern: str, host: str) -> bool:
    """Tell whether a canonical host is the one of a canonical pattern, or a subdomain of it for `*.name`."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return pattern == host


def bracketed(host: str) -> str:
    """Write a canonical host the way it stands before a port."""
    return f"[{host}]" if ":" in host else host


def _ipv6(text: str) -> str:
    inner = text[1:-1] if text[0] == "[" and text[-1] == "]" else text
    if not re.fullmatch(r"[0-9A-Fa-f:.]+", inner):
        raise ValueError(_WHY["%"] if "%" in inner else "it is not an IPv6 address, and a name holds no `:` and no `[`")
    try:
        address = ipaddress.IPv6Address(inner)
    except ValueError:
        raise ValueError("it is not an IPv6 address") from None
    return str(address.ipv4_mapped or address)


def _ipv4(name: str) -> str:
    try:
        return str(ipaddress.IPv4Address(name))
    except ValueError:
        raise ValueError("its end is a number, but it is not an IPv4 address of four decimal parts") from None


def _a_label(label: str) -> str:
    """Turn one label outside ASCII into its A-label, by UTS #46 without transitional processing.

    The tables are loaded only here: names on the wire are ASCII. SECURITY: the confined proxy has no files to load
    them from, and refuses such a name.
    """
    if label.isascii():
        return label
    try:
        import idna  # its tables cost more to load than everything else here, and hardly any run needs them

        mapped = idna.uts46_remap(label)
        if mapped.isascii():
            # Full-width letters, the Kelvin sign, invisible characters: somebody wants it to look like another name.
            raise ValueError("it holds look-alikes of ASCII characters")
        return idna.alabel(mapped).decode("ascii")
    except UnicodeError:
        raise ValueError("it is not a valid internationalised name") from None
    except (ImportError, OSError):
        raise ValueError("it is not in ASCII; write its `xn--` form") from None


def _check_label(label: str) -> None:
    if not label:
        raise ValueError("it has an empty label")
    if len(label) > MAX_LABEL:
        raise ValueError(f"a label is longer than {MAX_LABEL} characters")
    if not _LABEL.fullmatch(label):
        raise ValueError("a label begins or ends with a hyphen")
    if label.startswith("xn--"):
        _check_a_label(label[4:])


def _check_a_label(encoded: str) -> None:
    """Refuse what only looks like an A-label: one that cannot be shown, or that has another encoding as well."""
    try:
        decoded = encodings.punycode.punycode_decode(encoded, "strict")
    except UnicodeError:
        decoded = ""
    if not decoded.isprintable() or encodings.punycode.punycode_encode(decoded) != encoded.encode("ascii"):
        raise ValueError("an `xn--` label is not the encoding of a name")


def _unfit(name: str) -> str:
    found = next(mark for mark in name if not _PLAIN.fullmatch(mark))
    return _WHY.get(found, f"`{ascii(found)[1:-1]}` has no place in a host")
