"""Whom the product may call, or transfer and add to a call: what keeps others from calling at our cost.

Toll fraud is the expensive failure of telephony: numbers of premium services and far countries, called by
whoever got hold of a key, or talked an agent into it. So nothing is allowed that the policy does not name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.errors import ForbiddenError, InvalidRequestError
from shared.telephony.addresses import address_of, is_number, matches

_LONGEST_USER = 256


@dataclass(frozen=True, kw_only=True)
class Target:
    """Whom to call: a number with its plus, or a user as the carrier names it (`8:acs:…`, `sip:…`)."""

    address: str = field(repr=False)

    @property
    def is_phone(self) -> bool:
        return self.address.startswith("+")


@dataclass(frozen=True, kw_only=True)
class OutboundPolicy:
    """Whom we may call. Without anything set, nobody.

    allow, deny: patterns of numbers; denial is stronger. users: names that are no numbers, each in full.
    caller_ids: our own numbers that may be shown, besides the one of the settings.
    max_live_calls: how many outbound calls may be live at a time; None for any number.
    """

    allow: tuple[str, ...] = field(default=(), repr=False)
    deny: tuple[str, ...] = field(default=(), repr=False)
    users: tuple[str, ...] = field(default=(), repr=False)
    caller_ids: tuple[str, ...] = field(default=(), repr=False)
    max_live_calls: int | None = None

    def check(self, target: Target) -> None:
        """Return if we may call `target`; raise ForbiddenError `callee_not_allowed`."""
        if target.is_phone:
            denied = any(matches(target.address, pattern) for pattern in self.deny)
            allowed = not denied and any(matches(target.address, pattern) for pattern in self.allow)
        else:
            allowed = target.address in self.users
        if not allowed:
            raise ForbiddenError(
                "callee_not_allowed",
                "The policy does not allow to call this number or user: name it under outbound in "
                "telephony.policy.yaml.",
            )

    def check_caller_id(self, number: str, own: str) -> str:
        """Return the number to show: `number`, or `own` (the settings') where none is asked for.

        Raises ForbiddenError `caller_id_not_allowed`, InvalidRequestError `caller_id_missing`.
        """
        if not number:
            if not own:
                raise InvalidRequestError(
                    "caller_id_missing",
                    "Set ACS_PHONE_NUMBER to the number that calls out, or give caller_id.",
                )
            return own
        if number != own and number not in self.caller_ids:
            raise ForbiddenError(
                "caller_id_not_allowed",
                "This number may not be shown: set it as ACS_PHONE_NUMBER, or name it under "
                "outbound.caller_ids in telephony.policy.yaml.",
            )
        return number


def parse_target(text: str) -> Target:
    """Return whom `text` names. Raises InvalidRequestError `invalid_target`."""
    address = address_of(text)
    if is_number(address) and address.startswith("+"):
        return Target(address=address)
    user = text.strip()
    named = user.startswith(("8:", "28:", "sip:", "sips:")) and user.isascii() and user.isprintable()
    if not named or len(user) > _LONGEST_USER or " " in user:
        raise InvalidRequestError(
            "invalid_target",
            "Name a number with its country, as in +15550123, or a user: 8:acs:… or sip:….",
        )
    return Target(address=user)
