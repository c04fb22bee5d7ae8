"""Rows of one's own in one line: from a file to scores, predictions, reports and a board, without any card."""

import json

import pandas as pd
import pytest

import clue_bench as cb
from clue_bench.cli import main
from clue_bench.prediction.predictor import Predictor

FRAME = pd.DataFrame({"内容": [f"我们在学{'不' * (n % 2)}中国{n}" for n in range(60)], "类别": ["差评", "好评"] * 30})
PAIRS = pd.DataFrame({"q1": [f"我{n}" for n in range(40)], "q2": [f"他{n}" for n in range(40)], "same": [0, 1] * 20})
FAST = ["--steps", "2", "--set", "precision=fp32"]


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """Run `clue-bench …` in an empty folder; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["clue-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        out, err = capfd.readouterr()
        return exited.value.code or 0, out, err

    return run


def record_of(folder):
    (path,) = folder.glob("*.record.json")
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_gbk_file_with_chinese_columns_becomes_a_model_that_knows_its_task(command, checkpoint_folder, tmp_path):
    FRAME.to_csv("酒店.csv", index=False, encoding="gbk")
    code, _, err = command("finetune", "--data", "酒店.csv", "--model", checkpoint_folder, "--out", "run", *FAST)
    assert code == 0, err
    assert "read as GB18030" in err
    assert "texts are read from '内容', labels from '类别'" in err
    assert "train 54, dev 6; 2 labels: 好评 30, 差评 30" in err
    record = record_of(tmp_path / "run")
    assert record["task"]["name"] == "酒店"
    assert record["task"]["card"]["text_fields"] == ["内容"]
    assert record["data"]["held_out"] == {"share": 0.1, "seed": 1, "rows": 6}
    (tmp_path / "酒店.csv").unlink()  # nothing asks for it or for a card again
    about = Predictor.open(tmp_path / "run").description
    assert (about.task, about.num_texts, about.labels) == ("酒店", 1, ("好评", "差评"))
    for arguments in (["analyse", "run"], ["compare", "run", "run"], ["leaderboard", "--records", "."]):
        code, out, err = command(*arguments)
        assert code == 0, err
    assert "酒店" in out
    code, out, _ = command("predict", "--model", "run", "--split", "dev")
    written = (tmp_path / "run" / "predictions" / "dev.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["label"] for line in out.splitlines()] == [json.loads(line)["label"] for line in written]


def test_a_file_with_one_column_of_texts_is_predicted_whatever_that_is_called(command, checkpoint_folder, tmp_path):
    FRAME.rename(columns={"内容": "评论"}).to_csv("train.csv", index=False)
    assert command("finetune", "--data", "train.csv", "--model", checkpoint_folder, "--out", "run", *FAST)[0] == 0
    others = {"编号": range(60), "打分": 4.5, "点评": FRAME["内容"]}
    pd.DataFrame(others).to_csv("one.csv", index=False)
    code, out, err = command("predict", "--model", "run", "--file", "one.csv")
    assert code == 0, err
    assert "one.csv: texts are read from '点评', which was '评论' in training" in err
    assert len(out.splitlines()) == 60
    pd.DataFrame({**others, "备注": "无"}).to_csv("two.csv", index=False)
    code, _, err = command("predict", "--model", "run", "--file", "two.csv")
    assert code == 1
    assert "no column '评论'; found 编号, 打分, 点评, 备注" in err
    assert "--column COLUMN" in err
    code, named, err = command("predict", "--model", "run", "--file", "two.csv", "--column", "点评")
    assert code == 0, err
    both = [[json.loads(line)["predicted"] for line in printed.splitlines()] for printed in (out, named)]
    assert both[0] == both[1]
    code, _, err = command("predict", "--model", "run", "--file", "two.csv", "--column", "点评", "--column", "备注")
    assert (code, "--column is given 2 times, expected 1" in err) == (1, True)
    (tmp_path / "no-header.csv").write_text("早饭很好房间也大\n服务太差了再也不来\n", encoding="utf-8")
    code, _, err = command("predict", "--model", "run", "--file", "no-header.csv")
    assert (code, "write a header as the first line" in err) == (1, True)


def test_pairs_and_whole_numbers_as_labels_work_alike(command, checkpoint_folder, tmp_path):
    PAIRS.to_excel("pairs.xlsx", index=False)
    named = ["--text", "q1", "--text2", "q2", "--label", "same"]
    code, _, err = command(
        "finetune", "--data", "pairs.xlsx", *named, "--model", checkpoint_folder, "--out", "run", *FAST
    )
    assert code == 0, err
    assert Predictor.open(tmp_path / "run").description.num_texts == 2
    assert command("predict", "--model", "run", "--text", "我", "--text-pair", "他")[0] == 0
    code, _, err = command("predict", "--model", "run", "--file", "pairs.xlsx", "--out", "out.parquet")
    assert code == 0, err
    assert "of 40 labelled rows" in err
    assert pd.read_parquet("out.parquet").columns.tolist() == ["q1", "q2", "same", "predicted", "probability"]
    code, _, err = command("predict", "--model", "run", "--text", "我")
    assert "row 0: 1 text, expected 2" in err


@pytest.mark.parametrize("verb", ["floor", "finetune"])
def test_rows_with_a_blank_text_are_counted_once(command, checkpoint_folder, verb):
    blank = {0: "", 4: "  ", 9: "\u3000"}
    texts = [blank.get(n, f"我们在学中国{n}") for n in range(20)]
    split = ["train"] * 8 + ["dev"] * 12
    pd.DataFrame({"text": texts, "label": ["差", "好"] * 10, "split": split}).to_csv("hotel.csv", index=False)
    model = ["--model", checkpoint_folder, *FAST] if verb == "finetune" else []
    code, _, err = command(verb, "--data", "hotel.csv", *model, "--out", "run")
    assert code == 0, err
    assert [line for line in err.splitlines() if "blank" in line] == [
        "train of hotel: rows with a blank text: 2",
        "dev of hotel: rows with a blank text: 1",
    ]
    code, _, err = command(verb, "--data", "hotel.csv", *model, "--out", "again", "--lang", "zh")
    assert code == 0, err
    assert [line for line in err.splitlines() if "空白" in line] == [
        "hotel 的 train：有空白文本的行：2",
        "hotel 的 dev：有空白文本的行：1",
    ]


def test_the_same_file_in_every_format_is_the_same_data(command, checkpoint_folder, tmp_path):
    revisions = set()
    FRAME.to_csv("a.csv", index=False)
    FRAME.to_csv("a.tsv", index=False, sep="\t")
    FRAME.to_json("a.jsonl", orient="records", lines=True, force_ascii=False)
    FRAME.to_parquet("a.parquet")
    FRAME.to_excel("a.xlsx", index=False)
    for name in ("a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.xlsx"):
        runs = cb.floor(None, data=name, progress=False)
        revisions |= {run.record.data.revision for run in runs}
    assert len(revisions) == 1
    assert runs[0].record.data.files["dev"].rows == 6


def test_a_folder_of_files_is_read_by_split_and_its_test_set_is_left_as_it_is(command, checkpoint_folder, tmp_path):
    (tmp_path / "mine").mkdir()
    for name, part in (("train", FRAME[:40]), ("validation", FRAME[40:]), ("test", FRAME[:9][["内容"]])):
        part.to_csv(tmp_path / "mine" / f"{name}.csv", index=False)
    code, _, err = command("bench", "--data", "mine", "--model", checkpoint_folder, "--seeds", "1", *FAST)
    assert code == 0, err
    assert "train 40, dev 20, test 9" in err
    assert "held out" not in err
    (run,) = (tmp_path / "runs").glob("finetune-mine-test-*")
    assert (run / "report.html").is_file()
    assert command("predict", "--model", run, "--split", "test")[0] == 0


def test_files_of_a_folder_that_are_of_no_split_are_named(command, tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("Train", "dev_set", "train-2", ".hidden"):
        FRAME.to_csv(tmp_path / "mine" / f"{name}.csv", index=False)
    code, _, err = command("floor", "--data", "mine")
    assert code == 0, err
    for name in ("dev_set.csv", "train-2.csv"):
        assert f"{name}: left out, its name is neither train, dev nor test" in "".join(err.split("\n"))
    assert err.count("left out") == 2
    assert "held out" in err


def test_a_card_takes_the_rows_of_a_file(command, checkpoint_folder, tmp_path):
    FRAME.rename(columns={"内容": "sentence"}).assign(label=["100", "116"] * 30).to_csv("news.csv", index=False)
    arguments = ["--task", "tnews", "--data", "news.csv", "--model", checkpoint_folder, "--out", "run", *FAST]
    code, _, err = command("finetune", *arguments)
    assert code == 0, err
    assert record_of(tmp_path / "run")["data"]["held_out"]["rows"] == 6


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--task", "mydata.csv"], "a file of rows, expected the name of a task", "--data mydata.csv --text COLUMN"),
        (["--data", "mydata.csv"], "which column holds the label? found a, b", "--label COLUMN"),
        (["--data", "mydata.csv", "--task", "moods"], "no task is called 'moods'", "leave out --task, or name"),
        (["--data", "nowhere.csv"], "nowhere.csv: no such file", "check the path"),
        (["--data", "mydata.cvs"], "mydata.cvs: no such file", "did you mean 'mydata.csv'?"),
        (["--data", "my.csv"], "my.csv: no such file", "did you mean 'mydata.csv'?"),
        (["--data", "elsewhere"], "elsewhere: no such file or folder", "check the path"),
        (["--data", "."], "which task?", "--data FILE"),
        (
            ["--data", "mydata.csv", "--text", "c", "--label", "b"],
            "no column c; found a, b",
            "name columns that are there",
        ),
        (["--data", "mydata.csv", "--text2", "a"], "--text2 without --text", "--text COLUMN"),
        (
            ["--data", "mydata.csv", "--task", "tnews"],
            "no column sentence, label; found a, b",
            "name columns that are there",
        ),
    ],
)
def test_what_is_asked_wrongly_leads_on(command, checkpoint_folder, arguments, message, hint):
    pd.DataFrame({"a": ["x", "y"], "b": ["1", "2"]}).to_csv("mydata.csv", index=False)
    code, _, err = command("finetune", *arguments, "--model", checkpoint_folder)
    assert code == 1
    assert message in err.splitlines()[-2]
    assert hint in err.splitlines()[-1]


def test_labels_on_the_second_sheet_are_found_by_obvious_and_by_named_columns(command, checkpoint_folder, tmp_path):
    with pd.ExcelWriter(tmp_path / "hotel.xlsx") as book:
        pd.DataFrame([{"作者": "某人", "日期": "今天"}]).to_excel(book, sheet_name="说明", index=False)
        FRAME.assign(心情=FRAME["类别"]).to_excel(book, sheet_name="数据", index=False)
    for columns in ([], ["--text", "内容", "--label", "心情"]):
        code, _, err = command("floor", "--data", "hotel.xlsx", *columns, "--out", "runs")
        assert code == 0, err
        assert "read sheet '数据', the only one of 2 with such columns" in err
    code, _, err = command("finetune", "--data", "hotel.xlsx", "--model", checkpoint_folder, "--out", "run", *FAST)
    assert code == 0, err
    code, out, err = command("predict", "--model", "run", "--file", "hotel.xlsx")
    assert code == 0, err
    assert len(out.splitlines()) == 60
    code, _, err = command("floor", "--data", "hotel.xlsx", "--text", "内容", "--label", "评分", "--out", "runs")
    assert (code, "which sheet holds texts and labels? found '说明' (作者, 日期), '数据' (内容, " in err) == (1, True)


def test_a_new_card_says_what_was_found_and_is_used_as_it_says(command, checkpoint_folder, tmp_path):
    FRAME.to_csv("hotel.csv", index=False)
    code, out, err = command("tasks", "new", "hotel.csv")
    assert code == 0, err
    assert all(found in out for found in ("内容", "类别", "好评, 差评"))
    (following,) = [line for line in err.splitlines() if line.startswith("next: ")]
    arguments = following.removeprefix("next: clue-bench ").replace("MODEL", str(checkpoint_folder)).split()
    code, _, err = command(*arguments, "--out", "run", *FAST)
    assert code == 0, err
    assert record_of(tmp_path / "run")["task"]["card"]["labels"] == ["好评", "差评"]
    assert "exists already" in command("tasks", "new", "hotel.csv")[2]
    assert command("tasks", "new", "hotel.csv", "--name", "另一个")[0] == 0
    assert (tmp_path / "另一个.toml").is_file()


def test_a_labelled_test_set_gets_its_score_and_the_cards_metric_comes_first(command, checkpoint_folder, tmp_path):
    FRAME.assign(split=["train"] * 30 + ["dev"] * 10 + ["test"] * 20).to_csv("hotel.csv", index=False)
    command("tasks", "new", "hotel.csv")
    card = (tmp_path / "hotel.toml").read_text(encoding="utf-8").replace('"accuracy"', '"macro_f1"')
    (tmp_path / "hotel.toml").write_text(card, encoding="utf-8")
    arguments = ["--task", "hotel.toml", "--data", "hotel.csv", "--model", checkpoint_folder, "--out", "run"]
    code, out, err = command("finetune", *arguments, *FAST)
    assert code == 0, err
    names = [line.split("  ")[0] for line in out.splitlines()]
    assert names[1:5] == ["dev macro-F1", "dev accuracy", "test macro-F1", "test accuracy"]
    scores = record_of(tmp_path / "run")["results"]["test"]["test"]
    assert scores["rows"] == 20
    _, _, err = command("predict", "--model", "run", "--split", "test")
    assert f"{scores['correct']} of 20 labelled rows" in err


def test_an_own_task_without_dev_file_is_told_that_one_file_will_do(command, checkpoint_folder, tmp_path):
    FRAME.to_csv("hotel.csv", index=False)
    card = command("tasks", "new", "hotel.csv")
    assert card[0] == 0, card[2]
    (tmp_path / "data" / "hotel").mkdir(parents=True)
    FRAME.rename(columns=str).to_json("data/hotel/train.json", orient="records", lines=True, force_ascii=False)
    code, _, err = command("finetune", "--task", "hotel.toml", "--data", "data", "--model", checkpoint_folder)
    assert code == 1
    assert "--data data/hotel/train.json: then dev is held out" in err


def test_a_column_called_split_in_any_case_divides_the_rows(tmp_path, checkpoint_folder):
    frame = FRAME.assign(Split=["train"] * 40 + ["test"] * 20)
    run = cb.finetune(
        "own", checkpoint_folder, data=frame, text="内容", label="类别", out=tmp_path / "run", steps=2, progress=False
    )
    assert run.record.data.held_out.rows == 4  # of the 40; the others are test


def test_texts_that_differ_in_case_or_blanks_and_mirrored_pairs_stay_on_one_side():
    from clue_bench.tasks.own import own_rows

    rows = [{"a": f"中国{n}", "b": f"学生{n}", "y": n % 2} for n in range(40)]
    twice = [{"a": f" {row['b']}", "b": row["a"].upper() + " ", "y": row["y"]} for row in rows]
    splits = own_rows([*rows, *twice], ["a", "b"], "y").splits
    sides = [
        {frozenset((str(row["a"]).strip().lower(), str(row["b"]).strip().lower())) for row in splits[name].rows}
        for name in ("train", "dev")
    ]
    assert sides[1]
    assert not sides[0] & sides[1]


def test_answers_have_one_name_in_a_file_of_which_some_rows_have_it_already(command, checkpoint_folder, tmp_path):
    FRAME.to_csv("a.csv", index=False)
    assert command("finetune", "--data", "a.csv", "--model", checkpoint_folder, "--out", "run", *FAST)[0] == 0
    lines = [{"内容": "我们在学"}, {"内容": "中国", "predicted": "old"}]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert command("predict", "--model", "run", "--file", "b.jsonl", "--out", "c.jsonl")[0] == 0
    found = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row.get("predicted") for row in found] == [None, "old"]
    assert all(row["predicted_new"] in ("差评", "好评") for row in found)


def test_a_card_of_a_bad_name_is_not_written(command, tmp_path):
    FRAME.to_csv("a.csv", index=False)
    assert command("tasks", "new", "a.csv", "--name", "a b")[0] == 1
    assert not list(tmp_path.glob("*.toml"))


def test_rows_that_are_cut_are_said_and_recorded_by_split_alike_by_every_verb(command, checkpoint_folder, tmp_path):
    is_long = [n % 3 == 0 for n in range(60)]
    texts = [f"我{'中' * 40 if long else '国'}{n}" for n, long in enumerate(is_long)]
    split = ["dev" if n >= 50 else "test" if n >= 45 else "train" for n in range(60)]
    pd.DataFrame({"text": texts, "label": [0, 1] * 30, "split": split}).to_csv("long.csv", index=False)
    asked = ["--data", "long.csv", "--model", checkpoint_folder, *FAST, "--set", "max_length=16"]
    code, _, err = command("finetune", *asked, "--out", "run")
    assert code == 0, err
    assert "\ncut to 16 tokens: train 15 of 45 rows; dev 3 of 10 rows\n" in err
    found = record_of(tmp_path / "run")["results"]
    cut = {name: (each["truncated_rows"], each["rows"]) for name, each in found["read_texts"].items()}
    assert cut == {"train": (15, 45), "dev": (3, 10), "test": (2, 5)}
    assert found["truncated_train_rows"] == 15
    code, _, err = command("predict", "--model", "run", "--file", "long.csv")
    assert (code, "cut to 16 tokens: 20 of 60 rows" in err) == (0, True), err
    code, _, err = command("bench", *asked, "--seeds", "2", "--no-floor", "--out", "runs", "--lang", "zh")
    assert code == 0, err
    assert err.count("超长截到 16 词元：train 45 行中的 15 行；dev 10 行中的 3 行；test 5 行中的 2 行") == 1


def test_rows_that_fit_are_not_said_to_be_cut(command, checkpoint_folder):
    FRAME.to_csv("short.csv", index=False)
    code, _, err = command("finetune", "--data", "short.csv", "--model", checkpoint_folder, "--out", "run", *FAST)
    assert (code, "cut to" in err) == (0, False), err


@pytest.mark.parametrize(("every", "is_much"), [(2, True), (100, False)])
def test_unknown_tokens_are_said_and_recorded_by_split_and_are_a_warning_where_they_are_many(
    command, checkpoint_folder, tmp_path, every, is_much
):
    texts = [f"我们在学{'龘' if n % every == 0 else '中'}国{'人中' * (n % 3)}" for n in range(60)]
    split = ["dev" if n >= 50 else "train" for n in range(60)]
    pd.DataFrame({"text": texts, "label": [0, 1] * 30, "split": split}).to_csv("rare.csv", index=False)
    asked = ["--data", "rare.csv", "--model", checkpoint_folder, *FAST]
    code, _, err = command("finetune", *asked, "--out", "run")
    assert code == 0, err
    read = record_of(tmp_path / "run")["results"]["read_texts"]
    for name, (start, end) in {"train": (0, 50), "dev": (50, 60)}.items():
        unknown = sum("龘" in text for text in texts[start:end])
        assert read[name] == {
            "rows": end - start,
            "truncated_rows": 0,
            "tokens": sum(map(len, texts[start:end])),  # each character is a token
            "unknown_tokens": unknown,
            "unknown_rows": unknown,
        }
    found = {
        name: (f"{100 * each['unknown_tokens'] / each['tokens']:.2f} %", each["unknown_rows"], each["rows"])
        for name, each in read.items()
        if each["unknown_tokens"]
    }
    assert len(found) == 1 + is_much
    parts = (f"{name} {share} of tokens, in {some} of {rows} rows" for name, (share, some, rows) in found.items())
    said = f"unknown tokens: {'; '.join(parts)}"
    meaning = ". They stand for characters that the model's vocabulary lacks, which it cannot tell apart"
    assert f"\n{f'warning: {said}{meaning}' if is_much else said}\n" in err
    code, _, err = command("bench", *asked, "--seeds", "2", "--no-floor", "--out", "runs", "--lang", "zh")
    assert code == 0, err
    parts = (f"{name} 占词元的 {share}，在 {rows} 行中的 {some} 行" for name, (share, some, rows) in found.items())
    chinese = f"未知词元：{'；'.join(parts)}"
    (line,) = (each for each in err.splitlines() if chinese in each)
    assert (
        line.startswith("警告：rare") == line.endswith("。它们代表模型词表里没有的字符，模型分不清这些字符") == is_much
    )


def test_predict_says_that_texts_are_unknown_and_texts_that_are_known_leave_nothing_to_say(command, checkpoint_folder):
    FRAME.to_csv("short.csv", index=False)
    assert command("finetune", "--data", "short.csv", "--model", checkpoint_folder, "--out", "run", *FAST)[0] == 0
    code, out, err = command("predict", "--model", "run", "--text", "龘", "--text", "我们靐", "--json")
    assert code == 0, err
    assert "warning: unknown tokens: 50.00 % of tokens, in 2 of 2 rows. They stand for" in err
    found = json.loads(out)
    assert (found["tokens"], found["unknown_tokens"], found["unknown_rows"]) == (4, 2, 2)
    code, _, err = command("predict", "--model", "run", "--text", "我们在学")
    assert (code, "unknown" in err) == (0, False), err
