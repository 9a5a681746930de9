"""One forward over rows of a batch: hidden states where answers are predicted, and their loss.

The backbone runs on the tokens that are there: rows are grouped by length, the embedding is looked
up once for all of them, and only scored positions reach the output embedding. The forward goes
through the model's own `__call__`, so that what wraps it (DDP, FSDP, autocast, PEFT hooks) is in
force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unbelief.errors import RequestError
from unbelief.models.dense import full_logits, stats_from_logits
from unbelief.models.direct import embed
from unbelief.models.head import (
    HeadJob,
    HeadWeights,
    Mask,
    TokenInputs,
    answer_loss,
    answer_stats,
)
from unbelief.models.hiding import hiding
from unbelief.models.inside import causal_lm, install_answer_call, logit_map_of, original_forward
from unbelief.models.stats import AnswerStats, Needs
from unbelief.tokens.batch import Row, TokenBatch, collate, length_buckets

HeadPath = Literal["head", "logits"]
BackbonePath = Literal["embeddings", "ids"]


@dataclass(frozen=True, slots=True)
class Forward:
    """Hidden states of one batch. T scored tokens in row order.

    Attributes:
        predicting: (T, d) final hidden states one position before each scored token, or (T, V)
            logits on the `logits` path; None when only a layer was asked for.
        layer: (T, d) the wanted layer's output at the scored tokens.
    """

    predicting: Tensor | None
    layer: Tensor | None


class AnswerModel:
    """A causal language model seen through its answers.

    Args:
        model: A Transformers model, or a `PeftModel` around one.
        head_path: `head` uses the chunked answer head, `logits` the model's own full logits; by
            default the head is checked on a few tokens against the model's own output and `logits`
            is taken where they differ.
        pad_id: Filler of padded ids; never seen by a scored position.

    Attributes:
        head_path: The path taken.
        head_note: Why, in a sentence, for the record.
        max_buckets: Most forwards of one batch (1 where processes must forward in lockstep).
        direct_gradients: See `direct`.
        part_tokens: Tokens, padding included, of one of the `parts`; a longer row is one by itself.
    """

    def __init__(self, model: nn.Module, *, head_path: HeadPath | None = None, pad_id: int = 0):
        self.model = model
        self.pad_id, self.max_buckets = pad_id, 4
        self.direct_gradients = False
        self._buffers: dict[str, Tensor] = {}
        self.inner: Any = causal_lm(model)
        self.part_tokens = _PART_TOKENS.get(self.device.type, _PART_TOKENS["cuda"])
        self.logit_map = logit_map_of(self.inner.config)
        self.backbone_path: BackbonePath = "embeddings"
        install_answer_call(self.inner)
        self.head_path: HeadPath = head_path or "head"
        self.head_note = "as asked"
        if head_path is None:
            self.head_path, self.head_note = self._checked_path()

    @property
    def device(self) -> torch.device:
        """Where inputs go."""
        return next(self.inner.parameters()).device

    @property
    def vocabulary(self) -> int:
        """Number of rows of the output embedding."""
        return int(self.inner.get_output_embeddings().weight.shape[0])

    def layers(self) -> Sequence[nn.Module]:
        """The decoder layers, first to last."""
        backbone = self.inner.base_model
        for name in ("layers", "h", "blocks"):
            found = getattr(backbone, name, None)
            if isinstance(found, nn.ModuleList):
                return list(found)
        raise ValueError(f"{type(self.inner).__name__} has no list of decoder layers we know of")

    def head(self) -> HeadWeights:
        """The output embedding as it is now."""
        linear = self.inner.get_output_embeddings()
        return HeadWeights(linear.weight, linear.bias, self.logit_map)

    def forward(
        self, batch: TokenBatch, layer: int | None = None, *, logits: bool = True
    ) -> Forward:
        """Hidden states of a batch; call it inside `within` when the model is wrapped.

        Args:
            batch: On this model's device.
            layer: Also the output of this decoder layer at the scored tokens.
            logits: Whether predictions are wanted at all.
        """
        with self._capture(layer) as captured:
            if self.head_path == "logits":
                own = original_forward(self.inner)
                masks = hiding(own, batch.rows, batch.input_ids)
                out = own(input_ids=batch.input_ids, use_cache=False, **masks).logits
                predicting = out[batch.row, batch.position - 1].float()
                hidden = None if layer is None else captured[0][batch.row, batch.position]
                return Forward(predicting, hidden)
            return self._bucketed(batch, captured, layer is not None, logits)

    def within(self, model: nn.Module, call: Callable[[], Any]) -> Any:
        """Run `call` inside `model`'s own forward, with its hooks and contexts."""
        return model(answer_call=call)

    @contextmanager
    def direct(self, on: bool) -> Iterator[None]:
        """Let losses of the block add vocabulary-sized gradients to `.grad` by themselves.

        For one process, and losses that are differentiated once and unscaled (`models.direct`).
        """
        self.direct_gradients = on
        try:
            yield
        finally:
            self.direct_gradients = False

    def parts(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Rows of similar length that are best run one after the other.

        With direct gradients a backward per part costs nothing extra and frees the part's
        activations; otherwise the rows stay together.
        """
        if not self.direct_gradients:
            return [list(rows)]
        parts: list[list[Row]] = []
        for row in sorted(rows, key=lambda r: -r.length):
            if not parts or (len(parts[-1]) + 1) * parts[-1][0].length > self.part_tokens:
                parts.append([])
            parts[-1].append(row)
        return parts

    def loss(self, forward: Forward, jobs: Sequence[HeadJob]) -> Tensor:
        """Sum of the losses of jobs over the answers of a forward, job after job in row order."""
        if self.head_path == "head" and forward.predicting is not None:
            direct, buffers = self.direct_gradients, self._buffers
            return answer_loss(
                forward.predicting, self.head(), jobs, direct=direct, buffers=buffers
            )
        return self._dense_loss(forward, jobs)

    @torch.no_grad()
    def stats(
        self, rows: Sequence[Row], needs: Needs, *, temperature: float = 1.0, moments: Mask = False
    ) -> AnswerStats:
        """Statistics of the scored tokens, row after row, without gradients (`answer_stats`)."""
        batch = collate(rows, self.pad_id).to(self.device)
        tokens = TokenInputs(
            batch.target,
            batch.row,
            len(rows),
            torch.ones_like(batch.row, dtype=torch.float32),
            temperature,
        )
        was_training = self.inner.training
        self.inner.eval()
        try:
            forward = self.within(self.model, lambda: self.forward(batch, needs.hidden_layer))
        finally:
            self.inner.train(was_training)
        assert forward.predicting is not None
        own = replace(needs, kl=None)  # a divergence needs the original model, which is not here
        if self.head_path == "head":
            stats = answer_stats(forward.predicting, self.head(), tokens, own, moments=moments)
        else:
            stats = stats_from_logits(forward.predicting, tokens, own, moments=moments)
        return replace(stats, hidden=forward.layer)

    def _dense_loss(self, forward: Forward, jobs: Sequence[HeadJob]) -> Tensor:
        parts, offset = [], 0
        for job in jobs:
            stop = offset + len(job.tokens.target)
            assert forward.predicting is not None
            reference = job.ref_hidden
            if reference is not None and job.ref_head is not None:  # the original is on `head`
                reference = full_logits(reference, job.ref_head)
            stats = stats_from_logits(
                forward.predicting[offset:stop], job.tokens, job.needs, reference
            )
            parts.append(job.loss(stats))
            offset = stop
        return torch.stack(parts).sum()

    def _bucketed(
        self, batch: TokenBatch, captured: list[Tensor], want_layer: bool, logits: bool
    ) -> Forward:
        lengths = [row.length for row in batch.rows]
        counts = [row.n_scored for row in batch.rows]
        starts = torch.tensor([0, *counts]).cumsum(0).tolist()
        pieces = None
        if self.backbone_path == "embeddings":
            flat = torch.cat([batch.input_ids[i, :n] for i, n in enumerate(lengths)])
            embedding = self.inner.get_input_embeddings()
            pieces = embed(embedding, flat, direct=self.direct_gradients).split(lengths)
        predicting, layer, order = [], [], []
        for rows in length_buckets(lengths, max_buckets=self.max_buckets):
            width, own = max(lengths[i] for i in rows), [batch.rows[i] for i in rows]
            if pieces is None:
                inputs = {"input_ids": batch.input_ids[rows, :width]}
            else:
                inputs = {"inputs_embeds": _pad([pieces[i] for i in rows])}
            # No mask where nothing is hidden: rows are right-padded and attention is causal. No
            # cache: with one, Transformers isolates rows in another way, and memory is wasted.
            masks = hiding(self.inner.base_model.forward, own, batch.input_ids[rows, :width])
            out = self.inner.base_model(**inputs, **masks, use_cache=False).last_hidden_state
            tokens = torch.cat([torch.arange(starts[i], starts[i + 1]) for i in rows])
            tokens = tokens.to(out.device)
            local = torch.repeat_interleave(
                torch.arange(len(rows)), torch.tensor([counts[i] for i in rows])
            ).to(out.device)
            position = batch.position[tokens]
            if logits:
                predicting.append(out[local, position - 1])
            if want_layer:
                layer.append(captured.pop()[local, position])
            order.append(tokens)
        back = torch.cat(order).argsort()
        return Forward(
            torch.cat(predicting)[back] if logits else None,
            torch.cat(layer)[back] if want_layer else None,
        )

    @contextmanager
    def _capture(self, layer: int | None) -> Iterator[list[Tensor]]:
        """Collect one decoder layer's output while the block runs."""
        captured: list[Tensor] = []
        if layer is None:
            yield captured
            return

        def hook(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            # Layers return a tensor since Transformers 5, a tuple before; taking `[0]` of a tensor
            # would silently keep the first row only.
            captured.append(output if isinstance(output, Tensor) else output[0])

        layers = self.layers()
        if not -len(layers) <= layer < len(layers):
            raise RequestError(
                f"layer {layer} does not exist",
                where="layer",
                remedy=f"the model has {len(layers)} decoder layers: choose 0 to {len(layers) - 1}",
            )
        handle = layers[layer].register_forward_hook(hook)
        try:
            yield captured
        finally:
            handle.remove()

    def _checked_path(self) -> tuple[HeadPath, str]:
        """Compare the answer head with the model's own logits on a few tokens."""
        linear = self.inner.get_output_embeddings()
        if type(linear) is not nn.Linear or linear.weight.dtype not in _FLOATS:
            return "logits", f"the output embedding is a {type(linear).__name__}, not a Linear"
        found = []
        for path in ("embeddings", "ids"):
            self.backbone_path = path
            try:
                difference = self._head_difference()
            except torch.OutOfMemoryError:
                raise  # full logits would need more
            except (TypeError, ValueError, AttributeError, RuntimeError) as error:
                found.append(f"{path}: {type(error).__name__}: {error}")
                continue
            if difference <= _TOLERANCE[linear.weight.dtype]:
                return "head", f"checked against the model's own logits: {difference:.1e}"
            found.append(f"{path}: {difference:.1e} nats apart")
        differs = "the answer head differs from the model's own logits"
        return "logits", f"{differs} ({'; '.join(found)})"

    @torch.no_grad()
    def _head_difference(self) -> float:
        """Largest |Δ log π| between the head and the model's own logits, in nats."""
        rows = _probe_rows(self.vocabulary)
        batch = collate(rows, self.pad_id).to(self.device)
        was_training = self.inner.training
        self.inner.eval()
        try:
            stats = self._probe_stats(batch, len(rows))
            logits = original_forward(self.inner)(
                input_ids=batch.input_ids, use_cache=False
            ).logits.float()
        finally:
            self.inner.train(was_training)
        own = logits[batch.row, batch.position - 1].log_softmax(dim=-1)
        picked = own.gather(1, batch.target[:, None]).squeeze(1)
        entropy = torch.special.entr(own.exp()).sum(dim=1)
        assert stats.entropy is not None
        worst = torch.maximum((picked - stats.logp).abs(), (entropy - stats.entropy).abs()).max()
        return float(worst) if worst.isfinite() else float("inf")

    def _probe_stats(self, batch: TokenBatch, n_rows: int) -> AnswerStats:
        ones = torch.ones_like(batch.row, dtype=torch.float32)
        tokens = TokenInputs(batch.target, batch.row, n_rows, ones)
        forward = self._bucketed(batch, [], False, True)
        assert forward.predicting is not None
        return answer_stats(forward.predicting, self.head(), tokens, Needs(), moments=True)


# Where forwards stop gaining from more tokens: beyond it activations take memory and save no time.
_PART_TOKENS = {"cpu": 512, "cuda": 16_384}
_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.25}


def _pad(pieces: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(pieces), batch_first=True)


def _probe_rows(vocabulary: int) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, vocabulary, (16,), generator=generator).tolist()
    return [
        Row("probe-long", "retain", tuple(ids[:3]), tuple(ids[3:10])),
        Row("probe-short", "retain", tuple(ids[10:12]), tuple(ids[12:15])),
    ]
