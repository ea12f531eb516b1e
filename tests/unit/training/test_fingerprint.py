from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from training.contracts import Histories
from training.fingerprint import fingerprint


@pytest.mark.parametrize("kind", ["categories", "numbers", "sets", "instants"])
def test_every_request_facet_counts(make_histories: Callable[..., Histories], kind: str) -> None:
    histories = make_histories({"ana": [("A", hour) for hour in range(9)]})
    backwards = histories.requests_at(np.arange(9)[::-1])
    name = f"request_{kind}"
    changed: Any = replace(histories, **{name: backwards[name]})

    assert fingerprint(histories) == fingerprint(replace(histories))
    assert fingerprint(changed) != fingerprint(histories)
