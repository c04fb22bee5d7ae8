"""The doctor's result: findings, answers and a verdict, all frozen data.

Input: findings in any order. Output: a `Diagnosis`, whose `verdict` is one sentence and whose `healthy` decides the
exit code; its `tables` are what the terminal shows. Examines nothing itself.
"""

from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal, get_args

from clue_bench.language import translated
from clue_bench.layout import wrap
from clue_bench.numbers import percent
from clue_bench.tables import Column, Shown, Table, make_facts, make_table, our_words

Severity = Literal["ok", "note", "wrong"]
# The closed list of checks, in the order in which a cause comes before its consequences: the verdict quotes the first
# that is wrong.
Check = (
    Literal["family", "config", "vocabulary", "head", "tensors", "numbers"]
    | Literal["positions", "segments", "special tokens", "tokenizer", "answers", "provenance"]
)
CHECKS = tuple(check for part in get_args(Check) for check in get_args(part))


@dataclass(frozen=True)
class Finding:
    """One check: what was found and expected in one line, and what to type or change."""

    check: Check
    severity: Severity
    text: str
    hint: str = ""


@dataclass(frozen=True)
class Candidate:
    """A token and its probability."""

    token: str
    probability: float


@dataclass(frozen=True)
class FilledMask:
    """A masked sentence and what the model puts there."""

    text: str
    mask: int  # which [MASK] of the text, from 1
    answers: tuple[Candidate, ...]  # the five most probable
    entropy: float  # nats, of the whole distribution
    expected: str = ""  # "" for the user's own sentences
    unknown_share: float = 0.0  # of the sentence's tokens


@dataclass(frozen=True)
class Continuation:
    """A sentence that the model continues."""

    text: str
    greedy: str
    sampled: str  # with a fixed seed
    loss: float  # nats per token of `text`
    entropy: float  # nats, mean over the positions of `text`


@dataclass(frozen=True)
class Parameters:
    """Counts of parameters; None if transformers has no class to count by."""

    encoder: int | None  # with the pooler where the family has one, as model cards count
    has_pooler: bool
    with_head: int | None  # of the class that config.json names; None for a bare encoder
    in_file: int


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown):
    """Everything that was found about a checkpoint."""

    model: str
    folder: str
    verdict: str
    read_as: str  # how the weights were read where config.json is wrong; "" where it was followed
    description: str
    parameters: Parameters
    bytes_on_disk: int
    dtypes: tuple[str, ...]  # that tensors are stored as
    findings: tuple[Finding, ...]
    filled: tuple[FilledMask, ...]
    continued: tuple[Continuation, ...]

    @property
    def healthy(self) -> bool:
        """Return True if nothing is wrong; notes do not count."""
        return not any(finding.severity == "wrong" for finding in self.findings)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Return what is shown below the verdict: the checkpoint, the findings, and what the model answered."""
        findings = [(one.severity, one.check, one.text, one.hint) for one in self.findings]
        filled = [
            (
                one.text,
                one.mask,
                "  ".join(f"{answer.token} {percent(answer.probability, 1)}" for answer in one.answers),
            )
            for one in self.filled
        ]
        continued = [(one.text, f"{one.loss:.2f}", one.greedy, one.sampled) for one in self.continued]
        columns = ("sentence", "loss", "continued greedily", "at random, seed 0")
        tables = (
            make_facts(("checkpoint", ""), self._checkpoint_rows()),
            make_table("", [Column(name, is_words=True) for name in ("", "check", "found", "what to do")], findings),
            make_table("", ("sentence", "mask", "answers"), filled),
            make_table("", columns, continued),
        )
        return tuple(table for table in tables if table.rows)

    def in_full(self, width: int | None) -> str:
        """Return the verdict and the tables for a terminal."""
        verdict = translated(self.verdict)
        return "\n\n".join(["\n".join(wrap(verdict, width)) if width else verdict, super().in_full(width)])

    def _repr_html_(self) -> str:
        return "\n".join([f"<p>{escape(self.verdict)}</p>", *(table.to_html() for table in self.tables)])

    def _checkpoint_rows(self) -> list[tuple[object, object]]:
        counts = self.parameters
        size = f"{counts.in_file:,} parameters, {self.bytes_on_disk / 2**20:.1f} MiB, {', '.join(self.dtypes)}"
        rows: list[tuple[object, object]] = [("folder", self.folder)]
        if self.read_as:
            rows.append(("read", our_words(self.read_as)))
        if counts.encoder is not None:
            rows.append(("encoder", our_words(f"{counts.encoder:,} parameters{', with pooler' * counts.has_pooler}")))
        if counts.with_head is not None:
            rows.append(("with head", our_words(f"{counts.with_head:,} parameters")))
        return [*rows, ("in the file", our_words(size))]

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as one JSON object."""
        return {"healthy": self.healthy, **asdict(self)}


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return `findings` in the order of the checks."""
    return tuple(sorted(findings, key=lambda finding: CHECKS.index(finding.check)))


def conclude(description: str, findings: tuple[Finding, ...], *, read_as: str) -> str:
    """Return the verdict on a checkpoint that is `description`, in one sentence.

    `read_as` says how the weights were read where config.json is wrong: if they fit then, the cure is in config.json.
    """
    wrong = [finding for finding in findings if finding.severity == "wrong"]
    if not wrong:
        return f"This is {description}; nothing is wrong."
    first, others = wrong[0], len(wrong) - 1
    more = f" ({others} more {'is' if others == 1 else 'are'} wrong)" if others else ""
    if first.check == "answers":
        return f"This is {description}, but {first.text}{more}."
    fits = read_as and not any(finding.check == "tensors" for finding in wrong)
    text = f"The {first.text[4:]}" if first.text.startswith("the ") else first.text
    return f"{text}{f'; read {read_as}, every tensor fits' if fits else ''}{more}."


def shortened(names: list[str], *, shown: int = 3) -> str:
    """Return the first names, and how many more there are."""
    rest = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest
