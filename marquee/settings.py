"""Where things are, from the environment: read once, at the entry point."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from marquee.errors import CommandError

CHECKOUT = Path(__file__).resolve().parents[1]
_NAME_BYTES = 255  # of one name, on every file system in use


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


class Settings(BaseSettings):
    """Settings of the command line; each is an environment variable with the prefix MARQUEE_."""

    model_config = SettingsConfigDict(
        env_prefix="MARQUEE_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    home: Annotated[Path, AfterValidator(_absolute)] = Field(default=CHECKOUT / ".marquee")
    """Folder of all workspaces, absolute; a relative one is below the working directory."""

    erasure_key: SecretStr = Field(default=SecretStr(""))
    """Secret of the keyed hashes of erased users; without one their key is public."""


def workspace_folder(home: Path, name: str) -> Path:
    """Return where the workspace ``name`` lies; raises CommandError unless it names one folder."""
    is_utf8 = not any("\ud800" <= one <= "\udfff" for one in name)
    # a database's address ends at "?", and "%" begins another character in it
    if name in {"", ".", ".."} or set(name) & set("/\0?%") or not is_utf8:
        raise CommandError(
            f"--workspace: want the plain name of a folder below {home}, without / ? %, got "
            f"{_shortened(name)}"
        )
    if (size := len(name.encode())) > _NAME_BYTES:
        raise CommandError(
            f"--workspace: want at most {_NAME_BYTES} bytes, which is what a folder's name may "
            f"have, got {size}: {_shortened(name)}"
        )
    return home / name


def _shortened(text: str, limit: int = 40) -> str:
    """Return ``text`` in quotes for a message, without the end of a long one."""
    return repr(text if len(text) <= limit else text[:limit] + "…")
