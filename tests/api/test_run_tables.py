"""The list of runs says which was which, and one run shows settings that can be read."""

import pytest

from clue_bench.api.bench_results import Benchmark, Outcome
from clue_bench.api.runs import Run, Runs, find_run, load_runs
from clue_bench.doors.records import DataFacts, FinetuneRecord, ModelFacts, TaskFacts, write_record
from clue_bench.errors import ClueBenchError
from clue_bench.files import held
from clue_bench.finetuning.sweep import Sweep, Trial
from clue_bench.language import using
from clue_bench.layout import text_width
from clue_bench.tasks.scores import kind_of, score_names
from clue_bench.tasks.task import load_task

DEV = {"rows": 100, "correct": 51, "accuracy": 0.51, "macro_f1": 0.4, "loss": 0.7, "top_label": "0", "top_share": 0.7}
RESULTS = {"dev": {**DEV, "majority_label": "0", "majority_share": 0.6}, "best_step": 1_234, "total_steps": 5_000}
SETTINGS = {"learning_rate": 3e-4, "epochs": 3, "dropout": 0.1}


def record(name, *, minute=0, model="tiny", seed=1, error=None, **settings):
    return FinetuneRecord(
        run_id=f"finetune-tnews-{model}-{name}-s{seed}",
        status="failed" if error else "completed",
        error=error,
        started_at=f"2026-01-01T00:{minute:02d}:00Z",
        wall_seconds=107.0,
        asked={"task": "tnews", "settings": settings},
        effective=SETTINGS | settings,
        seed=seed,
        task=TaskFacts(name="tnews", title="TNEWS' 新闻", column="TNEWS'", metric="accuracy"),
        data=DataFacts(name="clue", revision="official"),
        model=ModelFacts(name=model, parameters=7_450_000, sha256="a" * 64, layers=4, hidden_size=312),
        code={"version": "0.2.0"},
        packages={"torch": "2.0"},
        hardware={"cores": 2},
        results={} if error else RESULTS,
    )


def test_scores_of_runs_have_the_names_of_what_they_are():
    assert score_names(["classification"]) == ("accuracy", "macro-F1")
    assert score_names(["span"]) == ("exact match", "F1")
    assert score_names(["span", "classification"]) == ("accuracy or exact match", "macro-F1 or F1")
    assert score_names(["choice", "cloze"]) == ("accuracy", "")
    assert score_names(["span", "choice"]) == ("accuracy or exact match", "F1")


@pytest.mark.parametrize(
    ("metric", "kind"), [("accuracy", "classification"), ("exact_match", "span"), ("entity_f1", "tags")]
)
def test_a_task_of_a_kind_of_another_version_is_called_by_its_metric(metric, kind):
    facts = TaskFacts(name="later", title="later", column="later", metric=metric, card={"kind": "ranking"})
    assert kind_of(facts) == kind


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        ("tnews", ["dev accuracy", "macro-F1"]),
        ("cmrc2018", ["dev exact match", "F1"]),
        ("c3", ["dev accuracy"]),
    ],
)
def test_a_search_calls_the_scores_of_its_settings_what_they_are(task, columns, tmp_path):
    points = [{"learning_rate": 1e-4}, {"learning_rate": 3e-4}]
    runs = [
        record(f"{place}", **point).model_copy(update={"task": load_task(task).facts})
        for place, point in enumerate(points)
    ]
    trials = [Trial(point, 1, run, tmp_path) for point, run in zip(points, runs, strict=True)]
    outcome = Outcome("tiny", task, task.upper(), {}, Sweep(trials, points[0]), points)
    assert list(outcome.points_table.to_dataframe()) == ["learning_rate", *columns, "time"]
    (values,) = Benchmark((outcome,), Runs(())).to_json()["rows"]
    keys = {"tnews": ["macro_f1"], "cmrc2018": ["f1"]}.get(task, [])
    assert [key for key in values["points"][0] if "f1" in key] == keys
    assert [key for key in values["dev"] if "f1" in key] == keys


@pytest.mark.parametrize(
    ("task", "said", "usual"),
    [
        ("tnews", "warning: majority class: 70.0 % of the predictions are '0'", "majority class"),
        ("c3", "warning: 70.0 % of the choices are number 0 (from 0), and always choosing", "always the same choice"),
        ("chid", "warning: 70.0 % of the choices are number 0 (from 0)", "always the same choice"),
        ("cmrc2018", "warning: 70.0 % of the answers are '0'", "most frequent answer"),
        ("cluener", "warning: not one entity is right", "without an entity"),
    ],
)
def test_questions_have_answers_where_texts_have_labels(task, said, usual, tmp_path):
    card = load_task(task)
    facts = TaskFacts(name=task, title=card.title, column=card.column, metric=card.metric)
    one = Run(record("a").model_copy(update={"task": facts, "flags": ["majority_class"]}), tmp_path)
    assert one.warning.startswith(said)
    assert usual in str(one)
    assert ("dev exact match" in str(one)) == (task == "cmrc2018")
    names = {"tnews": "macro_f1", "cluener": "macro_f1", "cmrc2018": "f1"}
    frame = Runs((one,)).to_dataframe()
    for name in ("macro_f1", "f1"):
        if names.get(task) == name:
            assert getattr(one, name) == frame[name][0] == 0.4
        else:
            assert frame[name].isna().all()
            with pytest.raises(ClueBenchError, match=f"no {name} of"):
                getattr(one, name)
    assert ("dev macro-F1" in str(one), "dev F1" in str(one)) == (task in ("tnews", "cluener"), task == "cmrc2018")
    assert "(nearly) always the most frequent answer" in Runs([one]).in_full(80)
    with using("zh"):
        assert "（几乎）总给最常见的答案" in Runs([one]).in_full(80)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for minute, made in enumerate(
        [
            record("a", minute=3),
            record("b", minute=1, learning_rate=1e-3),
            record("c", minute=2, model="roberta-word-tiny-untrained", error="the loss diverged at step 12", seed=2),
        ]
    ):
        write_record(tmp_path / "runs" / ("mine" if not minute else made.run_id), made)
    return tmp_path / "runs"


def test_a_list_says_which_run_was_which_at_80_columns(folder):
    text = load_runs("runs").in_full(80)
    assert max(map(text_width, text.splitlines())) <= 80
    lines = text.splitlines()
    starts = [place for place, line in enumerate(lines) if line.startswith(("tiny ", "roberta-"))]
    assert [lines[place].split()[-1] for place in starts] == sorted(lines[place].split()[-1] for place in starts)
    first, failed, last = ("\n".join(lines[start:end]) for start, end in zip(starts, [*starts[1:], None], strict=True))
    assert "settings learning_rate=0.001" in first
    assert "epochs" not in text  # the same in every run
    assert "failed" in failed
    assert "error the loss diverged at step 12" in failed
    assert "folder runs/mine" in last
    assert "51.00 %" in last


def test_a_list_leaves_nothing_out_where_there_is_room(folder):
    text = load_runs("runs").in_full(None)
    assert "Not shown" not in text
    assert "1 m 47 s" in text


def test_a_run_is_found_by_folder_file_and_id(folder):
    run = find_run("runs/mine")
    assert isinstance(run, Run)
    assert run.folder.name == "mine"
    assert find_run(f"runs/mine/{run.run_id}.record.json").run_id == run.run_id
    assert find_run(run.run_id).folder.name == "mine"
    assert find_run("mine").run_id == run.run_id
    (folder / "mine" / "checkpoint").mkdir()
    (folder / "mine" / "checkpoint" / "config.json").write_text("{}", encoding="utf-8")
    assert find_run("runs/mine/checkpoint").folder.name == "mine"
    assert find_run(run.run_id, folder).run_id == run.run_id


def test_a_run_that_is_not_there_is_answered_with_few_lines_and_what_to_type(folder):
    with pytest.raises(ClueBenchError, match="no run 'nope' among 3 runs") as caught:
        find_run("nope")
    assert "\n  runs/mine" in caught.value.message
    assert max(map(len, caught.value.message.splitlines())) <= 80
    with pytest.raises(ClueBenchError, match="did you mean 'mine'") as caught:
        find_run("mina")
    assert caught.value.hint == "give runs/mine"


def test_a_run_that_is_going_on_is_running_with_its_step_and_time(folder):
    made = record("d", minute=4).model_copy(
        update={"status": "interrupted", "results": None, "wall_seconds": 0.0, "started_at": "2026-01-01T00:04:00Z"}
    )
    made = made.model_copy(update={"effective": {"stage1": {"steps": 300}, "stage2": {"steps": 100}}})
    write_record(folder / "now", made)
    (folder / "now" / "metrics.jsonl").write_text('{"step": 10}\n{"step": 120}\n', encoding="utf-8")
    left = load_runs("runs").in_full(None) + find_run("runs/now").details.in_full(80)
    assert "interrupted" in left
    assert "0 ms" not in left  # how long it took is known of nobody
    assert load_runs("runs").to_dataframe().set_index("folder").seconds.isna()["runs/now"]
    with held(folder / "now" / ".lock"):
        listed, shown = load_runs("runs").in_full(None), find_run("runs/now").details.in_full(80)
    assert "running, step 120 of 400" in listed
    assert "running, step 120 of 400" in shown
    assert " 0 ms" not in listed + shown


def test_a_folder_of_several_runs_names_them_and_one_command(folder):
    with pytest.raises(ClueBenchError, match="holds 3 runs") as caught:
        find_run("runs")
    assert "runs/mine" in caught.value.message
    assert caught.value.hint.startswith("run clue-bench runs show runs/")


def test_one_run_shows_settings_with_their_meanings(folder):
    text = find_run("runs/mine").details.in_full(80)
    assert max(map(text_width, text.splitlines())) <= 80
    assert "learning_rate  3e-4" in text
    assert "linear warm-up" in text
    assert "1,234 of 5,000" in text
    assert "7,450,000 parameters" in text
    assert "1 m 47 s" in text


def test_no_runs_are_an_empty_list(tmp_path):
    assert len(load_runs(tmp_path)) == 0
    assert "model" in Runs(()).in_full(80)


def test_a_run_tells_the_command_that_does_it_again(tmp_path):
    found = Run(record("a", learning_rate=1e-3), tmp_path)
    given = "--task tnews --data clue --seed 1 --set learning_rate=0.001"
    assert " ".join(found.command) == f"finetune {given}"
    swept = found.record.model_copy(update={"asked": {"task": "tnews", "model": "tiny", "data": "clue"}})
    words = "--model tiny --seed 1 --set learning_rate=0.0003 --set epochs=3 --set dropout=0.1"
    assert " ".join(Run(record("a").model_copy(update={"asked": swept.asked}), tmp_path).command) == (
        f"finetune --task tnews --data clue {words}"
    )
    card = {"text_fields": ["a", "b"], "label_field": "c"}
    own = swept.model_copy(update={"task": swept.task.model_copy(update={"card": card})})
    floor = own.model_copy(update={"model": own.model.model_copy(update={"is_floor": True})})
    assert (
        " ".join(Run(floor, tmp_path).command) == "floor --task tnews --data clue --text a --text2 b --label c --seed 1"
    )
