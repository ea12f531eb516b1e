"""``python -m marquee.pages_server FOLDER PORT``: a folder's files, for browsers of this machine.

Nothing outside the folder is read, wherever a link in it points. A request must name this machine:
otherwise a page of another site, whose name was made to mean 127.0.0.1, could read what is here.
"""

import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

HOST = "127.0.0.1"
_NAMES = frozenset({HOST, "localhost"})


class PagesHandler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD for what lies below its folder."""

    def send_head(self) -> BinaryIO | None:
        """Refuse what another host is asked for, and what is not in the folder."""
        if self.headers.get("Host", HOST).partition(":")[0] not in _NAMES:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        try:
            found = Path(self.translate_path(self.path)).resolve()
        except ValueError:  # a NUL, which no file's name has
            found = None
        if found is None or not found.is_relative_to(Path(self.directory).resolve()):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()


def pages_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of the folder on a loopback address; port 0 takes a free one."""
    return ThreadingHTTPServer((HOST, port), partial(PagesHandler, directory=str(folder)))


if __name__ == "__main__":
    with pages_server(Path(sys.argv[1]), int(sys.argv[2])) as server:
        server.serve_forever()
