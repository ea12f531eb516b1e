"""How S3 objects behave when the server does not: the faults come from a server of our own."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lake.errors import CorruptArtifactError, MissingArtifactError, StorageError
from lake.s3 import MAX_ATTEMPTS, MULTIPART_BYTES, S3Objects

ERROR = "<Error><Code>{code}</Code><Message>said the server</Message></Error>"


class FaultyServer(ThreadingHTTPServer):
    """Answers each request with the next of ``answers``: a status and a code, or a body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, str]] = []
        self.asked = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, FaultyServer)
        server.asked += 1
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
