"""Who may ask the server: this computer's browser, on the page that the server itself gave out.

A page of another site that is open in the same browser can send requests to 127.0.0.1 as well, and
with a name of its own that it lets point there (DNS rebinding) it could read the answers. So each
request must name this server as its host, and one that changes something must come from the page.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

READS = ("GET", "HEAD", "OPTIONS")
REFUSED = b"This page answers its own browser window on this computer only.\n"


def forget_proxies() -> None:
    """Nothing is asked of the internet, and the server must not ask itself through a proxy.

    Call it before gradio is imported, which reads the environment then.
    """
    for name in list(os.environ):
        if name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            del os.environ[name]


def look_nothing_up() -> None:
    """An address that a request gives in place of a file is never fetched."""
    import safehttpx
    from gradio import processing_utils

    async def refuse(*_: object, **__: object) -> Any:
        raise ValueError("addresses are not fetched: upload the file itself")

    def refuse_at_once(*_: object, **__: object) -> Any:
        raise ValueError("addresses are not fetched: upload the file itself")

    safehttpx.get = refuse
    processing_utils.unsafe_download = refuse_at_once


class OwnPageOnly:
    """ASGI middleware that refuses requests of other sites with status 403.

    Args:
        app: to protect.
        port: on which it is served.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], port: int) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in ("http", "websocket") or self.allows(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": REFUSED})

    def allows(self, scope: Scope) -> bool:
        """Whether the host is this server, and the origin its page where something may change."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if headers.get(b"host") not in self.hosts:
            return False
        if "file=http" in scope["path"].lower():  # Gradio would fetch it
            return False
        origin = headers.get(b"origin")
        same_host = origin is not None and origin.removeprefix("http://") in self.hosts
        if scope["type"] == "http" and scope["method"] in READS:
            return origin is None or same_host
        return same_host
