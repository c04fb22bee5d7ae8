"""The verbs from Python: what they take, what they return, and how that prints."""

import logging

import pandas as pd
import pytest

import clue_bench as cb
from clue_bench.api import progress

FAST = {"learning_rate": 1e-3, "precision": "fp32"}
FRAME = pd.DataFrame([{"text": f"我们在学{'不' * (n % 2)}中国", "label": "no" if n % 2 else "yes"} for n in range(24)])
ROWS = {"train": FRAME, "dev": FRAME}


@pytest.fixture(scope="module")
def runs(checkpoint_folder, tmp_path_factory):
    """Two seeds of a fine-tuning run on rows in memory."""
    out = tmp_path_factory.mktemp("runs")
    return [
        cb.finetune(
            "mine", checkpoint_folder, data=ROWS, text="text", label="label", out=out / f"s{seed}", seed=seed,
            steps=3, settings=FAST, progress=False,
        )
        for seed in (1, 2)
    ]  # fmt: skip


def test_a_run_has_typed_values_and_prints_them(runs, capfd):
    run = runs[0]
    assert (run.task, run.seed, run.settings["learning_rate"]) == ("mine", 1, 1e-3)
    assert 0 <= run.accuracy <= 1
    assert 0 <= run.macro_f1 <= 1
    assert run.loss > 0
    assert run.record.data.name == "own"
    assert run.record.asked["data"] == "rows of a dict"
    assert (run.checkpoint / "model.safetensors").is_file()
    assert "dev accuracy" in str(run)
    assert run._repr_html_().startswith("<table>")
    assert capfd.readouterr() == ("", "")  # progress=False says nothing


def test_a_run_that_is_complete_is_found_again(runs, checkpoint_folder, caplog):
    with caplog.at_level(logging.INFO, "clue_bench"):
        again = cb.finetune(
            "mine", checkpoint_folder, data=ROWS, text="text", label="label", out=runs[0].folder, seed=1,
            steps=3, settings=FAST, progress=False,
        )  # fmt: skip
    assert again == runs[0]
    assert "complete already" in caplog.text


def test_a_loaded_run_predicts(runs):
    model = cb.load_model(runs[0])
    assert set(model.labels) == {"yes", "no"}
    predictions = model.predict(["我们在学中国", "我们"], top=2, progress=False)
    assert len(predictions) == 2
    assert set(predictions.labels) <= {"yes", "no"}
    assert list(predictions.to_dataframe().columns) == ["text", "id", "label", "description", "probability", "top"]
    assert str(predictions).splitlines()[0].split() == ["text", "label", "probability"]  # own labels have no other name
    assert model.predict("我们", progress=False)[0].label in {"yes", "no"}
    assert "Model(finetune-mine" in repr(model)
    for wrong in (None, [None], [1], pd.DataFrame({"text": ["我们"]}), [{"text": "我们"}]):
        with pytest.raises(cb.ClueBenchError, match="texts"):
            model.predict(wrong)
    with pytest.raises(cb.ClueBenchError, match="top"):
        model.predict("我们", top=0)


def test_a_board_is_made_of_any_runs(runs):
    assert str(cb.leaderboard(list(runs))) == str(cb.leaderboard(runs))


def test_a_board_of_several_folders_counts_every_run_once(runs):
    folders = [run.folder for run in runs]
    assert str(cb.leaderboard([*folders, *map(str, folders), *runs])) == str(cb.leaderboard(runs))


def test_runs_are_compared_and_listed(runs):
    comparison = cb.compare(runs[0], runs[1])
    assert "verdict" in str(comparison)
    found = cb.load_runs(runs[0].folder.parent)
    assert [run.run_id for run in found] == [run.run_id for run in runs]
    frame = found.to_dataframe()
    assert frame["accuracy"].tolist() == [run.accuracy for run in runs]
    assert frame["settings.learning_rate"].tolist() == [1e-3, 1e-3]
    assert isinstance(found[:1], cb.Runs)
    with pytest.raises(cb.ClueBenchError, match="no run 'x'"):
        found.find("x")


def test_baselines_are_runs_without_pretraining(tmp_path):
    found = cb.floor("mine", data=ROWS, text="text", label="label", out=tmp_path, progress=False)
    assert [run.model for run in found] == ["floor-majority", "floor-tfidf"]
    assert found[0].accuracy == 0.5


def test_a_corpus_and_a_vocabulary_print_and_lead_on(text_file, tmp_path):
    vocabulary = cb.train_vocabulary(text_file, out=tmp_path / "vocab.txt", size=200, progress=False)
    corpus = cb.build_corpus(text_file, vocabulary=vocabulary, out=tmp_path / "corpus", workers=1, progress=False)
    assert len(vocabulary) <= 200
    assert corpus.tokens > 0
    assert "unknown share" in str(corpus)
    assert "<table>" in vocabulary._repr_html_()


@pytest.mark.parametrize("given", [{"text": "text"}, {"label": "mood"}])
def test_a_column_that_is_not_named_must_have_an_obvious_name(given, checkpoint_folder):
    frame = FRAME.rename(columns={"text": "words", "label": "mood"})
    with pytest.raises(cb.ClueBenchError, match="which column holds"):
        cb.finetune("mine", checkpoint_folder, data=frame.assign(more="甲"), progress=False, **given)


def test_a_bar_in_a_notebook_is_html_that_is_replaced(monkeypatch):
    ipython = pytest.importorskip("IPython")
    shown = []

    class Handle:
        def update(self, html):
            shown.append(html.data)

    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr(ipython.display, "display", lambda html, display_id: shown.append(html.data) or Handle())
    with progress.Progress(True).bar("work <x>", 4) as bar:
        bar.update(4, "done")
    assert "work &lt;x&gt; 0 %" in shown[0]
    assert shown[-1] == '<progress max="100" value="100.0"></progress> work &lt;x&gt; 100 %  done'


def test_an_interruption_says_how_to_go_on():
    with pytest.raises(KeyboardInterrupt) as caught, progress.Progress(False).bar("work", 1, on_interrupt="again"):
        raise KeyboardInterrupt
    assert (caught.value.message, caught.value.hint) == ("work: interrupted", "again")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "bpe"}, "kind='bpe'"),
        ({"size": 0}, "size=0: expected a whole number, at least 100"),
        ({"size": "many"}, "size='many'"),
        ({"kind": "sentencepiece", "sentences": 0}, "sentences=0"),
        ({"characters": -1}, "characters=-1"),
    ],
)
def test_a_vocabulary_that_cannot_be_is_refused_by_the_arguments_name(given, message, text_file, tmp_path):
    with pytest.raises(cb.ClueBenchError, match=message) as caught:
        cb.train_vocabulary(text_file, out=tmp_path / "vocab.txt", progress=False, **given)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [{"workers": 0}, {"workers": -1}, {"workers": 1.5}, {"words": "jieba"}])
def test_a_corpus_that_cannot_be_built_is_refused_by_the_arguments_name(given, text_file, vocabulary_file, tmp_path):
    ((name, value),) = given.items()
    with pytest.raises(cb.ClueBenchError, match=f"{name}={value!r}: ") as caught:
        cb.build_corpus(text_file, vocabulary=vocabulary_file, out=tmp_path / "corpus", progress=False, **given)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seeds", [0, -1, [], [1, -1], ["1"], 1.5, "3"])
def test_a_benchmark_needs_seeds(seeds, checkpoint_folder, tmp_path):
    with pytest.raises(cb.ClueBenchError, match="seeds=") as caught:
        cb.bench(checkpoint_folder, "tnews", data=tmp_path, out=tmp_path, seeds=seeds, progress=False)
    assert repr(seeds) in caught.value.message


def test_a_benchmark_needs_a_model(tmp_path):
    with pytest.raises(cb.ClueBenchError, match="models") as caught:
        cb.bench([], "tnews", data=tmp_path, out=tmp_path, progress=False)
    assert "models=[]: expected at least one model" in caught.value.message


def test_a_run_has_its_score_on_the_rows_that_training_does_not_repeat() -> None:
    from pathlib import Path

    found = cb.load_runs(Path(__file__).parents[2] / "leaderboards" / "records")
    clean = {run.model: run.clean_accuracy for run in found if run.task == "tnews" and run.record.seed == 1}
    assert round(clean["floor-tfidf"], 4) == 0.5374
    assert clean["roberta-tiny-clue"] is None
    frame = found.to_dataframe()
    assert frame["clean_accuracy"].dropna().min() > 0
