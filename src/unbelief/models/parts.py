"""Which part of a model a tensor is: layer and component, embeddings, final norm, head.

Labels are `embeddings`, `layers.N.attention`, `layers.N.mlp`, `layers.N.norm`, `layers.N.other`,
`final_norm`, `head` and `other`. A label also names everything below it: `layers.3` is the whole
layer. An output embedding that is tied to the input embedding is one tensor and part of
`embeddings`; there is no `head` then.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from torch import nn

from unbelief.errors import RequestError

Component = Literal["attention", "mlp", "norm", "other"]
COMPONENTS: tuple[Component, ...] = ("attention", "mlp", "norm", "other")
_LISTS = ("layers", "h", "blocks")
_NORM = re.compile(r"norm|^ln(_|\d|$)")
_ATTENTION = re.compile(r"attn|attention")
_MLP = re.compile(r"mlp|moe|expert|feed_?forward|ffn|^fc\d|^ff")


def layer_list(inner: Any) -> tuple[str, nn.ModuleList]:
    """The decoder layers of a causal language model, and the name of their list in it.

    Raises:
        RequestError: There is no list of layers we know of.
    """
    found = _layer_list(inner)
    if found is not None:
        return found
    raise RequestError(
        f"{type(inner).__name__} has no list of decoder layers we know of",
        remedy="layers can be told apart where the backbone keeps them in `layers`, `h` or "
        "`blocks`",
    )


def _layer_list(inner: Any) -> tuple[str, nn.ModuleList] | None:
    backbone = inner.base_model
    below = (getattr(backbone, name, None) for name in ("decoder", "language_model"))
    for place in (backbone, *below):
        for attribute in _LISTS:
            found = getattr(place, attribute, None)
            if isinstance(found, nn.ModuleList):
                name = next(n for n, module in inner.named_modules() if module is found)
                return name, found
    return None


def part_labels(inner: Any) -> dict[str, str]:
    """The part of every tensor of the state dict, in its order.

    Modules inside attention (the norms of queries and keys, say) are attention: the first name
    below the layer decides.

    A model whose layers cannot be found has everything but embeddings, norms and head in `other`.

    Args:
        inner: A Transformers causal language model, without wrappers.
    """
    known = _layer_list(inner)
    prefix = None if known is None else known[0]
    embedding = {id(t) for t in inner.get_input_embeddings().parameters()}
    output = inner.get_output_embeddings()
    head = set() if output is None else {id(t) for t in output.parameters()} - embedding
    found = {}
    for name, tensor in inner.state_dict(keep_vars=True).items():
        if prefix is not None and name.startswith(prefix + "."):
            index, _, rest = name.removeprefix(prefix + ".").partition(".")
            found[name] = f"layers.{int(index)}.{component_of(rest)}"
        elif id(tensor) in embedding:
            found[name] = "embeddings"
        elif id(tensor) in head:
            found[name] = "head"
        else:
            found[name] = _outside(name)
    return found


def component_of(name: str) -> Component:
    """Component of a tensor by its name below the layer, for example `self_attn.q_proj.weight`."""
    first = name.split(".")[0].lower()
    # A norm comes first: `post_attention_layernorm` is no attention.
    if _NORM.search(first):
        return "norm"
    if _ATTENTION.search(first):
        return "attention"
    return "mlp" if _MLP.search(first) else "other"


def _outside(name: str) -> str:
    last = name.split(".")[-2] if "." in name else name
    if _NORM.search(last.lower()):
        return "final_norm"
    # Learnt positions (`wpe`, `embed_positions`) are looked up and added to the word embeddings.
    return "embeddings" if re.search(r"embed|wpe|wte", last.lower()) else "other"


def belongs(label: str, wanted: str) -> bool:
    """Whether a label is `wanted` or below it: `layers.3.mlp` belongs to `layers.3`."""
    return label == wanted or label.startswith(wanted + ".")
