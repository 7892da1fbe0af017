"""A progress server over TLS with its own CA, that answers as a test tells it to."""

import datetime
import http.server
import ipaddress
import json
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make_certificate(folder):
    """Write cert.pem (its own CA, for 127.0.0.1) and key.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "progress")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class ProgressServer:
    """Records reports. `faults` are used up one a request: a status to answer with, or a word:

    "hang", "forget" (answer without recording), "lose" (record without answering).
    """

    def __init__(self, folder):
        make_certificate(folder)
        self.ca, self.token = folder / "ca.crt", folder / "token"
        self.token.write_text("first\n")
        self.faults, self.requests, self.recorded, self.tokens = [], 0, [], []
        self.acknowledged, self.next_seconds, self.stop = 0, 0.05, False
        handler = type("Handler", (_Handler,), {"owner": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "ca.crt", folder / "key.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    owner: ProgressServer

    def do_POST(self):
        owner = self.owner
        owner.requests += 1
        report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        owner.tokens.append(self.headers["Authorization"])
        fault = owner.faults.pop(0) if owner.faults else None
        if fault == "hang":
            time.sleep(2)
            return
        if isinstance(fault, int):
            self.send_error(fault)
            return
        if fault != "forget" and report["number"] > owner.acknowledged:
            owner.acknowledged = report["number"]
            owner.recorded.append((self.path, report))
        if fault == "lose":
            self.close_connection = True
            return
        answer = {"acknowledged": owner.acknowledged, "nextSeconds": owner.next_seconds, "stop": owner.stop}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    server = ProgressServer(tmp_path)
    yield server
    server.server.shutdown()
    server.server.server_close()
