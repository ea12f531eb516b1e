"""A real S3 server for tests: SeaweedFS, on loopback ports of its own, in a folder of its own."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUCKET = "marquee"
SECRET = "kept-in-the-environment-alone"  # no file may ever hold it
BOOT_S = 60


def weed() -> Path | None:
    """Return the server's program, or None where it is not installed."""
    found = shutil.which(
        "weed", path=os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin"])
    )
    return Path(found) if found else None


def free_ports(count: int) -> list[int]:
    """Return ports whose neighbour 10,000 above is free as well: the server's gRPC ports."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port + 10_000 > 65_535 or port in found:
                continue
            try:
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
    return found


class S3Server:
    """The server over a folder, at ports and with credentials of its own; it can be restarted."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of its data."""
        program = weed()
        assert program is not None
        master, volume, filer, s3 = free_ports(4)
        self.folder = folder
        self.environment = {
            "AWS_ACCESS_KEY_ID": "marquee",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3}",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self._command = [
            *(str(program), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *("-s3", "-filer", "-volume.max=20", "-master.volumeSizeLimitMB=64"),
            *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"),
            *(f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"),
            "-master.telemetry=false",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until its bucket is there."""
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
            )
        _wait_for(self.environment["AWS_ENDPOINT_URL_S3"], self._process, log)
        _make_bucket(self.environment)

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run the server over ``folder``, its bucket made."""
    server = S3Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + BOOT_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(url, timeout=1)
        except urllib.error.HTTPError:
            return  # it answers, if only to refuse who has no credentials
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the server did not start: {log.read_text()[-2000:]}")


def _make_bucket(environment: dict[str, str]) -> None:
    import boto3
    from botocore.exceptions import ClientError

    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    deadline = time.monotonic() + BOOT_S
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
        except client.exceptions.BucketAlreadyOwnedByYou:
            return  # made before the server was restarted
        except ClientError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
