"""A guest book: a web application whose notes lie in Redis, on whatever machine $REDIS names.

    GET /          the notes, a line each
    POST /         the body is a new note
    GET /health    200 as long as this program runs, whatever the state of Redis

Nothing but Python's own library; Redis's protocol is simple enough to be spoken by hand
(https://redis.io/docs/reference/protocol-spec).
"""

import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST, _, PORT = os.environ.get("REDIS", "localhost:6379").partition(":")
KEY = "notes"


def redis(*words: bytes) -> list[bytes] | bytes:
    """One command, one answer, one connection."""
    with socket.create_connection((HOST, int(PORT or 6379)), timeout=2) as connection:
        parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        connection.sendall(b"*%d\r\n%b" % (len(words), parts))
        with connection.makefile("rb") as answer:
            return read(answer)


def read(answer) -> list[bytes] | bytes:
    line = answer.readline().rstrip()
    if line[:1] == b"*":
        return [read(answer) for _ in range(int(line[1:]))]
    if line[:1] == b"$":
        return answer.read(int(line[1:]) + 2)[:-2]
    if line[:1] in (b"+", b":"):
        return line[1:]
    raise OSError(line.decode() or "Redis has hung up")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/health":
            self.reply(200, b"ok\n")
        else:
            self.ask(b"LRANGE", KEY.encode(), b"0", b"-1")

    def do_POST(self) -> None:
        note = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.ask(b"RPUSH", KEY.encode(), note)

    def ask(self, *words: bytes) -> None:
        try:
            answer = redis(*words)
        except OSError as error:
            self.reply(503, f"no notes just now: {error}\n".encode())
            return
        lines = answer if isinstance(answer, list) else [answer]
        self.reply(200, b"".join(line + b"\n" for line in lines))

    def reply(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 80), Handler).serve_forever()
