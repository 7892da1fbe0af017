"""The service's certificate: two files that somebody else writes and renews, the operator's leader on a cluster."""

from __future__ import annotations

import logging
import ssl
import time
from pathlib import Path

log = logging.getLogger("headway")

CERTIFICATE, KEY = "tls.crt", "tls.key"
WAIT_S = 1.0


class Pair:
    """Certificate and key in a folder, as they are now."""

    def __init__(self, folder: Path) -> None:
        self._certificate, self._key = folder / CERTIFICATE, folder / KEY
        self._loaded: tuple[bytes, bytes] | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2

    def read(self) -> tuple[bytes, bytes]:
        """Return certificate and key as PEM. Raises OSError while they are not there."""
        return self._certificate.read_bytes(), self._key.read_bytes()

    def wait(self) -> None:
        """Wait until there is a pair that can be served."""
        is_told = False
        while not self.renew():
            if not is_told:
                log.info("waiting for %s and %s in %s", CERTIFICATE, KEY, self._certificate.parent)
                is_told = True
            time.sleep(WAIT_S)

    def renew(self) -> bool:
        """Serve new connections with what the files hold, if that is whole; say whether there is anything to serve.

        What cannot be loaded changes nothing: a renewal may be half written.
        """
        try:
            pair = self.read()
            if pair != self._loaded:
                # First elsewhere: a pair that does not match would leave the context without a key.
                for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
                    context.load_cert_chain(self._certificate, self._key, password="")  # never asks a terminal for one
                self._loaded = pair
        except (OSError, ssl.SSLError) as error:
            if self._loaded is not None:
                log.warning("the certificate cannot be renewed: %s", error)
        return self._loaded is not None
