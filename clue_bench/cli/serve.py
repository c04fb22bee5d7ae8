"""`clue-bench serve`: predictions over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from clue_bench.cli import terminal
from clue_bench.cli.options import Json
from clue_bench.errors import ClueBenchError


def serve(
    model: Annotated[list[Path], typer.Option(help="Folder of a fine-tuning run; several may be given.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    max_batch: Annotated[int, typer.Option(min=1, help="Rows that the model sees at once.")] = 32,
    max_wait_ms: Annotated[float, typer.Option(min=0, help="Milliseconds that a row waits for others.")] = 5.0,
    max_texts: Annotated[int, typer.Option(min=1, help="Rows of a request.")] = 64,
    max_text_chars: Annotated[int, typer.Option(min=1, help="Characters of a text.")] = 2_000,
    max_queue: Annotated[int, typer.Option(min=1, help="Rows that may wait for a model.")] = 1_024,
    rate: Annotated[int, typer.Option(min=0, help="Requests a minute of one client address; 0: no limit.")] = 600,
    json: Json = False,
) -> None:
    """Answer POST /predict, with a page to try it at /; requests of several clients are predicted together.

    Example: clue-bench serve --model runs/afqmc --model runs/tnews --port 8000

    Example: curl localhost:8000/predict --json '{"texts": [["怎么开通花呗", "花呗如何开通"]]}'
    """
    try:
        from clue_bench.prediction.serving.app import listen, make_app, url_of
        from clue_bench.prediction.serving.app import serve as run_server
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "starlette", "uvicorn"):
            raise
        raise ClueBenchError(f"{error.name} is not installed", "pip install 'clue-bench[serve]'") from error
    from clue_bench.prediction.predictor import Predictor
    from clue_bench.prediction.serving.limits import Limits
    from clue_bench.prediction.serving.service import Service

    limits = Limits(
        max_batch=max_batch,
        max_wait_ms=max_wait_ms,
        max_texts=max_texts,
        max_text_chars=max_text_chars,
        max_queue=max_queue,
        rate=rate,
    )
    with listen(host, port) as bound:
        service = Service([Predictor.open(path) for path in model], limits)
        url = url_of(bound)

        def on_ready() -> None:
            served = service.models().models
            if json:
                terminal.print_json({"url": url, "models": [each.model_dump() for each in served]})
            else:
                rows = ((each.run_id, each.task, len(each.labels)) for each in served)
                terminal.print_table(["model", "task", "labels"], rows)
            terminal.say(f"serving at {url}; Ctrl-C ends it")

        run_server(make_app(service, on_ready=on_ready), bound)
    terminal.say("stopped")
