"""The session's authority: what its certificates say, and that a verifying client agrees."""

import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ringfence.network import ca
from ringfence.network.ca import SessionAuthority
from ringfence.network.trust import bundle
from tests.descriptors import open_descriptors

AUTHORITY = SessionAuthority.create()


def handshake(context: ssl.SSLContext, *, trust: str, name: str, alpn: tuple[str, ...] = ()) -> ssl.SSLObject:
    """Shake hands in memory, as a client that verifies."""
    client_context = ssl.create_default_context(cadata=trust)
    if alpn:
        client_context.set_alpn_protocols(list(alpn))
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(one, other, server_hostname=name)
    server = context.wrap_bio(other, one, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client


@pytest.mark.parametrize("host", ["api.test", "under_score.test", "xn--bcher-kva.example", "192.0.2.1", "2001:db8::1"])
def test_a_client_that_verifies_accepts_a_leaf(host: str) -> None:
    client = handshake(AUTHORITY.context_for(host), trust=AUTHORITY.certificate_pem, name=host)
    assert client.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(AUTHORITY.context_for(host), trust=AUTHORITY.certificate_pem, name="other.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(AUTHORITY.context_for(host), trust=SessionAuthority.create().certificate_pem, name=host)


def test_the_certificate_is_an_authoritys_for_a_day() -> None:
    certificate = x509.load_pem_x509_certificate(AUTHORITY.certificate_pem.encode())
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.digital_signature
    now = dt.datetime.now(dt.UTC)
    assert certificate.not_valid_before_utc < now - dt.timedelta(minutes=59)
    assert certificate.not_valid_after_utc < now + dt.timedelta(days=7)


def test_a_leaf_serves_one_host_within_the_authoritys_time() -> None:
    client = handshake(AUTHORITY.context_for("api.test"), trust=AUTHORITY.certificate_pem, name="api.test")
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    leaf, certificate = (
        x509.load_der_x509_certificate(shown),
        x509.load_pem_x509_certificate(AUTHORITY.certificate_pem.encode()),
    )
    assert leaf.not_valid_after_utc == certificate.not_valid_after_utc
    assert leaf.not_valid_before_utc == certificate.not_valid_before_utc
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["api.test"]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    leaf.verify_directly_issued_by(certificate)


def test_http2_is_offered_only_where_it_is_asked_for() -> None:
    for http2, chosen in ((False, "http/1.1"), (True, "h2")):
        context = AUTHORITY.context_for("api.test", http2=http2)
        client = handshake(context, trust=AUTHORITY.certificate_pem, name="api.test", alpn=("h2", "http/1.1"))
        assert client.selected_alpn_protocol() == chosen


def test_contexts_are_kept_and_bounded() -> None:
    authority = SessionAuthority.create()
    first = authority.context_for("h0.test")
    for number in range(1, ca.MAX_CONTEXTS):
        authority.context_for(f"h{number}.test")
    assert authority.context_for("h0.test") is first
    authority.context_for("one-more.test")
    assert authority.context_for("h0.test") is first
    assert len(authority._contexts) == ca.MAX_CONTEXTS


def test_no_descriptor_is_left_behind() -> None:
    before = open_descriptors()
    SessionAuthority.create().context_for("api.test")
    assert open_descriptors() <= before


def test_a_bundle_trusts_both() -> None:
    other = SessionAuthority.create()
    trust = bundle(other.certificate_pem.encode(), AUTHORITY.certificate_pem).decode()
    for authority in (AUTHORITY, other):
        handshake(authority.context_for("api.test"), trust=trust, name="api.test")
