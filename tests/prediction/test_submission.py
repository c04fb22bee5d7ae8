"""The zip for CLUE: written from runs, and refused for everything that would cost points."""

import json
import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from samples import write_run

import clue_bench as cb
from clue_bench.api.data import verify_data
from clue_bench.api.submissions import submit
from clue_bench.cli import main
from clue_bench.errors import ClueBenchError
from clue_bench.language import using
from clue_bench.prediction.submission.check import check_submission
from clue_bench.prediction.submission.runs import choose_runs, read_run
from clue_bench.prediction.submission.slots import known_slots
from clue_bench.prediction.submission.unseen import answer_unseen
from clue_bench.prediction.submission.write import write_submission
from clue_bench.tasks.rows import read_split
from clue_bench.tasks.task import load_task

OFFICIAL = {  # clue_submit_examples; rows of the official test files
    "afqmc_predict.json": 3_861,
    "c310_predict.json": 1_625,
    "c311_predict.json": 3_892,
    "chid10_predict.json": None,
    "chid11_predict.json": None,
    "cluener_predict.json": 1_345,
    "cluewsc10_predict.json": 290,
    "cluewsc11_predict.json": 2_574,
    "cmnli_predict.json": 13_880,
    "cmrc2018_predict.json": 2_000,
    "csl_predict.json": 3_000,
    "diagnostics_predict.json": 514,
    "iflytek_predict.json": 2_600,
    "ocnli_50k_predict.json": 3_000,
    "tnews10_predict.json": 10_000,
    "tnews11_predict.json": 10_000,
}
WSC = "cluewsc10_predict.json"


@pytest.fixture(scope="module")
def known():
    return known_slots()


@pytest.fixture
def wsc_run(tmp_path):
    return write_run(tmp_path / "wsc", "cluewsc2020", {"test1.0": range(1, 291)})


def lines_of(path, name):
    with zipfile.ZipFile(path) as archive:
        return archive.read(name).decode().splitlines()


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files:
            archive.writestr(name, content)
    return path


def answers(first=1, count=290, label="true"):
    return [json.dumps({"id": n, "label": label}) for n in range(first, first + count)]


def test_the_names_are_clues(known):
    assert {name: slot.task.splits[slot.split].rows for name, slot in known.items()} == OFFICIAL


def test_every_test_set_of_a_run_is_written_under_its_official_name(known, tmp_path, wsc_run):
    tnews = write_run(tmp_path / "tnews", "tnews", {"test": range(10_000), "test1.0": range(10_000), "dev": [0]})
    out = tmp_path / "submit.zip"
    report = write_submission(out, [read_run(run, known) for run in (wsc_run, tnews)], known=known, data=None)
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == [WSC, "tnews10_predict.json", "tnews11_predict.json"]
    assert lines_of(out, WSC)[:2] == ['{"id": 1, "label": "false"}', '{"id": 2, "label": "true"}']
    assert Counter(json.loads(line)["label"] for line in lines_of(out, WSC)) == {"true": 145, "false": 145}
    assert [(file.slot.name, file.rows) for file in report.files] == [
        (name, OFFICIAL[name]) for name in (WSC, "tnews10_predict.json", "tnews11_predict.json")
    ]
    assert report.missing == [name for name in OFFICIAL if not name.startswith(("cluewsc10", "tnews"))]


def test_choices_are_written_as_numbers(known, tmp_path):
    run = write_run(tmp_path / "c3", "c3", {"test": range(3_892)})
    out = tmp_path / "submit.zip"
    write_submission(out, [read_run(run, known)], known=known, data=None)
    assert lines_of(out, "c311_predict.json")[1] == '{"id": 1, "label": 1}'
    for label, expected in (('"1"', "as a number"), ("4", "4 labels"), ("true", "as a number")):
        lines = [f'{{"id": {n}, "label": {label}}}' for n in range(3_892)]
        path = write_zip(tmp_path / "submit_bad.zip", [("c311_predict.json", "\n".join(lines))])
        with pytest.raises(ClueBenchError, match=expected):
            check_submission(path, known=known, data=None)


@pytest.mark.parametrize("has_ids", [True, False])
def test_test_rows_of_another_release_are_known_whatever_their_file_is_called(has_ids, known, tmp_path):
    (tmp_path / "data" / "c3").mkdir(parents=True)
    passages = [
        [
            ["男：好。"],
            [{"question": "谁？", "choice": ["甲", "乙"], **({"id": n} if has_ids else {"answer": ""})}],
            "1-1",
        ]
        for n in range(2)
    ]
    (tmp_path / "data" / "c3" / "test1.1.json").write_text(json.dumps(passages), encoding="utf-8")
    rows = read_split(load_task("c3"), "test", tmp_path / "data")
    assert rows.ids == [0, 1]
    assert any("without ids" in note for note in rows.notes) != has_ids
    run = write_run(tmp_path / "c3", "c3", {"test": range(3_892)}, files={"test": rows.facts})
    zipped = write_zip(tmp_path / "submit.zip", [("c311_predict.json", "")])
    if has_ids:
        assert read_run(run, known).task == "c3"
        return
    with pytest.raises(ClueBenchError, match="without ids") as raised:
        read_run(run, known)
    assert "data fetch --task c3" in raised.value.hint
    with pytest.raises(ClueBenchError, match="without ids"):
        check_submission(zipped, known=known, data=tmp_path / "data")


def questions(number=2_000):
    return [f"TEST_{n}_QUERY_0" for n in range(number)]


def test_answers_found_in_passages_are_one_object(known, tmp_path):
    run = write_run(tmp_path / "cmrc2018", "cmrc2018", {"test": questions()})
    out = tmp_path / "submit.zip"
    write_submission(out, [read_run(run, known)], known=known, data=None)
    (line,) = lines_of(out, "cmrc2018_predict.json")
    assert list(json.loads(line).items())[:2] == [("TEST_0_QUERY_0", "答案"), ("TEST_1_QUERY_0", "")]


GIVEN = dict.fromkeys(questions(), "答案")
BROKEN = {
    "lines": ("\n".join(json.dumps({"id": each, "label": "答案"}) for each in questions()), "not JSON"),
    "a list": (json.dumps(["答案"] * 2_000), "no JSON object"),
    "cut short": (json.dumps(GIVEN)[:-9], "not JSON"),
    "one missing": (json.dumps(dict(list(GIVEN.items())[1:])), "1,999 lines, expected 2,000"),
    "one twice": (json.dumps(GIVEN)[:-1] + ', "TEST_0_QUERY_0": "答"}', "again, which line 1 has"),
    "a number": (json.dumps({**GIVEN, "TEST_3_QUERY_0": 1}), "line 4: answer 1, expected a text"),
    "a list of answers": (json.dumps({**GIVEN, "TEST_3_QUERY_0": ["答案"]}), "line 4: answer ["),
    "empty": ("{}", "0 lines, expected 2,000"),
}


@pytest.mark.parametrize(("content", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_of_answers_are_refused(content, expected, known, tmp_path):
    path = write_zip(tmp_path / "submit_bad.zip", [("cmrc2018_predict.json", content)])
    with pytest.raises(ClueBenchError) as caught:
        check_submission(path, known=known, data=None)
    assert expected in caught.value.message


def test_the_same_answers_give_the_same_bytes(known, tmp_path, wsc_run):
    zips = [tmp_path / "a" / "submit.zip", tmp_path / "b" / "submit.zip"]
    for path in zips:
        write_submission(path, [read_run(wsc_run, known)], known=known, data=None)
    assert zips[0].read_bytes() == zips[1].read_bytes()


def test_two_runs_of_a_task_are_refused(known, tmp_path, wsc_run):
    other = write_run(tmp_path / "other", "cluewsc2020", {"test1.0": range(1, 291)})
    with pytest.raises(ClueBenchError, match=r"both .*cluewsc2020"):
        write_submission(
            tmp_path / "submit.zip", [read_run(run, known) for run in (wsc_run, other)], known=known, data=None
        )


def test_of_all_runs_of_a_benchmark_the_best_models_are_taken_and_named(known, tmp_path, wsc_run):
    better = write_run(tmp_path / "better", "cluewsc2020", {"test1.0": range(1, 291)}, correct=90)
    floor = write_run(tmp_path / "floor", "cluewsc2020", {"test1.0": range(1, 291)}, correct=99, is_floor=True)
    failed = write_run(tmp_path / "failed", "cluewsc2020", {"test1.0": range(1, 291)}, status="failed")
    tnews = write_run(tmp_path / "tnews", "tnews", {"test": range(10_000), "test1.0": range(10_000), "dev": [0]})
    chosen, notes = choose_runs([wsc_run, floor, better, failed, tnews], known)
    assert [run.folder for run in chosen] == [better, tnews]
    (note,) = notes
    assert "cluewsc2020: 4 runs" in note
    assert str(better) in note


@pytest.mark.parametrize("ids", [range(1, 290), range(290), [2, 1, *range(3, 291)]], ids=["few", "shifted", "swapped"])
def test_a_wrong_run_leaves_the_earlier_zip_as_it_was(known, tmp_path, ids):
    out = tmp_path / "submit.zip"
    out.write_bytes(b"before")
    run = write_run(tmp_path / "run", "cluewsc2020", {"test1.0": ids})
    with pytest.raises(ClueBenchError, match="no zip was written"):
        write_submission(out, [read_run(run, known)], known=known, data=None)
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "submit.zip"]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda run: shutil.rmtree(run), "no run record"),
        (lambda run: (run / "copy.record.json").write_text("{}"), "2 run records"),
        (lambda run: write_run(run, "cluewsc2020", {"test1.0": [1]}, status="interrupted"), "interrupted"),
        (lambda run: write_run(run, "cluewsc2020", {"dev": [1]}), "predicted dev, expected test, test1.0"),
        (lambda run: (run / "predictions" / "test1.0.jsonl").unlink(), "no such predictions"),
    ],
)
def test_what_is_no_finished_run_with_test_predictions_is_refused(known, wsc_run, prepare, message):
    prepare(wsc_run)
    with pytest.raises(ClueBenchError, match=message):
        read_run(wsc_run, known)


def test_what_other_writers_write_is_right_too(known, tmp_path):
    """Ids as strings (RoFormer_pytorch), label_desc (CLUE's TensorFlow baseline), no final line feed."""
    rows = [json.dumps({"id": str(n), "label": "true", "label_desc": ""}) for n in range(1, 291)]
    report = check_submission(write_zip(tmp_path / "submit.zip", [(WSC, "\n".join(rows))]), known=known, data=None)
    assert [file.rows for file in report.files] == [290]
    assert report.notes == []


def test_what_was_written_is_told_in_chinese(wsc_run, tmp_path):
    written = submit([wsc_run], out=tmp_path / "submit.zip")
    with using("zh"):
        heads, line = str(written).splitlines()[:2]
    assert heads.split() == ["文件", "任务", "划分", "行数", "编号", "运行"]
    assert not re.search(
        "[a-z]{2}", re.sub(rf"{WSC}|cluewsc2020|test1\.0|{written.answers[0].record.run_id}", "", line)
    )


def test_a_test_file_that_the_data_lack_is_named_with_what_helps(wsc_run, tmp_path):
    (tmp_path / "cluewsc2020").mkdir()
    (tmp_path / "cluewsc2020" / "test.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ClueBenchError, match=r"no test1\.0 of cluewsc2020") as caught:
        submit([wsc_run], out=tmp_path / "submit.zip", data=tmp_path)
    assert caught.value.hint == "give --data a folder that has it, or leave out --data"  # there is no --split


def test_ids_that_no_data_and_no_rule_tell_may_be_any_but_not_twice(known, tmp_path):
    rows = [json.dumps({"id": n * 7 % 3_001, "label": "0"}) for n in range(3_000)]
    path = write_zip(tmp_path / "submit.zip", [("csl_predict.json", "\n".join(rows))])
    (file,) = check_submission(path, known=known, data=None).files
    assert file.ids == "not compared without --data"
    rows[2_999] = rows[5]
    write_zip(path, [("csl_predict.json", "\n".join(rows))])
    with pytest.raises(ClueBenchError, match="line 3000: id 35 again, which line 6 has"):
        check_submission(path, known=known, data=None)


GOOD = "\n".join(answers()) + "\n"
BROKEN = {
    "wrong name": ([("ocnli_predict.json", GOOD)], r"ocnli_predict.json .* did you mean ocnli_50k_predict.json\?"),
    "no version": ([("tnews_predict.json", GOOD)], r"did you mean tnews10_predict.json or tnews11_predict.json\?"),
    "task name": ([("cluewsc2020_predict.json", GOOD)], r"did you mean cluewsc10_predict.json or "),
    "typing error": ([("aqfmc_predict.json", GOOD)], r"did you mean 'afqmc_predict.json'\?"),
    "no card": ([("ocnli_30k_predict.json", GOOD)], "official name, but of no known task card"),
    "empty zip": ([], "an empty zip"),
    "folder": ([(f"submit/{WSC}", GOOD)], f"'submit/{WSC}' lies in a folder"),
    "empty folder": ([(WSC, GOOD), ("__MACOSX/", "")], "'__MACOSX/' lies in a folder"),
    "empty file": ([(WSC, "")], "0 lines, expected 290"),
    "last line missing": ([(WSC, "\n".join(answers(count=289)))], "289 lines, expected 290"),
    "one line more": ([(WSC, "\n".join(answers(count=291)))], "291 lines, expected 290"),
    "line missing": ([(WSC, "\n".join(answers(count=99) + answers(first=101)))], "line 100: id 101, expected 100"),
    "swapped": ([(WSC, "\n".join([answers()[1], answers()[0], *answers()[2:]]))], "line 1: id 2, expected 1"),
    "ids from 0": ([(WSC, "\n".join(answers(first=0)))], "line 1: id 0, expected 1"),
    "ids by batch": ([(WSC, "\n".join(answers(count=32) * 10))], "line 33: id 1, expected 33"),
    "unknown label": (
        [(WSC, GOOD.replace('"true"', '"yes"', 1))],
        "line 1: label 'yes', expected one of cluewsc2020's",
    ),
    "label no string": ([(WSC, GOOD.replace('"true"', "true", 1))], "line 1: label True, expected one of"),
    "no label": ([(WSC, GOOD.replace('"label"', '"label_desc"', 1))], "line 1: no field 'label'"),
    "extra field": ([(WSC, GOOD.replace("}", ', "score": 1}', 1))], "line 1: field 'score', expected id and label"),
    "not JSON": ([(WSC, GOOD.replace("{", "", 1))], "line 1: not JSON"),
    "field twice": (
        [(WSC, GOOD.replace("}", ', "label": "false"}', 1))],
        "line 1: not JSON .field 'label' is given twice",
    ),
    "no object": ([(WSC, "[]\n" + GOOD)], "line 1: found a list"),
    "deep": ([(WSC, "[" * 100_000)], "line 1: not JSON"),
    "id no number": ([(WSC, GOOD.replace("1,", "null,", 1))], "line 1: id None, expected a number or a string"),
    "blank line": ([(WSC, GOOD.replace("\n", "\n\n", 1))], "line 2: an empty line"),
    "byte order mark": ([(WSC, b"\xef\xbb\xbf" + GOOD.encode())], "line 1: begins with a byte order mark"),
    "not UTF-8": ([(WSC, GOOD.encode("utf-16"))], "invalid UTF-8 at byte 0"),
}


@pytest.mark.parametrize(("files", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_zip_is_refused_naming_what_is_wrong(known, tmp_path, files, message):
    with pytest.raises(ClueBenchError, match=message) as refused:
        check_submission(write_zip(tmp_path / "submit.zip", files), known=known, data=None)
    assert refused.value.message.startswith(str(tmp_path / "submit.zip"))
    assert refused.value.hint


def test_a_file_that_is_twice_in_the_zip_is_refused(known, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        write_zip(tmp_path / "submit.zip", [(WSC, GOOD), (WSC, GOOD)])
    with pytest.raises(ClueBenchError, match=f"{WSC} is in it 2 times"):
        check_submission(tmp_path / "submit.zip", known=known, data=None)


@pytest.mark.parametrize("content", [b"", b"PK", GOOD.encode()])
def test_what_is_no_zip_is_refused(known, tmp_path, content):
    (tmp_path / "submit.zip").write_bytes(content)
    with pytest.raises(ClueBenchError, match="no readable zip"):
        check_submission(tmp_path / "submit.zip", known=known, data=None)
    with pytest.raises(ClueBenchError, match="no such file"):
        check_submission(tmp_path / "other.zip", known=known, data=None)


def test_a_damaged_zip_is_refused(known, tmp_path):
    path = write_zip(tmp_path / "submit.zip", [(WSC, GOOD)])
    raw = bytearray(path.read_bytes())
    raw[500] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(ClueBenchError, match="no readable zip"):
        check_submission(path, known=known, data=None)


@pytest.fixture
def own_task(tmp_path, monkeypatch):
    """A task of the user's with three test rows of ids 7, 3, 5, its card and its data."""
    card = Path(__file__).parent.parent.parent / "tasks" / "csl.toml"
    text = card.read_text(encoding="utf-8").replace('"csl"', '"mine"').replace("csl_predict", "mine_predict")
    text = "\n".join(line for line in text.splitlines() if not line.startswith(("rows", "md5")))
    (tmp_path / "cards" / "tasks").mkdir(parents=True)
    path = tmp_path / "cards" / "tasks" / "mine.toml"
    path.write_text(text.split("[archive]")[0], encoding="utf-8")
    (tmp_path / "data" / "mine").mkdir(parents=True)
    rows = [json.dumps({"id": i, "keyword": ["甲"], "abst": "乙"}, ensure_ascii=False) for i in (7, 3, 5)]
    (tmp_path / "data" / "mine" / "test.json").write_text("\n".join(rows), encoding="utf-8")
    return path


def mine(tmp_path, *ids):
    rows = [json.dumps({"id": i, "label": "1"}) for i in ids]
    return write_zip(tmp_path / "submit.zip", [("mine_predict.json", "\n".join(rows))])


def test_with_data_ids_are_those_of_the_test_file(own_task, tmp_path):
    known, data = known_slots([str(own_task)]), tmp_path / "data"
    (file,) = check_submission(mine(tmp_path, 7, 3, 5), known=known, data=data).files
    assert (file.rows, file.ids) == (3, "those of the test file")
    for ids, message in [((7, 5, 3), "line 2: id 5, expected 3"), ((7, 3), "2 lines, expected 3")]:
        with pytest.raises(ClueBenchError, match=message):
            check_submission(mine(tmp_path, *ids), known=known, data=data)


def test_a_card_of_the_users_is_known_by_the_path_or_by_its_file(own_task, tmp_path, monkeypatch):
    assert "mine_predict.json" not in known_slots()
    monkeypatch.setenv("CLUE_BENCH_PATH", str(tmp_path / "cards"))
    assert "mine_predict.json" in known_slots()


def test_test_data_of_another_size_than_the_official_is_refused(known, tmp_path):
    (tmp_path / "cluewsc2020").mkdir()
    row = {
        "id": 1,
        "text": "甲他",
        "target": {"span1_index": 0, "span1_text": "甲", "span2_index": 1, "span2_text": "他"},
    }
    (tmp_path / "cluewsc2020" / "test1.0.json").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(ClueBenchError, match=r"test1\.0 split of cluewsc2020 has 1 rows, the official one 290"):
        check_submission(write_zip(tmp_path / "submit.zip", [(WSC, GOOD)]), known=known, data=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["afqmc", "tnews", "iflytek", "cmnli", "csl", "ocnli"])
def test_official_test_files_ids_make_a_right_submission(known, real_data, tmp_path, task):
    from clue_bench.tasks.rows import read_split

    data = real_data / "clue"
    own = [slot for slot in known.values() if slot.task.name == task]
    run = write_run(tmp_path / "run", task, {slot.split: read_split(slot.task, slot.split, data).ids for slot in own})
    for looked_at in (None, data):
        report = write_submission(tmp_path / "submit.zip", [read_run(run, known)], known=known, data=looked_at)
        assert [file.rows for file in report.files] == [OFFICIAL[slot.name] for slot in sorted(own)]


def run_command(capfd, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["clue-bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        main()
    out, err = capfd.readouterr()
    return exited.value.code or 0, out, err


def test_the_command_writes_checks_and_says_what_is_missing(capfd, monkeypatch, tmp_path, wsc_run):
    out = tmp_path / "submit_team.zip"
    code, text, err = run_command(capfd, monkeypatch, "submit", wsc_run, "--out", out)
    assert (code, WSC in text) == (0, True)
    assert "tnews11_predict.json" in err
    (tmp_path / "data" / "cluewsc2020").mkdir(parents=True)
    spans = {"span1_index": 0, "span2_index": 0, "span1_text": "他", "span2_text": "他"}
    rows = "".join(json.dumps({"id": number, "text": "他来了", "target": spans}) + "\n" for number in range(1, 291))
    (tmp_path / "data" / "cluewsc2020" / "test1.0.json").write_text(rows, encoding="utf-8")
    again = ["submit", wsc_run, "--out", out, "--data", tmp_path / "data"]
    _, _, err = run_command(capfd, monkeypatch, *again)
    assert f"next: clue-bench submit --check {out} --data {tmp_path / 'data'}" in err
    code, text, _ = run_command(capfd, monkeypatch, "submit", "--check", out, "--json")
    found = json.loads(text)
    assert (code, found["valid"], found["files"][0]["rows"]) == (0, True, 290)
    renamed = out.rename(tmp_path / "mine.zip")
    _, text, err = run_command(capfd, monkeypatch, "submit", "--check", renamed, "--json")
    assert "submit_team_date.zip" in json.loads(text)["notes"][0]
    broken = write_zip(tmp_path / "submit.zip", [("ocnli_predict.json", GOOD)])
    code, text, err = run_command(capfd, monkeypatch, "submit", "--check", broken)
    assert (code, text, len(err.splitlines())) == (1, "", 2)
    assert run_command(capfd, monkeypatch, "submit")[0] == 1
    assert run_command(capfd, monkeypatch, "submit", wsc_run, "--check", broken)[0] == 1


INFERENCE = ("contradiction", "entailment", "neutral")


@pytest.fixture(scope="module")
def inference(tmp_path_factory, checkpoint_folder):
    """A run of OCNLI on a few rows, and a folder with its test set of the official size and with diagnostics."""
    folder = tmp_path_factory.mktemp("inference")
    rows = [
        {"id": n, "sentence1": "他在大国", "sentence2": "我" * (1 + n % 3), "label": INFERENCE[n % 3]}
        for n in range(3_000)
    ]
    pairs = [{"index": n, "premise": "他在大国", "hypothesis": "我" * (1 + n % 3)} for n in range(514)]
    files = {
        "ocnli/train.json": rows[:48],
        "ocnli/dev.json": rows[:12],
        "ocnli/test.json": [{key: row[key] for key in ("id", "sentence1", "sentence2")} for row in rows],
        "diagnostics/diagnostics_test.json": pairs,
    }
    for name, content in files.items():
        (folder / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(row, ensure_ascii=False) for row in content)
        (folder / "data" / name).write_text("\n".join(lines), encoding="utf-8")
    settings = {"max_length": 16, "max_evaluations": 1, "precision": "fp32"}
    run = cb.finetune(
        "ocnli",
        checkpoint_folder,
        data=folder / "data",
        out=folder / "run",
        steps=2,
        settings=settings,
        progress=False,
    )
    return run, folder / "data"


def test_the_diagnostics_are_answered_by_the_model_of_ocnli(inference, tmp_path):
    run, data = inference
    made = submit([run], out=tmp_path / "submit.zip", data=data)
    lines = [json.loads(line) for line in lines_of(made.zip, "diagnostics_predict.json")]
    assert [line["id"] for line in lines] == list(range(514))
    model = cb.load_model(run.folder, task="diagnostics")
    predicted = model.predict_split("test", data=data, progress=False)
    assert [line["label"] for line in lines] == [row.label for row in predicted.rows]
    assert made.choices == (f"diagnostics: answered by {run.folder}, a model of ocnli",)
    assert submit([run], out=tmp_path / "submit.zip").report.missing.count("diagnostics_predict.json") == 1
    assert verify_data(["diagnostics"], data=data).splits == {"diagnostics": ["test"]}


def test_diagnostics_without_a_model_are_left_out_and_said_so(inference, known, tmp_path, wsc_run):
    run, data = inference
    without = shutil.copytree(run.folder, tmp_path / "without")
    shutil.rmtree(without / "checkpoint")
    assert "has no weights" in submit([without], out=tmp_path / "submit.zip", data=data).choices[0]
    answered, notes = answer_unseen([read_run(wsc_run, known)], known, data)
    assert (answered, notes) == ([], ["diagnostics: left out, no run of ocnli or cmnli is given"])


@pytest.mark.parametrize(
    ("label", "expected"), [('"0"', "expected one of diagnostics's 3 labels"), ("1", "as a string")]
)
def test_a_file_of_diagnostics_with_other_labels_is_refused(label, expected, known, tmp_path):
    lines = "\n".join(f'{{"id": {n}, "label": {label}}}' for n in range(514))
    path = write_zip(tmp_path / "submit_bad.zip", [("diagnostics_predict.json", lines)])
    with pytest.raises(ClueBenchError, match=expected):
        check_submission(path, known=known, data=None)
