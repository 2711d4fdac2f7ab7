"""A web server on loopback that misbehaves on demand."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


@dataclass
class Site:
    """Files by path; `faults[path]` is what goes wrong with the next requests: cut, stall, 500, no range."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    closing: Event = field(default_factory=Event)
    url: str = ""

    def serve(self, path: str, content: bytes, *faults: str) -> str:
        self.files[path] = content
        self.faults[path] = list(faults)
        return f"{self.url}{path}"

    def ranges(self, path: str) -> list[str | None]:
        return [wanted for asked, wanted in self.requests if asked == path]


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            site.requests.append((path, wanted := self.headers.get("Range")))
            faults = site.faults.get(path, [])
            fault = faults.pop(0) if faults else ""
            if path not in site.files or fault == "500":
                self.send_error(500 if fault else 404)
                return
            content = site.files[path]
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and fault != "no range" else 0
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            rest = content[start:]
            self.wfile.write(rest[: len(rest) // 2] if fault in ("cut", "stall") else rest)
            if fault == "stall":
                self.wfile.flush()
                site.closing.wait(10)

        def log_message(self, *args: object) -> None:
            """Tests are silent."""

    return Handler


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        site.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
