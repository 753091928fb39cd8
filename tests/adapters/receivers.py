"""Receivers of notifications on this machine: a webhook and a mail server, each in a thread."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "T0KEN-0f-ours"
"""Part of each address; it must be nowhere but there."""


@dataclass
class Webhook:
    """What was posted to it.

    Attributes:
        port: Where it listens on loopback.
        status: What it answers.
        bodies: What it took, with status 200.
        paths: Paths of all that was posted.
    """

    port: int = 0
    status: int = 200
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its Apprise URL, with the secret in its path and as a password."""
        return f"json://user:{SECRET}@127.0.0.1:{self.port}/{SECRET}"

    @property
    def titles(self) -> list[str]:
        """Titles of what it took."""
        return [body["title"] for body in self.bodies]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A webhook that takes JSON."""
    got = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            got.paths.append(self.path)
            if got.status == 200:
                got.bodies.append(json.loads(content))
            self.send_response(got.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with _served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        got.port = port
        yield got


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    """A mail server without encryption; its port, and the messages that it took."""
    taken: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 here")
            while line := self.rfile.readline():
                word = line.decode().strip().upper()
                if word == "DATA":
                    self._say("354 go on")
                    taken.append(self._message())
                    self._say("250 taken")
                elif word == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 fine")

        def _message(self) -> str:
            lines: list[str] = []
            while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                lines.append(line)
            return "\n".join(lines)

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    with _served(server) as port:
        yield port, taken


@contextmanager
def _served(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
