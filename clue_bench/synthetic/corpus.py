"""A synthetic corpus in CLUECorpus' layout, over the vocabulary of the synthetic tasks.

Input: a seed and a number of documents. Output: one text file; one sentence or paragraph a line, an empty line
between documents. Documents are drawn from four kinds: news reports, app descriptions, pages of frequent questions,
and reading exercises that say what follows from a statement and what does not. About 0.9 kB a document.
"""

from pathlib import Path
from random import Random

from clue_bench.errors import ClueBenchError
from clue_bench.files import write_text
from clue_bench.synthetic.sentences import app_description, frequent_questions, headline, news_sentence, statements
from clue_bench.synthetic.words import APPS, NEWS

OTHER_LINES = (
    "He said: OK! Été, naïve, GmbH & Co. 3.14%",
    "２０２０年，ＡＢＣ；ﬁn … — “引号” 《书》 №5 ℃",
    "繁體字與異體字：臺灣、裏面、爲什麼",
    "𠮷野家 😀 한국어 ひらがな カタカナ Привет",
    "a-b_c/d  e\u3000f, www.example.com, iPhone13Pro",
)


def write_corpus(path: Path, *, seed: int, num_documents: int) -> None:
    """Write `num_documents` documents to `path` (UTF-8, LF), atomically; the same seed gives the same bytes.

    Raises ClueBenchError if `num_documents` is less than 1.
    """
    if num_documents < 1:
        raise ClueBenchError(
            f"{path}: {num_documents} documents asked for, at least 1 expected", "give a positive number of documents"
        )
    write_text(path, "\n".join("\n".join(lines) + "\n" for lines in _documents(seed, num_documents)))


def lines_of_text() -> list[str]:
    """Return some thousand lines, the same ones always: Chinese sentences, and lines of what else occurs in a text."""
    return [*OTHER_LINES, *(line for lines in _documents(0, 150) for line in lines)]


def _documents(seed: int, number: int) -> list[list[str]]:
    rng = Random(f"corpus/{seed}")
    kinds = (_news_report, _app_review, _questions_page, _reading_exercise)
    return [rng.choices(kinds, (8, 6, 3, 3))[0](rng) for _ in range(number)]


def _news_report(rng: Random) -> list[str]:
    """Return a title and five to ten sentences on one topic."""
    topic = rng.choice(list(NEWS.topics))
    title, _ = headline(rng, topic, borrow=False)
    return [title, *(news_sentence(rng, topic) for _ in range(rng.randint(5, 10)))]


def _app_review(rng: Random) -> list[str]:
    """Return the descriptions of two or three apps of one class."""
    name = rng.choice(list(APPS.classes))
    return [app_description(rng, name, stray="") for _ in range(rng.randint(2, 3))]


def _questions_page(rng: Random) -> list[str]:
    """Return four to seven questions about one product, with answers."""
    return frequent_questions(rng, num_questions=rng.randint(4, 7))


def _reading_exercise(rng: Random) -> list[str]:
    """Return four to six statements, each with remarks on what follows from it."""
    lines = []
    for _ in range(rng.randint(4, 6)):
        premise, (true, also_true, false, open_) = statements(
            rng, ("entailment", "entailment", "contradiction", "neutral")
        )
        lines.append(premise)
        lines.append(
            rng.choice(
                (
                    f"可以看出，{true}；也就是说，{also_true}。",
                    f"{true}，这是对的。如果说{false}，那就不对了！",
                    f"{also_true}，至于{open_}，文中没有提到。",
                    f"是不是{false}？不是，因为{true}。",
                    f"判断：{true}（√）；{false}（×）；{open_}（？）。",
                )
            )
        )
    return lines
