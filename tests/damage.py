"""Damages of files, for tests of what is noticed: one flipped bit, or a cut."""

import random


def damaged(whole: bytes, turn: int, draw: random.Random) -> bytes:
    """The content with one bit flipped, and every fourth time cut short."""
    content = bytearray(whole)
    if turn % 4:
        place = draw.randrange(8 * len(content))
        content[place // 8] ^= 1 << place % 8
    else:
        del content[draw.randrange(len(content)) :]
    return bytes(content)
