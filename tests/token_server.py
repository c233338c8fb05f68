"""A token server as docker-registry trusts: ``GET /token?service=…&scope=…`` and the OAuth2 POST.

One user may do everything; anyone may pull ``public/…``. It runs in a thread of the tests and keeps
what it was asked, so that a test can say which credentials came here, and how often.
Protocol: the "token" and "oauth" pages of the Distribution registry's documentation.
"""

import base64
import json
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ISSUER, SERVICE = "tests-issuer", "tests-registry"


@dataclass
class TokenServer:
    directory: Path
    user: str
    password: str
    port: int = 0
    lifetime: int = 300                                        # seconds a token is good for
    asked: list[dict[str, str]] = field(default_factory=list)  # method, path, user of each request

    @property
    def registry_settings(self) -> dict[str, str]:
        """docker-registry's ``auth: token:`` section."""
        return {"realm": f"http://127.0.0.1:{self.port}/token", "service": SERVICE,
                "issuer": ISSUER, "rootcertbundle": str(self.directory / "token.crt")}

    def token(self, user: str, scopes: list[str]) -> str:
        """A signed JSON Web Token with those of the wanted actions that ``user`` may do."""
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": user, "aud": SERVICE, "jti": uuid.uuid4().hex,
                  "iat": now, "nbf": now - 5, "exp": now + self.lifetime,
                  "access": [access for scope in scopes if (access := granted(user, scope))]}
        return self.sign(claims)

    def sign(self, claims: dict) -> str:
        pem = (self.directory / "token.crt").read_text().splitlines()
        header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(pem[1:-1])]}
        message = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
        key = str(self.directory / "token.key")
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], check=True,
                                   input=message.encode(), capture_output=True).stdout
        return f"{message}.{encode(signature)}"


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def granted(user: str, scope: str) -> dict | None:
    """``repository:public/busybox:pull,push`` as the actions allowed of it; None: nothing is."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    wanted = actions.split(",")
    if not user:
        wanted = [a for a in wanted if a == "pull" and name.startswith("public/")]
    return {"type": kind, "name": name, "actions": wanted} if wanted else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    tokens: TokenServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        user, good = self.basic_user()
        self.tokens.asked.append({"method": "GET", "path": self.path, "user": user})
        if not good:
            self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]})
        else:
            self.answer(200, self.grant(user, parse_qs(url.query)))

    def do_POST(self) -> None:
        query = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        user = query.get("username", [""])[0]
        good = query.get("password") == [self.tokens.password] and user == self.tokens.user
        refresh = query.get("refresh_token", [""])[0]
        if refresh == f"refresh-{self.tokens.user}":
            user, good = self.tokens.user, True
        self.tokens.asked.append({"method": "POST", "path": self.path, "user": user})
        if not good:
            self.answer(401, {"error": "invalid_grant"})
        else:
            self.answer(200, {**self.grant(user, query), "refresh_token": f"refresh-{user}"})

    def basic_user(self) -> tuple[str, bool]:
        """Who asks (nobody is ""), and whether the password fits."""
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return "", True
        user, _, password = base64.b64decode(value).decode().partition(":")
        return user, (user, password) == (self.tokens.user, self.tokens.password)

    def grant(self, user: str, query: dict[str, list[str]]) -> dict:
        scopes = [scope for value in query.get("scope", []) for scope in value.split()]
        token = self.tokens.token(user, scopes)
        return {"token": token, "access_token": token, "expires_in": self.tokens.lifetime}

    def answer(self, status: int, document: dict) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def token_server(directory: Path, user: str, password: str) -> Iterator[TokenServer]:
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650",
                    "-subj", "/CN=token signer", "-keyout", directory / "token.key",
                    "-out", directory / "token.crt"], check=True, capture_output=True)
    tokens = TokenServer(directory, user, password)
    handler = type("TokenHandler", (Handler,), {"tokens": tokens})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        tokens.port = server.server_port
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield tokens
        finally:
            server.shutdown()
