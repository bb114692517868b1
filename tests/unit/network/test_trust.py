"""Bundles and Java's trust store."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from ringfence.network.ca import SessionAuthority
from ringfence.network.tls import system_certificates
from ringfence.network.trust import bundle, java_store

HOST, SESSION = SessionAuthority.create().certificate_pem, SessionAuthority.create().certificate_pem


def test_the_hosts_authorities_come_first_and_stay_as_they_are() -> None:
    system = f"# Gr\u00fc\u00dfe\n{HOST.rstrip()}\n\n".encode()
    assert bundle(system, SESSION) == f"# Gr\u00fc\u00dfe\n{HOST}{SESSION}".encode()
    assert bundle(b"", SESSION) == SESSION.encode()


def test_java_gets_every_certificate_that_is_one() -> None:
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    store = load_pkcs12(java_store(bundle(f"comment\n{HOST}{broken}".encode(), SESSION)), None)
    found = [entry.certificate for entry in store.additional_certs]
    assert found == [x509.load_pem_x509_certificate(pem.encode()) for pem in (HOST, SESSION)]
    assert [entry.friendly_name for entry in store.additional_certs] == [b"ringfence-0", b"ringfence-2"]


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # as it is read back
def test_the_hosts_own_bundle_can_be_turned_into_a_store() -> None:
    system = system_certificates()
    count = system.count(b"-----BEGIN CERTIFICATE-----")
    assert len(load_pkcs12(java_store(bundle(system, SESSION)), None).additional_certs) == count + 1
