"""The address of a server: its socket, its URL, and the names that clients may call it by; torch is not needed."""

import errno
import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from clue_bench.errors import ClueBenchError

BACKLOG = 2048  # connections that the system keeps for us


def name_of(host: str) -> str | None:
    """Return the name in a Host header, without the port; None if there is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def hosts_of(bound: socket.socket, host: str, allowed: Iterable[str] = ()) -> frozenset[str] | None:
    """Return the names that clients may call a server by: its own and those of `allowed`.

    None, which means any, for a server that others reach and that nobody gave names.
    Raises ClueBenchError for a name that is none.
    """
    names = {name_of(each) for each in allowed}
    if None in names:
        raise ClueBenchError(f"--allow-host {', '.join(allowed)}: no name of a host", "give a name like models.example")
    if not names and not ipaddress.ip_address(bound.getsockname()[0]).is_loopback:
        return None
    return frozenset({*filter(None, names), host.lower(), "localhost", "127.0.0.1", "::1"})


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 picks a free one. Raises ClueBenchError if that is not possible."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ClueBenchError(f"--host {host}: {error.strerror or error}", "give --host 127.0.0.1") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # else a port stays blocked for a minute after a server ends
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise ClueBenchError(
                f"{host}:{port}: another program listens there", f"give --port {port + 1}, or --port 0 for a free one"
            ) from error
        raise ClueBenchError(f"{host}:{port}: {error.strerror}", "give --host 127.0.0.1 --port 8000") from error
    return bound


def url_of(bound: socket.socket) -> str:
    """Return the URL for a browser on this machine."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
