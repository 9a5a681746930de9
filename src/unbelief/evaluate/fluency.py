"""The gibberish classifier: what it says about the model's own words, kept with the measurement.

Only for form: class "clean" of `madhurjindal/autonlp-Gibberish-Detector-492513457`, or of a
classifier in a folder. torch is imported when a text is classified, not before.
"""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from unbelief.beliefs.bank import write_private
from unbelief.errors import RequestError
from unbelief.measure.plan import need_to_dict
from unbelief.measure.tables import ClassifierNeed, Example
from unbelief.parquet import read_parquet
from unbelief.scores.metrics.gibberish import Fluency
from unbelief.suites.base import Line

CLASSIFIER = "madhurjindal/autonlp-Gibberish-Detector-492513457"
_FILE = "fluency.parquet"
_CLEAN = "clean"
Opinions = Mapping[tuple[str, str, ClassifierNeed], tuple[float, ...]]
"""(item set, record id, need) to one number per answer."""


@dataclass(frozen=True)
class Classifier:
    """A text classifier in memory.

    Attributes:
        source: Folder or hub id.
        sha256: Digest of its weights.
        model: As Transformers loaded it.
        tokenizer: Its tokenizer.
        clean: Index of the class that means "no gibberish".
    """

    source: str
    sha256: str
    model: Any
    tokenizer: Any
    clean: int

    def on(self, device: str) -> Classifier:
        """The classifier on a device; `auto` is a GPU where there is one."""
        import torch

        found = "cuda" if torch.cuda.is_available() else "cpu"
        return replace(self, model=self.model.to(found if device == "auto" else device))

    def describe(self) -> dict[str, Any]:
        """For provenance."""
        return {"source": self.source, "weights_sha256": self.sha256, "class": self.clean}

    def clean_probabilities(
        self, texts: Sequence[str], max_tokens: int, *, batch_size: int = 64
    ) -> list[float]:
        """Probability of the class "clean" for each text.

        Args:
            texts: What to read.
            max_tokens: Most tokens of a text, special tokens included.
            batch_size: Texts of one forward.
        """
        import torch

        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        found = [0.0] * len(texts)
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            batch = self.tokenizer(
                [texts[i] for i in part],
                padding=True,
                truncation=True,
                max_length=max_tokens,
                return_tensors="pt",
            ).to(self.model.device)
            with torch.inference_mode():
                logits = self.model(**batch).logits.float()
            for i, p in zip(part, logits.softmax(-1)[:, self.clean].tolist(), strict=True):
                found[i] = p
        return found


def load_classifier(source: str | None) -> Classifier:
    """Load the classifier.

    Args:
        source: Folder or hub id; None for the published one.

    Raises:
        RequestError: It cannot be had, or has no class that means "clean".
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from unbelief.models.source import cache_folder, local_folder, plain_errors, quiet_transformers
    from unbelief.provenance import weights_sha256

    name = source or CLASSIFIER
    folder = local_folder(name)
    kept = folder is not None or is_cached(name)
    if not kept and not hub_answers():
        raise RequestError(
            f"{name} is not a folder here, and the hub cannot be reached",
            remedy="check the path, or fetch it where there is a network: hf download ID",
        )
    with quiet_transformers(), plain_errors(name, None):
        model = AutoModelForSequenceClassification.from_pretrained(
            str(folder or name), use_safetensors=True, local_files_only=kept
        )
        tokenizer = AutoTokenizer.from_pretrained(str(folder or name), local_files_only=kept)
    labels = {int(i): str(label) for i, label in model.config.id2label.items()}
    named = [i for i, label in labels.items() if label.strip().lower() == _CLEAN]
    unnamed = all(label.startswith("LABEL_") for label in labels.values())
    if not named and not unnamed:
        raise RequestError(
            f"the classifier has no class {_CLEAN!r}, only {', '.join(labels.values())}",
            where=name,
            remedy=f"name a gibberish classifier such as {CLASSIFIER}",
        )
    return Classifier(
        source=name,
        sha256=weights_sha256(folder or cache_folder(name, None)),
        model=model.eval(),
        tokenizer=tokenizer,
        clean=named[0] if named else 0,
    )


def is_cached(hub_id: str) -> bool:
    """Whether a model's weights are in the hub's cache on this machine."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(hub_id, "model.safetensors"), str)


def hub_answers(seconds: float = 5.0) -> bool:
    """Whether the hub can be reached, found out quickly: its client tries for over a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():  # a proxy may reach what we cannot
        return True
    place = urlsplit(constants.ENDPOINT)
    port = place.port or (80 if place.scheme == "http" else 443)
    try:
        socket.create_connection((place.hostname or "", port), timeout=seconds).close()
    except OSError:
        return False
    return True


def needs_of(lines: Sequence[Line]) -> dict[str, tuple[ClassifierNeed, ...]]:
    """What a classifier is asked, per item set."""
    found: dict[str, dict[ClassifierNeed, None]] = {}
    for line in lines:
        if isinstance(line.how, Fluency):
            found.setdefault(line.on, {})[line.how.opinion] = None
    return {on: tuple(needs) for on, needs in found.items()}


def classify(
    classifier: Classifier,
    examples: Mapping[str, Sequence[Example]],
    needs: Mapping[str, Sequence[ClassifierNeed]],
    folder: Path,
) -> None:
    """Classify the answers of a measurement and keep the numbers in its folder."""
    rows: list[dict[str, Any]] = []
    for on, each in needs.items():
        for need in each:
            said = [
                (example.record.id, sample, text.text)
                for example in examples.get(on, ())
                for sample, text in enumerate(example.texts.get(need.text, ()))
            ]
            numbers = classifier.clean_probabilities([t for _, _, t in said], need.max_tokens)
            rows += [
                {"set": on, "id": i, "sample": sample, "need": _key(need), "clean": number}
                for (i, sample, _), number in zip(said, numbers, strict=True)
            ]
    _write(folder / _FILE, rows, classifier.describe())


def read_opinions(folder: Path) -> tuple[dict[tuple[str, str, str], list[float]], dict[str, Any]]:
    """What is kept of a classifier in a measurement's folder, and which classifier it was."""
    file = folder / _FILE
    if not file.is_file():
        return {}, {}
    table = read_parquet(file)
    about = json.loads(table.schema.metadata[b"unbelief"])
    found: dict[tuple[str, str, str], list[float]] = {}
    for row in table.to_pylist():
        found.setdefault((row["set"], row["id"], row["need"]), []).append(row["clean"])
    return found, about


def with_opinions(
    folder: Path,
    examples: Mapping[str, Sequence[Example]],
    needs: Mapping[str, Sequence[ClassifierNeed]],
    reason: str,
) -> tuple[dict[str, tuple[Example, ...]], dict[str, Any]]:
    """Examples with what the classifier said about them, and which classifier it was.

    Args:
        folder: Of the measurement.
        examples: Per item set.
        needs: As from `needs_of`.
        reason: Why there is nothing, where there is nothing.
    """
    opinions, about = read_opinions(folder) if needs else ({}, {})

    def joined(on: str, example: Example) -> Example:
        found, missing = dict(example.opinions), dict(example.unmeasured)
        for need in needs.get(on, ()):
            numbers = opinions.get((on, example.record.id, _key(need)))
            if numbers is None:
                missing[need] = reason
            else:
                found[need] = tuple(numbers)
        return replace(example, opinions=found, unmeasured=missing)

    return {on: tuple(joined(on, e) for e in its) for on, its in examples.items()}, about


def _key(need: ClassifierNeed) -> str:
    values = {"text": need_to_dict(need.text), "max_tokens": need.max_tokens}
    return json.dumps(values, sort_keys=True)


def _write(file: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("set", pa.string()),
            ("id", pa.string()),
            ("sample", pa.int16()),
            ("need", pa.string()),
            ("clean", pa.float64()),
        ],
        metadata={"unbelief": json.dumps(dict(about))},
    )
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink)
    write_private(file, sink.getvalue())
