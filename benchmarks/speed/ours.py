"""One process that trains the ``sasrec`` recipe on MovieLens-1M for a while and says how fast.

python -m benchmarks.speed.ours --data <folder of ml-1m> --threads 2 --seconds 60
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.quality.movielens import read_movielens
from benchmarks.speed.contender import timed
from training.recipes import sasrec


def main() -> None:
    """Train and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    data = read_movielens(given.data, "sas").without_last(2)
    config = replace(sasrec(), num_threads=given.threads)
    lengths = data.log.offsets[1:] - data.log.offsets[:-1]
    num_positions = lengths.clip(max=config.model.max_seq_len).sum()
    steps_an_epoch = -(-num_positions // config.batch_tokens)
    events_a_step = num_positions / steps_an_epoch
    figures = timed(data, config, seconds=given.seconds, events_a_step=events_a_step)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
