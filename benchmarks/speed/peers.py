"""Libraries that users would pick instead, each in an environment of its own.

    <environment>/bin/python benchmarks/speed/peers.py rectools --data <ml-1m> --seconds 60

Imports nothing of the project: the environments do not have it. An event is a target that is
trained on, padding left out, for every contender.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PACKAGES = {
    # torch first and exactly: an unpinned one may bring gigabytes of CUDA
    "rectools": [["torch==2.13.0"], ["rectools[torch]==0.19.0"]],
    "replay": [["torch==2.13.0"], ["replay-rec[torch]==0.22.0"]],
    "plain_torch": [["torch==2.13.0"], ["numpy"]],
}
MAX_LEN, WIDTH, LAYERS, BATCH, DROPOUT = 200, 64, 2, 128, 0.2
WARM_UP_STEPS = 3


class Clock:
    """Counts events after some steps, and says when the time is over."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.steps, self.events = seconds, 0, 0
        self.began = self.cpu_began = 0.0
        self.loss = float("nan")
        self.users = 0
        self.encode_s = self.recommend_s = 0.0

    def step(self, events: int, loss: float) -> bool:
        """Note a step; return whether the time is over."""
        self.steps += 1
        self.loss = loss
        if self.steps == WARM_UP_STEPS:
            self.began, self.cpu_began = time.monotonic(), time.process_time()
        elif self.steps > WARM_UP_STEPS:
            self.events += events
        return self.steps > WARM_UP_STEPS and time.monotonic() - self.began >= self.seconds

    def time(self, num_users: int, recommend: Callable[[], Any]) -> None:
        """Time the second of two calls: the first one fills caches."""
        for _ in range(2):
            began = time.monotonic()
            recommend()
            self.recommend_s = time.monotonic() - began
        self.users = num_users

    def figures(self) -> dict[str, float]:
        """Return what was counted."""
        if self.users:
            return {
                "users": self.users,
                "encode_s": self.encode_s,
                "recommend_s": self.recommend_s,
            }
        return {
            "events": self.events,
            "wall_s": time.monotonic() - self.began,
            "cpu_s": time.process_time() - self.cpu_began,
            "loss": self.loss,
        }


def histories(folder: Path) -> dict[int, list[int]]:
    """Return each user's items but the last two."""
    found: dict[int, list[int]] = {}
    for line in (folder / "ml-1m_sas.txt").read_text().splitlines():
        user, item = line.split()
        found.setdefault(int(user), []).append(int(item))
    return {user: items[:-2] for user, items in found.items()}


SHAPE: dict[str, Any] = {
    "n_factors": WIDTH,
    "n_blocks": LAYERS,
    "n_heads": 1,
    "session_max_len": MAX_LEN,
    "batch_size": BATCH,
    "dropout_rate": DROPOUT,
    "loss": "softmax",
    "lr": 1e-3,
}


def num_items(folder: Path) -> int:
    """Return how many items there are, which are numbered from 1."""
    return max(max(items) for items in histories(folder).values())


def batches(folder: Path) -> Iterator[list[list[int]]]:
    """Yield without end the newest items of users drawn at random, targets included."""
    users = [items[-MAX_LEN - 1 :] for items in histories(folder).values()]
    draw = random.Random(1)
    while True:
        yield draw.sample(users, BATCH)


def rectools_dataset(folder: Path) -> Any:
    """Return the histories as RecTools takes them."""
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset

    rows = [
        (user, item, pd.Timestamp(at, unit="s"), 1.0)
        for user, items in histories(folder).items()
        for at, item in enumerate(items)
    ]
    columns = [Columns.User, Columns.Item, Columns.Datetime, Columns.Weight]
    return Dataset.construct(pd.DataFrame(rows, columns=columns))


def rectools(folder: Path, clock: Clock) -> None:
    """SASRecModel of RecTools, full softmax, as it is fitted by its users."""
    from pytorch_lightning import Callback, Trainer
    from rectools.models import SASRecModel

    class Stop(Callback):
        def on_train_batch_end(
            self, trainer: Any, _module: Any, outputs: Any, batch: Any, _index: int
        ) -> None:
            if clock.step(int((batch["y"] != 0).sum()), float(outputs["loss"])):
                trainer.should_stop = True

    def trainer() -> Any:
        return Trainer(
            max_epochs=1000,
            min_epochs=0,
            accelerator="cpu",
            callbacks=[Stop()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    SASRecModel(**SHAPE, get_trainer_func=trainer).fit(rectools_dataset(folder))


def plain_torch(folder: Path, clock: Clock) -> None:
    """Sixty careful lines of torch: padded rows, the head on real positions, a mean over them."""
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional

    class Net(nn.Module):
        def __init__(self, num_items: int) -> None:
            super().__init__()
            self.items = nn.Embedding(num_items + 1, WIDTH, padding_idx=0)
            nn.init.normal_(self.items.weight, std=WIDTH**-0.5)
            self.positions = nn.Embedding(MAX_LEN, WIDTH)
            self.drop = nn.Dropout(DROPOUT)
            self.blocks = nn.ModuleList(
                nn.ModuleDict(
                    {
                        "n1": nn.LayerNorm(WIDTH),
                        "qkv": nn.Linear(WIDTH, 3 * WIDTH),
                        "o": nn.Linear(WIDTH, WIDTH),
                        "n2": nn.LayerNorm(WIDTH),
                        "f1": nn.Linear(WIDTH, WIDTH),
                        "f2": nn.Linear(WIDTH, WIDTH),
                    }
                )
                for _ in range(LAYERS)
            )
            self.norm = nn.LayerNorm(WIDTH)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            length = x.shape[1]
            h = self.drop(self.items(x) * WIDTH**0.5 + self.positions.weight[:length])
            for b in self.blocks:
                q, k, v = b["qkv"](b["n1"](h))[:, None].chunk(3, dim=-1)
                mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0]
                h = h + self.drop(b["o"](mixed))
                h = h + self.drop(b["f2"](self.drop(functional.relu(b["f1"](b["n2"](h))))))
            real = y > 0
            return functional.cross_entropy(self.norm(h)[real] @ self.items.weight.T, y[real])

    net = Net(num_items(folder))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for rows in batches(folder):
        longest = max(map(len, rows)) - 1
        x, y = np.zeros((2, BATCH, longest), dtype=np.int64)
        for row, items in enumerate(rows):
            x[row, : len(items) - 1], y[row, : len(items) - 1] = items[:-1], items[1:]
        loss = net(torch.from_numpy(x), torch.from_numpy(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if clock.step(int((y > 0).sum()), loss.item()):
            return


def replay(folder: Path, clock: Clock) -> None:
    """SasRec of RePlay, full softmax, sixteen rows of similar length at a time, its fastest way.

    Its batches are made here: its own reader wants files of one shape and Lightning around it.
    """
    import torch
    from replay.data import FeatureHint, FeatureSource, FeatureType
    from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema
    from replay.nn.sequential import LengthBucketedQueryEncoder, SasRec

    count = num_items(folder)  # also what pads: items are 0 and up here
    item = TensorFeatureInfo(
        "item_id",
        is_seq=True,
        feature_type=FeatureType.CATEGORICAL,
        embedding_dim=WIDTH,
        padding_value=count,
        cardinality=count,
        feature_hint=FeatureHint.ITEM_ID,
        feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
    )
    model = SasRec.from_params(
        TensorSchema([item]),
        embedding_dim=WIDTH,
        num_heads=1,
        num_blocks=LAYERS,
        max_sequence_length=MAX_LEN,
        dropout=DROPOUT,
    )
    model.body.encoder = LengthBucketedQueryEncoder(model.body.encoder, bucket_size=16)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for rows in batches(folder):
        longest = max(map(len, rows)) - 1
        x, y = torch.full((2, BATCH, longest), count)
        for row, items in enumerate(rows):
            known = torch.tensor(items) - 1
            x[row, longest - len(items) + 1 :], y[row, longest - len(items) + 1 :] = (
                known[:-1],
                known[1:],
            )
        loss = model(
            {"item_id": x},
            x != count,
            positive_labels=y[:, :, None],
            target_padding_mask=(y != count)[:, :, None],
        )["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if clock.step(int((y != count).sum()), loss.item()):
            return


def rectools_recommend(folder: Path, clock: Clock) -> None:
    """The same model after one step, asked for the ten best unseen items of every user."""
    from pytorch_lightning import Trainer
    from rectools.models import SASRecModel

    dataset = rectools_dataset(folder)
    model = SASRecModel(
        **SHAPE,
        get_trainer_func=lambda: Trainer(
            max_steps=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ),
    )
    model.fit(dataset)
    users = list(histories(folder))
    encode = type(model.lightning_model)._get_user_item_embeddings  # noqa: SLF001 - to time it

    def timed(*given: Any, **named: Any) -> Any:
        began = time.monotonic()
        found = encode(*given, **named)
        clock.encode_s = time.monotonic() - began
        return found

    type(model.lightning_model)._get_user_item_embeddings = timed  # noqa: SLF001
    clock.time(len(users), lambda: model.recommend(users, dataset, k=10, filter_viewed=True))


PEERS = {
    "rectools": rectools,
    "rectools_recommend": rectools_recommend,
    "replay": replay,
    "plain_torch": plain_torch,
}


def main() -> None:
    """Train one peer and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    clock = Clock(given.seconds)
    PEERS[given.peer](given.data, clock)
    sys.stdout.write(json.dumps(clock.figures()) + "\n")


if __name__ == "__main__":
    main()
