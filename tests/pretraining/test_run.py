"""Pretraining runs: exact resume, also after kill -9; the golden loss; the record; what errors say."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from clue_bench.corpus.build import build_corpus
from clue_bench.doors.records import read_records
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.rising import Rising
from clue_bench.pretraining.run import completed_record, run
from clue_bench.pretraining.state import load_state
from clue_bench.pretraining.train import Pretraining

# Losses of the test recipe without dropout. Change them only together with a change that is meant to change numbers,
# and say so in the changelog.
GOLDEN = [4.34181, 4.34064, 4.33809, 4.32084, 4.31996, 4.30553, 4.3085, 4.29786, 4.33378, 4.27291, 4.27352, 4.2823]

FOURTEEN_LINES = """\
春天来了，河边的柳树发出嫩绿的新芽。
小猫蹲在窗台上，望着外面飞过的麻雀。
爷爷每天清早去公园打太极拳，风雨无阻。
这本旧书记录了一座古城三百年的兴衰。
火车穿过长长的隧道，眼前忽然一片光明。
妈妈在厨房里包饺子，满屋都是香味。
科学家用望远镜观察遥远的星系和黑洞。
秋收以后，农民把金黄的稻谷晒满院场。
他从小喜欢音乐，十岁就能弹奏钢琴曲。
大雪封山，送信的邮差还是准时到达。
图书馆里安静极了，只听见翻页的声音。
渔船趁着涨潮出海，傍晚才载满鱼虾归来。
医生耐心地解释病情，让家属放下心来。
足球比赛踢到最后一分钟才分出胜负。
"""


def start(recipe_file, corpus_folder, out, **overrides):
    return Pretraining(load_recipe(str(recipe_file), overrides), Corpus.open(corpus_folder), out)


def losses(out):
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [(line["step"], line["loss"], line["gradient_norm"]) for line in map(json.loads, lines)]


def finish(pretraining):
    return list(run(pretraining, asked={}))


def weights(out):
    return (out / "checkpoint" / "model.safetensors").read_bytes()


def test_the_loss_curve_is_the_golden_one(recipe_file, corpus_folder, tmp_path):
    reports = finish(start(recipe_file, corpus_folder, tmp_path / "run", dropout=0.0))
    got = [report.loss for report in reports]
    assert got == pytest.approx(GOLDEN, abs=2e-4)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_the_checkpoint_says_what_dropout_it_was_trained_with(recipe_file, corpus_folder, tmp_path, share):
    finish(start(recipe_file, corpus_folder, tmp_path / "run", dropout=share, steps=2))
    config = json.loads((tmp_path / "run" / "checkpoint" / "config.json").read_text(encoding="utf-8"))
    assert (config["hidden_dropout_prob"], config["attention_probs_dropout_prob"]) == (share, share)


@pytest.mark.slow
def test_a_text_of_fourteen_lines_is_learnt_by_heart(tmp_path):
    characters = sorted(set(FOURTEEN_LINES) - {"\n"})
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]) + "\n", encoding="utf-8"
    )
    text = tmp_path / "text.txt"
    text.write_text(FOURTEEN_LINES.replace("\n", "\n\n"), encoding="utf-8")
    for _ in build_corpus([text], vocabulary=vocabulary, out=tmp_path / "corpus", workers=1):
        pass
    sizes = {"vocab_size": "corpus", "held_out_share": 0.0, "max_length": 20, "learning_rate": 3e-3}
    recipe = load_recipe(
        "roberta-tiny-clue", sizes | {"steps": 600, "log_every": 50, "save_every": 600}, debug_size=True
    )
    reports = finish(Pretraining(recipe, Corpus.open(tmp_path / "corpus"), tmp_path / "run"))
    assert [report.lm_accuracy for report in reports[-2:]] == [1.0, 1.0]


def test_a_run_broken_off_anywhere_continues_bit_for_bit(recipe_file, corpus_folder, tmp_path):
    finish(start(recipe_file, corpus_folder, tmp_path / "whole"))
    out = tmp_path / "broken"
    for reports_made in (1, 3, 5):
        reports = run(start(recipe_file, corpus_folder, out), asked={})
        for _ in range(reports_made):
            next(reports)
        reports.close()
    finish(start(recipe_file, corpus_folder, out))
    assert losses(out) == losses(tmp_path / "whole")
    assert weights(out) == weights(tmp_path / "whole")


@pytest.mark.slow
def test_kill_9_at_any_moment_and_the_same_command_again(recipe_file, corpus_folder, tmp_path):
    command = [sys.executable, "-c", "from clue_bench.cli import main; main()", "pretrain", str(recipe_file)]
    command += ["--corpus", str(corpus_folder), "--steps", "60", "--set", "save_every=6"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(recipe_file, corpus_folder, whole, steps=60, save_every=6))
    process = subprocess.Popen(
        [*command, "--out", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    metrics = killed / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while not (metrics.is_file() and metrics.read_text(encoding="utf-8").count("\n") >= 5):
        assert time.monotonic() < deadline, "the run wrote no metrics"
        assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    records = list(read_records(killed))
    assert [record.status for record in records] == ["interrupted"]
    finish(start(recipe_file, corpus_folder, killed, steps=60, save_every=6))
    assert losses(killed) == losses(whole)
    assert weights(killed) == weights(whole)


def test_micro_batches_change_rounding_only(recipe_file, corpus_folder, tmp_path):
    whole = finish(start(recipe_file, corpus_folder, tmp_path / "whole", dropout=0.0))
    split = finish(start(recipe_file, corpus_folder, tmp_path / "split", dropout=0.0, micro_batch=3))
    assert [r.loss for r in split] == pytest.approx([r.loss for r in whole], abs=1e-5)
    assert [r.lm_accuracy for r in split] == pytest.approx([r.lm_accuracy for r in whole], abs=0.02)


def test_padded_rows_train(recipe_file, corpus_folder, tmp_path):
    sizes = {"max_length": 1200, "max_positions": 1200, "steps": 2, "global_batch": 3}
    reports = finish(start(recipe_file, corpus_folder, tmp_path / "run", **sizes))
    assert reports[-1].loss < 5.0


def test_bf16_stays_close_to_fp32(recipe_file, corpus_folder, tmp_path):
    fp32 = finish(start(recipe_file, corpus_folder, tmp_path / "fp32", dropout=0.0))
    bf16 = finish(start(recipe_file, corpus_folder, tmp_path / "bf16", dropout=0.0, precision="bf16"))
    assert [r.loss for r in bf16] == pytest.approx([r.loss for r in fp32], rel=5e-3)


def test_a_completed_run_is_found_and_recorded(recipe_file, corpus_folder, tmp_path):
    out = tmp_path / "run"
    finish(start(recipe_file, corpus_folder, out))
    again = start(recipe_file, corpus_folder, out)
    record = completed_record(again)
    assert record is not None
    assert record.status == "completed"
    assert record.completed_results.step == 24
    assert record.completed_results.loss == losses(out)[-1][1]
    assert record.effective["stage1"]["learning_rate"] == 1e-3
    assert record.model.pretraining_tokens == 24 * 8 * 32


def test_a_folder_with_another_run_is_refused_by_key(recipe_file, corpus_folder, tmp_path):
    finish(start(recipe_file, corpus_folder, tmp_path / "run"))
    other = start(recipe_file, corpus_folder, tmp_path / "run", learning_rate=1e-2)
    with pytest.raises(ClueBenchError, match="holds another run"):
        finish(other)
    next((tmp_path / "run").glob("*.record.json")).unlink()
    (tmp_path / "run" / "checkpoint").rename(tmp_path / "elsewhere")
    with pytest.raises(ClueBenchError, match=r"learning_rate = 0\.001; asked for 0\.01"):
        finish(other)


def test_a_folder_with_a_checkpoint_of_unknown_origin_is_left_alone(recipe_file, corpus_folder, tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ClueBenchError, match="no record"):
        finish(start(recipe_file, corpus_folder, tmp_path))
    assert (tmp_path / "checkpoint" / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_a_corpus_whose_vocabulary_was_changed_is_refused(recipe_file, corpus_folder, tmp_path):
    copy = tmp_path / "corpus"
    shutil.copytree(corpus_folder, copy)
    file = copy / "tokenizer" / "vocab.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([*lines[:6], *reversed(lines[6:])]) + "\n", encoding="utf-8")
    with pytest.raises(ClueBenchError, match="not the vocabulary"):
        start(recipe_file, copy, tmp_path / "run")


def test_a_corpus_without_anything_to_predict_is_an_error(recipe_file, vocabulary_file, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("龘龘龘龘龘龘龘龘\n" * 40, encoding="utf-8")
    for _ in build_corpus([text], vocabulary=vocabulary_file, out=tmp_path / "corpus", workers=1):
        pass
    with pytest.raises(ClueBenchError, match="nothing to predict"):
        finish(start(recipe_file, tmp_path / "corpus", tmp_path / "run"))


def test_weights_that_are_not_finite_are_never_saved(recipe_file, corpus_folder, tmp_path):
    pretraining = start(recipe_file, corpus_folder, tmp_path, steps=2, learning_rate=3e38)
    with pytest.raises(ClueBenchError, match="diverged"):
        finish(pretraining)
    assert not (tmp_path / "checkpoint").exists()


def break_off(recipe_file, corpus_folder, out):
    """Leave a run after three reports."""
    reports = run(start(recipe_file, corpus_folder, out), asked={})
    for _ in range(3):
        next(reports)
    reports.close()


def test_a_damaged_state_is_named(recipe_file, corpus_folder, tmp_path):
    break_off(recipe_file, corpus_folder, tmp_path)
    state = tmp_path / "state.pt"
    whole = state.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:1000], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]):
        state.write_bytes(damaged)
        with pytest.raises(ClueBenchError, match=r"state\.pt: damaged"):
            finish(start(recipe_file, corpus_folder, tmp_path))


def test_where_the_state_is_damaged_the_one_before_it_goes_on_to_the_same_end(
    recipe_file, corpus_folder, tmp_path, caplog
):
    finish(start(recipe_file, corpus_folder, tmp_path / "whole", steps=10))
    reports = run(start(recipe_file, corpus_folder, tmp_path / "broken", steps=10), asked={})
    for _ in range(4):
        next(reports)
    reports.close()
    state = tmp_path / "broken" / "state.pt"
    state.write_bytes(state.read_bytes()[:-1000] + bytes(1000))
    pretraining = start(recipe_file, corpus_folder, tmp_path / "broken", steps=10)
    pretraining.resume()
    assert pretraining.step == 4
    assert "going on from the state before" in caplog.text
    finish(start(recipe_file, corpus_folder, tmp_path / "broken", steps=10))
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")


def test_damaged_metrics_are_left_out_aloud_and_the_run_goes_on(recipe_file, corpus_folder, tmp_path, caplog):
    break_off(recipe_file, corpus_folder, tmp_path)
    metrics = tmp_path / "metrics.jsonl"
    kept = metrics.read_bytes()
    metrics.write_bytes(b'{"step": \xff\n[1]\n' + kept)
    finish(start(recipe_file, corpus_folder, tmp_path))
    assert "damaged lines, left out: 2" in caplog.text
    assert [json.loads(line)["step"] for line in metrics.read_text(encoding="utf-8").splitlines()] == list(
        range(2, 25, 2)
    )


def test_divergence_is_an_error_and_a_failed_record(recipe_file, corpus_folder, tmp_path):
    pretraining = start(recipe_file, corpus_folder, tmp_path)
    with torch.no_grad():
        pretraining.model.bias.fill_(float("nan"))
    with pytest.raises(ClueBenchError, match="no state had been"):
        finish(pretraining)
    (record,) = read_records(tmp_path)
    assert record.status == "failed"
    assert "diverged" in (record.error or "")


def test_a_run_that_diverges_names_its_last_good_state(recipe_file, corpus_folder, tmp_path):
    pretraining = start(recipe_file, corpus_folder, tmp_path)
    pretraining.model.bias.register_hook(lambda gradient: gradient * (float("nan") if pretraining.step >= 9 else 1.0))
    with pytest.raises(ClueBenchError, match="10 updates in a row") as stopped:
        finish(pretraining)
    assert f"the last good state, of step 8, is {tmp_path / 'state.pt'}" in stopped.value.message
    assert load_state(tmp_path / "state.pt", identity=pretraining.identity, device=pretraining.device).step == 8


def test_a_loss_that_rises_is_announced_in_the_first_half_of_a_run(recipe_file, corpus_folder, tmp_path, caplog):
    finish(start(recipe_file, corpus_folder, tmp_path, learning_rate=1.0, clip_norm=1e9, steps=48))
    (announced,) = (message for message in caplog.messages if "may be diverging" in message)
    assert int(announced.split("at step ")[1].split(",")[0]) <= 24


def test_a_loss_that_is_noisy_or_of_another_stage_is_not_announced():
    rising = Rising()
    losses = [9.0, 7.0, 8.9, 8.9, 7.1, 8.9, 6.0, 6.9]
    assert [rising.note(stage=1, step=step, loss=loss) for step, loss in enumerate(losses)] == [None] * 8
    assert [rising.note(stage=2, step=step, loss=8.0) for step in range(8, 12)] == [None] * 4
    said = [rising.note(stage=2, step=step, loss=10.0) for step in range(12, 17)]
    assert [each is not None for each in said] == [False, False, True, False, False]


def test_one_skipped_update_does_not_end_a_run_that_reports_every_step(recipe_file, corpus_folder, tmp_path):
    pretraining = start(recipe_file, corpus_folder, tmp_path, log_every=1, steps=6)
    pretraining.model.bias.register_hook(lambda gradient: gradient * (float("nan") if pretraining.step == 2 else 1.0))
    reports = finish(pretraining)
    assert [(report.step, report.skipped) for report in reports] == [(1, 0), (2, 0), (4, 1), (5, 1), (6, 1)]
    assert all(report.loss > 0 for report in reports)


def test_another_vocabulary_size_is_refused(recipe_file, corpus_folder, tmp_path):
    with pytest.raises(ClueBenchError, match="for a vocabulary of 500"):
        start(recipe_file, corpus_folder, tmp_path, vocab_size=500)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"hidden_size": 30}, "not a multiple of heads"),
        ({"max_length": 65}, "exceeds max_positions"),
        ({"save_every": 3}, "not a multiple of log_every"),
        ({"learning_rat": 1.0}, "did you mean 'learning_rate'"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"mask_rate": 1.5}, "mask_rate"),
        ({"family": "gpt2", "objective": "clm", "mask_rate": 0.0, "final_mask_rate": 0.1}, "final_mask_rate = 0.1"),
        ({"bag_weight": 0.2, "sentence_order": "texts"}, "bag_weight = 0.2 does not"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"adam_beta1": 1.0}, "adam_beta1"),
        ({"name": "../elsewhere"}, "name"),
    ],
)
def test_recipe_mistakes_are_named(recipe_file, overrides, message):
    with pytest.raises(ClueBenchError, match=message):
        load_recipe(str(recipe_file), overrides)


def test_a_state_with_fewer_and_fewer_masks_is_not_continued_with_the_same_ones(recipe_file, corpus_folder, tmp_path):
    falling = {"mask_rate": 0.3, "final_mask_rate": 0.15, "save_every": 1, "log_every": 1}
    reports = run(start(recipe_file, corpus_folder, tmp_path, **falling), asked={})
    next(reports)
    reports.close()
    start(recipe_file, corpus_folder, tmp_path, **falling).resume()
    for other in ({"final_mask_rate": "same"}, {"final_mask_rate": 0.2}):
        with pytest.raises(ClueBenchError, match=r"final_mask_rate = 0\.15"):
            start(recipe_file, corpus_folder, tmp_path, **{**falling, **other}).resume()


def test_a_run_masks_what_its_recipe_says_of_each_step(recipe_file, corpus_folder, tmp_path):
    overrides = {"mask_rate": 0.4, "final_mask_rate": 0.1, "global_batch": 64, "micro_batch": 64}
    pretraining = start(recipe_file, corpus_folder, tmp_path, **overrides)
    ordinary = torch.from_numpy(pretraining.vocabulary.is_ordinary)
    while pretraining.step < pretraining.recipe.total_steps:
        wanted = pretraining.recipe.mask_rate_at(pretraining.step)
        pretraining._advance()
        batch, _ = pretraining.feeds.assemble(pretraining.feeds.inputs(pretraining.step - 1, slice(0, 64)))
        true_BS = batch.ids_BS.scatter(
            1, batch.at_BK, batch.targets_BK.where(batch.targets_BK >= 0, batch.ids_BS.gather(1, batch.at_BK))
        )
        share = float((batch.targets_BK >= 0).sum() / ordinary[true_BS].sum())
        assert share == pytest.approx(wanted, abs=0.02)


def test_a_report_says_which_share_of_tokens_was_masked(recipe_file, corpus_folder, tmp_path):
    overrides = {"mask_rate": 0.4, "final_mask_rate": 0.1, "log_every": 1}
    pretraining = start(recipe_file, corpus_folder, tmp_path, **overrides)
    reports = list(run(pretraining, asked={}))
    wanted = [pretraining.recipe.mask_rate_at(step) for step in range(len(reports))]
    assert [report.mask_rate for report in reports] == wanted
    written = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["mask_rate"] for line in written] == wanted


def test_short_runs_shorten_their_reports(recipe_file):
    recipe = load_recipe("roberta-tiny-clue", steps=10)
    assert (recipe.total_steps, recipe.log_every, recipe.save_every) == (10, 10, 10)
