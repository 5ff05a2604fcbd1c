"""How every service reads its settings: one table of `confide.toml`, overridden by environment variables."""

import os
import tomllib
from pathlib import Path
from typing import Any, ClassVar

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

CONFIG_VARIABLE = "CONFIDE_CONFIG"
DEFAULT_CONFIG = "confide.toml"


class ServiceSettings(BaseSettings):
    """Base of each service's settings; a subclass names its `table` and its environment prefix.

    Values come, strongest first, from arguments, from environment variables and from the service's table in
    the file that `CONFIDE_CONFIG` names (`confide.toml` by default). Secrets are given as paths of files.
    """

    table: ClassVar[str]
    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, then environment, then the file."""
        return init_settings, env_settings, _TableSource(settings_cls, cls.table)


class _TableSource(PydanticBaseSettingsSource):
    """One table of the configuration file; an absent file or table is empty."""

    def __init__(self, settings_cls: type[BaseSettings], table: str) -> None:
        super().__init__(settings_cls)
        path = Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG))
        document = tomllib.loads(path.read_text()) if path.is_file() else {}
        self._values: dict[str, Any] = document.get(table, {})

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return one field's value from the table."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the whole table, unknown keys included, so that a typing error is refused."""
        return dict(self._values)
