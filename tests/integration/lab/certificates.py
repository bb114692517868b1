"""The lab's certificate authority, and the certificates of its servers: issued as names are asked for.

The name that a client sends decides. What is wrong with a certificate is in the server's name (`FAULTY`).
"""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.integration.lab import world

FAULTY = ("wrong-name", "self-signed", "expired", "other-ca")
DEFAULT_NAMES = (
    "allowed.example.com",
    "denied.example.com",
    "other.example.net",
    "*.wild.example.org",
    "*.example.com",
    world.REMOTE,
    world.PUBLIC,
)
DAY = dt.timedelta(days=1)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Authority:
    """A certificate authority; its key stays in this process."""

    def __init__(self, title: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
        builder = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, 0), critical=True)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        self.certificate = builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        issuer: x509.Name | None = None,
        expired: bool = False,
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        end = now - DAY if expired else now + 30 * DAY
        known = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        return (
            x509.CertificateBuilder(issuer or self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - 9 * DAY)
            .not_valid_after(end)
            .add_extension(known, critical=False)
        )

    def pem(self) -> bytes:
        """Give the certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, names: tuple[str, ...], *, expired: bool = False, self_signed: bool = False) -> bytes:
        """Give a key and a certificate for it, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        signer = key if self_signed else self._key
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = (
            self._builder(subject, key, issuer=subject if self_signed else None, expired=expired)
            .add_extension(alternatives, critical=False)
            .add_extension(issuer, critical=False)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        return _key_pem(key) + builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, bare)


class Contexts:
    """TLS contexts of the lab's servers, one for each name asked for."""

    def __init__(self, authority: Authority, scratch: Path) -> None:
        self._authority, self._stranger, self._scratch = authority, Authority("Somebody Else's CA"), scratch
        self._made: dict[str, ssl.SSLContext] = {}
        self.default = self._load(authority.issue(DEFAULT_NAMES), ("http/1.1",))
        self.default.sni_callback = self._choose

    def _load(self, pem: bytes, protocols: tuple[str, ...]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(list(protocols))
        file = self._scratch / "leaf.pem"
        file.write_bytes(pem)
        context.load_cert_chain(file)
        file.unlink()
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, _default: ssl.SSLContext) -> None:
        if name and world.find(name.lower()) is not None:
            if name not in self._made:
                self._made[name] = self._make(name.lower())
            connection.context = self._made[name]

    def _make(self, name: str) -> ssl.SSLContext:
        fault = name.removesuffix(".example.com")
        authority = self._stranger if fault == "other-ca" else self._authority
        names = ("somewhere-else.example.net",) if fault == "wrong-name" else (name,)
        pem = authority.issue(names, expired=fault == "expired", self_signed=fault == "self-signed")
        return self._load(pem, ("h2", "http/1.1") if name in world.HTTP2_NAMES else ("http/1.1",))
