from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import pytest

from marquee.pages_server import pages_server


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Return the port of a server over ``pages``, beside which a secret lies."""
    pages = tmp_path / "pages"
    (pages / "data_docs").mkdir(parents=True)
    (pages / "picture.png").write_text("a picture")
    (tmp_path / "secret").write_text("a secret")
    (pages / "link").symlink_to(tmp_path / "secret")
    (pages / "up").symlink_to(tmp_path)
    (pages / "inside").symlink_to(pages / "picture.png")
    with pages_server(pages, 0) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def asked(port: int, path: str, host: str = "") -> tuple[int, str]:
    """Ask for exactly this path: other clients take ``..`` out of it."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.mark.parametrize("path", ["/picture.png", "/inside", "/data_docs/../picture.png"])
def test_what_lies_in_the_folder_is_served(port: int, path: str) -> None:
    assert asked(port, path) == (200, "a picture")
    assert "picture.png" in asked(port, "/")[1]


@pytest.mark.parametrize(
    "path",
    [
        *("/link", "/up/", "/up/secret", "/../secret", "/%2e%2e/secret", "/..%2fsecret"),
        *("/data_docs/../../secret", "//etc/passwd", "/%2fetc/passwd", "/a%00b", "/%00"),
    ],
)
def test_nothing_beside_the_folder_is_served(port: int, path: str) -> None:
    status, text = asked(port, path)

    assert status == 404
    assert "a secret" not in text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3080", "127.0.0.1.evil.example:1"])
def test_a_site_whose_name_was_made_to_mean_this_machine_reads_nothing(
    port: int, host: str
) -> None:
    assert asked(port, "/picture.png", host)[0] == 421
    assert asked(port, "/picture.png", f"localhost:{port}") == (200, "a picture")
    assert asked(port, "/picture.png", "127.0.0.1") == (200, "a picture")
