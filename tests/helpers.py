"""Tiny random models and tokenizers, made in code: nothing is downloaded.

All models have hidden size 32, two layers, a vocabulary of 120 and fewer than 100,000 parameters.
All tokenizers have at most 120 tokens, so any of them goes with any model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = 120
PAD, BOS, EOS, UNK, SYSTEM, USER, ASSISTANT = range(7)
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<|system|>", "<|user|>", "<|assistant|>")
_WORD_LIST = """
who what where when which why how is was are were does did do has have a an the of in to for
and or not by from with at on as it its this that he she they his her their answer question
author book books wrote writes born city country year language name friend works lives loves
Ada Boris Clara Dmitri Elena Felix Grete Hugo Ines Jonas Paris Rome Oslo Lima Cairo Kyoto
red green blue black white one two three four five six seven yes no . , ? ! :
"""
WORDS = tuple(_WORD_LIST.split())
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

FAMILIES = (
    "llama",
    "llama-tied",
    "qwen2",
    "qwen3",
    "gemma2",  # final and attention logit soft-capping, scaled embeddings, tied
    "gemma3",  # text part; normalised queries and keys, sliding layers
    "mistral",  # sliding window of 8
    "phi",  # bias in the output embedding
    "phi3",  # fused projections
    "gpt2",  # learnt positions, Conv1D, tied
    "granite",  # logits divided by 4
    "cohere",  # logits multiplied by 0.25, tied
)


def tiny_config(family: str) -> Any:
    """Return the config of a tiny model; the special ids are those of the tokenizers below."""
    import transformers as hf

    common: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
    }
    heads = {"head_dim": 8}
    match family:
        case "llama" | "llama-tied":
            return hf.LlamaConfig(**common, tie_word_embeddings=family == "llama-tied")
        case "qwen2":
            return hf.Qwen2Config(**common)
        case "qwen3":
            return hf.Qwen3Config(**common, **heads)
        case "gemma2":
            return hf.Gemma2Config(
                **common,
                **heads,
                query_pre_attn_scalar=8,
                sliding_window=8,
                final_logit_softcapping=2.0,
                attn_logit_softcapping=5.0,
            )
        case "gemma3":
            return hf.Gemma3TextConfig(**common, **heads, query_pre_attn_scalar=8, sliding_window=8)
        case "mistral":
            return hf.MistralConfig(**common, sliding_window=8)
        case "phi":
            return hf.PhiConfig(**common, partial_rotary_factor=0.5)
        case "phi3":
            return hf.Phi3Config(**common)
        case "gpt2":
            return hf.GPT2Config(
                vocab_size=VOCABULARY,
                n_embd=32,
                n_layer=2,
                n_head=4,
                n_inner=48,
                n_positions=256,
                initializer_range=0.2,
                pad_token_id=PAD,
                bos_token_id=BOS,
                eos_token_id=EOS,
            )
        case "granite":
            return hf.GraniteConfig(**common, logits_scaling=4.0)
        case "cohere":
            return hf.CohereConfig(**common, logit_scale=0.25)
    raise ValueError(f"no family {family!r}; there are {', '.join(FAMILIES)}")


def tiny_model(family: str = "llama", seed: int = 0) -> PreTrainedModel:
    """Return a random float32 model in evaluation mode; the same seed gives the same weights."""
    from transformers import AutoModelForCausalLM

    state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        model = AutoModelForCausalLM.from_config(tiny_config(family), dtype=torch.float32)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):  # biases start at zero, which would hide a forgotten one
                    parameter.normal_(0, 0.2)
    finally:
        torch.set_rng_state(state)
    return model.eval()


def tiny_tokenizer(
    kind: Literal["word", "char", "bpe"] = "char",
    *,
    chat: bool = True,
    pad: Literal["own", "eos", "none"] = "own",
    add_bos: bool = False,
) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose special ids are PAD, BOS, EOS, UNK, SYSTEM, USER, ASSISTANT.

    Args:
        kind: `word` splits on white space and knows WORDS, joined by single blanks when decoded;
            `char` knows printable ASCII and newline, one token each; `bpe` is `char` with merges,
            some across blanks (" t", " th", "he"), so a text tokenised whole differs from its
            parts.
        chat: Give it CHAT_TEMPLATE.
        pad: A padding token of its own, the end token, or none at all.
        add_bos: Put `<s>` before every text that is encoded with special tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    characters = [chr(c) for c in range(32, 127)] + ["\n"]
    entries = [*SPECIAL, *(WORDS if kind == "word" else characters)]
    merges = [(" ", "t"), (" t", "h"), ("h", "e"), ("i", "n"), ("a", "n")] if kind == "bpe" else []
    entries += [left + right for left, right in merges]
    ids = {entry: i for i, entry in enumerate(entries)}
    assert len(ids) == len(entries) <= VOCABULARY
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token="<unk>"))
        tokenizer.decoder = decoders.Fuse()
    else:
        tokenizer = Tokenizer(models.WordLevel(vocab=ids, unk_token="<unk>"))
        if kind == "word":
            tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
            tokenizer.decoder = decoders.Fuse()
    if add_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", BOS)]
        )
    special: dict[str, Any] = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    if pad != "none":
        special["pad_token"] = "<pad>" if pad == "own" else "</s>"
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, extra_special_tokens=list(SPECIAL[4:]), **special
    )
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    return fast


def save_tiny(folder: Any, family: str = "llama", seed: int = 0) -> Any:
    """Write a tiny model and the `char` tokenizer with plain Transformers; return the folder."""
    tiny_model(family, seed).save_pretrained(str(folder))
    tiny_tokenizer().save_pretrained(str(folder))
    return folder
