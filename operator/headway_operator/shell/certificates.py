"""The progress server's own certificate authority: made, kept and rotated in one Secret, without cert-manager.

A new authority is published to every run's ConfigMap for a day before anything is signed by it, and an old one for as
long as it is valid, so that no pod ever meets a certificate that it does not trust.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from headway_operator.shell.cluster import ApiError, ConflictError, Raw

log = logging.getLogger(__name__)

Data = Mapping[str, bytes]

CA_VALIDITY = timedelta(days=730)
PUBLISHED_BEFORE_USE = timedelta(days=1)
CLOCK_SKEW = timedelta(minutes=5)
REFRESH_S = 30.0
CA, CA_KEY = "ca.crt", "ca.key"
NEXT, NEXT_KEY = "next-ca.crt", "next-ca.key"
PREVIOUS = "previous-ca.crt"
CERTIFICATE, KEY = "tls.crt", "tls.key"


class SecretStore(Protocol):
    """The part of the cluster that a Secret needs."""

    async def get(self, kind: str, namespace: str, name: str) -> Raw | None:
        """Return the Secret, or None."""

    async def replace(self, kind: str, document: Raw) -> Raw:
        """Replace what was read. Raises ConflictError."""


def renewed(data: Data, server_names: Sequence[str], validity: timedelta, now: datetime) -> dict[str, bytes]:
    """Return what the Secret should hold now; equal to `data` if nothing is due."""
    new = {key: value for key, value in data.items() if key in _KEYS}
    if not _is_good(new.get(CA), now) or not _match(new[CA], new.get(CA_KEY)):
        new = dict(zip((CA, CA_KEY), make_authority(now), strict=True))
    if NEXT in new and not (_is_good(new[NEXT], now) and _match(new[NEXT], new.get(NEXT_KEY))):
        del new[NEXT]
    if _is_due(new[CA], now) and NEXT not in new:
        new |= dict(zip((NEXT, NEXT_KEY), make_authority(now), strict=True))
    if NEXT in new and now - _load(new[NEXT]).not_valid_before_utc >= PUBLISHED_BEFORE_USE:
        new |= {PREVIOUS: new[CA], CA: new.pop(NEXT), CA_KEY: new.pop(NEXT_KEY)}
        new.pop(CERTIFICATE, None)
    if PREVIOUS in new and not _is_good(new[PREVIOUS], now):
        del new[PREVIOUS]
    if not _serves(new.get(CERTIFICATE), new.get(KEY), new[CA], server_names, now):
        new |= dict(zip((CERTIFICATE, KEY), make_certificate(new, server_names, validity, now), strict=True))
    return new


def bundle(data: Data) -> str:
    """Return the certificates that pods are to trust: the authority, the coming and the past one."""
    return "".join(data[key].decode() for key in (CA, NEXT, PREVIOUS) if _is_certificate(data.get(key)))


def make_authority(now: datetime) -> tuple[bytes, bytes]:
    """Return certificate and key of a new authority, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"headway-progress-{now:%Y%m%d%H%M%S}")])
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
    ca = _load(data[CA])
    ca_key = serialization.load_pem_private_key(data[CA_KEY], password=None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey), "made by make_authority"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "headway-progress")])
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


class Certificates:
    """What the Secret holds, in this process: read by every replica, written by the leader alone."""

    def __init__(
        self,
        store: SecretStore,
        namespace: str,
        name: str,
        server_names: Sequence[str],
        days: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._namespace, self._name = store, namespace, name
        self._server_names, self._validity, self._clock = server_names, timedelta(days=days), clock
        self._data: dict[str, bytes] = {}
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.ready = asyncio.Event()

    @property
    def ca_bundle(self) -> str:
        """PEM of all authorities to trust."""
        return bundle(self._data)

    async def read(self) -> Raw:
        """Read the Secret, and serve what it holds from now on. Raises ApiError if the chart has not made it."""
        secret = await self._store.get("Secret", self._namespace, self._name)
        if secret is None:
            raise ApiError(404, "NotFound", f"secret {self._namespace}/{self._name} is missing: the chart makes it")
        self._use(_decoded(secret))
        return secret

    async def renew(self, store: SecretStore) -> None:
        """Bring the Secret up to date, as the leader."""
        secret = await self.read()
        held = _decoded(secret)
        wanted = renewed(held, self._server_names, self._validity, self._clock())
        if wanted != held:
            secret["data"] = {key: base64.b64encode(value).decode() for key, value in wanted.items()}
            await store.replace("Secret", secret)
            log.info("certificates of the progress server are renewed")
            self._use(wanted)

    async def follow(self) -> None:
        """Read the Secret for ever."""
        await self._again_and_again(self.read)

    async def lead(self, store: SecretStore) -> None:
        """Renew for ever, through the leader's fence."""
        await self._again_and_again(lambda: self.renew(store))

    async def _again_and_again(self, step: Callable[[], object]) -> None:
        while True:
            try:
                await step()  # type: ignore[misc]
            except (ApiError, ConflictError) as error:
                log.warning("certificates: %s", error)
            await asyncio.sleep(REFRESH_S if self.ready.is_set() else 1.0)

    def _use(self, data: dict[str, bytes]) -> None:
        """Load certificates that are new: connections from now on get them, and none is broken. What cannot be loaded
        is as good as none: what was served before goes on being served, until the leader has mended the Secret."""
        if data == self._data or not {CA, CERTIFICATE, KEY} <= data.keys():
            return
        with tempfile.TemporaryDirectory() as folder:  # private to this user; ssl reads files only
            chain = Path(folder, "chain.pem")
            chain.touch(mode=0o600)
            chain.write_bytes(data[KEY] + data[CERTIFICATE])
            try:
                _load(data[CA])
                # First elsewhere: a pair that does not match would leave the context in use without a key.
                for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
                    context.load_cert_chain(chain, password="")  # never asks a terminal for one
            except (ValueError, ssl.SSLError) as error:
                log.warning("secret %s/%s holds no usable certificate: %s", self._namespace, self._name, error)
                return
        self._data = data
        self.ready.set()


_KEYS = frozenset({CA, CA_KEY, NEXT, NEXT_KEY, PREVIOUS, CERTIFICATE, KEY})


def _load(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def _decoded(secret: Raw) -> dict[str, bytes]:
    """Return what the Secret holds, without what is not base64."""
    data: dict[str, bytes] = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            data[key] = base64.b64decode(value, validate=True)
        except ValueError as error:
            log.warning("key %s of the certificates' secret is damaged: %s", key, error)
    return data


def _is_certificate(pem: bytes | None) -> bool:
    try:
        return pem is not None and pem.isascii() and bool(_load(pem))
    except ValueError:
        return False


def _is_good(pem: bytes | None, now: datetime) -> bool:
    """Say whether this is a certificate, and valid."""
    return pem is not None and _is_certificate(pem) and now < _load(pem).not_valid_after_utc


def _match(certificate: bytes, key: bytes | None) -> bool:
    """Say whether this is the certificate's key, of the kind that is made here."""
    try:
        private = None if key is None else serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return isinstance(private, ec.EllipticCurvePrivateKey) and private.public_key() == _load(certificate).public_key()


def _is_due(pem: bytes, now: datetime) -> bool:
    """Say whether less than a third of the certificate's time is left."""
    certificate = _load(pem)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - now < life / 3


def _serves(pem: bytes | None, key: bytes | None, ca: bytes, server_names: Sequence[str], now: datetime) -> bool:
    """Say whether the server's certificate is good for a while, for all names, with its key, and by this authority."""
    if pem is None or not _is_good(pem, now) or _is_due(pem, now) or not _match(pem, key):
        return False
    certificate = _load(pem)
    try:
        certificate.verify_directly_issued_by(_load(ca))
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
