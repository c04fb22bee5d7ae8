"""Download one file over HTTP, completely or not at all.

Input: a URL and how long to wait. Output: the file and its md5, or `NotServed` with the reason in a few words. Proxy
variables (HTTPS_PROXY, NO_PROXY, …) and certificates are `requests`' business and stay as it has them.

What may pass (5xx, 408, 429, silence, a connection that breaks, fewer bytes than announced) is tried again a few times;
what will not (403, 404, a host that cannot be connected to, a certificate that is not trusted) is not.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests
from urllib3.exceptions import NameResolutionError, ReadTimeoutError

from clue_bench import __version__

CHUNK_BYTES = 2**14
MAX_BYTES = 2**30  # CLUE's largest archives are below 2**27; a server that never ends must not fill the disk
_TRY_AGAIN_LATER = (408, 429)

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here and the bytes announced, None if the server does not say."""


class NotServed(Exception):  # noqa: N818  a source that has no data is an answer, not a mistake
    """This source does not serve the file. `reason` is a few words; `may_pass` says whether trying again can help."""

    def __init__(self, reason: str, *, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_pass = may_pass


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server. `read_seconds` is the longest silence between two pieces of an answer."""

    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    attempts: int = 3
    pause_seconds: float = 1.0  # before the second attempt; twice that before the third


def download(url: str, to: Path, *, patience: Patience, progress: Progress) -> str:
    """Write what `url` serves to `to` and return its md5. Raises NotServed; OSError if `to` cannot be written."""
    for attempt in range(1, patience.attempts + 1):
        try:
            return _attempt(url, to, patience=patience, progress=progress)
        except NotServed as failure:
            if not failure.may_pass:
                raise
            if attempt == patience.attempts:
                raise NotServed(f"{failure.reason}, {attempt} times") from failure
        time.sleep(patience.pause_seconds * 2 ** (attempt - 1))
    raise NotServed("no attempt was allowed")


def reach(url: str, *, patience: Patience) -> None:
    """Return if a server answers at `url`, whatever it answers. Raises NotServed."""
    with _reasons(patience):
        requests.head(url, timeout=(patience.connect_seconds, patience.read_seconds)).close()


def shown(url: str) -> str:
    """Return `url` without user name, password and query, which may be secret."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _attempt(url: str, to: Path, *, patience: Patience, progress: Progress) -> str:
    # "identity": Content-Length then counts the bytes that are written.
    headers = {"User-Agent": f"clue-bench/{__version__}", "Accept-Encoding": "identity"}
    timeout = (patience.connect_seconds, patience.read_seconds)
    md5, done, total = hashlib.md5(usedforsecurity=False), 0, None
    with _reasons(patience), requests.get(url, stream=True, timeout=timeout, headers=headers) as response:
        status = response.status_code
        if status != requests.codes.ok:
            may_pass = status >= 500 or status in _TRY_AGAIN_LATER
            raise NotServed(f"{status} {response.reason or ''}".rstrip(), may_pass=may_pass)
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and "Content-Encoding" not in response.headers:
            total = int(length)
        with to.open("wb") as file:
            try:
                for chunk in response.iter_content(CHUNK_BYTES):
                    done += len(chunk)
                    if done > MAX_BYTES:
                        raise NotServed(f"more than {MAX_BYTES:,} bytes")
                    file.write(chunk)
                    md5.update(chunk)
                    progress(done, total)
            except requests.exceptions.ChunkedEncodingError as error:  # closed early
                raise NotServed(_cut_short(max(done, response.raw.tell()), total), may_pass=True) from error
    if total is not None and done != total:
        raise NotServed(_cut_short(done, total), may_pass=True)
    return md5.hexdigest()


def _cut_short(done: int, total: int | None) -> str:
    announced = f"of {total:,} bytes" if total is not None else "bytes, then the connection broke"
    return f"cut short: {done:,} {announced}"


@contextmanager
def _reasons(patience: Patience) -> Iterator[None]:
    """Turn the exceptions of `requests` into NotServed."""
    silent = f"silent for {patience.read_seconds:g} s"
    try:
        yield
    except requests.exceptions.ConnectTimeout as error:
        # The system has repeated its packets all that time: one more attempt would only double the wait.
        raise NotServed(f"no answer within {patience.connect_seconds:g} s") from error
    except requests.exceptions.ReadTimeout as error:
        raise NotServed(silent, may_pass=True) from error
    except requests.exceptions.ProxyError as error:
        raise NotServed(f"the proxy fails: {_cause(error)}") from error
    except requests.exceptions.SSLError as error:
        raise NotServed(f"no safe connection: {_cause(error)}") from error
    except requests.exceptions.ConnectionError as error:
        cause = error.args[0] if error.args else None
        if isinstance(cause, ReadTimeoutError):  # in the middle of the body, requests calls it a ConnectionError
            raise NotServed(silent, may_pass=True) from error
        reason = getattr(cause, "reason", None)
        if isinstance(reason, NameResolutionError):
            raise NotServed("host not found") from error
        if reason is not None:
            raise NotServed(f"no connection: {_cause(error)}") from error
        raise NotServed("the connection broke", may_pass=True) from error
    except requests.exceptions.RequestException as error:
        raise NotServed(_cause(error)) from error


def _cause(error: requests.exceptions.RequestException) -> str:
    """Return the innermost reason, without the names of classes around it."""
    cause = error.args[0] if error.args else error
    text = str(getattr(cause, "reason", None) or cause)
    return text.splitlines()[0].rpartition(": ")[2].strip("()'\" ") if text else type(error).__name__
