"""Train the lab's models: the original on everybody, the retrained without those to forget.

Ordinary training of an ordinary `LlamaForCausalLM` on answer tokens. Questions and phrasings are
drawn anew in every pass, as often as the world uses them, so the original learns to say a fact in
each phrasing with about that probability.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from unbelief.errors import RequestError
from unbelief.lab.tokenizer import build_tokenizer
from unbelief.lab.world import PHRASING_WEIGHTS, QUESTION_WEIGHTS, World, WorldConfig
from unbelief.models.load import LoadedModel, load_model
from unbelief.models.save import save_model
from unbelief.tokens.batch import Row, collate
from unbelief.tokens.encode import Encoder
from unbelief.types import Record

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

Role = Literal["original", "retrained"]
ROLES: tuple[Role, ...] = ("original", "retrained")
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """Size and training of the lab's models.

    Attributes:
        hidden: Width; the feed-forward layers have twice that.
        layers: Number of decoder layers.
        heads: Number of attention heads.
        steps: Optimiser steps.
        batch: Answers per step.
        learning_rate: Peak of a one-cycle schedule, after a tenth of the steps.
        seed: Of the initial weights and the order of the data.
    """

    hidden: int = 128
    layers: int = 2
    heads: int = 4
    steps: int = 600
    batch: int = 64
    learning_rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.hidden, self.layers, self.heads, self.steps, self.batch) < 1:
            raise RequestError("sizes and steps must be positive", where="pretrain")
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise RequestError(
                f"hidden={self.hidden} does not give {self.heads} heads of even width",
                where="pretrain.hidden",
                remedy="choose hidden as a multiple of 2 × heads",
            )


def pretrain(
    world: World,
    role: Role,
    config: PretrainConfig | None = None,
    *,
    others: Sequence[str] = (),
    progress: Progress | None = None,
) -> LlamaForCausalLM:
    """Train one of the lab's models from scratch; deterministic for one thread count.

    Args:
        world: What there is to learn.
        role: `original` learns everybody, `retrained` everybody but those to be forgotten. Both
            see equally many batches and start from the same weights.
        config: Size and training.
        others: Sentences outside the world's grammar that the model has tokens for. It never sees
            them in training.
        progress: Called with (steps done, steps in all).
    """
    config = config or PretrainConfig()
    encoder = Encoder(build_tokenizer(world, others))
    model = build_model(encoder, config)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.steps, pct_start=0.1
    )
    batches = _batches(world, role, encoder, config)
    model.train()
    for step in range(config.steps):
        loss = _answer_nll(model, next(batches), encoder.pad_id)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, config.steps)
    return model.eval()


def build_model(encoder: Encoder, config: PretrainConfig) -> LlamaForCausalLM:
    """Build an untrained Llama whose vocabulary is the tokenizer's; weights follow the seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(encoder.tokenizer),
                hidden_size=config.hidden,
                intermediate_size=2 * config.hidden,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_key_value_heads=config.heads,
                max_position_embeddings=64,
                tie_word_embeddings=True,
                pad_token_id=encoder.pad_id,
                bos_token_id=None,
                eos_token_id=encoder.end_id,
            )
        )


def train_or_load(
    world: WorldConfig,
    role: Role,
    config: PretrainConfig,
    cache: Path,
    *,
    others: Sequence[str] = (),
    progress: Progress | None = None,
) -> LoadedModel:
    """Load a model of this world from the cache, or train it and put it there.

    Args:
        world: Configuration of the world.
        role: Which of the two models.
        config: Size and training.
        cache: Folder of folders, named by a digest of both configurations.
        others: As in `pretrain`.
        progress: As in `pretrain`; not called when the model is already there.
    """
    from unbelief.lab.world import make_world

    folder = model_folder(world, role, config, cache, others)
    if not folder.is_dir():
        made = make_world(world)
        model = pretrain(made, role, config, others=others, progress=progress)
        save_model(model, build_tokenizer(made, others), folder)
    return load_model(folder, device="cpu")


def model_folder(
    world: WorldConfig,
    role: Role,
    config: PretrainConfig,
    cache: Path,
    others: Sequence[str] = (),
) -> Path:
    """Where the cache keeps a model: a name that changes with everything the model depends on."""
    named = {"world": asdict(world), "pretrain": asdict(config), "recipe": 1}
    text = json.dumps(named | ({"others": list(others)} if others else {}))
    return cache / hashlib.sha256(text.encode()).hexdigest()[:12] / role


def _batches(
    world: World, role: Role, encoder: Encoder, config: PretrainConfig
) -> Iterator[list[Row]]:
    """Endless batches: all facts in a new order again and again, each in a drawn phrasing."""
    people = world.part("all" if role == "original" else "retain")
    facts = [
        (
            [encoder.encode_prompt(world.question(p, a, k)) for k in range(len(a.questions))],
            [
                encoder.encode(Record(id="", prompt=world.question(p, a), answer=text)).answer_ids
                for text, _ in world.answers(p, a)
            ],
        )
        for p in people
        for a in world.attributes
    ]
    rng = random.Random(f"{config.seed}/{role}")
    order: list[int] = []
    while True:
        rows: list[Row] = []
        while len(rows) < config.batch:
            order = order or rng.sample(range(len(facts)), len(facts))
            prompts, answers = facts[order.pop()]
            prompt = rng.choices(prompts, QUESTION_WEIGHTS)[0]
            answer = rng.choices(answers, PHRASING_WEIGHTS)[0]
            rows.append(Row("", "retain", prompt, answer))
        yield rows


def _answer_nll(model: LlamaForCausalLM, rows: list[Row], pad_id: int) -> Tensor:
    """Mean negative log-likelihood (nats) of the answer tokens of a batch."""
    batch = collate(rows, pad_id)
    logits = model(input_ids=batch.input_ids, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[batch.row, batch.position - 1], batch.target)
