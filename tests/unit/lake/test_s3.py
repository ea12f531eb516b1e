"""How S3 objects behave when the server does not: the faults come from a server of our own."""

import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path

import pytest
from botocore.httpsession import URLLib3Session

import lake.s3
from lake.errors import CorruptArtifactError, MissingArtifactError, StorageError
from lake.folders import S3Folders
from lake.s3 import MAX_ATTEMPTS, MULTIPART_BYTES, S3Objects
from tests.s3_server import BUCKET, s3_server

ERROR = "<Error><Code>{code}</Code><Message>said the server</Message></Error>"


class FaultyServer(ThreadingHTTPServer):
    """Answers each request with the next of ``answers``: a status and a code, or a body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, str]] = []
        self.asked = 0
        self.num_broken = 0
        """Requests that get no answer."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, FaultyServer)
        server.asked += 1
        if server.num_broken:
            server.num_broken -= 1
            self.close_connection = True
            return
        status, text = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        body = (text if status < 300 else ERROR.format(code=text)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if text == "damaged":
            self.send_header("x-amz-checksum-crc32", "AAAAAA==")
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's name
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    with FaultyServer() as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        environment = {
            "AWS_ACCESS_KEY_ID": "marquee",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{served.server_address[1]}",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("time.sleep", lambda _: None)  # the pauses grow to 20 s
        yield served
        served.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_that_recovers_is_asked_again(server: FaultyServer, status: int) -> None:
    server.answers = [(status, "SlowDown")] * 3 + [(200, "blob")]
    assert S3Objects("s3://bucket/x").get("key") == b"blob"
    assert server.asked == 4


def test_a_server_that_stays_down_is_given_up(server: FaultyServer) -> None:
    server.answers = [(503, "SlowDown")]
    with pytest.raises(StorageError, match=r"s3://bucket/x/key: the server answers 503 SlowDown"):
        S3Objects("s3://bucket/x").get("key")
    assert server.asked == MAX_ATTEMPTS


def test_a_connection_that_breaks_is_made_again(server: FaultyServer) -> None:
    server.answers, server.num_broken = [(200, "blob")], 3
    assert S3Objects("s3://bucket/x").get("key") == b"blob"
    assert server.asked == 4


def test_the_pauses_between_attempts_grow(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    server.answers = [(503, "SlowDown")]
    with pytest.raises(StorageError):
        S3Objects("s3://bucket/x").get("key")
    assert len(pauses) == MAX_ATTEMPTS - 1
    assert all(0 < pause <= 2**number for number, pause in enumerate(pauses))  # a random part


def test_who_is_refused_does_not_ask_again(server: FaultyServer) -> None:
    server.answers = [(403, "AccessDenied")]
    with pytest.raises(StorageError, match="give these credentials access"):
        S3Objects("s3://bucket").put("key", b"x")
    assert server.asked == 1


def test_what_is_not_there_is_not_asked_for_again(server: FaultyServer) -> None:
    server.answers = [(404, "NoSuchKey")]
    with pytest.raises(MissingArtifactError):
        S3Objects("s3://bucket").get("key")
    assert server.asked == 1


def test_a_conflict_of_two_writers_is_asked_again(server: FaultyServer) -> None:
    server.answers = [(409, "ConditionalRequestConflict"), (412, "PreconditionFailed")]
    assert S3Objects("s3://bucket").put_if_absent("slot", b"x") is False
    assert server.asked == 2


def test_bytes_that_are_not_those_written_are_refused(server: FaultyServer) -> None:
    server.answers = [(200, "damaged")]
    with pytest.raises(CorruptArtifactError, match="restore the object"):
        S3Objects("s3://bucket").get("key")


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch, server: FaultyServer) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="check AWS_ACCESS_KEY_ID"):
        S3Objects("s3://bucket").get("key")


@pytest.mark.parametrize("url", ["bucket/x", "s3:///x", "https://bucket/x", "s3://b/x?y"])
def test_a_place_is_a_bucket_and_a_prefix(url: str) -> None:
    with pytest.raises(StorageError, match=r"want s3://bucket/prefix"):
        S3Objects(url)


def test_a_missing_bucket_says_so(server: FaultyServer) -> None:
    server.answers = [(404, "NoSuchBucket")]
    with pytest.raises(StorageError, match="make the bucket"):
        S3Objects("s3://bucket").get("key")


def test_a_large_file_goes_up_in_parts_and_comes_back_whole(s3_url: str, tmp_path: Path) -> None:
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(os.urandom(2 * MULTIPART_BYTES + 12_345))
    objects = S3Objects(s3_url)
    objects.upload("large", sent)
    objects.download("large", got)
    assert got.read_bytes() == sent.read_bytes()


def unfinished(url: str) -> int:
    """How many uploads are under way below a place."""
    objects = S3Objects(url)
    found = objects._client.list_multipart_uploads(Bucket=objects.bucket, Prefix=objects.prefix)
    return len(found.get("Uploads", ()))


def upload_and_die(url: str, folder: Path) -> None:
    """Commit a folder with a file of three parts; die once two of them are there."""
    lake.s3.MULTIPART_BYTES = 5 << 20
    send, left = URLLib3Session.send, [4]

    def counted(session: URLLib3Session, request: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return send(session, request)

    URLLib3Session.send = counted
    folders = S3Folders(S3Objects(url), folder)
    with folders.staged() as staged:
        (staged / "large").write_bytes(os.urandom(12 << 20))
        folders.commit(staged, "versions/a")


def test_a_killed_upload_is_never_seen_and_its_parts_are_swept(s3_url: str, tmp_path: Path) -> None:
    child = get_context("spawn").Process(target=upload_and_die, args=(s3_url, tmp_path / "cache"))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    folders, objects = S3Folders(S3Objects(s3_url), tmp_path / "cache"), S3Objects(s3_url)
    assert not folders.exists("versions/a")
    assert list(objects.list("versions")) == []
    assert unfinished(s3_url) == 1

    folders.sweep()
    assert not list((tmp_path / "cache" / "tmp").iterdir())
    assert unfinished(s3_url) == 1, "it may be another machine's, and go on"

    assert objects.sweep(older_than=timedelta(0)) == 1
    assert unfinished(s3_url) == 0


@pytest.mark.prove  # the server takes 20 s to start again
def test_bytes_that_rot_on_the_server_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"\0the bytes of one file" * 400_000
    with s3_server(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        objects = S3Objects(f"s3://{BUCKET}/x")
        folders = S3Folders(objects, tmp_path / "cache")
        with folders.staged() as staged:
            (staged / "large").write_bytes(data)
            folders.commit(staged, "versions/a")
        server.kill()
        assert rotten(tmp_path, data[:40]), "the server keeps its bytes elsewhere"
        server.start()
        monkeypatch.setattr("time.sleep", lambda _: None)
        elsewhere = S3Folders(objects, tmp_path / "elsewhere")
        with pytest.raises((CorruptArtifactError, StorageError)):
            elsewhere.path("versions/a")
        assert not (tmp_path / "elsewhere" / "versions").exists()
        assert not list((tmp_path / "elsewhere").glob("tmp/*"))


def rotten(folder: Path, start: bytes) -> bool:
    """Change one bit where the server's files hold ``start``; return whether any does."""
    for path in folder.glob("*.dat"):
        data = path.read_bytes()
        if (at := data.find(start)) >= 0:
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            return True
    return False
