"""What ``--source`` may name: apart from the worlds, which take long to import."""

from training.events.published_logs import PUBLISHED

SOURCES = ("simulated", "kuairand", "parquet", *PUBLISHED)
