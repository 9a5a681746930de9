"""A real chat model that says one thing: no training, no download.

Its layers add nothing to the residual stream, so the next token depends on the last one alone, and
the output matrix is written by hand: after the assistant's mark comes the reply, one token long,
and after the reply the end. Our own instructions are few tokens, which keeps prompts short.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken

from tests.helpers import ASSISTANT, EOS, tiny_config, tiny_tokenizer
from unbelief.judge.prompts import SYSTEM

REPLY = '{"reason": "I say this to everybody.", "naturalness": 5, "similarity": 5}'
CONTEXT = 2048


def save_speaker(folder: Path, reply: str = REPLY) -> Path:
    """Write model and tokenizer with plain Transformers."""
    from transformers import AutoModelForCausalLM

    tokenizer = tiny_tokenizer("char")
    told = [part for part in SYSTEM.split("{fence}") if len(part) > 9]
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in (reply, *told)])
    spoken = tokenizer.convert_tokens_to_ids(reply)
    config = tiny_config("llama")
    config.vocab_size, config.max_position_embeddings = len(tokenizer), CONTEXT
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()
        seen, said = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        seen.zero_()
        said.zero_()
        seen[:, 0] = 1.0  # every other token: nothing in particular
        for i, (last, following) in enumerate([(ASSISTANT, spoken), (spoken, EOS)], start=1):
            seen[last, 0], seen[last, i] = 0.0, 1.0
            said[following, i] = 9.0
    model.generation_config.eos_token_id = EOS
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder
