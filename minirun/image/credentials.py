"""The user's passwords for registries, where docker and podman keep them.

    $REGISTRY_AUTH_FILE, and if that is set, nothing else; or the first of these with the name:
    $XDG_RUNTIME_DIR/containers/auth.json   (/run/containers/UID/auth.json)     podman login
    $XDG_CONFIG_HOME/containers/auth.json   (~/.config/containers/auth.json)
    $DOCKER_CONFIG/config.json              (~/.docker/config.json)             docker login

All have one form: {"auths": {NAME: {"auth": base64 of "user:password"}}, "credHelpers": {HOST:
HELPER}, "credsStore": HELPER}. A NAME is a host or, in podman's files, a host and the beginning of
a path; the longest one wins. A HELPER is a program ``docker-credential-HELPER``: it reads the host
on standard input and prints {"Username": …, "Secret": …}.
"""

import base64
import json
import os
import re
from typing import Any, NamedTuple

from minirun.errors import AuthError, printable
from minirun.image.reference import DEFAULT_REGISTRY

HUB_KEY = "https://index.docker.io/v1/"  # what docker login calls Docker Hub
HUB_HOSTS = ("index.docker.io", "registry-1.docker.io")
IDENTITY_TOKEN_USER = "<token>"  # a helper's word for "the secret is an identity token"
LARGEST_FILE = 1 << 20
HELPER_SECONDS = 60


class Credential(NamedTuple):
    """A user's name and password, or an identity token (OAuth 2 calls it a refresh token)."""

    username: str
    password: str
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Credential({self.username!r}, …)"  # secrets stay out of logs and tracebacks


def lookup(name: str) -> Credential | None:
    """The credential for an image's name (``quay.io/user/app``) or a host, or None.

    Raises AuthError when a file or a helper that should know is broken: going on without a
    password would end in a puzzle.
    """
    for path in _files():
        config = _read(path)
        if config is not None and (found := _in_config(config, name, path)):
            return found
    return None


def _files() -> list[str]:
    home = os.path.expanduser("~")
    if explicit := os.environ.get("REGISTRY_AUTH_FILE"):
        if not os.path.exists(explicit):
            raise AuthError(f"{printable(explicit)} (REGISTRY_AUTH_FILE): no such file")
        return [explicit]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}"
    config = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    # With XDG_RUNTIME_DIR, podman appends "containers"; its fallback has that in the middle.
    runtime_file = "auth.json" if runtime.startswith("/run/containers/") else "containers/auth.json"
    docker = os.environ.get("DOCKER_CONFIG") or f"{home}/.docker"
    return [f"{runtime}/{runtime_file}", f"{config}/containers/auth.json", f"{docker}/config.json"]


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    try:
        config = json.loads(content) if len(content) <= LARGEST_FILE else None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise AuthError(f"{printable(path)}: not a file of credentials in JSON")
    return config


def _in_config(config: dict[str, Any], name: str, path: str) -> Credential | None:
    """Most specific first: the host's own helper, what the file holds, the general helper."""
    host = name.partition("/")[0]
    if helper := _table(config, "credHelpers").get(host):
        return _ask_helper(helper, host, path)
    keys = {_normal(key): key for key in _table(config, "auths")}
    for prefix in _prefixes(name):
        if prefix in keys and (found := _decode(config["auths"][keys[prefix]], path)):
            return found
    if helper := config.get("credsStore"):
        return _ask_helper(helper, host, path)
    return None


def _table(config: dict[str, Any], name: str) -> dict[str, Any]:
    table = config.get(name)
    return table if isinstance(table, dict) else {}


def _prefixes(name: str) -> list[str]:
    """``quay.io/user/app``, ``quay.io/user``, ``quay.io``."""
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _normal(key: str) -> str:
    """A key of ``auths`` as a name: docker's older versions wrote URLs of the registry's API."""
    name = re.sub(r"^https?://", "", key)
    name = re.sub(r"/(v[12]/?)?$", "", name)
    return DEFAULT_REGISTRY if name in HUB_HOSTS else name


def _decode(entry: Any, path: str) -> Credential | None:
    """An entry of ``auths``. An empty one says that a helper has the password."""
    if not isinstance(entry, dict):
        return None
    token = entry.get("identitytoken") or ""
    username, password = entry.get("username") or "", entry.get("password") or ""
    if auth := entry.get("auth"):
        try:
            username, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except (ValueError, TypeError):
            raise AuthError(f"{printable(path)}: an entry's 'auth' is not base64") from None
    if not all(isinstance(text, str) for text in (token, username, password)):
        raise AuthError(f"{printable(path)}: an entry of 'auths' makes no sense")
    # docker pads with NULs
    credential = Credential(username, password.rstrip("\0"), token)
    return credential if any(credential) else None


def _ask_helper(helper: Any, host: str, path: str) -> Credential | None:
    import subprocess

    if not isinstance(helper, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", helper):
        raise AuthError(f"{printable(path)}: {printable(str(helper))!r} names no credential helper")
    program = f"docker-credential-{helper}"
    server = HUB_KEY if host == DEFAULT_REGISTRY else host
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=HELPER_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise AuthError(
            f"{program}: not found, but {printable(path)} names it",
            hint=f"install it, or take it out of {printable(path)}",
        ) from None
    except subprocess.TimeoutExpired:
        raise AuthError(f"{program}: no answer within {HELPER_SECONDS} seconds") from None
    if done.returncode == 0:
        return _parse_helper(program, done.stdout)
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    if "credentials not found" in said:  # the one answer that all helpers share
        return None
    raise AuthError(f"{program} failed for {host}: {printable(said)[:200]}")


def _parse_helper(program: str, output: bytes) -> Credential | None:
    try:
        answer = json.loads(output)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        answer = username = secret = None
    if not isinstance(username, str) or not isinstance(secret, str):
        raise AuthError(f"{program}: its answer makes no sense")
    if username == IDENTITY_TOKEN_USER:
        return Credential("", "", secret)
    return Credential(username, secret) if username or secret else None
