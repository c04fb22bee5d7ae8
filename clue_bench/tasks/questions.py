"""Read the layouts of CMRC2018, DRCD, C3 and CHID as rows, one for each question. No tensors, no torch.

Input: the bytes of a file. Output: a `Table`, which `rows` reads by the task's card. Formats:

    cmrc2018   SQuAD's: data → paragraphs → context and qas → id, question and answers → text and answer_start. Of
               CLUE's dev, 200 of 9,657 answers do not stand where answer_start says, 193 nowhere in their passage.
               Test sets have FAKE_ANSWER_1 and the like for answers: these questions have no right answer here.
    drcd       the same; traditional characters, or simplified ones in CLUE's copy.
    c3         a list of [sentences, questions, id]; a question has question, choice and answer, the right choice's text
    chid       lines of content (passages) and candidates (ten idioms), and an object of the number of the right one for
               each blank, such as "#idiom577157#", which is a question here. CHID's test sets come without answers.
"""

import json
import re
from collections import Counter
from dataclasses import replace
from typing import Any

from clue_bench.errors import ClueBenchError
from clue_bench.numbers import article
from clue_bench.tasks.formats import JSON_LINES, Table, Wanted, decode_text, parse_table, suffix_of

_C3 = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*\[")
_SQUAD = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{\s*\"(?:version|data)\"")
BLANK = re.compile(r"#idiom[0-9]+#")
MEND = "mend the file; CLUE's own: run clue-bench data fetch"
MASKS = "[MASK]" * 4  # of another blank than the one asked for


def question_table(raw: bytes, *, name: str, where: str, is_wanted: Wanted | None = None) -> Table:
    """Return the rows of a file of questions, one a question: SQuAD's layout, C3's, or that of any file of rows.

    `is_wanted` chooses the sheet, as in `parse_table`. Raises ClueBenchError naming the place of what is wrong.
    """
    is_json = suffix_of(name) in JSON_LINES
    if is_json and _C3.match(raw):
        passages, notes = _parsed(raw, where)
        if isinstance(passages, list):
            return replace(_c3_table(passages, where), notes=notes)
    if is_json and _SQUAD.match(raw):
        parsed, notes = _parsed(raw, where)
        articles = parsed.get("data") if isinstance(parsed, dict) else None
        if isinstance(articles, list) and all(isinstance(each, dict) and "paragraphs" in each for each in articles):
            return replace(_squad_table(articles, where), notes=notes)
    return parse_table(raw, name=name, where=where, is_wanted=is_wanted)


def _squad_table(articles: list[Any], where: str) -> Table:
    rows, places = [], []
    for number, each_article in enumerate(articles):
        for at, paragraph in enumerate(_at(each_article, "paragraphs", list, f"{where}, article {number}")):
            passage = f"article {number}, paragraph {at}"
            context = _at(paragraph, "context", str, f"{where}, {passage}")
            for place, each in enumerate(_at(paragraph, "qas", list, f"{where}, {passage}")):
                here = f"{passage}, question {place}"
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
                raise ClueBenchError(f"{where}, {here}: question {place} is no object", MEND)
            rows.append({"passage": sentences, **each})
            places.append(f"{here}, question {place}")
    return Table(["passage", "question", "choice", "answer"], rows, places, False, (), where)


def _parsed(raw: bytes, where: str) -> tuple[Any, tuple[str, ...]]:
    """Return the value of a JSON file, None where it is lines of JSON, and notes on its encoding."""
    text, notes = decode_text(raw, where)
    try:
        return json.loads(text), notes
    except (ValueError, RecursionError) as error:
        if text.count("\n{"):
            return None, notes
        raise ClueBenchError(f"{where}: not JSON: {error}", MEND) from error


def _at(value: Any, key: str | int, kind: type, where: str) -> Any:
    """Return a part of a JSON value. Raises ClueBenchError unless it is there, and of this kind."""
    try:
        part = value[key]
    except (KeyError, IndexError, TypeError) as error:
        raise ClueBenchError(f"{where}: no {key!r} in it", MEND) from error
    if not isinstance(part, kind) or isinstance(part, bool):
        found, expected = (article(each.__name__) for each in (type(part), kind))
        named = key if isinstance(key, str) else f"part {key}"
        raise ClueBenchError(f"{where}: {named} is {found}, expected {expected}", MEND)
    return part


def blank_table(lines: Table, answers: Table | None = None) -> Table:
    """Return one row for each blank of CHID's lines: the text on its left and right, and the candidates.

    Other blanks are four masks. `answers` is the one object of blanks and numbers that lies beside train and dev.
    Raises ClueBenchError naming the place of what is wrong.
    """
    known = {} if answers is None else dict(pair for row in answers.rows for pair in row.items())
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    num_empty = 0
    for number, (line, place) in enumerate(zip(lines.rows, lines.places, strict=True)):
        here = f"{lines.called}, {place}"
        candidates = _at(line, "candidates", list, here)
        content = _at(line, "content", list, here)
        before = len(rows)
        for place_in_line in range(len(content)):
            text = _at(content, place_in_line, str, f"{here}, content")
            for blank in BLANK.finditer(text):
                left, right = (BLANK.sub(MASKS, part) for part in (text[: blank.start()], text[blank.end() :]))
                row = {"id": blank[0], "left": left, "right": right, "candidates": candidates, "line": number}
                if answers is not None:
                    row["answer"] = _at(known, blank[0], int, answers.called)
                rows.append(row)
                places.append(place)
        num_empty += len(rows) == before
    ids = Counter(row["id"] for row in rows)
    if twice := next((each for each, times in ids.items() if times > 1), None):
        raise ClueBenchError(f"{lines.called}: two blanks are called '{twice}'", MEND)
    spare = len(known.keys() - ids.keys())
    notes = (
        *lines.notes,
        *(f"{lines.called}: answers to blanks that are in no passage: {spare:,}",) * bool(spare),
        *(f"{lines.called}: lines without a blank, such as #idiom000001#: {num_empty:,}",) * bool(num_empty),
    )
    return Table(["id", "left", "right", "candidates", "answer"], rows, places, False, notes, lines.called)
