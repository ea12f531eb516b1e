"""Where things are, from the environment: read once, at the entry point."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parents[1]


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


class Settings(BaseSettings):
    """Settings of the command line; each is an environment variable with the prefix MARQUEE_."""

    model_config = SettingsConfigDict(
        env_prefix="MARQUEE_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    home: Annotated[Path, AfterValidator(_absolute)] = Field(default=CHECKOUT / ".marquee")
    """Folder of all workspaces, absolute; a relative one is below the working directory."""
