"""Ids of documents, in the platform's own form: table number and random part with a checksum, in base 32.

- Whoever has an id can tell its table; a mistyped one is no id.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["DocumentId", "decode", "encode"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_FROM_STANDARD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", _ALPHABET.encode())
# Whatever is no letter of ours becomes one that the standard's alphabet does not have.
_TO_STANDARD = bytes(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[_ALPHABET.index(chr(byte))] if chr(byte) in _ALPHABET else 33
    for byte in range(256)
)
_LETTERS_PER_BLOCK, _BYTES_PER_BLOCK = 8, 5
INTERNAL_BYTES = 16
_CHECK_BYTES = 2
_SEVEN_BITS, _MORE = 0x7F, 0x80
_BITS_PER_LETTER, _BITS_PER_BYTE = 5, 8


@dataclass(frozen=True)
class DocumentId:
    """What an id says."""

    table: int
    internal: bytes  # 16 bytes


def encode(table: int, internal: bytes) -> str:
    """Write an id.

    Args:
        table: The table's number.
        internal: 16 bytes that no other document of the deployment has.
    """
    raw = _varint(table) + internal
    return _base32(raw + _check(raw))


@lru_cache(maxsize=1 << 16)  # documents refer to the same ones again and again
def decode(text: str) -> DocumentId | None:
    """Read an id; None where it is none."""
    raw = _bytes(text)
    if raw is None or len(raw) < 1 + INTERNAL_BYTES + _CHECK_BYTES:
        return None
    head, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    if _check(head) != check:
        return None
    table, length = _read_varint(head)
    internal = head[length:]
    return DocumentId(table, internal) if len(internal) == INTERNAL_BYTES else None


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > _SEVEN_BITS:
        out.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(raw: bytes) -> tuple[int, int]:
    number = 0
    for place, byte in enumerate(raw):
        number |= (byte & _SEVEN_BITS) << (7 * place)
        if not byte & _MORE:
            return number, place + 1
    return number, len(raw)


def _check(raw: bytes) -> bytes:
    """Fletcher's checksum over the bytes."""
    first = second = 0
    for byte in raw:
        first = (first + byte) % 256
        second = (second + first) % 256
    return bytes((first, second))


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).translate(_FROM_STANDARD).rstrip(b"=").decode()


def _bytes(text: str) -> bytes | None:
    """Read base 32; None where a letter is none of it, or where bits are left over that are not zero."""
    size = len(text) * _BITS_PER_LETTER // _BITS_PER_BYTE
    try:
        padded = text.encode("ascii").translate(_TO_STANDARD) + b"=" * (-len(text) % _LETTERS_PER_BLOCK)
        raw = base64.b32decode(padded)
    except ValueError:
        return None
    if len(raw) != size or (size % _BYTES_PER_BLOCK and _base32(raw) != text):
        return None
    return raw
