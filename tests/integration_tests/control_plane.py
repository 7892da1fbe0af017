"""A real kube-apiserver and etcd for the integration tests: certificates, start, kubeconfig, stop.

There is no controller manager, scheduler or kubelet: nothing collects garbage, makes a ServiceAccount ``default`` or
runs a pod. What the API server does itself is real: CRDs with CEL rules, RBAC, TokenRequest, TokenReview, watches.
"""

from __future__ import annotations

import ctypes
import datetime
import ipaddress
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BINARIES_SCRIPT = Path(__file__).resolve().parents[2] / "e2e" / "cluster" / "controlplane.sh"
BOOT_TIMEOUT_SECONDS = 60.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class BinariesMissingError(RuntimeError):
    """No kube-apiserver and etcd in the cache; the message names the command that gets them."""


def find_binaries() -> Path:
    """The folder with kube-apiserver and etcd; never downloads or builds. Raises BinariesMissingError."""
    found = subprocess.run([BINARIES_SCRIPT, "--cached"], capture_output=True, text=True, check=False)
    if found.returncode == 3:
        raise BinariesMissingError("no kube-apiserver and etcd in the cache: run `make tools` (minutes, once)")
    if found.returncode != 0:
        raise BinariesMissingError(found.stderr.strip())
    return Path(found.stdout.strip())


class Authority:
    """A certificate authority of one test session; keys are P-256, which takes milliseconds to make."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "integration-tests")])
        certificate = self._unsigned(self._name, self._key, ca=True).sign(self._key, hashes.SHA256())
        self.certificate = directory / "ca.crt"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, groups: tuple[str, ...] = ()) -> tuple[Path, Path]:
        """A certificate and key for server (localhost) and client (user ``name`` in ``groups``) alike."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
        addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            self._unsigned(x509.Name(subject), key, ca=False)
            .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        paths = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_private_key(paths[1], key)
        return paths

    def _unsigned(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder(issuer_name=self._name, subject_name=subject, public_key=key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )


def write_private_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """PEM of the form that kube-apiserver reads for its ServiceAccounts; for this user only."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    path.touch(mode=0o600)
    path.write_bytes(pem)


@dataclass
class ControlPlane:
    """A running API server and what is needed to speak to it as its administrator."""

    directory: Path
    url: str
    ca: Path
    kubeconfig: Path
    processes: list[subprocess.Popen[bytes]]

    def kubeconfig_with_token(self, name: str, token: str) -> Path:
        """A kubeconfig for a ServiceAccount's token, to act with that account's rights and no more."""
        return write_kubeconfig(self.directory / f"{name}.kubeconfig", self.url, self.ca, {"token": token})

    def stop(self) -> None:
        """Kill the servers, newest first: nothing here is worth an orderly end."""
        for process in reversed(self.processes):
            process.kill()
            process.wait()


def start(directory: Path, binaries: Path) -> ControlPlane:
    """Boot etcd and kube-apiserver (about 5 s). Raises RuntimeError with the end of a server's log when one dies."""
    etcd_port, peer_port, api_port = free_ports(3)
    authority = Authority(directory)
    server = authority.issue("kube-apiserver")
    admin = authority.issue("admin", groups=("system:masters",))
    account_key = directory / "service-accounts.key"
    write_private_key(account_key, ec.generate_private_key(ec.SECP256R1()))
    url = f"https://127.0.0.1:{api_port}"
    user = {"client-certificate": str(admin[0]), "client-key": str(admin[1])}
    kubeconfig = write_kubeconfig(directory / "admin.kubeconfig", url, authority.certificate, user)
    plane = ControlPlane(directory, url, authority.certificate, kubeconfig, [])
    try:
        plane.processes.append(spawn(directory, etcd_command(binaries, directory, etcd_port, peer_port)))
        command = apiserver_command(binaries, authority.certificate, server, account_key, etcd_port, api_port)
        plane.processes.append(spawn(directory, command))
        wait_until_ready(plane, admin)
    except BaseException:
        plane.stop()
        raise
    return plane


def etcd_command(binaries: Path, directory: Path, port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return [
        str(binaries / "etcd"),
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # nobody reads this data after the tests
    ]


def apiserver_command(
    binaries: Path, ca: Path, server: tuple[Path, Path], account_key: Path, etcd_port: int, port: int
) -> list[str]:
    return [
        str(binaries / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={server[0]}",
        f"--tls-private-key-file={server[1]}",
        f"--client-ca-file={ca}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={account_key}",
        f"--service-account-key-file={account_key}",
        # no controller makes the account "default" that this plugin would ask of every pod
        "--disable-admission-plugins=ServiceAccount",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",  # a loopback address may be no endpoint
    ]


def spawn(directory: Path, command: list[str]) -> subprocess.Popen[bytes]:
    """Start a server whose log is NAME.log, and which dies with this process, even by SIGKILL (on Linux)."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def die_with_parent() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    with (directory / f"{Path(command[0]).name}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=die_with_parent)


def wait_until_ready(plane: ControlPlane, admin: tuple[Path, Path]) -> None:
    """Ask /readyz until it says ok."""
    context = ssl.create_default_context(cafile=str(plane.ca))
    context.load_cert_chain(*admin)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    deadline = time.monotonic() + BOOT_TIMEOUT_SECONDS
    while True:
        for process in plane.processes:
            if process.poll() is not None:
                raise RuntimeError(f"exited with {process.returncode}: {log_tail(plane.directory, process)}")
        try:
            with opener.open(f"{plane.url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                log = log_tail(plane.directory, plane.processes[-1])
                raise RuntimeError(f"not ready in {BOOT_TIMEOUT_SECONDS:.0f} s ({error}): {log}") from error
        time.sleep(0.1)


def log_tail(directory: Path, process: subprocess.Popen[bytes]) -> str:
    assert isinstance(process.args, list)
    name = Path(str(process.args[0])).name
    return f"{name}\n{(directory / f'{name}.log').read_text(errors='replace')[-3000:]}"


def write_kubeconfig(path: Path, url: str, ca: Path, user: dict[str, str]) -> Path:
    """JSON is YAML."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "integration", "cluster": {"server": url, "certificate-authority": str(ca)}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "integration", "context": {"cluster": "integration", "user": "user"}}],
        "current-context": "integration",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document))
    return path


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; held together while asked for, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
