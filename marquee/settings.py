"""Where things are, from the environment: read once, at the entry point."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parents[1]


class Settings(BaseSettings):
    """Settings of the command line; each is an environment variable with the prefix MARQUEE_."""

    model_config = SettingsConfigDict(env_prefix="MARQUEE_", frozen=True, extra="forbid")

    home: Path = Field(default=CHECKOUT / ".marquee")
    """Folder of all workspaces."""
