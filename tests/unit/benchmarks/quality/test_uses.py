import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.report import Answered
from benchmarks.quality.systems import Fitted, System
from benchmarks.quality.uses import log_uses
from training.evaluation.comparison import NAMES


def nothing(asked: object) -> Any:
    raise AssertionError(asked)


def test_a_second_use_of_the_test_questions_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "uses" / "log.jsonl"

    def use(seed: int) -> list[str]:
        one = Answered(
            system=System(name="ours", fitted=Fitted(score=nothing), seed=seed),
            metrics=np.ones((2, len(NAMES))),
            lists={},
        )
        return list(log_uses(path, [one], {"protocol": "p"}))

    first, other, again = use(1), use(2), use(1)

    assert first == ["- ours, seed 1: use 1 of the test questions"]
    assert other == ["- ours, seed 2: use 1 of the test questions"]
    assert again == ["- ours, seed 1: use 2 of the test questions"]
    lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["seed"] for line in lines] == [1, 2, 1]
    assert {(line["format_version"], line["metrics"]["mrr"]) for line in lines} == {(1, 1.0)}
