"""Ways of pretraining that the engine does not have, for trials beside those that it has (`recipe_trials.py`).

Each is the engine's own run with another step, so that rows, masks, optimizer, schedule and files are the same:

- `replaced`: a small generator fills in masked tokens, and the model says of every token whether it was replaced
  (ELECTRA). What is left is a BERT whose prediction head nothing has trained: its held-out loss means nothing.
- `distilled`: half of the loss is the distance to a larger model's predictions, and its last hidden states are to be a
  linear map of ours. `teacher` is a checkpoint over the same vocabulary.
- `averaged`: weights are averaged over the last part of the run, `AVERAGED` of its steps, at whatever rate the recipe
  has there.
- `repeated`: a share of the rows, `REPEATED`, holds its first half twice, [CLS] half [SEP] half [SEP], each with masks
  of its own: what is masked in one can be read in the other, as in a pair of texts.

Interrupted, `repeated` goes on as the engine does; the others begin anew. Legend: B rows, S positions,
K masked positions of a row, D width, V vocabulary.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.models.encoder import INIT_STD, MaskedLanguageModel, activate, initialise
from clue_bench.pretraining.feed import StageInputs
from clue_bench.pretraining.objectives import PretrainingBatch, RowDraws
from clue_bench.pretraining.recipe import Recipe
from clue_bench.pretraining.rows import IGNORED, Rows
from clue_bench.pretraining.run import completed_record, run
from clue_bench.pretraining.start import check_vocabulary, load_start
from clue_bench.pretraining.step import StepSums, Sums
from clue_bench.pretraining.train import Pretraining
from clue_bench.pretraining.vocabulary_loss import Predicted, vocabulary_loss
from clue_bench.training.optim import adamw, apply_gradients
from clue_bench.vocab import read_vocabulary

GENERATOR = {"layers": 2, "hidden_size": 64, "heads": 2, "feed_forward_size": 256}
REPLACED_WEIGHT = 50.0  # of the loss over all tokens, beside the generator's: ELECTRA's
TEACHING, HIDDEN_WEIGHT = 0.5, 1.0
AVERAGED, EVERY = 0.3, 5
REPEATED = 0.1


class _Anew(Pretraining):
    """A run with a memory that its state does not keep."""

    def resume(self) -> None:
        """Begin anew."""


class _Other(_Anew):
    """A run with modules that serve training only, whose loss is its own."""

    def __init__(self, recipe: Recipe, corpus: Corpus, out: Path) -> None:
        super().__init__(recipe, corpus, out)
        self.network = self.model  # by autocast on every device: other modules have no copies of their weights

    def loss_of(self, batch: PretrainingBatch) -> tuple[Tensor, Predicted]:
        """Return the loss of a batch, and what was predicted of its masked tokens."""
        raise NotImplementedError

    def _train_step(self, inputs: StageInputs) -> StepSums:
        batch, _ = self.feeds.assemble(inputs)
        with torch.autocast(self.device.type, dtype=self._autocast, enabled=self._autocast is not None):
            loss, masked = self.loss_of(batch)
        return self.update(loss, batch, masked)

    def add(self, *modules: nn.Module) -> nn.ModuleList:
        """Train `modules`, too, with the recipe's optimizer."""
        recipe, added = self.recipe, nn.ModuleList(modules).to(self.device)
        betas = (recipe.adam_beta1, recipe.adam_beta2)
        rate, decay = recipe.stage1.learning_rate, recipe.weight_decay
        groups = adamw(added, learning_rate=rate, weight_decay=decay, betas=betas, epsilon=recipe.adam_epsilon)
        for group in groups.param_groups:
            self.optimizer.add_param_group(group)
        self._trained = [*self.model.parameters(), *added.parameters()]
        return added

    def bag_loss(self, batch: PretrainingBatch, first_BD: Tensor) -> Tensor | float:
        """Return the weighted mean loss of [CLS] predicting tokens of its row, as the engine has it."""
        if batch.bag_BJ is None:
            return 0.0
        model = self.model
        assert isinstance(model, MaskedLanguageModel)
        activated = activate(model.transform(first_BD), model.config.activation)
        hidden_BJD = model.transform_norm(activated)[:, None].expand(-1, batch.bag_BJ.shape[1], -1)
        matrix_VD = model.encoder.embeddings.word.weight
        found = vocabulary_loss(hidden_BJD, matrix_VD, model.bias, targets=batch.bag_BJ)
        return self.recipe.bag_weight * found.loss / (batch.bag_BJ != IGNORED).sum()

    def update(self, loss: Tensor, batch: PretrainingBatch, masked: Predicted) -> StepSums:
        """Update all weights; report the predictions of masked tokens."""
        loss.backward()  # type: ignore[no-untyped-call]
        norm, skipped = apply_gradients(self.optimizer, self._trained, clip_norm=self.recipe.clip_norm)
        sums = Sums.zero(self.device)
        values = masked.loss.detach(), masked.correct, (batch.targets_BK != IGNORED).sum()
        sums.heads_43[0] = torch.stack([value.double() for value in values])
        return StepSums(sums._replace(tokens=batch.num_tokens), norm, skipped)


class Replaced(_Other):
    """Replaced tokens, told from true ones."""

    def __init__(self, recipe: Recipe, corpus: Corpus, out: Path) -> None:
        super().__init__(recipe, corpus, out)
        small = replace(self.config, dropout=0.0, **GENERATOR)
        width = self.config.hidden_size
        head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1)).apply(initialise)
        self.generator, self.head = self.add(MaskedLanguageModel(small), head)
        self.draws = torch.Generator(self.device).manual_seed(recipe.seed)

    def loss_of(self, batch: PretrainingBatch) -> tuple[Tensor, Predicted]:
        """Return the generator's loss, the model's over all tokens, and that of bags."""
        assert batch.at_BK is not None
        assert isinstance(self.model, MaskedLanguageModel)
        at_BK = batch.at_BK[:, : batch.targets_BK.shape[1]]
        guessed = self.generator(batch.ids_BS, at_BK=at_BK)
        masked = vocabulary_loss(guessed.hidden, guessed.matrix_VE, guessed.bias_V, targets=batch.targets_BK)
        counts_BK = batch.targets_BK != IGNORED
        with torch.no_grad():
            logits_BKV = guessed.logits.float()
            shares = torch.rand(logits_BKV.shape, generator=self.draws, device=self.device)
            drawn_BK = (logits_BKV - (-shares.clamp_(1e-9, 1 - 1e-7).log()).log()).argmax(-1)
            shown_BK = batch.ids_BS.gather(1, at_BK)
            true_BS = batch.ids_BS.scatter(1, at_BK, torch.where(counts_BK, batch.targets_BK, shown_BK))
            ids_BS = true_BS.scatter(1, at_BK, torch.where(counts_BK, drawn_BK, shown_BK))
        hidden_BSD = self.model.encoder(ids_BS)
        logits_BS = self.head(hidden_BSD)[..., 0]
        told = F.binary_cross_entropy_with_logits(logits_BS, (ids_BS != true_BS).float())
        loss = masked.loss / counts_BK.sum() + REPLACED_WEIGHT * told + self.bag_loss(batch, hidden_BSD[:, 0])
        return loss, masked


class Distilled(_Other):
    """Masked tokens, and what a teacher says of them."""

    def __init__(self, recipe: Recipe, corpus: Corpus, out: Path, *, teacher: str) -> None:
        super().__init__(recipe, corpus, out)
        checkpoint = read_checkpoint(teacher)
        check_vocabulary(checkpoint, self.vocabulary)
        self.teacher = MaskedLanguageModel(replace(checkpoint.config, dropout=0.0))
        load_start(self.teacher, checkpoint, self.vocabulary)
        self.teacher.to(self.device).eval().requires_grad_(requires_grad=False)
        towards = nn.Linear(self.config.embedding_width, checkpoint.config.embedding_width)
        nn.init.normal_(towards.weight, std=INIT_STD)
        (self.towards,) = self.add(towards)

    def loss_of(self, batch: PretrainingBatch) -> tuple[Tensor, Predicted]:
        """Return the loss of masked tokens, the distances to the teacher, and the loss of bags."""
        assert batch.at_BK is not None
        num = batch.targets_BK.shape[1]
        with torch.no_grad():
            right = self.teacher(batch.ids_BS, at_BK=batch.at_BK[:, :num])
        ours = self.model(batch.ids_BS, at_BK=batch.at_BK)
        counts_BK = batch.targets_BK != IGNORED
        hidden_BKD = ours.hidden[:, :num]
        logits_MV = F.linear(hidden_BKD[counts_BK], ours.matrix_VE, ours.bias_V)
        targets_M = batch.targets_BK[counts_BK]
        true = F.cross_entropy(logits_MV, targets_M)
        theirs_MV = F.linear(right.hidden[counts_BK], right.matrix_VE, right.bias_V).softmax(-1)
        taught = F.cross_entropy(logits_MV, theirs_MV)
        near = F.mse_loss(self.towards(hidden_BKD[counts_BK]), right.hidden[counts_BK])
        loss = (1 - TEACHING) * true + TEACHING * taught + HIDDEN_WEIGHT * near
        if batch.bag_BJ is not None:
            firsts_BJD = ours.hidden[:, num:].expand(-1, batch.bag_BJ.shape[1], -1)
            bag = vocabulary_loss(firsts_BJD, ours.matrix_VE, ours.bias_V, targets=batch.bag_BJ)
            loss = loss + self.recipe.bag_weight * bag.loss / (batch.bag_BJ != IGNORED).sum()
        return loss, Predicted(true * len(targets_M), (logits_MV.argmax(-1) == targets_M).sum())


class Averaged(_Anew):
    """The mean of the last weights."""

    def _advance(self) -> StepSums:
        step = super()._advance()
        total = self.recipe.total_steps
        weights = self.model.state_dict()
        if self.step > total * (1 - AVERAGED) and (self.step % EVERY == 0 or self.step == total):
            if not hasattr(self, "mean"):
                self.mean, self.num = {name: torch.zeros_like(each) for name, each in weights.items()}, 0
            self.num += 1
            for name, each in weights.items():
                self.mean[name].lerp_(each, 1 / self.num)
        if self.step == total:
            self.model.load_state_dict(self.mean)
            self._refresh()
        return step


class Repeated(Pretraining):
    """Some halves of rows, twice."""

    def __init__(self, recipe: Recipe, corpus: Corpus, out: Path) -> None:
        super().__init__(recipe, corpus, out)
        feed, separator = self.feeds.train, self.vocabulary.separator
        objective = feed.objective

        def of_repeated(rows: Rows[Tensor], draws: RowDraws, **masks: Any) -> PretrainingBatch:
            return objective(repeated(rows, draws, separator), draws, **masks)

        self.feeds = replace(self.feeds, train=replace(feed, objective=of_repeated))


def repeated(rows: Rows[Tensor], draws: RowDraws, separator: int) -> Rows[Tensor]:
    """Return the rows, REPEATED of which hold their beginning twice; the second one is of segment 1."""
    ids_BS = rows.ids_BS
    length = ids_BS.shape[1]
    second = (length - 3) // 2
    first = length - 3 - second
    between_B1 = torch.full_like(ids_BS[:, :1], separator)
    twice_BS = torch.cat((ids_BS[:, : first + 1], between_B1, ids_BS[:, 1 : second + 1], between_B1), dim=1)
    is_chosen_B1 = draws("repeated", 1) < REPEATED * 2**32
    is_second_S = torch.arange(length, device=ids_BS.device) > first + 1
    return rows._replace(
        ids_BS=torch.where(is_chosen_B1, twice_BS, ids_BS), segments_BS=(is_chosen_B1 & is_second_S).long()
    )


KINDS: dict[str, type[Pretraining]] = {
    "replaced": Replaced,
    "distilled": Distilled,
    "averaged": Averaged,
    "repeated": Repeated,
}
PREDICT_NO_TOKENS = ("replaced",)  # so that the loss of masked tokens says nothing of them


def check_teacher(teacher: str, corpus: Path) -> None:
    """Raise ClueBenchError if a teacher has another vocabulary than the corpus."""
    check_vocabulary(read_checkpoint(teacher), read_vocabulary(Corpus.open(corpus).tokenizer_folder))


def pretrain_by(kind: str, recipe: Recipe, corpus: Path, out: Path, **more: Any) -> None:
    """Pretrain into `out` by one of KINDS; `more` are its own arguments. This very run, if complete, stays as it is.

    Raises ClueBenchError if `out` holds another run.
    """
    trained, asked = KINDS[kind](recipe, Corpus.open(corpus), out, **more), {"objective": kind, **more}
    record = completed_record(trained)
    if record is not None and record.asked != asked:
        raise ClueBenchError(f"{out}: holds a run by {record.asked}, not by {asked}", "give another --out")
    if record is not None:
        return
    for report in run(trained, asked=asked):
        print(f"{recipe.name} {report.step:,} of {recipe.total_steps:,}  loss {report.loss:.3f}", flush=True)
