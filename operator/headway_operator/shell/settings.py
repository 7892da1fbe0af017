"""What the operator is told: environment variables only, so that the chart's values are the one place to set them."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from urllib.parse import urlsplit

from headway_api import names


class SettingsError(ValueError):
    """A variable that cannot be used; `str()` names the variable, the value and the fix."""


@dataclass(frozen=True)
class Settings:
    """Each attribute is read from HEADWAY_<ATTRIBUTE> in capitals."""

    operator_namespace: str = "headway-system"
    """Where the operator, its Lease, its Secret and its Service live (downward API: metadata.namespace)."""
    operator_pod: str = ""
    """This replica's identity in the Lease (downward API: metadata.name); empty takes the host name."""
    watch_namespaces: str = ""
    """Namespaces whose runs are served, separated by commas; empty is the whole cluster."""
    lease_name: str = "headway-operator"
    """The Lease by which replicas elect their leader."""
    secret_name: str = "headway-operator-tls"
    """The Secret of the progress server's certificates; the chart makes it empty, the leader fills it."""
    service_name: str = "headway-operator"
    """The Service before the progress servers; its DNS names are in the certificate."""
    progress_port: int = names.PROGRESS_PORT
    """Port that the progress server listens on, and the port of the Service."""
    metrics_port: int = names.METRICS_PORT
    """Port of /metrics and /healthz, plain HTTP."""
    workers: int = 16
    """Reconciliations at a time."""
    resync_seconds: float = 60.0
    """Seconds between two looks at all runs, which catch what a watch has missed."""
    health_seconds: float = 300.0
    """/healthz of the leader fails when no resync has completed for so many seconds."""
    progress_seconds: float = 10.0
    """Shortest interval between two reports of a run; it grows with the number of runs."""
    progress_rate: float = 20.0
    """Reports per second over all runs that the interval is made for."""
    lease_seconds: float = 15.0
    """A Lease that has not been renewed for so many seconds may be taken."""
    lease_renew_seconds: float = 10.0
    """The leader gives up, and its process ends, when renewing has failed for so many seconds."""
    lease_retry_seconds: float = 2.0
    """Seconds between two tries to take or to renew the Lease."""
    certificate_days: float = 90.0
    """Validity of the serving certificate; it is renewed when a third is left."""
    studies_url: str = ""
    """Base URL of the study service, https://HOST:PORT; empty where there is none."""
    studies_secret_name: str = ""
    """The Secret of the study service's certificate, which the leader fills; empty: somebody else does."""
    studies_token_file: str = "/var/run/secrets/headway/studies/token"
    """Our token for the study service: a projected one, replaced by the kubelet."""
    studies_ca_file: str = ""
    """PEM of whom to trust as the study service; empty: our own authority."""
    kubeconfig: str = ""
    """A kubeconfig file, for running outside a cluster; empty is the pod's service account."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces that are served; none means the whole cluster."""
        return tuple(name.strip() for name in self.watch_namespaces.split(",") if name.strip())

    @property
    def identity(self) -> str:
        """Who holds the Lease: the pod's name."""
        return self.operator_pod or socket.gethostname()

    @property
    def server_names(self) -> tuple[str, ...]:
        """DNS names of the progress server: those of its Service."""
        return _service_names(f"{self.service_name}.{self.operator_namespace}.svc")

    @property
    def studies_names(self) -> tuple[str, ...]:
        """DNS names of the study service."""
        return _service_names(urlsplit(self.studies_url).hostname or "")

    @property
    def progress_url(self) -> str:
        """Base URL of the progress servers, as training pods are told it."""
        return f"https://{self.server_names[0]}:{self.progress_port}"


def _service_names(host: str) -> tuple[str, ...]:
    """All names of a Service, the one that we use first."""
    return (host, f"{host}.cluster.local", host.removesuffix(".svc"))


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings. Raises SettingsError."""
    values: dict[str, str | int | float] = {}
    for field in fields(Settings):
        variable = f"HEADWAY_{field.name.upper()}"
        text = environ.get(variable)
        if text is None or text == "":
            continue
        values[field.name] = _converted(variable, text, type(field.default))
    settings = Settings(**values)  # type: ignore[arg-type]
    if not settings.lease_retry_seconds < settings.lease_renew_seconds < settings.lease_seconds:
        raise SettingsError(
            "HEADWAY_LEASE_RETRY_SECONDS, HEADWAY_LEASE_RENEW_SECONDS and HEADWAY_LEASE_SECONDS must increase in this "
            f"order: found {settings.lease_retry_seconds}, {settings.lease_renew_seconds}, {settings.lease_seconds}"
        )
    if settings.studies_url and (urlsplit(settings.studies_url).scheme, bool(settings.studies_names[0])) != (
        "https",
        True,
    ):
        raise SettingsError(f"HEADWAY_STUDIES_URL: found {settings.studies_url!r}: give https://HOST:PORT")
    if settings.studies_secret_name and not settings.studies_url:
        raise SettingsError("HEADWAY_STUDIES_SECRET_NAME needs HEADWAY_STUDIES_URL: the certificate is for its host")
    if settings.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise SettingsError(f"HEADWAY_LOG_LEVEL: found {settings.log_level!r}: give DEBUG, INFO, WARNING or ERROR")
    return settings


def _converted(variable: str, text: str, kind: type) -> str | int | float:
    if kind is str:
        return text
    try:
        number: int | float = int(text) if kind is int else float(text)
    except ValueError:
        raise SettingsError(f"{variable}: found {text!r}: give a {'whole ' if kind is int else ''}number") from None
    if not 0 < number < 1e9:
        raise SettingsError(f"{variable}: found {text!r}: give a number above 0 and below 1e9")
    return number
