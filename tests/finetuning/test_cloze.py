"""Blanks with candidates, on data made in CHID's layout: reading, windows, assignment over a line, a run, its files."""

import json
import zipfile

import numpy as np
import pytest

import clue_bench as cb
from clue_bench.api import models
from clue_bench.api.submissions import check_submission, submit
from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.baselines import run_floor
from clue_bench.finetuning.blanks import Lines, assigned
from clue_bench.finetuning.encode import bert_tokeniser, encode_task
from clue_bench.tasks.questions import MASKS
from clue_bench.tasks.rows import read_rows
from clue_bench.tasks.task import load_task

FAST = {"learning_rate": 1e-2, "batch_size": 16, "max_length": 24, "precision": "fp32", "max_evaluations": 2}
CHARACTERS = list("的一是在了有和人这中大为上个国我以要他时来用们")


def write_chid(folder, split, number, *, seed, has_answers=True):
    """Write lines of one blank, whose right candidate holds 不不."""
    generator = np.random.default_rng(seed)

    def text(length):
        return "".join(generator.choice(CHARACTERS, length))

    lines, answers = [], {}
    for place in range(number):
        candidates = [text(4) for _ in range(10)]
        right = int(generator.integers(10))
        candidates[right] = f"{text(2)}不不"
        name = f"#idiom{seed:03d}{place:03d}#"
        lines.append({"content": [f"{text(9)}{name}{text(9)}"], "candidates": candidates})
        answers[name] = right
    (folder / "chid").mkdir(exist_ok=True)
    text_of = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (folder / "chid" / f"{split}.json").write_text(text_of, encoding="utf-8")
    if has_answers:
        (folder / "chid" / f"{split}_answer.json").write_text(json.dumps(answers), encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_chid(folder, "train", 120, seed=1)
    write_chid(folder, "dev", 30, seed=2)
    write_chid(folder, "test1.1", 5, seed=3, has_answers=False)
    return folder


@pytest.fixture(scope="module")
def finished(data, checkpoint_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "chid"
    return cb.finetune("chid", checkpoint_folder, data=data, out=out, steps=40, settings=FAST, progress=False)


def write_line(folder, contents, answers, candidates=tuple("甲乙丙丁戊己庚辛壬癸")):
    (folder / "chid").mkdir()
    for split in ("train", "dev"):
        line = {"content": contents, "candidates": list(candidates)}
        (folder / "chid" / f"{split}.json").write_text(
            json.dumps(line) + "\n" + json.dumps(line).replace("idiom", "idiom9") + "\n"
        )
        known = {**answers, **{key.replace("idiom", "idiom9"): value for key, value in answers.items()}}
        (folder / "chid" / f"{split}_answer.json").write_text(json.dumps(known))


def test_every_blank_is_a_row_and_other_blanks_are_masks(tmp_path):
    write_line(tmp_path, ["他#idiom01#，又#idiom02#。", "#idiom03#"], {"#idiom01#": 1, "#idiom02#": 9, "#idiom03#": 3})
    dev = read_rows(load_task("chid"), tmp_path)["dev"]
    assert dev.ids[:3] == ["#idiom01#", "#idiom02#", "#idiom03#"]
    assert dev.texts[0][:2] == ("他", f"，又{MASKS}。")
    assert dev.texts[1][:2] == (f"他{MASKS}，又", "。")
    assert dev.texts[2] == ("", "", *"甲乙丙丁戊己庚辛壬癸")
    assert dev.labels.tolist() == [1, 9, 3] * 2
    assert dev.passages.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [({"#idiom01#": 1}, "no '#idiom02#'"), ({"#idiom01#": 1, "#idiom02#": 10}, "none of the choices")],
)
def test_answers_that_are_missing_or_no_candidate_are_an_error(answers, expected, tmp_path):
    write_line(tmp_path, ["他#idiom01#，又#idiom02#。"], answers)
    with pytest.raises(ClueBenchError) as caught:
        read_rows(load_task("chid"), tmp_path)
    assert expected in caught.value.message


def test_a_window_stands_around_the_blank_behind_the_candidate(checkpoint_folder, tmp_path):
    vocabulary = read_checkpoint(checkpoint_folder).vocabulary
    write_line(tmp_path, ["在这个国家#idiom01#我们"], {"#idiom01#": 0}, candidates=["人", "大家"])
    dev = read_rows(load_task("chid"), tmp_path)["dev"]
    tokeniser = bert_tokeniser(vocabulary)._replace(blank=None)  # as of a vocabulary without [unused1]
    encoded = encode_task(dev, tokeniser, max_length=10, task=load_task("chid"))
    ids = encoded.ids[encoded.offsets[1] : encoded.offsets[2]].tolist()
    expected = tokeniser.encoder.ids(["大家", "国家[MASK]我们"])
    special = [vocabulary.start], [vocabulary.separator]
    assert ids == [*special[0], *expected[0], *special[1], *expected[1], *special[1]]
    assert not encoded.segments.any()


def test_a_vocabulary_with_unused1_has_it_for_the_blank_as_the_baseline_and_masks_for_others(
    checkpoint_folder, tmp_path
):
    vocabulary = read_checkpoint(checkpoint_folder).vocabulary
    write_line(tmp_path, ["在#idiom02#国人#idiom01#我们"], {"#idiom01#": 0, "#idiom02#": 1}, candidates=["人", "大家"])
    dev = read_rows(load_task("chid"), tmp_path)["dev"]
    encoded = encode_task(dev, bert_tokeniser(vocabulary), max_length=32, task=load_task("chid"))
    first_blank = encoded.ids[encoded.offsets[2] : encoded.offsets[3]].tolist()
    found = [vocabulary.tokens[each] for each in first_blank]
    assert found == ["[CLS]", *"人", "[SEP]", "在", *["[MASK]"] * 4, "国", "人", "[unused1]", "我", "们", "[SEP]"]


def test_blanks_of_a_line_share_its_candidates_in_predictions_whatever_the_parts_are(
    finished, data, monkeypatch, tmp_path
):
    write_line(
        tmp_path,
        ["在#idiom01#我们", "大#idiom02#人"],
        {"#idiom01#": 0, "#idiom02#": 1},
        candidates=[f"{a}们{a}们" for a in "一是在了有和人这中大"],
    )
    model = cb.load_model(finished)
    for size in (1, 3, 64):
        monkeypatch.setattr(models, "QUESTIONS_PER_UPDATE", size)
        for found in (model.predict_split("dev", data=tmp_path), model.predict_file(tmp_path / "chid" / "dev.json")):
            labels = [row.label for row in found.rows]
            assert len(labels) == 4
            assert labels[0] != labels[1]
            assert labels[2] != labels[3]
    whole = model.predict_split("dev", data=tmp_path, top=10)
    for row in whole.rows:
        assert sum(each.probability for each in row.scores) == pytest.approx(1, abs=1e-5)
        assert len({each.label for each in row.scores}) == 10
        rest = [each.probability for each in row.scores[1:]]
        assert rest == sorted(rest, reverse=True)
    assert [row.label for row in whole.rows] == labels


def test_no_candidate_stands_twice_in_a_line():
    shares = np.log([[0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.8, 0.1, 0.1]])
    lines = np.array([0, 0, 1])
    assert shares.argmax(1).tolist() == [0, 0, 0]
    assert assigned(shares, Lines(lines, "optimal")).tolist() == [1, 0, 0]  # 0.3 × 0.7 is more than 0.6 × 0.2
    assert assigned(shares, Lines(lines, "greedy")).tolist() == [1, 0, 0]


def test_the_best_whole_may_not_hold_the_best_pair():
    shares = np.log([[0.60, 0.39, 0.01], [0.58, 0.02, 0.40], [0.02, 0.49, 0.49]])
    lines = np.zeros(3, np.int64)
    for how in ("optimal", "greedy"):
        found = assigned(shares, Lines(lines, how)).tolist()
        assert sorted(found) == [0, 1, 2]
    best = max(
        ([a, b, c] for a in range(3) for b in range(3) for c in range(3) if len({a, b, c}) == 3),
        key=lambda pick: sum(shares[row, choice] for row, choice in enumerate(pick)),
    )
    assert assigned(shares, Lines(lines, "optimal")).tolist() == best


def test_more_blanks_than_candidates_leave_some_to_their_most_probable_one():
    shares = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    for how in ("optimal", "greedy"):
        found = assigned(shares, Lines(np.zeros(3, np.int64), how)).tolist()
        assert sorted(found) == [0, 0, 1]


def test_a_run_learns_and_its_answers_are_scored_and_submitted(finished, data, tmp_path):
    assert finished.accuracy > 0.8
    scored = cb.score(finished.folder / "predictions" / "dev.jsonl", task="chid", data=data)
    assert scored.value == finished.accuracy
    assert scored.to_json()["chance"] == pytest.approx(0.1)
    assert cb.load_model(finished).predict_split("dev", data=data).accuracy == finished.accuracy
    out = tmp_path / "submit.zip"
    submit([finished], out=out)
    with zipfile.ZipFile(out) as archive:
        answers = json.loads(archive.read("chid11_predict.json"))
    assert list(answers) == [f"#idiom003{n:03d}#" for n in range(5)]
    assert all(type(answer) is int for answer in answers.values())
    bad = tmp_path / "submit_bad.zip"
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("chid11_predict.json", json.dumps({**answers, "#idiom003000#": "1"}))
    with pytest.raises(ClueBenchError, match="as a number"):
        check_submission(bad)


@pytest.mark.parametrize("kind", ["majority", "tfidf"])
def test_floors_know_how_often_an_idiom_is_right_and_where(data, kind, tmp_path):
    task = load_task("chid")
    record = run_floor(task, read_rows(task, data), data=data, kind=kind, seed=1, out=tmp_path, asked={})
    assert 0 <= record.completed_results.dev.accuracy <= 1


def test_what_stands_around_an_idiom_in_train_tells_it(tmp_path):
    (tmp_path / "chid").mkdir()
    around = {"甲乙": "足球比赛", "丙丁": "股票市场", "戊己": "电影明星"}
    for split, times in (("train", 6), ("dev", 2)):
        lines, answers = [], {}
        for number, (idiom, text) in enumerate([*around.items()] * times):
            name = f"#idiom{number}#"
            lines.append(json.dumps({"content": [f"{text}{name}{text}"], "candidates": list(around)}))
            answers[name] = list(around).index(idiom)
        (tmp_path / "chid" / f"{split}.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (tmp_path / "chid" / f"{split}_answer.json").write_text(json.dumps(answers), encoding="utf-8")
    task = load_task("chid")
    record = run_floor(
        task, read_rows(task, tmp_path), data=tmp_path, kind="tfidf", seed=1, out=tmp_path / "run", asked={}
    )
    assert record.completed_results.dev.accuracy == 1
