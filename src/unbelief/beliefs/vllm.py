"""Asking through vLLM (extra `vllm`): the same answers' type, from a much faster engine on a GPU.

vLLM holds its own copy of the weights, so it asks what is on disk, and it draws with its own
generators: the same seed gives the same answers again, but others than the Transformers engine.
The log-probabilities are the model's own (`logprobs_mode="raw_logprobs"`: before temperature,
top_k and top_p).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unbelief.beliefs.decoding import Decoding, Sampled
from unbelief.errors import GuardError, RequestError
from unbelief.types import Record

if TYPE_CHECKING:
    from unbelief.beliefs.asking import Stops
    from unbelief.beliefs.bank import BeliefBank
    from unbelief.tokens.encode import Encoder

Dtype = Literal["float32", "bfloat16", "float16"]
_RAW = "raw_logprobs"


def load_engine(
    source: str | Path,
    *,
    dtype: Dtype = "bfloat16",
    revision: str | None = None,
    max_model_len: int | None = None,
    tensor_parallel_size: int = 1,
    gpu_memory_utilization: float = 0.9,
    trust_remote_code: bool = False,
) -> Any:
    """Start a `vllm.LLM` that reads no generation_config.json and reports raw log-probabilities.

    Args:
        source: Model folder or hub id.
        dtype: Of the computation; named, since vLLM's `auto` follows the checkpoint.
        revision: Commit on the hub.
        max_model_len: Longest prompt plus answer; the model's context when None.
        tensor_parallel_size: Number of GPUs.
        gpu_memory_utilization: Share of the memory that vLLM takes.
        trust_remote_code: Run code that comes with the model.

    Raises:
        RequestError: vLLM is not installed.
    """
    return _vllm().LLM(
        model=str(source),
        dtype=dtype,
        revision=revision,
        max_model_len=max_model_len,
        tensor_parallel_size=tensor_parallel_size,
        gpu_memory_utilization=gpu_memory_utilization,
        trust_remote_code=trust_remote_code,
        generation_config="vllm",
        logprobs_mode=_RAW,
        enable_prefix_caching=True,  # a prompt is computed once for all its samples
        seed=0,
    )


def sample_answers_vllm(
    engine: Any,
    encoder: Encoder,
    prompts: Sequence[tuple[int, ...]],
    *,
    decoding: Decoding,
    samples: int = 1,
    keys: Sequence[str] | None = None,
    progress: bool = False,
) -> list[list[Sampled]]:
    """Sample answers as `sample_answers` does.

    Args:
        engine: As from `load_engine`.
        encoder: Says which token ends an answer.
        prompts: Token ids of each prompt.
        decoding: How to ask.
        samples: Answers per prompt.
        keys: A name per prompt from which its seed follows (default: its position).
        progress: Show vLLM's bar.

    Returns:
        Per prompt its answers, by sample index (beam search: best first).

    Raises:
        RequestError: vLLM is missing, the engine reports other log-probabilities than raw ones,
            a prompt is empty, or beam search is asked for with an end token that vLLM's beam
            search does not know.
        GuardError: The engine broke off an answer, or did not return an end token.
    """
    from unbelief.beliefs.asking import stops_of

    decoding.check_samples(samples)
    names = [str(i) for i in range(len(prompts))] if keys is None else list(keys)
    if len(names) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts but {len(names)} keys")
    if not all(prompts):
        raise RequestError("a prompt has no tokens", remedy="give every record a prompt")
    _check_engine(engine)
    stops = stops_of(encoder)
    if decoding.num_beams > 1:
        return _beams(engine, prompts, stops, decoding, samples, progress)
    requests, params = [], []
    for prompt, name in zip(prompts, names, strict=True):
        for sample in range(samples):
            requests.append({"prompt_token_ids": list(prompt)})
            params.append(sampling_params(decoding, stops, decoding.row_key(name, sample)))
    outputs = engine.generate(requests, params, use_tqdm=progress)
    answers = [_answer(output.outputs[0], stops) for output in outputs]
    return [answers[i * samples : (i + 1) * samples] for i in range(len(prompts))]


def sampling_params(decoding: Decoding, stops: Stops, key: int) -> Any:
    """`vllm.SamplingParams` with everything that could act set by us."""
    return _vllm().SamplingParams(
        n=1,
        temperature=decoding.temperature,
        top_k=decoding.top_k,
        top_p=decoding.top_p,
        min_p=0.0,
        presence_penalty=0.0,
        frequency_penalty=0.0,
        repetition_penalty=1.0,
        seed=None if decoding.is_greedy else key & ((1 << 63) - 1),
        max_tokens=decoding.max_new_tokens,
        min_tokens=0,
        stop=None,
        stop_token_ids=list(stops.end_ids),
        ignore_eos=True,  # the ends are named above; the checkpoint's own list stays out
        logprobs=0,  # of the sampled token alone
        detokenize=False,
    )


def fill_bank_vllm(
    engine: Any,
    encoder: Encoder,
    records: Sequence[Record],
    samples: int,
    decoding: Decoding,
    *,
    model_sha256: str,
    path: str | Path | None = None,
    records_per_part: int = 512,
    progress: bool = False,
) -> BeliefBank:
    """Fill a belief bank as `fill_bank` does.

    Args:
        engine: As from `load_engine`.
        encoder: Renders prompts.
        records: Each needs its own id.
        samples: N.
        decoding: How to ask.
        model_sha256: Digest of the weights that the engine was started with.
        path: Where the bank is to be kept; an unfinished one there is continued.
        records_per_part: Records asked at once and then kept for good.
        progress: Show vLLM's bar.
    """
    from unbelief.beliefs.fill import describe, encode_all, fill

    decoding.check_samples(samples)
    encoded = encode_all(encoder, records)
    meta = describe(model_sha256, encoder, encoded, samples, decoding, "vllm")

    def ask(prompts: Sequence[tuple[int, ...]], keys: Sequence[str]) -> list[list[Sampled]]:
        return sample_answers_vllm(
            engine,
            encoder,
            prompts,
            decoding=decoding,
            samples=samples,
            keys=keys,
            progress=progress,
        )

    return fill(ask, encoder, encoded, meta, path=path, records_per_part=records_per_part)


def _answer(output: Any, stops: Stops) -> Sampled:
    tokens = tuple(int(t) for t in output.token_ids)
    if output.finish_reason not in ("stop", "length"):
        raise GuardError(
            f"vLLM ended an answer because of {output.finish_reason!r}",
            remedy="raise max_model_len, or ask again",
        )
    finished = output.finish_reason == "stop"
    if finished and (not tokens or tokens[-1] not in stops.end_ids):
        raise GuardError(
            "vLLM returned a finished answer without its end token",
            remedy="use a vLLM release of 0.32 or later, or the Transformers engine",
        )
    each = (step[token].logprob for step, token in zip(output.logprobs, tokens, strict=True))
    return Sampled(tokens, float(sum(each)), finished)


def _beams(
    engine: Any,
    prompts: Sequence[tuple[int, ...]],
    stops: Stops,
    decoding: Decoding,
    samples: int,
    progress: bool,
) -> list[list[Sampled]]:
    eos = engine.get_tokenizer().eos_token_id
    if stops.end_ids != (eos,):
        raise RequestError(
            f"vLLM's beam search ends answers at token {eos} alone, these end at {stops.end_ids}",
            where="num_beams",
            remedy="use the Transformers engine for beam search with this model",
        )
    params = _vllm().BeamSearchParams(
        beam_width=decoding.num_beams,
        max_tokens=decoding.max_new_tokens,
        ignore_eos=False,
        temperature=0.0,
        length_penalty=0.0,  # rank by summed log-probability
    )
    requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
    outputs = engine.beam_search(requests, params, use_tqdm=progress)
    return [
        [_beam(sequence, len(prompt), stops) for sequence in output.sequences[:samples]]
        for prompt, output in zip(prompts, outputs, strict=True)
    ]


def _beam(sequence: Any, prompt_length: int, stops: Stops) -> Sampled:
    tokens = tuple(int(t) for t in sequence.tokens[prompt_length:])
    return Sampled(tokens, float(sequence.cum_logprob), tokens[-1] in stops.end_ids)


def _check_engine(engine: Any) -> None:
    config = getattr(getattr(engine, "llm_engine", None), "model_config", None)
    mode = str(getattr(config, "logprobs_mode", _RAW))
    if mode != _RAW:
        raise RequestError(
            f"this engine reports {mode}, not the model's own log-probabilities",
            where="engine",
            remedy="start it with load_engine, or with logprobs_mode='raw_logprobs'",
        )


def _vllm() -> Any:
    try:
        return import_module("vllm")
    except ImportError as error:
        raise RequestError(
            "the vLLM engine is not installed",
            where="engine",
            remedy="pip install 'unbelief[vllm]' (Linux, GPU), or use the Transformers engine",
        ) from error
