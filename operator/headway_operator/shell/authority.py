"""A certificate authority of our own, without cert-manager: what the Secret should hold now, from what it holds.

A new authority is published to every run's ConfigMap for a day before anything is signed by it, and an old one for as
long as it is valid, so that no pod ever meets a certificate that it does not trust.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Data = Mapping[str, bytes]

CA_VALIDITY = timedelta(days=730)
PUBLISHED_BEFORE_USE = timedelta(days=1)
CLOCK_SKEW = timedelta(minutes=5)
CA, CA_KEY = "ca.crt", "ca.key"
NEXT, NEXT_KEY = "next-ca.crt", "next-ca.key"
PREVIOUS = "previous-ca.crt"
CERTIFICATE, KEY = "tls.crt", "tls.key"


def renewed(data: Data, server_names: Sequence[str], validity: timedelta, now: datetime) -> dict[str, bytes]:
    """Return what the Secret should hold now; equal to `data` if nothing is due."""
    new = {key: value for key, value in data.items() if key in _KEYS}
    if not _is_good(new.get(CA), now) or not _match(new[CA], new.get(CA_KEY)):
        new = dict(zip((CA, CA_KEY), make_authority(now), strict=True))
    if NEXT in new and not (_is_good(new[NEXT], now) and _match(new[NEXT], new.get(NEXT_KEY))):
        del new[NEXT]
    if _is_due(new[CA], now) and NEXT not in new:
        new |= dict(zip((NEXT, NEXT_KEY), make_authority(now), strict=True))
    if NEXT in new and now - load(new[NEXT]).not_valid_before_utc >= PUBLISHED_BEFORE_USE:
        new |= {PREVIOUS: new[CA], CA: new.pop(NEXT), CA_KEY: new.pop(NEXT_KEY)}
        new.pop(CERTIFICATE, None)
    if PREVIOUS in new and not _is_good(new[PREVIOUS], now):
        del new[PREVIOUS]
    if not _serves(new.get(CERTIFICATE), new.get(KEY), new[CA], server_names, now):
        new |= dict(zip((CERTIFICATE, KEY), make_certificate(new, server_names, validity, now), strict=True))
    return new


def issued(data: Data, held: Data, server_names: Sequence[str], validity: timedelta, now: datetime) -> dict[str, bytes]:
    """Return what the Secret of another server of ours should hold: whom to trust, and a certificate by the authority
    in `data`, whose key it is never given; equal to `held` if nothing is due."""
    new = {CA: bundle(data).encode()}
    if _serves(held.get(CERTIFICATE), held.get(KEY), data[CA], server_names, now):
        return new | {CERTIFICATE: held[CERTIFICATE], KEY: held[KEY]}
    return new | dict(zip((CERTIFICATE, KEY), make_certificate(data, server_names, validity, now), strict=True))


def bundle(data: Data) -> str:
    """Return the certificates that pods are to trust: the authority, the coming and the past one."""
    return "".join(data[key].decode() for key in (CA, NEXT, PREVIOUS) if _is_certificate(data.get(key)))


def make_authority(now: datetime) -> tuple[bytes, bytes]:
    """Return certificate and key of a new authority, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"headway-{now:%Y%m%d%H%M%S}")])
    certificate = (
        _builder(name, name, key.public_key(), now, now + CA_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(certificate), _pem_key(key)


def make_certificate(
    data: Data, server_names: Sequence[str], validity: timedelta, now: datetime
) -> tuple[bytes, bytes]:
    """Return certificate and key of the server, signed by the authority in `data`."""
    ca = load(data[CA])
    ca_key = serialization.load_pem_private_key(data[CA_KEY], password=None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey), "made by make_authority"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "headway")])
    alternatives = x509.SubjectAlternativeName([x509.DNSName(host) for host in server_names])
    ca_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    certificate = (
        _builder(name, ca.subject, key.public_key(), now, min(now + validity, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .add_extension(ca_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return _pem(certificate), _pem_key(key)


_KEYS = frozenset({CA, CA_KEY, NEXT, NEXT_KEY, PREVIOUS, CERTIFICATE, KEY})


def load(pem: bytes) -> x509.Certificate:
    """Return the certificate. Raises ValueError."""
    return x509.load_pem_x509_certificate(pem)


def _is_certificate(pem: bytes | None) -> bool:
    try:
        return pem is not None and pem.isascii() and bool(load(pem))
    except ValueError:
        return False


def _is_good(pem: bytes | None, now: datetime) -> bool:
    """Say whether this is a certificate, and valid."""
    return pem is not None and _is_certificate(pem) and now < load(pem).not_valid_after_utc


def _match(certificate: bytes, key: bytes | None) -> bool:
    """Say whether this is the certificate's key, of the kind that is made here."""
    try:
        private = None if key is None else serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return isinstance(private, ec.EllipticCurvePrivateKey) and private.public_key() == load(certificate).public_key()


def _is_due(pem: bytes, now: datetime) -> bool:
    """Say whether less than a third of the certificate's time is left."""
    certificate = load(pem)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - now < life / 3


def _serves(pem: bytes | None, key: bytes | None, ca: bytes, server_names: Sequence[str], now: datetime) -> bool:
    """Say whether the server's certificate is good for a while, for all names, with its key, and by this authority."""
    if pem is None or not _is_good(pem, now) or _is_due(pem, now) or not _match(pem, key):
        return False
    certificate = load(pem)
    try:
        certificate.verify_directly_issued_by(load(ca))
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return set(server_names) <= set(held.get_values_for_type(x509.DNSName))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(issuer_name=issuer, subject_name=subject, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - CLOCK_SKEW)
        .not_valid_after(end)
    )


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
