"""A fine-tuned model answers for texts as transformers does, and refuses what it cannot answer for."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from clue_bench.api.models import Model
from clue_bench.cli import main
from clue_bench.errors import ClueBenchError
from clue_bench.prediction.predictor import Predictor
from clue_bench.tasks.formats import parse_table
from clue_bench.tasks.task import load_task

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "embedding_size": 32,
    "initializer_range": 0.5,  # so that answers differ
}


def write_classifier(folder, vocabulary_file, family, labels, provenance=None, **more):
    """Write a model of random weights with these labels as transformers writes a fine-tuned one."""
    from transformers import AutoConfig, AutoModelForSequenceClassification, BertTokenizer

    torch.manual_seed(1)
    tokenizer = BertTokenizer.from_pretrained(str(vocabulary_file.parent))
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}
    config = AutoConfig.for_model(family, vocab_size=len(tokenizer), pad_token_id=0, **SIZES, **names, **more)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.txt").write_bytes(vocabulary_file.read_bytes())
    if provenance is not None:
        (folder / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    return folder


PROVENANCE = {"task": "afqmc", "model": "small", "settings": {"max_length": 32, "precision": "fp32"}}
LABELS = ("0", "1")


@pytest.fixture(scope="module")
def pair_folder(tmp_path_factory, vocabulary_file):
    return write_classifier(tmp_path_factory.mktemp("model") / "pairs", vocabulary_file, "bert", LABELS, PROVENANCE)


@pytest.fixture(scope="module")
def predictor(pair_folder):
    return Predictor.open(pair_folder)


def pairs(number, seed=0):
    draw = np.random.default_rng(seed)
    characters = list("的一是在不了有和人这中大为上个国我以要他")
    return [tuple("".join(draw.choice(characters, draw.integers(1, 40))) for _ in range(2)) for _ in range(number)]


@pytest.mark.parametrize("family", ["bert", "albert", "roformer", "electra", "ernie"])
def test_answers_of_every_family_are_those_of_transformers_in_the_rows_order(family, tmp_path, vocabulary_file):
    from transformers import AutoModelForSequenceClassification, BertTokenizer

    folder = write_classifier(tmp_path / "model", vocabulary_file, family, LABELS, PROVENANCE)
    rows = pairs(30)
    answers = Predictor.open(folder).predict(rows)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = BertTokenizer.from_pretrained(folder)
    cut = 0
    for row, scores in zip(rows, answers.rows, strict=True):
        inputs = tokenizer(*row, truncation="longest_first", max_length=32, return_tensors="pt")
        cut += len(tokenizer(*row)["input_ids"]) > 32
        with torch.no_grad():
            shares = model(**inputs).logits[0].softmax(0)
        assert {each.label: each.probability for each in scores} == pytest.approx(
            dict(zip(LABELS, shares.tolist(), strict=True)), abs=1e-4
        )
        assert scores[0].probability == max(each.probability for each in scores)
    assert answers.truncated_rows == cut > 0


def test_labels_are_described_as_on_the_card(predictor):
    (scores,) = predictor.predict([("我", "他")]).rows
    assert {each.label: each.description for each in scores} == {"0": "不同义", "1": "同义"}
    assert (predictor.description.num_texts, predictor.description.max_length) == (2, 32)


def test_labels_in_another_order_than_the_cards_keep_their_meaning(tmp_path, vocabulary_file):
    folder = write_classifier(tmp_path / "model", vocabulary_file, "bert", LABELS[::-1], PROVENANCE)
    turned = {each.label: each for each in Predictor.open(folder).predict([("我", "他")]).rows[0]}
    assert turned["1"].description == "同义"
    straight = write_classifier(tmp_path / "other", vocabulary_file, "bert", LABELS, PROVENANCE)
    found = {each.label: each for each in Predictor.open(straight).predict([("我", "他")]).rows[0]}
    assert turned["1"].probability == pytest.approx(found["0"].probability, abs=1e-6)


def test_threads_may_share_a_predictor(predictor):
    rows = [pairs(20, seed) for seed in range(8)]
    alone = [predictor.predict(each) for each in rows]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(predictor.predict, rows)) == alone


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no texts"),
        ([()], "row 0: 0 texts, expected 2"),
        ([("a", "b"), ("a",)], "row 1: 1 text, expected 2"),
        ([("a", "b", "c")], "row 0: 3 texts, expected 2"),
        (["ab"], "row 0: found str, expected a list"),
        ([None], "row 0: found NoneType"),
        ([("a", 1)], "row 0, text 1: found int, expected a string"),
        ([("a", None)], "row 0, text 1: found NoneType"),
        ([("a", "中\ud83d")], "row 0, text 1: half a character at place 1"),
    ],
)
def test_rows_that_no_model_can_answer_for_are_refused(predictor, rows, message):
    with pytest.raises(ClueBenchError, match=message):
        predictor.predict(rows)


def test_without_a_card_labels_are_known_and_one_or_two_texts_welcome(tmp_path, vocabulary_file):
    folder = write_classifier(tmp_path / "model", vocabulary_file, "bert", ("差评", "好评", "中评"))
    predictor = Predictor.open(folder)
    answers = predictor.predict([("我",), ("我", "他")]).rows
    assert {each.label for each in answers[0]} == {"差评", "好评", "中评"}
    assert {each.description for each in answers[0]} == {""}
    assert predictor.description.max_length == 64
    with pytest.raises(ClueBenchError, match="3 texts, expected 1 or 2"):
        predictor.predict([("a", "b", "c")])


@pytest.mark.parametrize("family", ["bert", "electra"])
def test_a_multi_label_head_gives_the_probability_of_each_label_by_itself(family, tmp_path, vocabulary_file):
    from transformers import AutoModelForSequenceClassification, BertTokenizer

    labels = ("体育", "财经", "娱乐")
    kind = {"problem_type": "multi_label_classification"}
    settings = {"settings": {"precision": "fp32"}}  # else a processor with bf16 products would use them
    folder = write_classifier(tmp_path / "model", vocabulary_file, family, labels, settings, **kind)
    (scores,) = Predictor.open(folder).predict([("我们在中国",)]).rows
    inputs = BertTokenizer.from_pretrained(folder)("我们在中国", return_tensors="pt")
    with torch.no_grad():
        shares = AutoModelForSequenceClassification.from_pretrained(folder).eval()(**inputs).logits[0].sigmoid()
    assert {each.label: each.probability for each in scores} == pytest.approx(
        dict(zip(labels, shares.tolist(), strict=True)), abs=1e-4
    )
    assert "do not add up" in " ".join(Model(Predictor.open(folder)).predict(["我"], progress=False).notes)


@pytest.mark.parametrize("family", ["bert", "ernie"])
def test_a_regression_head_is_refused(family, tmp_path, vocabulary_file):
    folder = write_classifier(tmp_path / "model", vocabulary_file, family, ("score",))
    with pytest.raises(ClueBenchError, match="a regression model"):
        Predictor.open(folder)


@pytest.mark.parametrize("family", ["bert", "ernie"])
def test_two_classes_without_names_are_complete(family, tmp_path, vocabulary_file):
    folder = write_classifier(tmp_path / "model", vocabulary_file, family, ("LABEL_0", "LABEL_1"))
    assert "id2label" not in (folder / "config.json").read_text(encoding="utf-8")
    (scores,) = Predictor.open(folder).predict([("我",)]).rows
    assert {each.label for each in scores} == {"LABEL_0", "LABEL_1"}


def test_a_card_of_other_labels_is_refused(pair_folder):
    with pytest.raises(ClueBenchError, match=r"labels 0, 1, .*cmnli.* contradiction, entailment, neutral"):
        Predictor.open(pair_folder, task=load_task("cmnli"))


def test_what_is_no_classifier_is_refused(checkpoint_folder, tmp_path):
    with pytest.raises(ClueBenchError, match="no fine-tuned classifier"):
        Predictor.open(checkpoint_folder)
    with pytest.raises(ClueBenchError, match=r"no config\.json"):
        Predictor.open(tmp_path)


def test_weights_that_are_no_numbers_are_an_error_not_an_answer(tmp_path, vocabulary_file):
    from safetensors.torch import load_file, save_file

    folder = write_classifier(tmp_path / "model", vocabulary_file, "bert", LABELS, PROVENANCE)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ClueBenchError, match="no numbers"):
        Predictor.open(folder).predict([("我", "他")])


# The command


@pytest.fixture
def command(capfd, monkeypatch):
    """Run `clue-bench predict …` in this process; return exit code, stdout and stderr."""

    def run(*arguments, verb="predict"):
        monkeypatch.setattr("sys.argv", ["clue-bench", verb, *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        out, err = capfd.readouterr()
        return exited.value.code or 0, out, err

    return run


def write(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_predictions_of_a_split_are_those_that_the_run_wrote(command, checkpoint_folder, tmp_path):
    (tmp_path / "afqmc").mkdir()
    for split, number in (("train", 64), ("dev", 40), ("test", 30)):
        rows = [{"sentence1": a, "sentence2": b, "label": str(n % 2)} for n, (a, b) in enumerate(pairs(number))]
        if split == "test":
            rows = [
                {"id": n, "sentence1": row["sentence1"], "sentence2": row["sentence2"]} for n, row in enumerate(rows)
            ]
        write(tmp_path / "afqmc" / f"{split}.json", *rows)
    run = tmp_path / "run"
    asked = ["--task", "afqmc", "--model", checkpoint_folder, "--data", tmp_path, "--out", run, "--steps", 2]
    assert command(*asked, verb="finetune")[0] == 0
    for split in ("dev", "test"):
        code, out, err = command("--model", run, "--split", split, "--data", tmp_path)
        found = [json.loads(line) for line in out.splitlines()]
        written = [json.loads(line) for line in (run / "predictions" / f"{split}.jsonl").read_text().splitlines()]
        assert code == 0
        for ours, theirs in zip(found, written, strict=True):
            assert [ours[key] for key in ("id", "label")] == [theirs[key] for key in ("id", "label")]
            assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-5)
            assert ours.get("gold") == theirs.get("gold")
        right = sum(row["label"] == row.get("gold") for row in written)
        assert (f"{right} of 40 labelled rows" in err) == (split == "dev")


def test_texts_make_a_table_and_with_json_one_object(command, pair_folder):
    texts = ["--text", "我", "--text-pair", "他", "--text", "国", "--text-pair", "国", "--top", 2]
    code, out, _ = command("--model", pair_folder, *texts)
    assert code == 0
    assert len(out.splitlines()) == 1 + 2 * 2
    assert "同义" in out
    assert out.split()[:4] == ["text", "label", "description", "probability"]
    code, out, _ = command("--model", pair_folder, *texts, "--json")
    found = json.loads(out)
    assert [row["id"] for row in found["rows"]] == [0, 1]
    assert [len(row["top"]) for row in found["rows"]] == [2, 2]
    assert found["rows"][0]["probability"] == found["rows"][0]["top"][0]["probability"]


def test_labels_that_describe_themselves_leave_out_the_column(command, tmp_path, vocabulary_file):
    folder = write_classifier(tmp_path / "model", vocabulary_file, "bert", ("差评", "好评"))
    code, out, _ = command("--model", folder, "--text", "我", "--top", 1)
    assert (code, out.split()[:3]) == (0, ["text", "label", "probability"])


TABLE = "id,sentence1,sentence2,label\n7,我,他,1\n8,国,国,\n"
LINES = '{"id": 7, "sentence1": "我", "sentence2": "他", "label": 1}\n{"id": 8, "sentence1": "国", "sentence2": "国"}\n'
PLAIN = "我\t他\n国\t国\n"


@pytest.mark.parametrize(("name", "content"), [("a.csv", TABLE), ("a.jsonl", LINES), ("a.txt", PLAIN)])
def test_files_of_every_kind_give_the_same_answers(command, pair_folder, tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    out_file = tmp_path / "out.jsonl"
    code, out, err = command("--model", pair_folder, "--file", tmp_path / name, "--out", out_file, "--json")
    assert code == 0
    summary = json.loads(out)
    assert (summary["num_rows"], summary["out"]) == (2, str(out_file))
    rows = [json.loads(line) for line in out_file.read_text(encoding="utf-8").splitlines()]
    direct = Predictor.open(pair_folder).predict([("我", "他"), ("国", "国")]).rows
    assert [(row["predicted"], row["probability"]) for row in rows] == [scores[0][:3:2] for scores in direct]
    assert [row["predicted_description"] for row in rows] == [scores[0].description for scores in direct]
    if name == "a.txt":
        assert [(row["text"], row["text_pair"]) for row in rows] == [("我", "他"), ("国", "国")]
    else:
        assert [str(row["id"]) for row in rows] == ["7", "8"]
        assert [str(row.get("label", "")) for row in rows] == ["1", ""]
        assert "of 1 labelled row" in err


@pytest.mark.parametrize(
    ("encoding", "out", "is_marked"),
    [
        ("utf-8", "out.csv", False),
        ("utf-8-sig", "out.csv", True),
        ("gbk", "out.csv", True),
        ("utf-16", "out.csv", True),
        ("gbk", "out.tsv", True),
        ("utf-8-sig", "out.jsonl", False),
    ],
)
def test_what_excel_could_read_is_written_so_that_excel_can_read_it(
    command, pair_folder, tmp_path, encoding, out, is_marked
):
    text = "id,sentence1,sentence2,注\n7,我们,他,备注甲\n8,国,中国,备注乙\n"
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    code, _, err = command("--model", pair_folder, "--file", tmp_path / "a.csv", "--out", tmp_path / out)
    assert code == 0, err
    raw = (tmp_path / out).read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf") == is_marked
    assert (f"{out}: written as UTF-8 with a byte order mark" in err) == is_marked
    again = parse_table(raw, name=out, where=out)
    assert again.columns[0] == "id"
    assert [(row["sentence1"], row["注"]) for row in again.rows] == [("我们", "备注甲"), ("国", "备注乙")]
    assert all(row["predicted"] in LABELS for row in again.rows)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (TABLE, "a table, CSV"),
        (TABLE.replace(",", "\t"), "a table, TSV"),
        (LINES, "JSON Lines"),
        (PLAIN, "one text a line"),
    ],
)
def test_stdin_is_a_file_whose_beginning_says_what_it_is(command, pair_folder, monkeypatch, content, kind):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    code, out, err = command("--model", pair_folder, "--file", "-")
    assert code == 0, err
    assert f"stdin: read as {kind}" in err
    direct = Predictor.open(pair_folder).predict([("我", "他"), ("国", "国")]).rows
    assert [json.loads(line)["predicted"] for line in out.splitlines()] == [scores[0].label for scores in direct]


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("content\r\n我们\r\n中国\r\n".encode(), ["我们", "中国"]),
        ('id,content\n1,我们\n2,"中国, 我"\n'.encode(), ["我们", "中国, 我"]),
        ('content\n我们\n"中国, 我"\n'.encode(), ["我们", "中国, 我"]),
        ("content;id\n我们;1\n中国;2\n".encode(), ["我们", "中国"]),
        ("content,id\n我们,1\n中国,2\n".encode("utf-16"), ["我们", "中国"]),
        ("\ufeff内容\t编号\n我们\t1\n中国\t2\n".encode(), ["我们", "中国"]),
        ("编号,内容\n1,我们\n2,中国\n".encode("gbk"), ["我们", "中国"]),
        ("{我}们\n[中]国\n".encode(), ["{我}们", "[中]国"]),
    ],
)
def test_texts_on_stdin_are_those_of_its_column(command, tmp_path, vocabulary_file, monkeypatch, content, texts):
    folder = write_classifier(tmp_path / "model", vocabulary_file, "bert", ("差评", "好评"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    code, out, err = command("--model", folder, "--file", "-")
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row.get("content", row.get("内容", row.get("text"))) for row in rows] == texts


@pytest.mark.parametrize("name", ["-", "a.txt"])
def test_a_column_of_lines_of_text_is_refused(command, pair_folder, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text(PLAIN, encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(PLAIN.encode())))
    code, out, err = command("--model", pair_folder, "--file", name, "--column", "评论")
    assert (code, out) == (1, "")
    assert "no column '评论'" in err


def test_a_closed_stdin_has_no_rows(command, pair_folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    code, out, err = command("--model", pair_folder, "--file", "-")
    assert (code, out) == (1, "")
    assert "stdin: no rows" in err


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".xlsx", ".parquet"])
def test_a_file_keeps_every_column_in_the_format_that_the_name_says(command, pair_folder, tmp_path, suffix):
    columns = {"编号": ["甲", "乙"], "sentence1": ["我", "=1+1"], "sentence2": ["他", "国"], "predicted": ["旧", "旧"]}
    given, out_file = tmp_path / "a.csv", tmp_path / f"out{suffix}"
    pd.DataFrame(columns).to_csv(given, index=False)
    code, _, err = command("--model", pair_folder, "--file", given, "--out", out_file, "--top", 2)
    assert code == 0, err
    table = parse_table(out_file.read_bytes(), name=out_file.name, where="")
    assert {name: [row[name] for row in table.rows] for name in columns} == columns
    more = [name for name in table.columns if name not in columns]
    further = ["top"] if suffix == ".jsonl" else ["predicted_2", "probability_2"]
    assert more == ["predicted_new", "predicted_description", "probability", *further]
    assert {row["predicted_new"] for row in table.rows} <= {"0", "1"}


@pytest.mark.parametrize("suffix", [".xlsx", ".parquet"])
def test_numbers_and_dates_of_a_sheet_stay_numbers_and_dates(command, pair_folder, tmp_path, suffix):
    columns = {
        "sentence1": ["我", 5],
        "sentence2": ["他", "国"],
        "价格": [12.5, 3],
        "数量": [1, None],
        "日期": pd.to_datetime(["2024-01-02 00:00", "2024-02-03 04:05"]),
        "备注": ["甲", 7],
    }
    pd.DataFrame(columns).to_excel(tmp_path / "a.xlsx", index=False)
    out_file = tmp_path / f"out{suffix}"
    code, _, err = command("--model", pair_folder, "--file", tmp_path / "a.xlsx", "--out", out_file)
    assert code == 0, err
    read = pd.read_excel(out_file) if suffix == ".xlsx" else pd.read_parquet(out_file)
    assert read["价格"].tolist() == [12.5, 3]
    assert read["数量"].tolist()[0] == 1
    assert read["数量"].isna().tolist() == [False, True]
    assert read["日期"].tolist() == columns["日期"].tolist()
    assert read["备注"].tolist() == ["甲", "7"]  # of both kinds: as texts


def test_labels_in_a_column_with_a_dot_are_compared(command, tmp_path, vocabulary_file):
    card = {**load_task("afqmc").model_dump(mode="json"), "name": "mine", "label_field": "meta.label", "archive": None}
    folder = write_classifier(
        tmp_path / "model", vocabulary_file, "bert", LABELS, {**PROVENANCE, "task": "mine", "card": card}
    )
    (tmp_path / "a.csv").write_text("sentence1,sentence2,meta.label\n我,他,1\n国,国,\n", encoding="utf-8")
    code, _, err = command("--model", folder, "--file", tmp_path / "a.csv")
    assert code == 0, err
    assert "of 1 labelled row" in err


def test_an_unwritable_name_is_refused_before_anything_is_predicted(command, pair_folder, tmp_path):
    code, _, err = command("--model", pair_folder, "--file", "nowhere.csv", "--out", tmp_path / "out.doc")
    assert code == 1
    assert "ends in none of" in err


def test_a_model_without_a_card_reads_columns_of_obvious_names(command, tmp_path, vocabulary_file):
    folder = write_classifier(tmp_path / "model", vocabulary_file, "bert", ("差评", "好评"))
    (tmp_path / "a.csv").write_text("编号,内容\n1,我\n2,\n", encoding="gbk")
    code, out, err = command("--model", folder, "--file", tmp_path / "a.csv")
    assert code == 0, err
    assert [json.loads(line)["内容"] for line in out.splitlines()] == ["我", ""]
    assert "read as GB18030" in err
    assert "texts are read from 内容" in err
    assert "1 of 2 rows without a text" in err
    (tmp_path / "a.csv").write_text("作者,摘要\n1,我\n", encoding="utf-8")
    code, _, err = command("--model", folder, "--file", tmp_path / "a.csv")
    assert code == 1
    assert "found 作者, 摘要" in err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", LINES + "{\n", "a.jsonl, line 3: not JSON"),
        ("a.jsonl", LINES + '{"sentence1": "a"}\n', "a.jsonl, line 3: no field 'sentence2'"),
        ("a.csv", TABLE + "9,a\n", "a.csv, line 4: 2 columns"),
        ("a.txt", PLAIN + "a\n", "a.txt, line 3: 1 text, expected 2"),
        ("a.txt", PLAIN + "\na\tb\n", "a.txt, line 3: an empty line"),
        ("a.txt", "", "no rows"),
        ("a.jsonl", "", "no rows"),
        ("a.xlsx", "", "not a workbook of Excel"),
        ("a.csv", "sentence1,other\n我,他\n", "a.csv: the header has no column 'sentence2'; found sentence1, other"),
        ("a.doc", "", "a .doc file, expected .json"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(command, pair_folder, tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    code, out, err = command("--model", pair_folder, "--file", tmp_path / name, "--out", tmp_path / "out.jsonl")
    assert (code, out) == (1, "")
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "found none of them, expected one of --text, --file, --split"),
        (["--text", "a", "--split", "dev"], "found --text and --split"),
        (["--text-pair", "a"], "found none of them"),
        (["--text", "a", "--text", "b", "--text-pair", "c"], "2 --text and 1 --text-pair"),
        (["--text", "a"], "row 0: 1 text, expected 2"),
        (["--file", "nowhere.csv"], "nowhere.csv: no such file"),
        (["--split", "tset"], "has no split 'tset'"),
    ],
)
def test_what_is_asked_wrongly_is_an_error_of_the_user(command, pair_folder, arguments, message):
    code, out, err = command("--model", pair_folder, *arguments)
    assert (code, out) == (1, "")
    assert message in err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id2label": {"0": "好", "1": "好"}}, "expected a name of its own"),
        ({"id2label": {"0": "好", "2": "坏"}}, "expected a name of its own"),
        ({"problem_type": "ordinal"}, "which transformers does not have"),
        ({"architectures": ["BertForNextSentencePrediction"]}, "gives no label to a whole text"),
        ({"architectures": ["BertForTokenClassification"]}, "expected O, and B-type"),
    ],
)
def test_a_head_that_gives_no_label_of_a_text_is_named(tmp_path, vocabulary_file, changed, message):
    folder = write_classifier(tmp_path / "model", vocabulary_file, "bert", ("好", "坏"))
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(values | changed), encoding="utf-8")
    with pytest.raises(ClueBenchError, match=message):
        Predictor.open(folder)


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_rows_of_a_text_file_end_as_its_lines_do(command, tmp_path, vocabulary_file, end):
    folder = write_classifier(tmp_path / "model", vocabulary_file, "bert", ("好", "坏"))
    (tmp_path / "a.txt").write_bytes(end.join(["我们", "中国", ""]).encode())
    code, out, err = command("--model", folder, "--file", tmp_path / "a.txt", "--json")
    assert code == 0
    assert [row["text"] for row in json.loads(out)["rows"]] == ["我们", "中国"]
    assert ("CR alone" in err) == (end == "\r")


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_an_end_token_written_in_a_text_ends_nothing(encoder_decoder, kind):
    folder, mark = encoder_decoder(kind)
    predictor = Predictor.open(folder)
    rows = [(f"我们{mark}中国",), ("中国",), ("中国", "我们"), (f"{mark}我", f"他{mark}")]
    together = predictor.predict(rows).rows
    alone = [predictor.predict([row]).rows[0] for row in rows]
    for row, same in zip(together, alone, strict=True):
        one, other = ({score.label: score.probability for score in scores} for scores in (row, same))
        assert one == pytest.approx(other, abs=1e-4)


def test_a_model_whose_end_token_no_row_has_is_refused_with_the_one_that_it_has(encoder_decoder):
    folder, _ = encoder_decoder("bart")
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**values, "eos_token_id": 1}), encoding="utf-8")
    with pytest.raises(ClueBenchError, match="its answer at token 1") as caught:
        Predictor.open(folder)
    assert "set eos_token_id in config.json to 4" in caught.value.hint


def test_labels_that_the_task_does_not_have_are_counted_and_stop_nothing(command, pair_folder, tmp_path):
    rows = "".join(f"我,他,{label}\n" for label in ("1", "无", "2", "", "0"))
    (tmp_path / "a.csv").write_text("sentence1,sentence2,label\n" + rows, encoding="utf-8")
    code, out, err = command("--model", pair_folder, "--file", tmp_path / "a.csv")
    assert code == 0
    assert len(out.splitlines()) == 5
    assert "2 labels that afqmc does not have" in err
    assert "'无' in line 3, '2' in line 4" in err
    assert "of 2 labelled rows" in err


def test_without_a_card_the_column_of_labels_is_no_text_whatever_it_is_called(command, tmp_path, vocabulary_file):
    folder = write_classifier(tmp_path / "model", vocabulary_file, "bert", ("好", "坏"))
    (tmp_path / "a.csv").write_text("说法,类别\n我们,好\n", encoding="utf-8")
    code, _, err = command("--model", folder, "--file", tmp_path / "a.csv")
    assert code == 0
    assert "texts are read from 说法" in err


def test_dates_and_floats_in_a_files_columns_and_ids_are_written(command, pair_folder, tmp_path):
    day = pd.Timestamp("2026-01-02")
    pd.DataFrame({"id": [day], "sentence1": ["我"], "sentence2": ["他"]}).to_parquet(tmp_path / "a.parquet")
    code, out, _ = command("--model", pair_folder, "--file", tmp_path / "a.parquet")
    assert (code, json.loads(out)["id"][:10]) == (0, "2026-01-02")
    assert command("--model", pair_folder, "--file", tmp_path / "a.parquet", "--json")[0] == 0


def test_a_bart_of_two_labels_is_told_what_transformers_left_out(encoder_decoder):
    folder, _ = encoder_decoder("bart")
    two = {"num_labels": 2, "ignore_mismatched_sizes": True}
    transformers.BartForSequenceClassification.from_pretrained(folder, **two).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert "id2label" not in config
    with pytest.raises(ClueBenchError, match="has shape") as caught:
        Predictor.open(folder)
    added = json.loads("{" + caught.value.hint.partition("labels: ")[2] + "}")
    (folder / "config.json").write_text(json.dumps({**config, **added}), encoding="utf-8")
    assert Predictor.open(folder).description.labels == ("LABEL_0", "LABEL_1")
