"""How the double is reached: as a proxy that becomes whichever host of Google's is asked for, encrypted as ever."""

import ssl
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.infra.gcp.tls import Authority

# Host, verb, path, headers, body, the caller's address; status, type, body.
Answer = Callable[[str, str, str, Any, bytes, str], tuple[int, str, bytes]]


class Server(ThreadingHTTPServer):
    """Listens, and has every request answered."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], authority: Authority, answer: Answer) -> None:
        super().__init__(address, Handler)
        self.authority, self.answer = authority, answer

    @property
    def here(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        return f"{host!s}:{port}"


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP, first as a proxy and then as the host that was asked for."""

    server: Server
    protocol_version = "HTTP/1.1"
    host = "compute.googleapis.com"  # unless the client says which, by asking for a way there
    timeout = 30
    disable_nagle_algorithm = True

    def finish(self) -> None:
        """Close what `do_CONNECT` has made, too."""
        super().finish()
        self.connection.close()

    def do_CONNECT(self) -> None:
        """Become the host that the client wants to reach."""
        self.host = self.path.rsplit(":")[0]
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.rfile.close()
        plain = self.connection
        try:
            self.connection = self.server.authority.wrap(plain)
        except ssl.SSLError as error:  # it wants none of Google's, or trusts nobody here
            print(f"{self.client_address[0]} asked for {self.host}: {error}", file=sys.stderr)
            self.close_connection = True
            return
        plain.detach()
        self.request = self.connection
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self) -> None:
        """Answer a request."""
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, kind, body = self.server.answer(
            self.host, self.command, self.path, self.headers, content, self.client_address[0]
        )
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""
