"""What a general compressor makes of the text: a second baseline, which needs no tokenizer."""

from __future__ import annotations

import lzma

from langwright.errors import BadInput

_SMALLEST_DICTIONARY = 4096
_LARGEST_DICTIONARY = 1536 * 1024**2  # the format's own limit on the encoder


def xz_bits_per_byte(train: bytes, validation: bytes) -> float:
    """Bits per byte of `validation` for xz that has read `train` just before it.

    8 (len(xz(train + validation)) - len(xz(train))) / len(validation). Takes about eleven times
    the size of the data in memory. Raises `BadInput` where `validation` is empty or both together
    exceed xz's largest dictionary (1.5 GiB).
    """
    size = len(train) + len(validation)
    if not validation:
        raise BadInput("There is no validation text.", remedy="Give at least one byte.")
    if size > _LARGEST_DICTIONARY:
        raise BadInput(
            f"xz cannot look back over {size} bytes.", remedy="Compare on at most 1.5 GiB."
        )
    # Presets 6 to 9 differ in their dictionary alone (man xz), so 6 with a dictionary that holds
    # all of the data finds the matches that 9 would; EXTREME gains about 1% for twice the time.
    filters = [
        {
            "id": lzma.FILTER_LZMA2,
            "preset": 6,
            "dict_size": max(size, _SMALLEST_DICTIONARY),
        }
    ]

    def length(data: bytes) -> int:
        return len(lzma.compress(data, format=lzma.FORMAT_XZ, filters=filters))

    return 8 * (length(train + validation) - length(train)) / len(validation)
