"""The store's main paths in a bucket, in every run; ``--storage s3`` takes all suites there."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from botocore.httpsession import URLLib3Session

from embedding_store.checks import check
from embedding_store.client import EmbeddingClient
from embedding_store.errors import CorruptVersionError, NoVersionError, UnreachableStoreError
from lake.errors import StorageError
from lake.s3 import S3Objects
from tests.s3_server import BUCKET, s3_server
from tests.unit.embedding_store.small_world import SmallWorld, instant


@pytest.fixture
def world(tmp_path: Path, s3_url: str) -> SmallWorld:
    return SmallWorld(tmp_path, bucket=s3_url)


def test_another_machine_reads_what_was_published(world: SmallWorld, tmp_path: Path) -> None:
    world.serve(0, 1)
    ids = ["user-1", "nobody"]

    reader = EmbeddingClient.at(world.store.url, cache=tmp_path / "another machine").pin()

    assert reader.name == "v2"
    users = reader.users(ids)
    here = EmbeddingClient(world.store.root).pin()
    assert users.is_found.tolist() == [True, False]
    np.testing.assert_array_equal(users.vectors, here.users(ids).vectors)
    assert [one.item_id for one in reader.top_items("user-1", 3)] == [
        one.item_id for one in here.top_items("user-1", 3)
    ]


def test_a_rollback_is_seen_everywhere(world: SmallWorld, tmp_path: Path) -> None:
    world.serve(0, 1)
    client = EmbeddingClient.at(world.store.url, cache=tmp_path / "another machine")
    assert client.pin().name == "v2"
    world.publisher.rollback(1, effective_at=instant(9), why="a test")
    assert client.pin().name == "v1"


def test_a_damaged_copy_is_fetched_again(world: SmallWorld, tmp_path: Path) -> None:
    world.serve(0)
    client = EmbeddingClient.at(world.store.url, cache=tmp_path / "another machine")
    folder = client.pin().version.folder
    for path in folder.glob("item/*.parquet"):
        path.write_bytes(b"")
    with pytest.raises(CorruptVersionError, match=f"remove {folder}, a copy, and pin") as told:
        client.pin().all_items()
    assert world.store.url in str(told.value)

    shutil.rmtree(folder)

    assert len(client.pin().all_items()[0]) == len(world.raw.item_ids)


def test_a_cache_that_holds_the_version_is_never_written_to(
    world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one in an image that is mounted read-only."""
    world.serve(0)
    cache = tmp_path / "image"
    assert EmbeddingClient.at(world.store.url, cache=cache).pin().name == "v1"

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert EmbeddingClient.at(world.store.url, cache=cache).pin().users(["user-1"]).is_found.all()


def test_what_cannot_be_read_is_one_clear_error(
    world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.serve(0)
    url = world.store.url

    with pytest.raises(NoVersionError, match=f"nothing is published in {url}-gone: want"):
        EmbeddingClient.at(f"{url}-gone", cache=tmp_path / "prefix").pin()
    with pytest.raises(UnreachableStoreError, match=r"NoSuchBucket .*name another"):
        EmbeddingClient.at("s3://no-such-bucket/store", cache=tmp_path / "bucket").pin()
    with pytest.raises(UnreachableStoreError, match="keeps its data at"):
        EmbeddingClient.at("s3://no-such-bucket/other", cache=tmp_path / "bucket")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(UnreachableStoreError, match="Unable to locate credentials"):
        EmbeddingClient.at(url, cache=tmp_path / "nobody").pin()


def test_a_publication_killed_in_its_upload_is_finished_by_the_next(
    world: SmallWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.serve(0)
    with monkeypatch.context() as killed:
        killed.setattr(S3Objects, "upload", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            world.publish(1)
    client = EmbeddingClient.at(world.store.url, cache=tmp_path / "another machine")
    assert client.pin().name == "v1"

    world.promote(world.publish(1))

    assert client.pin().name == "v2"


@pytest.mark.prove  # the server takes 20 s to start again
def test_a_publication_goes_on_after_the_server_was_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server").mkdir()
    with s3_server(tmp_path / "server") as server, monkeypatch.context() as patched:
        for name, value in server.environment.items():
            patched.setenv(name, value)
        world = SmallWorld(tmp_path / "world", bucket=f"s3://{BUCKET}")
        world.serve(0)
        stabilised = world.stabilised(1)
        calls, send = [], URLLib3Session.send

        def failing(session: URLLib3Session, request: object) -> object:
            calls.append(request)
            if len(calls) == 8:
                server.kill()
            return send(session, request)

        with monkeypatch.context() as dying:
            dying.setattr(URLLib3Session, "send", failing)
            dying.setattr("time.sleep", lambda _: None)  # the pauses grow to 20 s
            with pytest.raises(StorageError, match="nothing was changed"):
                world.publish(1, stabilised=stabilised)
        server.start()
        assert EmbeddingClient(world.store.root).pin().name == "v1"
        assert world.store.state().seq == 2

        world.promote(world.publish(1, stabilised=stabilised))

        assert EmbeddingClient(world.store.root).pin().name == "v2"
        assert check(world.store) == []


def test_two_machines_publish_one_version_of_a_day(world: SmallWorld, tmp_path: Path) -> None:
    world.serve(0)
    elsewhere = SmallWorld(tmp_path / "another machine", world.raw)
    EmbeddingClient.at(world.store.url, cache=elsewhere.store.root)

    first, second = world.publish(1), elsewhere.publish(1)

    assert first.version == second.version
    assert (first.is_existing, second.is_existing) == (False, True)
