"""Posts reports as rank 0 does, over TLS, to a server that is known here only by its port."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import Any

from headway_api import names


def post_report(port: int, host: str, ca: str, token: str, report: Any) -> tuple[int, Any]:
    """Return status and decoded body (None for one that is not JSON). `host` is checked against the certificate."""
    context = ssl.create_default_context(cadata=ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by default
    connection = http.client.HTTPSConnection(host, port, timeout=10)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        connection.sock = context.wrap_socket(raw, server_hostname=host)
        body = report if isinstance(report, bytes) else json.dumps(report).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", names.PROGRESS_PATH, body=body, headers=headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
    try:
        return response.status, json.loads(text)
    except ValueError:
        return response.status, None
