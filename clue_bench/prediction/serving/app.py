"""The HTTP interface: POST /predict, GET /models, /health, /openapi.json, and a page to try it at /.

Input: a service. Output: an ASGI application. Every error is JSON, {"error": …, "hint": …}; none holds a traceback.
"""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from clue_bench import __version__
from clue_bench.prediction.serving.limits import RateLimit, RefusedError, read_body
from clue_bench.prediction.serving.schema import Health, Models, PredictRequest, PredictResponse, Problem
from clue_bench.prediction.serving.service import Service

PAGE = Path(__file__).with_name("page.html")
REFUSALS = {
    400: "not JSON",
    404: "no such model",
    408: "the body came too slowly",
    413: "the body is too large",
    422: "the JSON is not a request, or a text is not what the model takes",
    429: "too many requests of one client",
    500: "the model failed",
    503: "too much is waiting already",
}


def make_app(service: Service, *, on_ready: Callable[[], None] = lambda: None) -> FastAPI:
    """Return the application; `on_ready` is called once the models have run."""

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
    _add_errors(app)
    _add_pages(app, service)
    _add_predict(app, service)
    return app


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
        return _problem(500, "a bug of clue-bench", "please report it with the lines in the server's log", {})


def _problem(status: int, error: str, hint: str, headers: dict[str, str]) -> Response:
    return JSONResponse(Problem(error=error, hint=hint).model_dump(), status_code=status, headers=headers)


def _add_pages(app: FastAPI, service: Service) -> None:
    page = PAGE.read_text(encoding="utf-8")
    headers = {
        "Content-Security-Policy": _content_security_policy(page),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(page, headers=headers)

    @app.get("/models", summary="What is served, and what a request may hold")
    async def models() -> Models:
        return service.models()

    @app.get("/health", summary="Whether the server works, and how much there is to do")
    async def health() -> Health:
        return service.health()


def _add_predict(app: FastAPI, service: Service) -> None:
    rate = RateLimit(service.limits.rate)
    in_work = _Counter(service.limits.max_requests)

    # The body is read and parsed here rather than by FastAPI: limited, with a timeout, and strictly.
    @app.post(
        "/predict",
        summary="Predict labels of rows of texts",
        response_model=PredictResponse,
        responses={status: {"model": Problem, "description": text} for status, text in REFUSALS.items()},
        openapi_extra={"requestBody": _json_body(PredictRequest.model_json_schema())},
    )
    async def predict(request: Request) -> Response:
        with in_work.one():
            limit = service.limits.max_body_bytes
            client = request.client.host if request.client else ""
            try:
                rate.take(client)
            except RefusedError:
                await read_body(request, limit=limit)  # or the client may not get to see the answer
                raise
            body = await read_body(request, limit=limit)
            response = await _unless_gone(request, service.predict(body))
            return Response(response.model_dump_json(), media_type="application/json")


class _Counter:
    """How many requests are in work."""

    def __init__(self, most: int) -> None:
        self._most, self._now = most, 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a request while the block runs. Raises RefusedError (503) if there are too many."""
        if self._now >= self._most:
            headers = {"Retry-After": "1", "Connection": "close"}
            raise RefusedError(503, f"{self._most:,} requests are in work already", "try again", headers)
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1


async def _unless_gone(request: Request, work: Any) -> PredictResponse:
    """Return what `work` returns, or cancel it when the client has closed the connection."""
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


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _content_security_policy(page: str) -> str:
    """Return a policy under which the page runs its own script and style, asks this server, and nothing else."""

    def hashed(tag: str) -> str:
        found = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert found is not None
        return f"'sha256-{base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {hashed('script')}; style-src {hashed('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
