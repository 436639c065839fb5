"""A network of our own: a proxy that serves the pages of one host, and refuses and writes down all else."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOST = "page.invalid"
BROWSERS = ("mozilla.com", "mozilla.org", "mozilla.net", "firefox.com", "google.com", "googleapis.com", "gstatic.com")
Answer = tuple[str, bytes]  # type of the content, content
Responder = Callable[
    [str, bytes], Answer | None
]  # path and body of a request -> answer, or None: there is no such page


class OwnedNetwork:
    """A proxy on 127.0.0.1. ``answer`` is what the host serves; ``asked`` are all other addresses."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.errors: list[str] = []  # of ``answer``
        self.own: list[str] = []  # what the browser asks for by itself; it is refused too
        self.answer: Responder = lambda path, body: None
        network = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"  # each connection is closed: none is waited for

            def do_GET(self) -> None:
                address = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    answer = network.answer(address.path, body) if address.hostname == HOST else None
                except Exception as error:
                    answer = None
                    network.errors.append(f"{address.path}: {error!r}")
                host = address.hostname or self.path.split(":")[0]
                if host != HOST or (answer is None and address.path != "/favicon.ico"):
                    (network.own if host.endswith(BROWSERS) else network.asked).append(self.path)
                kind, content = answer or ("text/plain", b"")
                self.send_response(200 if answer else 403 if address.hostname != HOST else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_CONNECT = do_HEAD = do_OPTIONS = do_PUT = do_GET

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # a page of hundreds of images asks at once

            def handle_error(self, *args: object) -> None:
                """A page that is closed breaks off what it asked for."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
