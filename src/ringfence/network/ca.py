"""The session's certificate authority: made when a run starts, gone when it ends.

Its key exists in this process's memory only, and only what runs inside the boundary trusts its certificate.
A context for one host is passed to OpenSSL through a descriptor without a name (memfd_create(2)), since the
standard library loads a chain by path only: nothing touches a disk, and it works where no file can be opened.

The certificate carries no name constraints (RFC 5280, 4.2.1.10). Tried with the hosts of a policy: OpenSSL, curl,
Node and Python honour them; Java ignores those of a trust anchor; GnuTLS 3.7 (git, wget) refuses a certificate
for an address even where the constraint names that address. And rules may be widened or approved while the run
lasts, whereas its trust store is fixed. What a constraint would guard is guarded by where the certificate is
trusted, by its validity, and by a key that cannot be read.
"""

import datetime as dt
import ipaddress
import os
import ssl
from collections import OrderedDict

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALIDITY = dt.timedelta(days=7)  # of the longest run that inspects; the key dies with the run
BACKDATED = dt.timedelta(hours=1)  # clocks inside and outside may be read differently (faketime, time namespaces)
MAX_CONTEXTS = 256
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ringfence session authority")])
LEAF_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ringfence")])


class SessionAuthority:
    """One run's certificate authority; `certificate_pem` is what the inside trusts."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        """Hold the authority's key and certificate; `create` makes both."""
        self._key = key
        self._certificate = certificate
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key_pem = self._leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._contexts: OrderedDict[tuple[str, bool], ssl.SSLContext] = OrderedDict()
        self.certificate_pem = certificate.public_bytes(Encoding.PEM).decode()

    @classmethod
    def create(cls) -> "SessionAuthority":
        """Make a new authority with a key of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = x509.CertificateBuilder(issuer_name=NAME, subject_name=NAME, public_key=key.public_key())
        certificate = (
            builder.serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + VALIDITY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    def context_for(self, host: str, *, http2: bool = False) -> ssl.SSLContext:
        """Give the server side for `host`, a canonical name or address; HTTP/2 is offered where `http2` says so."""
        known = self._contexts.get((host, http2))
        if known is not None:
            self._contexts.move_to_end((host, http2))
            return known
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # SECURITY: a session of one host is never resumed for another, and nothing of it outlives its connection.
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
        load_chain(context, self._leaf(host).public_bytes(Encoding.PEM) + self._leaf_key_pem)
        self._contexts[host, http2] = context
        if len(self._contexts) > MAX_CONTEXTS:
            self._contexts.popitem(last=False)
        return context

    def _leaf(self, host: str) -> x509.Certificate:
        builder = x509.CertificateBuilder(issuer_name=NAME, subject_name=LEAF_NAME)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            builder.public_key(self._leaf_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._certificate.not_valid_before_utc)
            .not_valid_after(self._certificate.not_valid_after_utc)
            .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )


def load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Give `context` a certificate and its key without a file."""
    descriptor = os.memfd_create("chain", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _usage(*, key_cert_sign: bool = False, digital_signature: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
