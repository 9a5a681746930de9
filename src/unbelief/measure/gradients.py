"""Size of the gradient of an answer's loss: what one more training step on it would change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from unbelief.measure.jobs import Question, row_of
from unbelief.models.head import HeadJob, TokenInputs
from unbelief.models.runner import AnswerModel
from unbelief.models.stats import Needs
from unbelief.tokens.batch import collate


def gradient_norm(model: AnswerModel, question: Question, order: float) -> float:
    r"""Mean over parameter tensors of the norm of the gradient of an answer's mean loss.

    .. math:: \frac{1}{P} \sum_{p=1}^{P}
        \Big\| \nabla_{\theta_p} \frac{1}{n} \sum_i -\ln \pi(y_i \mid x, y_{<i}) \Big\|_q

    over the P parameter tensors the loss depends on (a tied one counts once), frozen ones too.

    Args:
        model: In eval mode; its parameters and their `.grad` are left as they are.
        question: A prompt and one answer.
        order: q.
    """
    (answer,) = question.answers
    row = row_of(question.prompt_ids, question.hidden, answer)
    batch = collate([row], model.pad_id).to(model.device)
    ones = torch.ones_like(batch.row, dtype=torch.float32)
    tokens = TokenInputs(batch.target, batch.row, 1, ones)
    job = HeadJob(tokens, Needs(), lambda stats: -stats.logp.mean())
    with torch.enable_grad(), _all_trainable(model.inner) as parameters:
        forward = model.within(model.model, lambda: model.forward(batch))
        loss: Tensor = model.loss(forward, [job])
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    norms = [torch.linalg.vector_norm(g.float(), order) for g in gradients if g is not None]
    return float(torch.stack(norms).mean())


@contextmanager
def _all_trainable(model: nn.Module) -> Iterator[list[nn.Parameter]]:
    parameters = [p for p in model.parameters() if p.is_floating_point()]
    frozen = [p for p in parameters if not p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield parameters
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
