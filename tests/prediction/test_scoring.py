"""`score`: files of predictions that anybody made, matched by id; what cannot be scored is refused with counts."""

import io
import json
import random
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import clue_bench as cb
from clue_bench.cli import app
from clue_bench.doors.predictions import Prediction, write_predictions
from clue_bench.errors import ClueBenchError
from clue_bench.language import using

LABELS = ["100", "101", "102"]
GOLD = [LABELS[n % 3] for n in range(60)]
PREDICTED = [LABELS[(n % 3 + (n % 5 == 0)) % 3] for n in range(60)]  # 48 of 60 are right


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path):
    """TNEWS' as its files are: without ids, which are then the rows' numbers."""
    rows = [{"label": label, "label_desc": "x", "sentence": f"标题{n}"} for n, label in enumerate(GOLD)]
    write_lines(tmp_path / "data" / "tnews" / "dev.json", rows)
    write_lines(tmp_path / "data" / "tnews" / "test.json", [{"id": 0, "sentence": "标题"}])
    return tmp_path / "data"


def submission(rows=range(60)):
    return [{"id": n, "label": PREDICTED[n]} for n in rows]


def as_ours(path):
    rows = [Prediction(id=n, label=PREDICTED[n], probability=0.5, gold=GOLD[n]) for n in range(60)]
    write_predictions(path, rows)


def as_csv(path):
    path.write_text("id,label\n" + "".join(f"{n},{label}\n" for n, label in enumerate(PREDICTED)), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("dev.jsonl", as_ours),
        ("tnews_predict.json", lambda path: write_lines(path, submission())),
        ("mine.csv", as_csv),
        ("mine.json", lambda path: path.write_text(json.dumps(submission()), encoding="utf-8")),
        ("object.json", lambda path: path.write_text(json.dumps(dict(enumerate(PREDICTED))), encoding="utf-8")),
        (
            "numbers.jsonl",
            lambda path: write_lines(path, [{"id": str(n), "label": int(PREDICTED[n])} for n in range(60)]),
        ),
    ],
)
def test_every_format_of_predictions_gives_the_same_scores(name, write, data, tmp_path):
    write(tmp_path / name)
    found = cb.score(tmp_path / name, task="tnews", data=data)
    assert found.value == 0.8
    assert found.scored.rows == 60
    interval = found.scored.metrics[0].interval
    assert 0.68 < interval.low < 0.72
    assert 0.87 < interval.high < 0.92
    assert found.scored.guess == ("100", 20 / 60)
    assert found.notes == []


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.csv", "mine.tsv"])
def test_predictions_on_stdin_are_scored_alike(name, data, tmp_path, monkeypatch):
    table = pd.DataFrame(submission())
    separator = "\t" if name.endswith("tsv") else ","
    text = table.to_json(orient="records", lines=True) if "json" in name else table.to_csv(sep=separator, index=False)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert cb.score("-", task="tnews", data=data).value == 0.8


def test_rows_in_another_order_are_matched_by_id_and_said(data, tmp_path):
    rows = submission()
    random.Random(0).shuffle(rows)
    found = cb.score(write_lines(tmp_path / "mine.jsonl", rows), task="tnews", data=data)
    assert found.value == 0.8
    assert "in another order" in found.notes[0]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (submission(range(57)), "missing: 3 (first '57')"),
        ([*submission(), *submission(range(2))], "given more than once: 2 (first '0')"),
        ([*submission(range(59)), {"id": "x", "label": "100"}], "missing: 1 (first '59'), unknown: 1 (first 'x')"),
        ([{**row, "label": "105"} if row["id"] < 2 else row for row in submission()], "2 predictions are none"),
        ([{"id": n, "label": None} for n in range(60)], "'' (60)"),
        ([{"label": label} for label in PREDICTED], "no column 'id'"),
        ([{**row, "gold": "102"} for row in submission()], "not those of tnews dev in 40 of 60 rows"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line_with_counts(rows, expected, data, tmp_path):
    path = write_lines(tmp_path / "mine.jsonl", rows)
    with pytest.raises(cb.ClueBenchError) as caught:
        cb.score(path, task="tnews", data=data)
    assert expected in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_rows_that_training_repeats_are_left_out_of_a_score_beside_the_official_one(data, tmp_path):
    train = [{"label": "100", "label_desc": "x", "sentence": f"标题{n}"} for n in [*range(10), 99]]
    write_lines(data / "tnews" / "train.json", train)
    found = cb.score(write_lines(tmp_path / "mine.jsonl", submission()), task="tnews", data=data)
    clean = [PREDICTED[n] == GOLD[n] for n in range(10, 60)]
    assert found.value == 0.8
    assert found.to_json()["metrics"]["clean_accuracy"]["value"] == sum(clean) / 50
    assert "on the 50 rows not in training" in str(found)


def test_the_cards_metric_comes_first_with_an_interval(data, tmp_path):
    from clue_bench.tasks.task import load_task

    card = load_task("tnews").model_copy(update={"metric": "macro_f1"})
    found = cb.score(write_lines(tmp_path / "mine.jsonl", submission()), task=card, data=data)
    assert found.to_json()["metric"] == "macro_f1"
    interval = found.scored.metrics[0].interval
    assert interval.low < found.value < interval.high


def test_a_split_without_labels_is_refused(data, tmp_path):
    path = write_lines(tmp_path / "mine.jsonl", submission(range(1)))
    with pytest.raises(cb.ClueBenchError, match="no labels to score"):
        cb.score(path, task="tnews", data=data, split="test")
    with pytest.raises(cb.ClueBenchError, match="no split 'tset'"):
        cb.score(path, task="tnews", data=data, split="tset")


def test_predictions_beside_a_files_own_labels_are_the_ones_that_count(data, tmp_path):
    rows = [{"id": n, "label": GOLD[n], "predicted": PREDICTED[n]} for n in range(60)]
    found = cb.score(write_lines(tmp_path / "mine.jsonl", rows), task="tnews", data=data)
    assert found.value == 0.8
    assert "read from 'predicted'" in found.notes[0]


def test_rows_of_dropped_labels_may_be_predicted_and_are_counted(tmp_path):
    gold = ["entailment", "-", "neutral", "contradiction"]
    rows = [{"sentence1": "一", "sentence2": "二", "label": label} for label in gold]
    write_lines(tmp_path / "ocnli" / "dev.json", rows)
    guess = [{"id": n, "label": "entailment"} for n in range(4)]
    found = cb.score(write_lines(tmp_path / "mine.jsonl", guess), task="ocnli", data=tmp_path)
    assert (found.scored.rows, found.value) == (3, pytest.approx(1 / 3))
    assert "no label to score: 1" in found.notes[0]
    assert "majority class" in found.notes[1]


def test_the_command_prints_a_table_or_json(data, tmp_path):
    path = write_lines(tmp_path / "mine.jsonl", submission())
    words = ["score", "--task", "tnews", "--predictions", str(path), "--data", str(data)]
    shown = CliRunner().invoke(app, words, catch_exceptions=False)
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("dev of tnews: 60 rows, data revision different-")
    assert [line.split()[:2] for line in lines if "accuracy" in line] == [["accuracy", "80.00"]]
    assert any("majority class" in line and "33.33 %" in line for line in lines)
    values = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert values["metric"] == "accuracy"
    assert values["metrics"]["accuracy"]["value"] == 0.8
    assert values["majority_class"] == {"label": "100", "share": 20 / 60}
    with using("zh"):
        assert "准确率" in str(cb.score(path, task="tnews", data=data))


def squad(path, *, answers):
    """Write a file in SQuAD's layout: two passages of two questions, each with the same right answers."""
    paragraphs = [
        {
            "context": "光荣和ω-force开发了战国无双。",
            "qas": [{"id": f"DEV_{n}_QUERY_{q}", "question": "谁？", "answers": answers} for q in range(2)],
        }
        for n in range(2)
    ]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"data": [{"paragraphs": [each]} for each in paragraphs]}), encoding="utf-8")


RIGHT = {"text": "光荣和ω-force", "answer_start": 0}
IDS = [f"DEV_{n}_QUERY_{q}" for n in range(2) for q in range(2)]


def test_answers_of_cmrc2018_are_scored_officially_and_faults_of_the_data_are_counted(tmp_path):
    faulty = [{"text": "光荣", "answer_start": 1}, {"text": "光荣公司", "answer_start": -1}]
    squad(tmp_path / "cmrc2018" / "dev.json", answers=[RIGHT, *faulty])
    path = tmp_path / "cmrc2018_predict.json"
    path.write_text(json.dumps(dict(zip(IDS, ["光荣", "光荣和", "", "《光荣》"], strict=True))), encoding="utf-8")
    found = cb.score(path, task="cmrc2018", data=tmp_path)
    exact, f1 = found.scored.metrics
    assert (exact.key, exact.value) == ("exact_match", 0.5)
    assert f1.value == pytest.approx((1 + 6 / 7 + 0 + 1) / 4)
    assert f1.interval.low < f1.value < f1.interval.high
    assert "of 12 answers, 8 do not stand at their answer_start, 4 of these nowhere" in found.notes[0]
    assert "empty answers: 1" in found.notes[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"DEV_0_QUERY_0": "a", "DEV_0_QUERY_0": "b"}', "missing: 3 (first 'DEV_0_QUERY_1'), given more than once: 1"),
        ('{"data": "[]"}', "missing: 4"),
        ('{"data": []}', "data: a list or an object"),
        ('{"DEV_0_QUERY_0": {"text": "a"}}', "DEV_0_QUERY_0: a list or an object"),
        ('{"id": 1, "prediction_text": ["a"]}', "line 1: a list or an object"),
        ('{"id": 1}', "no column 'label'"),
    ],
)
def test_answers_with_missing_or_doubled_ids_are_refused(text, expected, tmp_path):
    squad(tmp_path / "cmrc2018" / "dev.json", answers=[RIGHT])
    (tmp_path / "mine.json").write_text(text, encoding="utf-8")
    with pytest.raises(cb.ClueBenchError) as caught:
        cb.score(tmp_path / "mine.json", task="cmrc2018", data=tmp_path)
    assert expected in caught.value.message


def test_one_object_of_answers_has_no_order(tmp_path):
    squad(tmp_path / "cmrc2018" / "dev.json", answers=[RIGHT])
    (tmp_path / "mine.json").write_text(json.dumps(dict.fromkeys(reversed(IDS), "光荣")), encoding="utf-8")
    assert cb.score(tmp_path / "mine.json", task="cmrc2018", data=tmp_path).notes == []


def test_answers_that_state_other_right_ones_are_of_other_data(tmp_path):
    squad(tmp_path / "cmrc2018" / "dev.json", answers=[RIGHT])
    for gold, is_refused in ((RIGHT["text"], False), ("光榮", True), (["光荣"], False)):
        path = write_lines(tmp_path / "dev.jsonl", [{"id": each, "label": "光荣", "gold": gold} for each in IDS])
        with pytest.raises(cb.ClueBenchError, match="in 4 of 4 rows") if is_refused else nullcontext():
            assert cb.score(path, task="cmrc2018", data=tmp_path).value == 0


def test_the_fake_answers_of_a_test_set_are_none(tmp_path):
    squad(tmp_path / "cmrc2018" / "test.json", answers=[{"text": "FAKE_ANSWER_1", "answer_start": -1}])
    with pytest.raises(cb.ClueBenchError, match="no answers to score"):
        cb.score(tmp_path / "mine.json", task="cmrc2018", data=tmp_path, split="test")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "no rows"),
        ('{"data": [{"paragraphs": [{"context": 1, "qas": []}]}]}', "context is an int"),
        ('{"data": []}', "no rows"),
        ("{", "not JSON"),
    ],
)
def test_data_in_another_layout_are_an_error_that_names_the_place(text, expected, tmp_path):
    (tmp_path / "cmrc2018").mkdir()
    (tmp_path / "cmrc2018" / "dev.json").write_text(text, encoding="utf-8")
    with pytest.raises(cb.ClueBenchError, match=expected):
        cb.score(tmp_path / "mine.json", task="cmrc2018", data=tmp_path)


def test_questions_in_gbk_are_read_and_said_so(tmp_path):
    squad(tmp_path / "cmrc2018" / "dev.json", answers=[RIGHT])
    path = tmp_path / "cmrc2018" / "dev.json"
    text = json.dumps(json.loads(path.read_text(encoding="utf-8")), ensure_ascii=False)
    path.write_bytes(text.encode("gb18030"))
    (tmp_path / "mine.json").write_text(json.dumps(dict.fromkeys(IDS, RIGHT["text"])), encoding="utf-8")
    found = cb.score(tmp_path / "mine.json", task="cmrc2018", data=tmp_path)
    assert found.value == 1
    assert "read as GB18030" in found.notes[0]


def test_a_damaged_list_of_passages_is_an_error(tmp_path):
    (tmp_path / "c3").mkdir()
    for kind in "dm":
        (tmp_path / "c3" / f"{kind}-dev.json").write_text('[[["男"],\n{"question": 1}', encoding="utf-8")
    with pytest.raises(cb.ClueBenchError, match="not JSON"):
        cb.score(tmp_path / "mine.json", task="c3", data=tmp_path)


@pytest.fixture
def c3(tmp_path):
    def passage(choices, answer):
        return [["男：你好。", "女：再见。"], [{"question": "谁？", "choice": choices, "answer": answer}], "47-275"]

    (tmp_path / "c3").mkdir()
    dialogues = [passage(["甲", "乙", "丙", "丁"], "乙"), passage(["甲", "甲", "丙"], "甲")]
    (tmp_path / "c3" / "d-dev.json").write_text(json.dumps(dialogues), encoding="utf-8")
    (tmp_path / "c3" / "m-dev.json").write_text(json.dumps([passage(["对", "错"], "对")]), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("labels", "accuracy", "note"),
    [([1, 1, 0], 1.0, "twice"), ([1, 2, 1], 1 / 3, "twice"), ([1, 0, 3], 2 / 3, "does not have")],
)
def test_choices_of_c3_are_numbers_over_both_files(labels, accuracy, note, c3):
    rows = [{"id": n, "label": label} for n, label in enumerate(labels)]
    found = cb.score(write_lines(c3 / "c311_predict.json", rows), task="c3", data=c3)
    assert found.value == pytest.approx(accuracy)
    assert found.to_json()["chance"] == pytest.approx(np.mean([1 / 4, 1 / 3, 1 / 2]))
    assert note in "; ".join(found.notes)


@pytest.fixture
def chid(tmp_path):
    lines = [
        {
            "content": ["他#idiom000001#，又#idiom000002#。", "#idiom000003#。"],
            "candidates": list("甲乙丙丁戊己庚辛壬癸"),
        },
        {"content": ["#idiom000004#"], "candidates": list("甲乙丙丁戊己庚辛壬癸")},
    ]
    write_lines(tmp_path / "chid" / "dev.json", lines)
    answers = {f"#idiom00000{n}#": n for n in range(1, 5)}
    (tmp_path / "chid" / "dev_answer.json").write_text(json.dumps(answers), encoding="utf-8")
    return tmp_path


def test_blanks_of_chid_are_scored_from_one_object(chid):
    given = {"#idiom000001#": 1, "#idiom000002#": 9, "#idiom000003#": 3, "#idiom000004#": 0}
    (chid / "chid11_predict.json").write_text(json.dumps(given), encoding="utf-8")
    found = cb.score(chid / "chid11_predict.json", task="chid", data=chid)
    assert (found.value, found.scored.rows, found.to_json()["chance"]) == (0.5, 4, pytest.approx(0.1))
    given["#idiom000004#"] = 10
    (chid / "chid11_predict.json").write_text(json.dumps(given), encoding="utf-8")
    with pytest.raises(cb.ClueBenchError, match="numbers 0 to 9: '10'"):
        cb.score(chid / "chid11_predict.json", task="chid", data=chid)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (["没有"], "lines without a blank, such as #idiom000001#: 1"),
        ([None], "part 0 is a NoneType"),
        ("甲", "is a str"),
    ],
)
def test_a_line_of_chid_without_a_blank_is_counted_and_one_without_text_refused(content, said, chid):
    path = chid / "chid" / "dev.json"
    line = {"content": content, "candidates": list("甲乙丙丁戊己庚辛壬癸")}
    encoded = (path.read_text(encoding="utf-8") + json.dumps(line, ensure_ascii=False)).encode("gb18030")
    path.write_bytes(encoded)
    given = {f"#idiom00000{n}#": n for n in range(1, 5)}
    (chid / "mine.json").write_text(json.dumps(given), encoding="utf-8")
    if "lines" not in said:
        with pytest.raises(cb.ClueBenchError, match=said):
            cb.score(chid / "mine.json", task="chid", data=chid)
        return
    notes = cb.score(chid / "mine.json", task="chid", data=chid).notes
    assert "read as GB18030" in notes[0]
    assert said in notes[1]


def test_drcd_is_scored_as_cmrc2018_is(tmp_path):
    squad(tmp_path / "drcd" / "test.json", answers=[RIGHT])
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(dict.fromkeys(IDS, "《光荣和ω-force》")), encoding="utf-8")
    assert cb.score(path, task="drcd", data=tmp_path, split="test").value == 1.0


def test_a_choice_that_no_question_has_is_refused(c3):
    rows = [{"id": n, "label": 4} for n in range(3)]
    with pytest.raises(cb.ClueBenchError, match="numbers 0 to 3"):
        cb.score(write_lines(c3 / "mine.jsonl", rows), task="c3", data=c3)


@pytest.mark.slow
def test_the_real_data_have_the_faults_that_are_known(real_data, tmp_path):
    from clue_bench.tasks.rows import read_split
    from clue_bench.tasks.task import load_task

    rows = read_split(load_task("cmrc2018"), "dev", real_data / "clue")
    assert (len(set(rows.passages.tolist())), len(rows)) == (848, 3_219)
    assert "of 9,657 answers, 200 do not" in rows.notes[0]
    assert "193 of these nowhere" in rows.notes[0]
    answers = {str(each): right[0].text for each, right in zip(rows.ids, rows.answers, strict=True)}
    path = tmp_path / "gold.json"
    path.write_text(json.dumps(answers), encoding="utf-8")
    assert [m.value for m in cb.score(path, task="cmrc2018", data=real_data / "clue").scored.metrics] == [1, 1]


def questions(number, *, choices):
    """Rows of one's own: questions on passages, with choices or with answers that stand in the passage."""
    for n in range(number):
        row = {"passage" if choices else "context": f"甲{n}在乙{n}家。", "question": "谁？"}
        yield row | ({"choices": [f"甲{n}", f"丙{n}"], "answer": f"甲{n}"} if choices else {"answer": f"甲{n}"})


@pytest.mark.parametrize(
    ("rows", "metric"),
    [
        ([{"text": f"{'好坏'[n % 2]}{n}", "label": n % 2} for n in range(40)], "accuracy"),
        (list(questions(40, choices=True)), "accuracy"),
        (list(questions(40, choices=False)), "exact_match"),
    ],
)
def test_rows_of_ones_own_are_scored_without_a_task_as_they_are_trained_on(rows, metric, tmp_path):
    (tmp_path / "own").mkdir()
    write_lines(tmp_path / "own" / "train.jsonl", rows)
    run = cb.floor(None, data=tmp_path / "own", out=tmp_path / "runs", progress=False)[-1]
    found = cb.score(run.folder / "predictions" / "dev.jsonl", data=tmp_path / "own")
    assert (found.value, found.to_json()["metric"], found.scored.task) == (run.accuracy, metric, run.task)
    assert any("dev was held out" in note for note in found.notes)
    words = ["score", "--predictions", str(run.folder / "predictions" / "dev.jsonl"), "--data", str(tmp_path / "own")]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == found.to_json()


def test_columns_of_ones_own_rows_may_be_named(tmp_path):
    rows = [{"id": n, "甲": f"{'好坏'[n % 2]}{n}", "乙": n, "丙": n % 2} for n in range(40)]
    write_lines(tmp_path / "own.jsonl", [{**row, "split": "dev" if row["id"] < 10 else "train"} for row in rows])
    guess = write_lines(tmp_path / "mine.jsonl", [{"id": n, "label": 0} for n in range(10)])
    assert cb.score(guess, data=tmp_path / "own.jsonl", text="甲", label="丙").value == 0.5
    with pytest.raises(ClueBenchError, match="hotel") as raised:
        cb.score(guess, task="hotel", data=tmp_path / "own.jsonl")
    assert "leave out --task" in raised.value.hint


ENTITIES = [{"name": {"李华": [[0, 1]]}}, {"name": {"李华": [[0, 1]]}, "scene": {"北京": [[3, 4]]}}, {}]


@pytest.fixture
def named(tmp_path):
    """Texts with entities."""
    rows = [{"text": "李华在北京", "label": label} for label in ENTITIES]
    write_lines(tmp_path / "data" / "cluener" / "dev.json", rows)
    return tmp_path / "data"


def test_entities_are_scored_from_one_object_of_ids_as_from_lines(named, tmp_path):
    lines = write_lines(tmp_path / "a.jsonl", [{"id": n, "label": each} for n, each in enumerate(ENTITIES)])
    whole = tmp_path / "b.json"
    whole.write_text(json.dumps(dict(enumerate(ENTITIES))), encoding="utf-8")
    for path in (lines, whole):
        assert cb.score(path, task="cluener", data=named).value == 1
    whole.write_text(json.dumps({**dict(enumerate(ENTITIES)), 2: []}), encoding="utf-8")
    with pytest.raises(ClueBenchError, match=r"b\.json, 2"):
        cb.score(whole, task="cluener", data=named)


@pytest.mark.parametrize("nothing", [{"label": ""}, {"label": None}, {}])
def test_a_text_without_an_answer_is_not_one_without_entities(nothing, named, tmp_path):
    rows = [{"id": n, "label": each} for n, each in enumerate(ENTITIES)]
    path = write_lines(tmp_path / "mine.jsonl", [*rows[:2], {"id": 2, **nothing}])
    with pytest.raises(ClueBenchError, match="without an answer: 1, first of id '2'") as caught:
        cb.score(path, task="cluener", data=named)
    assert "empty object" in caught.value.hint
