"""What the inside trusts: the host's own authorities and, beside them, the session's.

Pure: bytes in, bytes out. `planner/trust_store.py` says where the results appear and which variables name them.
The host's authorities stay, since connections that are not inspected show the certificates of their servers.
"""

import warnings

from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore
from cryptography.utils import CryptographyDeprecationWarning


def bundle(system_pem: bytes, authority_pem: str) -> bytes:
    """Append the session's authority to the host's, both PEM."""
    return system_pem.rstrip(b"\n") + b"\n" + authority_pem.encode() if system_pem else authority_pem.encode()


def java_store(bundle_pem: bytes) -> bytes:
    """Turn a bundle into a Java trust store (PKCS #12) without a password, which is how the JDK opens its own.

    A certificate that cannot be parsed is left out, as the JDK's own tools do; the order is kept.
    """
    entries = []
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", CryptographyDeprecationWarning
        )  # of old authorities, which are the host's choice
        for number, one in enumerate(_certificates(bundle_pem)):
            try:
                certificate = x509.load_pem_x509_certificate(one)
                entries.append(PKCS12Certificate(certificate, f"ringfence-{number}".encode()))
            except ValueError:
                continue
    return serialize_java_truststore(entries, NoEncryption())


def _certificates(pem: bytes) -> list[bytes]:
    end = b"-----END CERTIFICATE-----"
    return [part[part.find(b"-----BEGIN CERTIFICATE-----") :] + end for part in pem.split(end)[:-1]]
