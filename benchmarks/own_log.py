"""Somebody's own log of three million events, from its files to a served version.

    python -m benchmarks.own_log --folder <empty folder>

Makes the log of a cooking service (files by week in no order, one file of stragglers, nonsense in
all of them), then does what its owner would: drafts a mapping, decides what the draft leaves open,
checks it, and runs the lifecycle on it. Each step prints its wall time and the largest resident set
of any of its processes.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
NAME = "kitchen"
FIRST_DAY, NUM_DAYS = date(2026, 1, 5), 30
NUM_USERS, NUM_ITEMS, NUM_CUISINES = 40_000, 3_000, 24
CLOCK = "Europe/Vienna"  # of the phones: their times name no zone
WORDS = ("opened", "saved", "cooked", "dismissed", "printed")
TEST_WORD = "qa-ping"
APPLIANCES = ("oven", "hob", "grill", "slow cooker", "microwave")
WEATHERS = ("sun", "rain", "snow", "fog")
PANTRY = ("rice", "eggs", "flour", "lentils", "leek", "butter", "tofu", "beans")

ROLES = {
    "opened": "context",
    "saved": "target",
    "cooked": "target",
    "dismissed": "negative",
    "printed": "ignored",
}
OUTCOMES = ("stars", "stirred_s", "remind_at")
LINES = {
    'item_id = "DECIDE"': 'item_id = "recipe"',
    'occurred_at = {column = "DECIDE", unit = "DECIDE"}': (
        f'occurred_at = {{column = "happened", unit = "timestamp", zone = "{CLOCK}"}}'
    ),
    'kind = "DECIDE"': 'kind = "recipe"',
    'zone = "DECIDE"': f'zone = "{CLOCK}"',
    'unit = "DECIDE"': 'unit = "s"',
    'recipe = "own_log"': 'recipe = "kuairand"',  # millions of tokens
}
"""What the log's owner knows and no file tells."""
NOT_MEANT = ("recipe", "happened", TEST_WORD)
"""Entries that go: columns that have a use already, and a word that only a test sends."""


def catalogue() -> pl.DataFrame:
    """Return the recipes: number, name, cuisine, language and minutes."""
    numbers = np.arange(NUM_ITEMS)
    return pl.DataFrame(
        {
            "recipe": numbers,
            "name": [f"Recipe {number}" for number in numbers],
            "tags": [f"cuisine {_cuisine(number)}|course {number % 5}" for number in numbers],
            "lang": ["de", "en", "it"] * (NUM_ITEMS // 3),
            "duration_min": 10 + numbers % 90,
        }
    )


def _cuisine(number: int) -> int:
    return number % NUM_CUISINES


def events(day: int, num_events: int, draw: np.random.Generator) -> pl.DataFrame:
    """Return one day: visits of users who like two cuisines each and go on to the next recipe."""
    visit = np.repeat(np.arange(num_events // 4 + 1), 4)[:num_events]  # four recipes a visit
    user = np.minimum(draw.zipf(1.3, visit[-1] + 1) * 7919 + draw.integers(0, 2000), 1 << 40)
    user = (user % NUM_USERS)[visit]
    liked = (user * 31 + 7 * draw.integers(0, 2, num_events)) % NUM_CUISINES
    rank = np.minimum(draw.geometric(0.03, num_events) - 1, NUM_ITEMS // NUM_CUISINES - 1)
    item = liked + rank * NUM_CUISINES
    follows = np.flatnonzero((draw.random(num_events) < 0.35) & (np.arange(num_events) % 4 > 0))
    item[follows] = (item[follows - 1] + NUM_CUISINES) % NUM_ITEMS
    word = draw.choice(5, num_events, p=[0.55, 0.15, 0.15, 0.1, 0.05])
    second = np.minimum(draw.normal(18 * 3600, 3 * 3600, visit[-1] + 1), 86_000)[visit]
    happened = np.maximum(second, 3600) * 1e6 + np.arange(num_events) % 4 * 61e6
    midnight = datetime.combine(FIRST_DAY, datetime.min.time()) + timedelta(days=day)
    has_ended = word == 2
    clock = midnight + pl.Series(happened.astype(np.int64)).cast(pl.Duration("us"))
    arrival = clock.dt.replace_time_zone(CLOCK).dt.epoch("ms") + draw.integers(
        0, 90_000, num_events
    )
    pantry = np.array([" ".join(PANTRY[n : n + 3]) for n in range(len(PANTRY))])
    return pl.DataFrame(
        {
            "account": [f"cook-{number}" for number in user],
            "recipe": item,
            "verb": np.array(WORDS)[word],
            "happened": clock,
            "arrived_ms": arrival,
            "appliance": np.array(APPLIANCES)[(item + draw.integers(0, 2, num_events)) % 5],
            "guests": draw.integers(1, 49, num_events).astype(np.float64) / 2,
            "pantry": pl.Series(pantry[user % len(PANTRY)]).str.split(" "),
            "weather": np.array(WEATHERS)[draw.integers(0, 4, num_events)],
            "by_voice": draw.random(num_events) < 0.1,
            "stars": pl.Series(draw.integers(1, 6, num_events)).set(pl.Series(~has_ended), None),
            "stirred_s": pl.Series(draw.integers(30, 5400, num_events)).set(
                pl.Series(~has_ended), None
            ),
            "remind_at": (clock + timedelta(days=3)).set(pl.Series(word != 1), None),
            "trace": [f"{number:x}" for number in draw.integers(0, 1 << 40, num_events)],
        }
    )


def with_nonsense(rows: pl.DataFrame, draw: np.random.Generator) -> pl.DataFrame:
    """Return rows some of which are repeated, late, or make no sense."""
    which = pl.Series("which", draw.integers(0, 2000, rows.height))
    broken = rows.with_columns(
        pl.when(which == 0).then(pl.lit("")).otherwise("account").alias("account"),
        pl.when(which == 1).then(NUM_ITEMS + 99).otherwise("recipe").alias("recipe"),
        pl.when(which == 2).then(pl.lit(TEST_WORD)).otherwise("verb").alias("verb"),
        pl.when(which == 3)
        .then(datetime(1969, 12, 31))  # noqa: DTZ001 - the phones' times name no zone
        .when(which != 4)
        .then("happened")
        .alias("happened"),
        pl.when(which == 5).then(float("inf")).otherwise("guests").alias("guests"),
        pl.when(which == 6).then(-1).otherwise("stirred_s").alias("stirred_s"),
        (pl.col("arrived_ms") + pl.when(which == 7).then(90_000_000).otherwise(0)).alias(
            "arrived_ms"
        ),
    )
    repeated = broken.filter(which == 8)
    return pl.concat([broken, repeated])


def write_log(folder: Path, num_events: int, seed: int) -> None:
    """Write ``events/*.parquet`` and ``recipes.csv``; the same bytes for the same seed."""
    draw = np.random.default_rng(seed)
    (folder / "events").mkdir(parents=True)
    catalogue().write_csv(folder / "recipes.csv", separator=";")
    stragglers = []
    for first in range(0, NUM_DAYS, 7):
        days = range(first, min(first + 7, NUM_DAYS))
        week = pl.concat([events(day, num_events // NUM_DAYS + 1, draw) for day in days])
        week = with_nonsense(week, draw)
        week = week[draw.permutation(week.height)]
        stragglers.append(week.head(week.height // 50))
        week.tail(-(week.height // 50)).write_parquet(
            folder / "events" / f"week-{first // 7}.parquet"
        )
    pl.concat(stragglers).write_parquet(folder / "events" / "stragglers.parquet")


def decided(draft: str) -> str:
    """Return the draft as its owner completes it."""
    for name in NOT_MEANT:
        draft = re.sub(rf'\[\[\w+\]\]\nname = "{name}"\n(.+\n)+\n', "", draft)
    for line, decision in LINES.items():
        draft = draft.replace(line, decision)
    blocks = draft.split("\n\n")
    return "\n\n".join(_decided_block(block) for block in blocks)


def _decided_block(block: str) -> str:
    found = re.search(r'^name = "(.+)"', block, flags=re.MULTILINE)
    name = found.group(1) if found else ""
    phase = "outcome" if name in OUTCOMES else "request"
    block = block.replace('role = "DECIDE"', f'role = "{ROLES.get(name, "")}"')
    return block.replace('phase = "DECIDE"', f'phase = "{phase}"')


def run(title: str, command: Sequence[str], home: Path) -> None:
    """Run one command in a process of its own; print its wall time and peak memory."""
    print(f"\n$ {' '.join(command)}", flush=True)
    started = time.monotonic()
    environment = {**os.environ, "MARQUEE_HOME": str(home)}
    child = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    figures = {
        "step": title,
        "wall_s": round(time.monotonic() - started, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_rss_mib": round(usage.ru_maxrss / 1024),
    }
    print(json.dumps(figures), flush=True)
    if child.returncode:
        sys.exit(f"{title} failed: {child.returncode}")


def main() -> None:
    """Print what each command prints, the decided mapping, and one line of JSON per step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--events", type=int, default=3_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", choices=["check", "demo"], default="demo")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    if not (folder / "events").exists():
        write_log(folder, arguments.events, arguments.seed)
    mapping = folder / "mapping.toml"
    mapping.unlink(missing_ok=True)
    init = ["marquee", "source", "init", str(folder / "events"), "--out", str(mapping)]
    init += ["--catalogue", str(folder / "recipes.csv"), "--name", NAME]
    run("init", init, folder)
    mapping.write_text(decided(mapping.read_text()))
    print(mapping.read_text())
    run("check", ["marquee", "source", "check", str(mapping)], folder)
    if arguments.until == "demo":
        demo = ["marquee", "demo", "--source", "parquet", "--data", str(mapping)]
        for title in ("demo", "demo again"):
            run(title, [*demo, "--workspace", NAME], folder)


if __name__ == "__main__":
    main()
