"""Read the questions of CMRC2018, DRCD, C3 and CHID, with the right answers where they are known. No tensors, no torch.

Input: a data folder with `<task>/<file>`, `<file>.gz` or `<task>_public.zip`. Output: passages, questions, and notes
that count what is wrong with the answers. Formats:

    cmrc2018   SQuAD's: data → paragraphs → context and qas → id, question and answers → text and answer_start. Of
               CLUE's dev, 200 of 9,657 answers do not stand where answer_start says, 193 nowhere in their passage.
               Test sets have FAKE_ANSWER_1 and the like for answers: these questions have no right answer here.
    drcd       the same; traditional characters, or simplified ones in CLUE's copy.
    c3         a list of [sentences, questions, id]; a question has question, choice and answer, the right choice's
               text. `question_table` makes rows of it, which `rows` reads by the card.
    chid       lines of content (passages) and candidates (ten idioms), and an object of the number of the right one for
               each blank, such as "#idiom577157#", which is a question here. CHID's test sets come without answers.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from clue_bench.errors import ClueBenchError
from clue_bench.tasks.files import DAMAGED, content, named_file
from clue_bench.tasks.formats import JSON_LINES, Table, parse_table, suffix_of

FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "chid": {split: (f"{split}.json", f"{split}_answer.json") for split in ("train", "dev")},
}
"""The files of each split, in their order."""

_C3 = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*\[")
_SQUAD = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{\s*\"(?:version|data)\"")
BLANK = re.compile(r"#idiom[0-9]+#")


class Question(NamedTuple):
    """One question. `passage` is the number of its passage, `choices` are those of multiple choice, else none.

    `answers` are the right ones, none where they are unknown.
    """

    id: str
    passage: int
    text: str
    answers: tuple[str, ...]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Questions:
    """The questions of a split. `notes` count what is wrong with the answers, `md5` is of each file, uncompressed."""

    passages: list[str]
    questions: list[Question]
    notes: tuple[str, ...]
    md5: dict[str, str]

    @property
    def has_answers(self) -> bool:
        """Return whether every question has a right answer."""
        return all(question.answers for question in self.questions)


def question_table(raw: bytes, *, name: str, where: str) -> Table:
    """Return the rows of a file of questions, one a question: SQuAD's layout, C3's, or that of any file of rows.

    Raises ClueBenchError naming the place of what is wrong.
    """
    is_json = suffix_of(name) in JSON_LINES
    if is_json and _C3.match(raw):
        return _c3_table(_parsed(raw, name, where), where)
    if is_json and _SQUAD.match(raw) and isinstance(parsed := _parsed(raw, name, where), dict):
        articles = parsed.get("data")
        if isinstance(articles, list) and all(isinstance(each, dict) and "paragraphs" in each for each in articles):
            return _squad_table(articles, where)
    return parse_table(raw, name=name, where=where)


def _squad_table(articles: list[Any], where: str) -> Table:
    rows, places = [], []
    for number, article in enumerate(articles):
        for paragraph in _at(article, "paragraphs", list, f"{where}, article {number}"):
            context = _at(paragraph, "context", str, f"{where}, article {number}")
            for place, each in enumerate(_at(paragraph, "qas", list, f"{where}, article {number}")):
                here = f"article {number}, question {place}"
                question = _at(each, "question", str, f"{where}, {here}")
                key = {"id": each["id"]} if "id" in each else {}
                rows.append({**key, "context": context, "question": question, "answers": each.get("answers")})
                places.append(here)
    return Table(["id", "context", "question", "answers"], rows, places, False, (), where)


def _c3_table(passages: Any, where: str) -> Table:
    rows, places = [], []
    for number in range(len(passages)):
        here = f"passage {number}"
        passage = _at(passages, number, list, where)
        sentences = _at(passage, 0, list, f"{where}, {here}")
        for place, each in enumerate(_at(passage, 1, list, f"{where}, {here}")):
            if not isinstance(each, dict):
                raise ClueBenchError(f"{where}, {here}: question {place} is no object", DAMAGED)
            rows.append({"passage": sentences, **each})
            places.append(f"{here}, question {place}")
    return Table(["passage", "question", "choice", "answer"], rows, places, False, (), where)


def read_questions(task: str, split: str, data: Path) -> Questions:
    """Read a split of one of the tasks in FILES. Raises ClueBenchError naming the file, and what is wrong with it."""
    if split not in FILES[task]:
        raise ClueBenchError(f"{task} has no split '{split}'", f"give one of {', '.join(FILES[task])}")
    files: list[tuple[str, Any]] = []
    md5 = {}
    for name in FILES[task][split]:
        found = named_file(task, (name,), f"{task}_public.zip", data)
        if found is None:
            raise ClueBenchError(
                f"{data}: no {task}/{name}, {task}/{name}.gz or {task}_public.zip",
                "give --data the folder of the tasks",
            )
        files.append((found.where, _parsed(content(found), found.name, found.where)))
        md5[name] = hashlib.md5(content(found), usedforsecurity=False).hexdigest()
    passages, questions, notes = _blanks(files, f"{split} of {task}")
    if not questions:
        raise ClueBenchError(f"{files[0][0]}: no questions", DAMAGED)
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise ClueBenchError(f"{files[0][0]}: two questions have the id '{question.id}'", DAMAGED)
        seen.add(question.id)
    return Questions(passages, questions, tuple(notes), md5)


def _parsed(raw: bytes, name: str, where: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        if raw.count(b"\n{"):
            return parse_table(raw, name=name, where=where).rows
        raise ClueBenchError(f"{where}: not JSON: {error}", DAMAGED) from error


def _at(value: Any, key: str | int, kind: type, where: str) -> Any:
    """Return a part of a JSON value. Raises ClueBenchError unless it is there, and of this kind."""
    try:
        part = value[key]
    except (KeyError, IndexError, TypeError) as error:
        raise ClueBenchError(f"{where}: no {key!r} in it", DAMAGED) from error
    if not isinstance(part, kind) or isinstance(part, bool):
        raise ClueBenchError(f"{where}: {key} is a {type(part).__name__}, expected a {kind.__name__}", DAMAGED)
    return part


def _blanks(files: list[tuple[str, Any]], what: str) -> tuple[list[str], list[Question], list[str]]:
    (where, lines), (where_answers, answers) = files
    passages: list[str] = []
    questions: list[Question] = []
    for place, line in enumerate(lines if isinstance(lines, list) else [lines]):
        here = f"{where}, line {place + 1}"
        candidates = tuple(_at(line, "candidates", list, here))
        text = "\n".join(map(str, _at(line, "content", list, here)))
        for blank in BLANK.findall(text):
            number = _at(answers, blank, int, where_answers)
            if not 0 <= number < len(candidates):
                raise ClueBenchError(f"{where_answers}: {blank} is {number}, of {len(candidates)} candidates", DAMAGED)
            questions.append(Question(blank, place, text, (candidates[number],), candidates))
        passages.append(text)
    spare = len(answers) - len(questions) if isinstance(answers, dict) else 0
    return passages, questions, [f"{what}: answers to blanks that are in no passage: {spare:,}"] * bool(spare)
