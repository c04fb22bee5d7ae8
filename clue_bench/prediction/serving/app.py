"""The HTTP interface: POST /predict, GET /models, /health, /openapi.json, a page to try it at /, and the server.

Input: a service, an address. Output: an application in which every error is JSON, {"error": …, "hint": …}, without a
traceback; a uvicorn server that ends on SIGTERM or SIGINT after finishing the current requests.
"""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from clue_bench import __version__
from clue_bench.errors import ClueBenchError
from clue_bench.page import Page, asset
from clue_bench.prediction.serving.address import name_of
from clue_bench.prediction.serving.limits import RateLimit, RefusedError, read_body
from clue_bench.prediction.serving.service import Health, Models, PredictRequest, PredictResponse, Problem, Service

IDLE_SECONDS = 5  # after which a connection without requests is closed
HEAD_SECONDS = 10.0  # that a client may take to send a request's head, after which its connection is closed
LAST_SECONDS = 3  # that current requests may take when the server ends; the others are told to come again
END_SECONDS = 4.5  # after which the process ends, with a batch in work or without
STOPPED = 130  # its exit code then, that of every verb that was stopped before its end
MAX_HEADER_BYTES = 2**14
REFUSALS = {
    400: "not JSON",
    404: "no such model",
    408: "the body came too slowly",
    413: "the body is too large",
    421: "the Host is another server's",
    422: "the JSON is not a request, or a text is not what the model takes",
    429: "too many requests of one client",
    500: "the model failed",
    503: "too much is waiting already",
}


def make_app(
    service: Service, *, on_ready: Callable[[], None] = lambda: None, hosts: frozenset[str] | None = None
) -> FastAPI:
    """Make the application; `on_ready` is called once the models have run. `hosts` are its names, None for any."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        on_ready()
        yield
        await service.close()

    # FastAPI's own pages at /docs load scripts from elsewhere.
    app = FastAPI(
        title="clue-bench",
        summary="Predictions of fine-tuned models. 中文分类模型在线预测。",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    if hosts is not None:
        app.add_middleware(_OnlyHosts, hosts=hosts)
    _add_errors(app)
    _add_pages(app, service)
    _add_predict(app, service)
    return app


class _OnlyHosts:
    """Refuse requests to other hosts: a web page whose name was made to point to this machine must not ask us."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host", "") if scope["type"] == "http" else ""
        if scope["type"] == "http" and name_of(host) not in self._hosts:
            known = " or ".join(sorted(self._hosts))
            hint = f"ask http://{known}, or start the server with --allow-host NAME"
            response = _problem(421, f"the Host is '{host[:100]}', expected {known}", hint, {})
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> Response:
        return _problem(error.status, error.error, error.hint, error.headers)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path[:100]}: {str(error.detail).lower()}"
        return _problem(error.status_code, message, "GET /openapi.json says what there is", dict(error.headers or {}))

    @app.exception_handler(Exception)  # logged by the server, with its traceback
    async def bug(_: Request, __: Exception) -> Response:
        return _problem(500, "a bug in clue-bench", "please report it with the lines in the server's log", {})


def _problem(status: int, error: str, hint: str, headers: dict[str, str]) -> Response:
    return JSONResponse(Problem(error=error, hint=hint).model_dump(), status_code=status, headers=headers)


def _add_pages(app: FastAPI, service: Service) -> None:
    style, script, body = (asset(__package__, f"page.{kind}") for kind in ("css", "js", "html"))
    page = Page("clue-bench · 在线预测 Predict", body, style=style, script=script, asks_server=True)
    headers = {
        "Content-Security-Policy": f"{page.policy}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(page.html, headers=headers)

    @app.get("/models", summary="What is served, and what a request may hold")
    async def models() -> Models:
        return service.models()

    @app.get("/health", summary="Whether the server works, and how much there is to do")
    async def health() -> Health:
        return service.health()


def _add_predict(app: FastAPI, service: Service) -> None:
    rate = RateLimit(service.limits.rate)
    max_requests, num_requests = service.limits.max_requests, 0

    @contextmanager
    def counted() -> Iterator[None]:
        """Count a request while the block runs. Raises RefusedError (503) if there are too many."""
        nonlocal num_requests
        if num_requests >= max_requests:
            headers = {"Retry-After": "1", "Connection": "close"}
            raise RefusedError(503, f"{max_requests:,} requests are being handled already", "try again", headers)
        num_requests += 1
        try:
            yield
        finally:
            num_requests -= 1

    # The body is read and parsed here rather than by FastAPI: limited, with a timeout, and strictly.
    @app.post(
        "/predict",
        summary="Predict labels of rows of texts",
        response_model=PredictResponse,
        responses={status: {"model": Problem, "description": text} for status, text in REFUSALS.items()},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": PredictRequest.model_json_schema()}},
            }
        },
    )
    async def predict(request: Request) -> Response:
        with counted():
            limit = service.limits.max_body_bytes
            client = request.client.host if request.client else ""
            try:
                rate.take(client)
            except RefusedError:
                await read_body(request, limit=limit)  # or the client may not get to see the answer
                raise
            try:
                body = await read_body(request, limit=limit)
                response = await _unless_gone(request, service.predict(body))
            except asyncio.CancelledError as error:  # LAST_SECONDS are over
                headers = {"Retry-After": "5", "Connection": "close"}
                raise RefusedError(503, "the server is stopping", "try again", headers) from error
            return Response(response.model_dump_json(exclude_none=True), media_type="application/json")


async def _unless_gone(request: Request, work: Any) -> PredictResponse:
    """Return the result of `work`, or cancel it when the client has closed the connection."""
    job = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({job, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            raise RefusedError(400, "the client went away", "")
        response: PredictResponse = job.result()
        return response
    finally:
        job.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Connection(H11Protocol):
    """A connection that is closed where its client takes too long to send a request's head, byte by byte, say."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._expect_head()

    def on_response_complete(self) -> None:
        self._expect_head()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()

    def _expect_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = self.loop.call_later(HEAD_SECONDS, self._close_without_head, self.cycle)

    def _close_without_head(self, before: object) -> None:
        if self.cycle is before:
            self.transport.close()


class _Server(uvicorn.Server):
    """A server that ends soon after a signal, whatever is in work: a batch at hand may take longer than one waits."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        last = threading.Timer(END_SECONDS, os._exit, [STOPPED])
        last.daemon = True
        last.start()


def make_server(app: FastAPI) -> uvicorn.Server:
    """Make a server for `app`. It logs only errors, through `logging`, and ignores forwarded addresses."""
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=_Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=LAST_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )
    return _Server(config)


def serve(app: FastAPI, bound: socket.socket) -> None:
    """Serve until a signal ends it. Raises ClueBenchError if the application does not start."""
    if threading.current_thread() is threading.main_thread():
        # uvicorn raises the signal again when it is done, which is no longer needed.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
    server = make_server(app)
    server.run(sockets=[bound])
    if not server.started:
        raise ClueBenchError("the server did not start", "read the lines above, which say why")
