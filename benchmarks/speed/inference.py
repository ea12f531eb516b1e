"""Users encoded a second, and their ten best unseen items: ours beside RecTools, in one run.

    python -m benchmarks.speed.inference --data <folder of ml-1m> [--rounds 3] [--threads 2]

SASRec, 64 dimensions, two layers, 200 positions, 6,040 users, 3,416 items, after one step: time
does not depend on the weights. Every contender is a fresh process in an environment of its own;
they take turns. Last comes what appending one event to a kept user costs, against encoding its 200
newest again.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality.arguments import refusing
from benchmarks.quality.movielens import MemoryData, read_movielens
from benchmarks.speed import peers
from benchmarks.speed.__main__ import measure, processor
from benchmarks.tokens.peers import install_into
from training.artifact import Model, load_model
from training.evaluation.leave_one_out import leave_one_out
from training.evaluation.models import model_score
from training.features.tokens import build_token_features
from training.inference import item_features, item_vectors, user_vectors
from training.loop import deterministic
from training.model.batch import Batch, gather_batch, gather_queries
from training.model.cache import ask, encode
from training.packing import newest_windows, pack
from training.pretrain import pretrain
from training.recipes import sasrec
from training.tracker import SilentTracker

TOP = 10
_AT_ONCE = 512
_CACHED = (1, 16, 128)


def train_a_step(data: MemoryData, num_threads: int, folder: Path) -> None:
    """Leave a model of the shape, hardly trained."""
    lengths = data.log.offsets[1:] - data.log.offsets[:-1]
    num_positions = int(lengths.clip(max=sasrec().model.max_seq_len).sum())
    of_a_step = {"num_epochs": 1, "batch_tokens": num_positions, "accumulate": 100}
    config = replace(sasrec(), num_threads=num_threads, **of_a_step)
    pretrain(data, config, folder, SilentTracker())


def ours(data: MemoryData, model: Model) -> dict[str, float]:
    """Return seconds of encoding all users, of their ten best items, and of an evaluation."""
    histories = data.histories()
    items = item_features(model, data.catalogue())
    figures: dict[str, float] = {"users": histories.num_users}
    with deterministic(model.config.num_threads):
        for _ in range(2):
            began = time.monotonic()
            of_users = user_vectors(
                model, items, histories, users=histories.user_ids, as_of=data.as_of
            )
            figures["encode_s"] = time.monotonic() - began
            ten_best(of_users, item_vectors(model, items), data)
            figures["recommend_s"] = time.monotonic() - began
    return figures


def ten_best(of_users: np.ndarray, of_items: np.ndarray, data: MemoryData) -> np.ndarray:
    """Return int64[U, TOP]: each user's best items that it has not seen, in order."""
    log = data.log
    best = np.empty((len(of_users), TOP), dtype=np.int64)
    rows = {item: row for row, item in enumerate(data.vocabulary().item_ids)}
    row_of_code = np.array([rows[item] for item in log.items])
    for start in range(0, len(of_users), _AT_ONCE):
        end = min(start + _AT_ONCE, len(of_users))
        scores = torch.from_numpy(of_users[start:end]) @ torch.from_numpy(of_items).T
        seen = slice(log.offsets[start], log.offsets[end])
        user = np.repeat(np.arange(end - start), np.diff(log.offsets[start : end + 1]))
        scores[user, row_of_code[log.item_code[seen]]] = -torch.inf
        best[start:end] = scores.topk(TOP, dim=1).indices.numpy()
    return best


def cached(data: MemoryData, model: Model) -> dict[int, tuple[float, float]]:
    """Return by number of users the seconds of encoding 200 positions again, and of one more."""
    histories, max_len = data.histories(), model.config.model.max_seq_len
    items = item_features(model, data.catalogue())
    tokens = build_token_features(histories, model.spec, items, as_of=data.as_of)
    long = np.flatnonzero(np.diff(tokens.offsets) >= max_len)
    found = {}
    with deterministic(1), torch.inference_mode():
        encoding, _ = model.network.items(items)
        for count in _CACHED:
            users = long[:count]

            def batch(length: int, users: np.ndarray = users) -> Batch:
                windows = newest_windows(tokens.offsets, max_len=length, users=users)
                return gather_batch(tokens, pack(windows))

            again, step = batch(max_len), gather_queries(tokens, users)
            states = encode(model.network, encoding, batch(max_len - 1))
            found[count] = (
                _median_s(lambda again=again: model.network.hidden(encoding, again)),
                _median_s(
                    lambda states=states, step=step: ask(model.network, encoding, states, step)
                ),
            )
    return found


def _median_s(work: Callable[[], object], *, rounds: int = 20) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def evaluated_s(data: MemoryData, model: Model) -> float:
    """Return the seconds of ranking every user's last event among all items, seen ones removed."""
    asked = leave_one_out(
        data.log, schema=data.schema(), catalogue=data.catalogue(), ask="validation"
    )
    began = time.monotonic()
    ranks = asked.rank(model_score(model, asked, as_of=data.as_of), seen=asked.seen())
    asked.metrics(ranks)
    return time.monotonic() - began


def main() -> None:
    """Measure and print tables; with ``--alone MODEL``, our figures as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache/marquee-peers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    with refusing(parser):
        data = read_movielens(given.data, "sas")
    if given.alone:
        print(json.dumps(ours(data.without_last(2), load_model(given.alone))))
        return
    with tempfile.TemporaryDirectory() as folder:
        train_a_step(data.without_last(2), given.threads, Path(folder))
        compare(given, data, Path(folder))


def compare(given: argparse.Namespace, data: MemoryData, folder: Path) -> None:
    """Print the tables, for the model in ``folder``."""
    options = ["--data", str(given.data.resolve()), "--threads", str(given.threads)]
    ours_alone = "benchmarks.speed.inference"
    python = install_into(given.folder / "rectools", peers.PACKAGES["rectools"])
    commands = {
        "ours": [sys.executable, "-m", ours_alone, "--alone", str(folder), *options],
        "rectools 0.19": [str(python), peers.__file__, "rectools_recommend", *options],
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _ in range(given.rounds):
        for name, command in commands.items():
            found[name].append(measure(command))
    print(f"{processor()}, {os.cpu_count()} processors, {given.threads} threads\n")
    print("| contender | users encoded/s, median [least, most] | ten best/s | peak MiB |")
    print("|---|---|---|---|")
    for name, runs in found.items():
        columns = [
            _rates([one["users"] / one[of] for one in runs]) for of in ("encode_s", "recommend_s")
        ]
        memory = max(one["peak_mib"] for one in runs)
        print(f"| {name} | {columns[0]} | {columns[1]} | {memory:,.0f} |")
    model = load_model(folder)
    print(f"\nEvaluating all users: {evaluated_s(data, model):.1f} s\n")
    print("| users at once | 200 positions again, ms | one more, ms | ratio |\n|---|---|---|---|")
    for count, (again_s, step_s) in cached(data.without_last(2), model).items():
        print(f"| {count} | {1e3 * again_s:.2f} | {1e3 * step_s:.2f} | {again_s / step_s:.1f} |")


def _rates(rates: list[float]) -> str:
    rates = sorted(rates)
    return f"{statistics.median(rates):,.0f} [{rates[0]:,.0f}, {rates[-1]:,.0f}]"


if __name__ == "__main__":
    main()
