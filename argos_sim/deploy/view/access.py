"""Who may look on and who may stop the arm: a token, and the names by which the machine may be called.

On the loopback interface everybody on this machine may look; the page itself carries the token with which it stops the
arm, so that a page from elsewhere cannot. On any other interface nothing is shown without the token.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

TOKEN_VARIABLE = "ARGOS_VIEW_TOKEN"
SHORTEST = 16
"""Characters of a token that somebody chose."""
PORT = 8765


@dataclass(frozen=True)
class ViewSettings:
    """Where the browser's view is served."""

    port: int = PORT
    """0 lets the system choose a free one."""
    host: str = "127.0.0.1"
    """Address of the interface."""
    token: str = field(default="", repr=False)
    """An empty one is drawn at random where one is needed."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise ValueError(f"The view's port {self.port} is none: 0 to 65535 are.")
        if self.token and (len(self.token) < SHORTEST or not self.token.isascii() or not self.token.isprintable()):
            raise ValueError(f"A token of the view has at least {SHORTEST} ASCII characters, none of them a control.")


class Access:
    """Judges requests.

    Attributes:
        token: what a request must know that changes something, or any where ``public``.
        public: whether others than this machine reach the view, or the token was chosen: then looking wants it, too.
        drawn: whether the token was drawn here, and must be told to whoever started it.
    """

    def __init__(self, settings: ViewSettings) -> None:
        self.drawn = not settings.token
        self.token = settings.token or secrets.token_urlsafe(24)
        self.public = not is_loopback(settings.host) or not self.drawn
        self._local = is_loopback(settings.host)
        self._names = {"localhost", settings.host.lower()} | (set() if self._local else {socket.gethostname().lower()})

    def knows(self, token: str | None) -> bool:
        """Whether this is the token; takes as long for any other."""
        return hmac.compare_digest((token or "").encode(errors="replace"), self.token.encode())

    def is_ours(self, host: str | None) -> bool:
        """Whether a Host header names this machine. A name that a stranger owns and turned to this address (DNS
        rebinding) is none of its names; an address is nobody's name."""
        name = _hostname(host or "")
        return name in self._names or (is_loopback(name) if self._local else _is_address(name))

    def same_origin(self, origin: str | None, host: str | None) -> bool:
        """Whether a request comes from this page, as far as the browser says where it comes from."""
        return origin is None or origin.lower() == f"http://{(host or '').lower()}"


def read_token(path: Path | None) -> str:
    """The token from a file, or else from the environment's ``ARGOS_VIEW_TOKEN``, or else none.

    Raises:
        ValueError: the file cannot be read.
    """
    if path is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The token's file {path} cannot be read ({type(error).__name__}).") from None
    if not token:
        raise ValueError(f"The token's file {path} is empty.")
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _hostname(host: str) -> str:
    """The name in ``name``, ``name:port`` or ``[address]:port``."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
