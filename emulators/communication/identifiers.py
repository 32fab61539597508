"""Who takes part in a call: phone numbers and Communication Services users, by raw id.

Source: `azure.communication.callautomation._shared.models` (raw ids) and the generated
`CommunicationIdentifierModel` of the public Python SDK.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from emulators.communication.wire import Json, invalid

_PHONE = "4:"
_USER = "8:acs:"
_NUMBER = re.compile(r"\+?[0-9*#]{2,20}")


@dataclass(frozen=True, slots=True)
class Identifier:
    """One participant's identity."""

    raw_id: str

    @property
    def is_phone(self) -> bool:
        return self.raw_id.startswith(_PHONE)

    @property
    def name(self) -> str:
        """The phone number, or else the raw id: what people call it."""
        return self.raw_id.removeprefix(_PHONE) if self.is_phone else self.raw_id

    def to_json(self) -> Json:
        """Return the identifier as responses and events show it."""
        if self.is_phone:
            return {"kind": "phoneNumber", "rawId": self.raw_id, "phoneNumber": {"value": self.name}}
        if self.raw_id.startswith("8:orgid:"):
            user: Json = {"userId": self.raw_id.removeprefix("8:orgid:"), "isAnonymous": False}
            return {"kind": "microsoftTeamsUser", "rawId": self.raw_id, "microsoftTeamsUser": user}
        if self.raw_id.startswith("8:"):
            communication_user: Json = {"id": self.raw_id}
            return {
                "kind": "communicationUser",
                "rawId": self.raw_id,
                "communicationUser": communication_user,
            }
        return {"kind": "unknown", "rawId": self.raw_id}


class PhoneNumberBody(msgspec.Struct, rename="camel"):
    """`PhoneNumberIdentifierModel`."""

    value: str


class UserBody(msgspec.Struct, rename="camel"):
    """`CommunicationUserIdentifierModel`."""

    id: str


class IdentifierBody(msgspec.Struct, rename="camel"):
    """`CommunicationIdentifierModel` in a request: the SDK sends no `kind`."""

    raw_id: str | None = None
    phone_number: PhoneNumberBody | None = None
    communication_user: UserBody | None = None

    def identifier(self) -> Identifier:
        """Return whom it names; raises RejectedError (400) where it names nobody."""
        if self.phone_number is not None:
            return phone(self.phone_number.value)
        if self.communication_user is not None:
            return Identifier(self.communication_user.id)
        if self.raw_id:
            return Identifier(self.raw_id)
        raise invalid("An identifier needs 'rawId', 'phoneNumber' or 'communicationUser'.")


def phone(number: str) -> Identifier:
    """Return the identifier of a phone number; raises RejectedError (400) where it is not one."""
    if not _NUMBER.fullmatch(number):
        raise invalid("A phone number looks like +15550100.", target="phoneNumber")
    return Identifier(_PHONE + number)


def named(text: str) -> Identifier:
    """Return whom a number (`+15550100`) or a raw id (`4:+15550100`, `8:acs:…`) names."""
    if re.match(r"\d+:", text):
        return Identifier(text)
    return phone(text)


def user(name: str) -> Identifier:
    """Return a Communication Services user with this name behind the scheme."""
    return Identifier(_USER + name)
