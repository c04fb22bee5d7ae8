"""What the doctor says: findings, answers and a verdict, all frozen data.

Input: findings in any order. Output: a `Report`, whose `verdict` is one sentence and whose `healthy` decides the exit
code. Does no looking of its own.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["ok", "note", "wrong"]
# The closed list of what is looked at, in the order in which a cause comes before its consequences: the verdict quotes
# the first that is wrong.
Check = Literal[
    "family",
    "config",
    "vocabulary",
    "head",
    "tensors",
    "numbers",
    "positions",
    "segments",
    "special tokens",
    "tokenizer",
    "answers",
    "provenance",
]
CHECKS: tuple[Check, ...] = Check.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found and expected in one line, and what to type or change."""

    check: Check
    severity: Severity
    text: str
    hint: str = ""


@dataclass(frozen=True)
class Answer:
    """A token and its probability."""

    token: str
    probability: float


@dataclass(frozen=True)
class Filled:
    """A masked sentence and what the model puts there."""

    text: str
    mask: int  # which [MASK] of the text, from 1
    answers: tuple[Answer, ...]  # the five most probable
    entropy: float  # nats, of the whole distribution
    expected: str = ""  # "" for the user's own sentences
    unknown_share: float = 0.0  # of the sentence's tokens


@dataclass(frozen=True)
class Continued:
    """A sentence that the model continues."""

    text: str
    greedy: str
    sampled: str  # with a fixed seed
    loss: float  # nats per token of `text`
    entropy: float  # nats, mean over the positions of `text`


@dataclass(frozen=True)
class Parameters:
    """Counts of parameters; None where transformers has no class to count by."""

    encoder: int | None  # with the pooler where the family has one, as model cards count
    has_pooler: bool
    with_head: int | None  # of the class that config.json names; None for a bare encoder
    in_file: int


@dataclass(frozen=True)
class Report:
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
    filled: tuple[Filled, ...]
    continued: tuple[Continued, ...]

    @property
    def healthy(self) -> bool:
        """True if nothing is wrong; notes do not count."""
        return not any(finding.severity == "wrong" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return the report as one JSON object."""
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


def article(noun: str) -> str:
    """Return `noun` with "a" or "an"."""
    return f"{'an' if noun[0] in 'AEIOaeio' else 'a'} {noun}"


def some(names: list[str], *, most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
