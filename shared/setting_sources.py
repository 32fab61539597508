"""Where settings come from besides the environment: Key Vault, for secrets that nothing else gave."""

from __future__ import annotations

from http import HTTPStatus

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from shared.errors import SidetoneError
from shared.setting_values import is_origin

_MAY_BE_EMPTY = frozenset({"transcription_model"})


class SettingsError(SidetoneError):
    """The settings do not fit. `problems` has one line a variable: its name, what is wrong, an example."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(
            "invalid_settings",
            "Set these environment variables (or put them into .env):\n" + "\n".join(problems),
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
        )
        self.problems = problems


class EmptyMeansUnset(PydanticBaseSettingsSource):
    """A source without its empty values, so that `NAME=` is as good as no NAME."""

    def __init__(self, settings_cls: type[BaseSettings], source: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._source = source

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        return self._source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, object]:
        return {
            name: value
            for name, value in self._source().items()
            if value not in ("", None) or name in _MAY_BE_EMPTY
        }


class KeyVaultSecrets(PydanticBaseSettingsSource):
    """Secrets that no earlier source gave, from the Key Vault that KEY_VAULT_URL names.

    A secret's name is the variable's in lower case with dashes: AZURE_OPENAI_API_KEY is
    `azure-openai-api-key`. Without KEY_VAULT_URL, or with nothing missing, no vault is contacted and
    no Azure library imported.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        return None, field_name, False

    def missing(self) -> list[str]:
        """Return the secret settings that earlier sources left open."""
        return [
            name
            for name, field in self.settings_cls.model_fields.items()
            if "SecretStr" in str(field.annotation) and name not in self.current_state
        ]

    def __call__(self) -> dict[str, object]:
        url = str(self.current_state.get("key_vault_url") or "")
        missing = self.missing()
        if not missing or not is_origin(url):
            return {}  # a wrong address is told when the field is checked
        return _read_vault(self.settings_cls, url.rstrip("/"), missing)


def _read_vault(settings_cls: type[BaseSettings], url: str, names: list[str]) -> dict[str, object]:
    from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceRequestError
    from azure.identity import DefaultAzureCredential
    from pydantic_settings import AzureKeyVaultSettingsSource

    try:
        with DefaultAzureCredential() as credential:
            found = AzureKeyVaultSettingsSource(settings_cls, url, credential, dash_to_underscore=True)()
    except AzureError as error:
        match error:
            case ServiceRequestError():
                remedy = "Nothing answers there: check its name, and that this network reaches it"
            case ClientAuthenticationError():
                remedy = "No identity was found: AZURE_CLIENT_ID names a managed one; az login makes one here"
            case _:
                remedy = "Give this app's identity the role Key Vault Secrets User"
        raise SettingsError(
            (
                f"KEY_VAULT_URL: the vault could not be read ({type(error).__name__}). {remedy}. "
                "Example: KEY_VAULT_URL=https://NAME.vault.azure.net",
            )
        ) from error
    return {name: found[name] for name in names if found.get(name)}
