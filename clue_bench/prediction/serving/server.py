"""A uvicorn server on a socket of ours.

Input: an application, an address. Output: a server that ends on SIGTERM or SIGINT once the requests in work are done.
"""

import errno
import signal
import socket
import threading

import uvicorn
from fastapi import FastAPI

from clue_bench.errors import ClueBenchError

BACKLOG = 2048  # connections that the system keeps for us
IDLE_SECONDS = 5  # after which a connection without requests is closed
LAST_SECONDS = 30  # that requests in work may take when the server is to end
MOST_HEADER_BYTES = 2**14


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises ClueBenchError if that is not possible."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ClueBenchError(f"--host {host}: {error.strerror or error}", "--host 127.0.0.1") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else a port rests a minute after a server
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise ClueBenchError(
                f"{host}:{port}: another program listens there", f"--port {port + 1}, or --port 0 for a free one"
            ) from error
        raise ClueBenchError(f"{host}:{port}: {error.strerror}", "--host 127.0.0.1 --port 8000") from error
    return bound


def url_of(bound: socket.socket) -> str:
    """Return what to type into a browser on this machine."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def make_server(app: FastAPI) -> uvicorn.Server:
    """Return a server for `app`. It logs errors only, through `logging`, and believes no forwarded addresses."""
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=LAST_SECONDS,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
    )
    return uvicorn.Server(config)


def serve(app: FastAPI, bound: socket.socket) -> None:
    """Serve until a signal asks to end. Raises ClueBenchError if the application does not start."""
    if threading.current_thread() is threading.main_thread():
        # uvicorn raises the signal again when it is done; by then it has been obeyed.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
    server = make_server(app)
    server.run(sockets=[bound])
    if not server.started:
        raise ClueBenchError("the server did not start", "the lines above say why")
