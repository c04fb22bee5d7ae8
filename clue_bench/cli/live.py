"""What a pretraining run shows: a table that stays below the bar, a line where stderr is no terminal, the result."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from clue_bench.cli import terminal

if TYPE_CHECKING:
    from clue_bench.doors.results import PretrainResults
    from clue_bench.pretraining.recipe import Recipe
    from clue_bench.pretraining.report import TrainingReport

PREDICTED = {"mlm": "masked tokens", "wwm": "masked words", "clm": "next tokens"}
MOST_PERPLEXITY = 1e6  # beyond it the digits say nothing


class Watched:
    """The reports of one run as they are shown. The last look at the held-out part stays until the next."""

    def __init__(self, bar: terminal.Bar, recipe: "Recipe") -> None:
        """Show on `bar`, whose total is `total_tokens`."""
        self._bar, self._recipe = bar, recipe
        self._looked: TrainingReport | None = None

    def show(self, report: "TrainingReport") -> None:
        """Show a report in place of the one before."""
        if report.held_out_loss is not None:
            self._looked = report
        self._bar.update(report.tokens, self.line(report), below=self.table(report))

    def line(self, report: "TrainingReport") -> str:
        """Return a report as one line of progress."""
        parts = [f"step {report.step:,}"]
        parts += [f"stage {report.stage}"] if self._recipe.stage2 else []
        parts += [f"loss {report.loss:.3f}"]
        if report.sop_loss is not None and report.sop_accuracy is not None:
            parts += [f"lm {report.lm_loss:.3f}", f"sop {report.sop_loss:.3f}"]
            parts += [f"accuracy {report.lm_accuracy:.1%}", f"sop accuracy {report.sop_accuracy:.1%}"]
        else:
            parts += [f"accuracy {report.lm_accuracy:.1%}"]
        if self._looked is not None and self._looked.held_out_loss is not None:
            parts += [f"held-out {self._looked.held_out_loss:.3f}", f"perplexity {perplexity(self._looked)}"]
        parts += [f"skipped {report.skipped}"] if report.skipped else []
        parts += [
            f"{report.tokens_per_second:,.0f} tokens/s",
            f"MFU {report.mfu:.0%}",
            f"lr {report.learning_rate:.2e}",
        ]
        return "  ".join(parts)

    def table(self, report: "TrainingReport") -> Table:
        """Return a report as a table of losses over two lines of numbers."""
        losses = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
        losses.add_column("", min_width=16)
        for name in ("loss", "accuracy", "perplexity"):
            losses.add_column(name, justify="right")
        predicted = PREDICTED[self._recipe.objective]
        losses.add_row(predicted, f"{report.lm_loss:.3f}", _percent(report.lm_accuracy))
        if report.sop_loss is not None:
            losses.add_row("sentence order", f"{report.sop_loss:.3f}", _percent(report.sop_accuracy))
        if report.pair_loss is not None:
            losses.add_row("labelled pairs", f"{report.pair_loss:.3f}", _percent(report.pair_accuracy))
        if report.sop_loss is not None or report.pair_loss is not None:
            losses.add_row("sum", Text(f"{report.loss:.3f}", "bold"))
        if self._looked is not None:
            self._add_held_out(losses, self._looked)
        shown = Table.grid()
        shown.add_row("")
        shown.add_row(losses)
        for words in (self._position(report), self._speed(report)):
            shown.add_row(Text(" · ".join(words), "dim"))
        return shown

    def _add_held_out(self, losses: Table, looked: "TrainingReport") -> None:
        name = f"held-out, at step {looked.step:,}"
        loss, accuracy = looked.held_out_loss, _percent(looked.held_out_accuracy)
        losses.add_row(name, "" if loss is None else f"{loss:.3f}", accuracy, perplexity(looked), style="green")
        if looked.held_out_sop_accuracy is not None:
            losses.add_row("held-out order", "", _percent(looked.held_out_sop_accuracy), style="green")

    def _position(self, report: "TrainingReport") -> list[str]:
        stages = len(self._recipe.stages)
        return [
            f"step {report.step:,} of {self._recipe.total_steps:,}",
            *([f"stage {report.stage} of {stages}"] if stages > 1 else []),
            f"{count(report.tokens)} tokens",
            f"learning rate {report.learning_rate:.2e}",
        ]

    def _speed(self, report: "TrainingReport") -> list[str]:
        return [
            f"{report.tokens_per_second:,.0f} tokens/s",
            f"MFU {report.mfu:.0%} of {count(report.model_flops_per_second / report.mfu)}FLOP/s",
            f"gradient norm {report.gradient_norm:.2f}",
            f"{report.skipped:,} steps skipped",
        ]


def total_tokens(recipe: "Recipe") -> int:
    """Return the positions that `recipe` trains on: time goes with them, not with steps, which a stage makes longer."""
    return sum(stage.tokens for stage in recipe.stages)


def perplexity(report: "TrainingReport") -> str:
    """Return the held-out perplexity in four digits."""
    value = report.held_out_perplexity
    return "" if value is None else _perplexity(value)


def count(number: float) -> str:
    """Return a large number in three digits: "1.23 M", "45.6 G"."""
    for prefix in ("", " k", " M", " G"):
        if number < 999.5:
            return f"{number:.3g}{prefix}"
        number /= 1000
    return f"{number:,.4g} T"


def result_rows(results: "PretrainResults") -> list[tuple[str, str]]:
    """Return what a finished run shows of its record's results, in words and with units."""
    shown = []
    for key, (words, form) in SHOWN.items():
        value = getattr(results, key)
        is_the_loss = key == "lm_loss" and value == results.loss
        if value is not None and not is_the_loss:
            shown.append((words, form(value)))
    return shown


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _perplexity(value: float) -> str:
    return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}" if value < MOST_PERPLEXITY else "above 1,000,000"


def _whole(number: float) -> str:
    return f"{number:,.0f}"


def _nats(loss: float) -> str:
    return f"{loss:.3f}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


SHOWN = {
    "step": ("steps", _whole),
    "tokens": ("tokens trained on", _whole),
    "epochs": ("epochs of the last stage", lambda number: f"{number:.3g}"),
    "loss": ("loss (nats)", _nats),
    "lm_loss": ("loss, tokens", _nats),
    "sop_loss": ("loss, sentence order", _nats),
    "pair_loss": ("loss, labelled pairs", _nats),
    "lm_accuracy": ("accuracy, tokens", _percent),
    "sop_accuracy": ("accuracy, sentence order", _percent),
    "pair_accuracy": ("accuracy, labelled pairs", _percent),
    "held_out_loss": ("held-out loss (nats)", _nats),
    "held_out_perplexity": ("held-out perplexity", _perplexity),
    "held_out_accuracy": ("held-out accuracy, tokens", _percent),
    "held_out_sop_accuracy": ("held-out accuracy, order", _percent),
    "skipped": ("steps skipped", _whole),
    "seconds": ("training time", _time),
    "mean_tokens_per_second": ("tokens per second", _whole),
    "matrix_product_flops_per_second": ("matrix products reach", lambda number: f"{count(number)}FLOP/s"),
    "mfu": ("MFU, of that", _percent),
    "peak_memory_mib": ("peak memory", lambda mib: f"{mib:,} MiB"),
}
"""Results by key: what they are called, and how their values are written. Those that are None are left out."""
