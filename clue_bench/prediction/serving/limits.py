"""Limits on what clients may request.

Input: the limits, requests. Output: a request's body, or a `RefusedError` that names the exceeded limit.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request

from clue_bench.errors import ClueBenchError

MOST_CLIENTS = 10_000  # whose rates are remembered; the least recently seen is forgotten
BYTES_PER_CHARACTER = 12  # in JSON at most: two \uXXXX
PUNCTUATION = 4096  # bytes of JSON besides the texts' characters, with room for blanks
BODY_SECONDS = 10.0  # that a client may take to send its body


@dataclass(frozen=True)
class Limits:
    """The limits of one server. A row is one or two texts."""

    max_batch: int = 32  # rows that the model sees at once
    max_wait_ms: float = 5.0  # that a row waits for others
    max_texts: int = 64  # rows of a request
    max_text_chars: int = 2_000  # of one text
    max_queue: int = 1_024  # rows that wait for a model
    max_requests: int = 512  # that are handled at once
    rate: int = 600  # requests a minute of one client, as many at once; 0: no limit

    def __post_init__(self) -> None:
        """Refuse limits that contradict each other."""
        if self.max_queue < max(self.max_texts, self.max_batch):
            raise ClueBenchError(
                f"--max-queue {self.max_queue}: less than a request or a batch may hold, "
                f"{max(self.max_texts, self.max_batch)} rows",
                f"give --max-queue {max(self.max_texts, self.max_batch)} or more",
            )

    @property
    def max_body_bytes(self) -> int:
        """Return the largest body; every request within the other limits fits."""
        return self.max_texts * (2 * self.max_text_chars * BYTES_PER_CHARACTER + 16) + PUNCTUATION


@dataclass
class RefusedError(Exception):
    """A request that gets no predictions. `headers` are sent with the status."""

    status: int
    error: str
    hint: str
    headers: dict[str, str] = field(default_factory=dict)


class RateLimit:
    """A bucket of `per_minute` tokens for every client, refilled within a minute."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when

    def take(self, client: str) -> None:
        """Take a token from the client's bucket. Raises RefusedError (429) if it is empty."""
        if not self._per_minute:
            return
        now = self._clock()
        tokens, before = self._buckets.pop(client, (float(self._per_minute), now))
        tokens = min(self._per_minute, tokens + (now - before) * self._per_minute / 60)
        self._buckets[client] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        if tokens < 1:
            seconds = math.ceil((1 - tokens) * 60 / self._per_minute)
            raise RefusedError(
                429,
                f"more than {self._per_minute} requests a minute",
                f"send several texts in a request, or try again in {seconds} s",
                {"Retry-After": str(seconds)},
            )


async def read_body(request: Request, *, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """Read a request's body, chunked or not. Raises RefusedError: 413 beyond `limit` bytes, 408 beyond `seconds`.

    If a body is too large, the same amount again is read and thrown away, since a client that is still sending when the
    connection closes does not see the answer.
    """
    chunks: list[bytes] = []
    size = 0
    declared = request.headers.get("content-length", "")
    is_large = declared.isdecimal() and int(declared) > limit
    waits = request.headers.get("expect", "").lower() == "100-continue"
    try:
        async with asyncio.timeout(seconds):
            if not (is_large and waits):
                async for chunk in request.stream():
                    size += len(chunk)
                    is_large = is_large or size > limit
                    if size > 2 * limit:
                        break
                    if is_large:
                        chunks.clear()
                    else:
                        chunks.append(chunk)
    except TimeoutError as error:
        raise RefusedError(
            408, f"the body took more than {seconds:g} s", "send it at once", {"Connection": "close"}
        ) from error
    except ClientDisconnect as error:
        raise RefusedError(400, "the client went away", "") from error
    if is_large:
        raise RefusedError(
            413,
            f"the body has more than {limit:,} bytes",
            "send fewer or shorter texts in a request",
            {"Connection": "close"},
        )
    return b"".join(chunks)
