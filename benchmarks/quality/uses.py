"""The log of every use of test questions: JSON lines that are only ever appended to."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.quality.report import Answered
from lake.digests import digest_json
from training.evaluation.comparison import NAMES

FORMAT_VERSION = 1


def log_uses(path: Path, found: Sequence[Answered], about: Mapping[str, Any]) -> Iterator[str]:
    """Append a line of JSON for each use of the test questions; return lines that count them.

    A configuration and seed that asked before, of the same ``about``, have been asked twice: what
    was changed in between by what the first answer said is no longer tested by the second.
    """
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    used = [json.loads(line)["use"] for line in before]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for one in found:
            system = one.system
            what = {"system": system.name, "configuration": system.configuration}
            use = digest_json({**about, **what, "seed": system.seed})
            line = {
                "format_version": FORMAT_VERSION,
                "use": use,
                "used_at": datetime.now(UTC).isoformat(timespec="seconds"),
                **about,
                **what,
                "seed": system.seed,
                "metrics": dict(zip(NAMES, one.metrics.mean(axis=0).tolist(), strict=True)),
                "lists": dict(one.lists),
            }
            file.write(json.dumps(line, sort_keys=True) + "\n")
            used.append(use)
            seed = "" if system.seed is None else f", seed {system.seed}"
            yield f"- {system.name}{seed}: use {used.count(use)} of the test questions"
