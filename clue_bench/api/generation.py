"""Continue texts with a causal language model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clue_bench.api.inputs import check_model
from clue_bench.api.models import beside_columns, check_writable
from clue_bench.api.progress import Progress
from clue_bench.api.runs import Run, as_reference
from clue_bench.errors import ClueBenchError
from clue_bench.files import expanded
from clue_bench.numbers import article
from clue_bench.tables import Column, Shown, Table, make_table

if TYPE_CHECKING:
    import pandas as pd

    from clue_bench.prediction.generation import Drawn, Generator
    from clue_bench.prediction.input_rows import InputRows


@dataclass(frozen=True)
class GeneratedText:
    """A prompt and what the model wrote behind it. `sample` counts the texts of a prompt, from 1.

    `is_ended` says whether the model ended it, or it stopped at the number of tokens. `columns` are those of the row of
    a file that the prompt was read from.
    """

    prompt: str
    sample: int
    generated: str
    tokens: int
    is_ended: bool
    columns: Mapping[str, Any] | None = None
    taken: frozenset[str] = frozenset()  # names of columns in any row of the file

    @property
    def text(self) -> str:
        """Return the prompt and what follows it."""
        return self.prompt + self.generated

    def to_json(self) -> dict[str, Any]:
        """Return plain values. A row of a file keeps its columns, and gets "generated" beside them."""
        facts = {"sample": self.sample, "generated": self.generated, "tokens": self.tokens, "ended": self.is_ended}
        if self.columns is None:
            return {"prompt": self.prompt, **facts, "text": self.text}
        return beside_columns(self.columns, facts, taken=self.taken)


@dataclass(frozen=True, repr=False)
class GeneratedTexts(Shown, Sequence[GeneratedText]):
    """Texts, the samples of each prompt one after the other. `settings` are those of the sampling, in words."""

    model: str
    settings: str
    rows: tuple[GeneratedText, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: Any) -> Any:
        """Return a text, or a slice of them."""
        return self.rows[number]

    @property
    def texts(self) -> list[str]:
        """Return the texts, prompts included."""
        return [row.text for row in self.rows]

    @property
    def summary(self) -> dict[str, Any]:
        """Return model, settings and counts."""
        ended, tokens = sum(row.is_ended for row in self.rows), sum(row.tokens for row in self.rows)
        facts = {"model": self.model, "settings": self.settings, "num_texts": len(self)}
        return {**facts, "tokens": tokens, "ended_by_model": ended}

    def to_json(self) -> dict[str, Any]:
        """Return the summary and the texts as plain values."""
        return {**self.summary, "rows": [row.to_json() for row in self.rows]}

    @property
    def tables(self) -> list[Table]:
        """Return one table with a line for each text."""
        has_samples = any(row.sample > 1 for row in self.rows)
        columns: list[str | Column] = [*(["sample"] if has_samples else []), "tokens", Column("text", is_below=True)]
        rows = [(*([row.sample] if has_samples else []), row.tokens, row.text) for row in self.rows]
        return [make_table("", columns, rows)]

    def to_dataframe(self) -> "pd.DataFrame":
        """Return a pandas frame, one line per text."""
        import pandas as pd

        return pd.DataFrame([row.to_json() for row in self.rows])

    def write(self, path: Path | str) -> None:
        """Write the texts in the format that the name ends in: .jsonl, .csv, .tsv, .xlsx or .parquet.

        Rows of a file keep all its columns. Raises ClueBenchError for another ending.
        """
        from clue_bench.tasks.formats import write_rows

        check_writable(expanded(path))
        write_rows(expanded(path), [row.to_json() for row in self.rows])


def generate(
    model: Path | str | Run,
    prompts: str | Sequence[str] | Path,
    *,
    tokens: int = 100,
    samples: int = 1,
    temperature: float = 1.0,
    top_k: int = 50,
    top_p: float = 0.95,
    repetition_penalty: float = 1.0,
    seed: int = 1,
    text: str | None = None,
    progress: bool = True,
) -> GeneratedTexts:
    """Continue prompts with a GPT2 or another causal language model: a run, a checkpoint folder, or one of the hub.

    `prompts` is a text, several, or the path (a `Path`) of a file of them: a .txt with one a line, or rows whose column
    `text` holds them. Each is continued `samples` times by at most `tokens` tokens, up to the model's end token.
    `temperature` 0 takes the most probable token each time; `top_k` 0 and `top_p` 1 leave every token in. The same call
    gives the same texts. Raises ClueBenchError.
    """
    rows, show = _rows(prompts, text), Progress(progress)
    check_model(model)
    Progress(True).import_torch()
    from clue_bench.prediction.generation import Generator, Sampling

    sampling = Sampling(
        tokens=tokens,
        samples=samples,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
    )
    show.notes(rows.notes)
    generator = Generator.open(as_reference(model, "model"))
    given = [each for (each,) in rows.texts]
    with show.bar("generate", len(given) * samples, count=True, on_interrupt="nothing was written; start again") as bar:
        found = generator.generate(given, sampling, on_done=bar.update)
    columns = rows.columns if rows.columns is not None else [None] * len(given)
    taken = frozenset(key for row in rows.columns or () for key in row)
    made = tuple(
        GeneratedText(prompt, number, *each, columns=cells, taken=taken)
        for prompt, cells, drawn in zip(given, columns, found.continuations, strict=True)
        for number, each in enumerate(drawn, 1)
    )
    return GeneratedTexts(generator.name, sampling.text, made, tuple(_notes(generator, found)))


def _rows(prompts: str | Sequence[str] | Path, column: str | None) -> "InputRows":
    from clue_bench.prediction.input_rows import InputRows, prompt_rows

    if isinstance(prompts, Path):
        return prompt_rows(prompts, column=column)
    given = [prompts] if isinstance(prompts, str) else prompts
    wrong = next((each for each in given if not isinstance(each, str)), None) if isinstance(given, list | tuple) else 0
    if wrong is not None or not given:
        found = "none" if wrong is None else article(type(prompts if wrong == 0 else wrong).__name__)
        raise ClueBenchError(f"prompts: found {found}, expected a text or a list of them", 'give ["今天"], for example')
    return InputRows([(each,) for each in given], list(range(len(given))), [None] * len(given))


def _notes(generator: "Generator", found: "Drawn") -> list[str]:
    """Return what to know beside the texts."""
    notes = []
    if found.unknown_tokens:
        share = f"{found.unknown_tokens:,} of the prompts' {found.prompt_tokens:,} tokens"
        notes.append(f"{share} are unknown to the model's vocabulary")
    if found.longest > generator.learned_positions:
        notes.append(
            f"the model was pretrained on rows of {generator.learned_positions:,} tokens, the longest text has "
            f"{found.longest:,}: what is behind may make little sense"
        )
    if found.shortened:
        at = f"{generator.max_positions:,} positions"
        notes.append(f"{found.shortened:,} prompts got fewer tokens than asked for, since the model has {at}")
    if empty := sum(not each.tokens for drawn in found.continuations for each in drawn):
        notes.append(f"the model ended {empty:,} texts at once, without a word")
    return notes
