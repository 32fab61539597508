"""Who a phone call is from and for: phone numbers, and users of SIP that are none.

Sources: ITU-T E.164 (a plus and at most 15 digits), RFC 3966 (visual separators of `tel:` URIs).
"""

from __future__ import annotations

import re

LONGEST_ADDRESS = 128
_SEPARATORS = re.compile(r"[\s().\-/]")
_NUMBER = re.compile(r"\+?[0-9]{3,15}")
_SIP_USER = re.compile(r"[a-z0-9_.!~*'()&=+$,;?/%-]+")
_PATTERN = re.compile(r"\+[0-9]{1,15}\*?")
# What stands in the place of a caller who does not want to be known, or is not.
_NOBODY = frozenset({"anonymous", "restricted", "unavailable", "unknown", "private"})


def address_of(text: str) -> str:
    """Return the address that `text` writes: a number without separators, or a SIP user in lower case.

    "" for a caller who withholds the number, and for what is no address.
    """
    number = _SEPARATORS.sub("", text)
    if _NUMBER.fullmatch(number):
        return number
    user = text.strip().lower()
    if len(user) > LONGEST_ADDRESS or not _SIP_USER.fullmatch(user) or user in _NOBODY:
        return ""
    return user


def is_number(address: str) -> bool:
    """Return whether an address is a phone number."""
    return bool(_NUMBER.fullmatch(address))


def is_pattern(text: str) -> bool:
    """Return whether `text` is a number with its plus, or the beginning of numbers and a star."""
    return bool(_PATTERN.fullmatch(text))


def without_plus(address: str) -> str:
    """Return the address in the form in which two are compared: some carriers leave the plus out."""
    return address.removeprefix("+") if is_number(address) else address


def matches(address: str, pattern: str) -> bool:
    """Return whether a number is the pattern's, or begins like it where that ends with a star."""
    if not is_number(address):
        return False
    digits, wanted = without_plus(address), pattern.removeprefix("+")
    return digits.startswith(wanted[:-1]) if wanted.endswith("*") else digits == wanted
