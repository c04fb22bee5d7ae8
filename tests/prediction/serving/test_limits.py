"""Limits: consistent, generous enough for every request they allow, and kept."""

import asyncio
import json

import pytest
from starlette.requests import Request

from clue_bench.errors import ClueBenchError
from clue_bench.prediction.serving import limits
from clue_bench.prediction.serving.limits import Limits, RateLimit, RefusedError, read_body


def test_a_client_may_burst_then_waits_and_others_do_not():
    now = 0.0
    rate = RateLimit(2, clock=lambda: now)
    rate.take("a")
    rate.take("a")
    with pytest.raises(RefusedError) as refused:
        rate.take("a")
    assert refused.value.status == 429
    assert refused.value.headers == {"Retry-After": "30"}
    rate.take("b")
    now = 29.0
    with pytest.raises(RefusedError) as refused:
        rate.take("a")
    assert refused.value.headers == {"Retry-After": "1"}
    now = 30.0
    rate.take("a")


def test_rest_does_not_save_up_more_than_a_minute():
    now = 0.0
    rate = RateLimit(3, clock=lambda: now)
    rate.take("a")
    now = 10_000.0
    for _ in range(3):
        rate.take("a")
    with pytest.raises(RefusedError):
        rate.take("a")


def test_no_rate_is_no_limit():
    rate = RateLimit(0)
    for _ in range(10_000):
        rate.take("a")


def test_the_number_of_remembered_clients_is_bounded(monkeypatch):
    monkeypatch.setattr(limits, "MOST_CLIENTS", 2)
    rate = RateLimit(1, clock=lambda: 0.0)
    for client in "abc":
        rate.take(client)
    rate.take("a")  # forgotten, and new again
    with pytest.raises(RefusedError):
        rate.take("c")


def test_the_longest_request_that_the_limits_allow_fits_the_body():
    allowed = Limits(max_texts=3, max_text_chars=50)
    text = "😀" * 50
    body = json.dumps({"model": "m" * 200, "texts": [[text, text]] * 3, "top": 100})  # escaped: 12 bytes a character
    assert len(body) <= allowed.max_body_bytes


@pytest.mark.parametrize("asked", [{"max_texts": 9}, {"max_batch": 9}])
def test_limits_that_contradict_each_other_are_refused(asked):
    with pytest.raises(ClueBenchError, match="--max-queue 8: ") as refused:
        Limits(**{"max_texts": 4, "max_batch": 4, "max_queue": 8, **asked})
    assert refused.value.hint == "give --max-queue 9 or more"


def request_of(receive, **headers):
    listed = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": listed}, receive)


def chunks_of(*chunks):
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        return messages.pop(0)

    return receive, messages


def test_chunks_make_a_body():
    receive, _ = chunks_of(b"ab", b"", b"c")
    assert asyncio.run(read_body(request_of(receive), limit=3)) == b"abc"


def test_a_body_that_comes_too_slowly_is_refused():
    async def receive():
        await asyncio.Event().wait()

    with pytest.raises(RefusedError) as refused:
        asyncio.run(read_body(request_of(receive), limit=3, seconds=0.01))
    assert refused.value.status == 408


@pytest.mark.parametrize(("count", "left"), [(4, 0), (100, 94)], ids=["a little", "much"])
def test_of_a_body_that_is_too_large_only_as_much_again_is_read(count, left):
    receive, messages = chunks_of(*[b"x"] * count)
    with pytest.raises(RefusedError) as refused:
        asyncio.run(read_body(request_of(receive), limit=3))
    assert refused.value.status == 413
    assert len(messages) == left


def test_a_client_that_asks_first_sends_nothing():
    async def receive():
        raise AssertionError("asked to send")

    headers = {"content_length": "4", "expect": "100-continue"}
    with pytest.raises(RefusedError) as refused:
        asyncio.run(read_body(request_of(receive, **headers), limit=3))
    assert refused.value.status == 413
