"""Small tokenizers with the templates of real families, random models, hand-made rows."""

from __future__ import annotations

from functools import cache
from typing import Any

from tests.agreement import plain
from tests.agreement.plain import Template
from tests.helpers import tiny_model, tiny_tokenizer
from unbelief.tokens.open_unlearning import OpenUnlearningEncoder, Tags
from unbelief.types import Record

# Llama 3: BOS by the template, contents trimmed, a date in the system turn, <|eot|> is eos and
# there is no padding token.
LLAMA3 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set said = messages[0]['content'] %}{% set messages = messages[1:] %}"
    "{% else %}{% set said = '' %}{% endif %}"
    "<|header|>system<|header|>\n\nToday: {{ date_string or 'whatever day it is' }}\n\n"
    "{{ said }}<|eot|>{% for m in messages %}"
    "<|header|>{{ m['role'] }}<|header|>\n\n{{ m['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|header|>assistant<|header|>\n\n{% endif %}"
)
# Qwen: every turn ends with <|im_end|> and a newline; a padding token of its own.
QWEN = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Zephyr: every turn ends with eos and a newline, and padding is eos.
ZEPHYR = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
# The template of the small TOFU models: no system turn, <|end|> is eos, padding of its own.
TOFU_TINY = (
    "{% for m in messages %}{% if m['role']=='user' %}<|user|>{{ m['content'] }}<|end|>"
    "{% elif m['role']=='assistant' %}<|assistant|>{{ m['content'] }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
FAMILIES = ("llama3", "qwen", "zephyr", "tofu-tiny", "tags", "base")
ASKED = ("llama3", "qwen", "zephyr", "tags")
"""Those that differ in what a model sees: hidden ends, ends inside the answer, merged tokens."""
TAGS = ("[INST] ", " [/INST]", "", " ")


@cache
def made_tokenizer(family: str, kind: Any = "bpe") -> Any:
    """A tokenizer in the manner of a family: do not change it."""
    chat = family not in ("tags", "base", "plain")
    pad: Any = "own" if family in ("qwen", "tofu-tiny") else "none"
    tokenizer = tiny_tokenizer(
        kind, chat=chat, pad=pad, add_bos=family not in ("tofu-tiny", "plain")
    )
    added = {
        "llama3": ["<|header|>", "<|eot|>"],
        "qwen": ["<|im_start|>", "<|im_end|>"],
        "tofu-tiny": ["<|end|>"],
    }.get(family, [])
    tokenizer.add_special_tokens({"additional_special_tokens": added} if added else {})
    ends = {"llama3": "<|eot|>", "qwen": "<|im_end|>", "tofu-tiny": "<|end|>"}
    tokenizer.eos_token = ends.get(family, "</s>")
    templates = {"llama3": LLAMA3, "qwen": QWEN, "zephyr": ZEPHYR, "tofu-tiny": TOFU_TINY}
    tokenizer.chat_template = templates.get(family)
    return tokenizer


def template_of(family: str) -> Template:
    system = "Be kind." if family in ("llama3", "qwen", "zephyr") else None
    date = "10 Apr 2025" if family == "llama3" else None
    tags = {"tags": TAGS, "base": ("Question: ", "\n", "Answer: ", "\n\n")}.get(family)
    return Template(system, date, tags)


def made_encoder(
    family: str, tokenizer: Any = None, *, repetition_penalty: float = 1.0
) -> OpenUnlearningEncoder:
    template = template_of(family)
    return OpenUnlearningEncoder(
        made_tokenizer(family) if tokenizer is None else tokenizer,
        system_prompt=template.system,
        date_string=template.date,
        tags=None if template.tags is None else Tags(*template.tags),
        repetition_penalty=repetition_penalty,
    )


_NAMES = ("Ada", "Boris", "Clara", "Dmitri", "Elena", "Felix", "Grete", "Hugo", "Ines", "Jonas")


def made_records(set_name: str, count: int = 10, wrong: int = 3) -> tuple[Record, ...]:
    """Question-answer rows of unequal lengths with a paraphrase and wrong answers."""
    found = []
    for i, name in zip(range(count), _NAMES, strict=False):
        more = " and then some" * (i % 4)
        found.append(
            Record(
                id=f"{set_name}:{i}",
                group=f"author{i // 2}",
                prompt=f"Who wrote the {set_name} book number {i}?",
                answer=f"{name} wrote it in the year {1900 + 7 * i}{more}.",
                paraphrases=(f"It is {name}'s book of {1900 + 7 * i}{more}.",),
                perturbed=tuple(
                    f"It is {_NAMES[(i + j) % 10]}'s{more}." for j in range(1, 1 + wrong)
                ),
            )
        )
    return tuple(found)


@cache
def half_taught_model(family: str, seed: int = 0, steps: int = 16) -> Any:
    """A tiny model that has learnt some tokens of the made records: do not change it.

    A random model's first choice is never the true token, and then every share of hits is 0.
    """
    import torch

    tokenizer, template, model = made_tokenizer(family), template_of(family), tiny_model(seed=seed)
    pad_id = plain.pad_id_of(tokenizer)
    items = [
        plain.question_item(tokenizer, template, str(r.prompt), r.answer)
        for r in made_records("forget")
    ]
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(steps if seed == 0 else 1):  # another model need not know as much
        for batch in plain.batches(items, pad_id, "cpu"):
            optimiser.zero_grad()
            model(**batch).loss.backward()
            optimiser.step()
    model.zero_grad(set_to_none=True)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model
