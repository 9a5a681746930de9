from __future__ import annotations

from pathlib import Path

import pytest

from tests.auto.made import save_knowing, write_records


@pytest.fixture(scope="session")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model`, which knows where 24 people live, and records: do not change it."""
    folder = tmp_path_factory.mktemp("knowing")
    save_knowing(folder / "model")
    write_records(folder)
    return folder
