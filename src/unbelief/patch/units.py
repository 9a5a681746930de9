"""The parts among which a patch chooses."""

from __future__ import annotations

from unbelief.errors import RequestError
from unbelief.models.algebra import Blend
from unbelief.models.parts import belongs
from unbelief.patch.request import PatchRequest


def units(blend: Blend, request: PatchRequest) -> tuple[str, ...]:
    """Labels of what may be exchanged, shallow to deep; only parts in which the models differ.

    Raises:
        RequestError: There is none, a part named by `also` does not exist, or top_k is too large.
    """
    layers = dict.fromkeys(
        ".".join(label.split(".")[:2]) for label in blend.labels if label.startswith("layers.")
    )
    match request.granularity:
        case "layer":
            found = list(layers)
        case "component":
            found = [label for label in blend.labels if label.startswith("layers.")]
        case component:
            found = [f"{layer}.{component}" for layer in layers]
    for label in request.also:
        if label not in blend.labels:
            tied = " (it is tied to the embeddings)" if label == "head" else ""
            raise RequestError(
                f"the model has no {label}{tied}",
                where="--also",
                remedy=f"there are {', '.join(n for n in blend.labels if '.' not in n)}",
            )
    wanted = [*(["embeddings"] if "embeddings" in request.also else []), *found]
    wanted += [label for label in request.also if label != "embeddings"]
    differing = tuple(u for u in wanted if any(belongs(part, u) for part in blend.changed))
    if not differing:
        raise RequestError(
            f"the two models do not differ in any {request.granularity}",
            where="--granularity",
            remedy=f"they differ in {', '.join(blend.changed)}",
        )
    if request.top_k is not None and request.top_k > len(differing):
        raise RequestError(
            f"--top-k {request.top_k} of {len(differing)} parts",
            where="--top-k",
            remedy=f"at most {len(differing)}",
        )
    return differing
