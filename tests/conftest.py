from __future__ import annotations

import os
import signal
import threading

# Before anything imports the hub client: tests never go to the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

# How fast this machine is today is no property of the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# A shell that starts the tests in the background has them ignore Ctrl-C, and programs they start
# inherit that; some tests send it.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Workers share the cores; results must not depend on how many there are."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder `shared` beside the repository: real data and small trained models."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared beside the repository")
    return folder


@pytest.fixture(scope="session")
def llama() -> PreTrainedModel:
    """A tiny Llama that all tests share: do not change it (use `tiny_model()` for that)."""
    from tests.helpers import tiny_model

    return tiny_model("llama").requires_grad_(False)


@pytest.fixture(scope="session")
def char_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character, with a chat template: do not change it."""
    from tests.helpers import tiny_tokenizer

    return tiny_tokenizer("char")


@pytest.fixture(scope="session")
def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word, with a chat template: do not change it."""
    from tests.helpers import tiny_tokenizer

    return tiny_tokenizer("word")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Llama and the `char` tokenizer: do not change it."""
    from tests.helpers import save_tiny

    return save_tiny(tmp_path_factory.mktemp("tiny") / "model")
