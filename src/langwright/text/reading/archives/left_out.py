"""What an archive holds that is no document: counted by its reason, told in one line."""

from __future__ import annotations

from collections import Counter

from langwright.progress import say


def tell_left_out(left_out: Counter[str], total: int, what: str) -> None:
    """`what` are the things of which there were `total`, such as "pages of dump.xml"."""
    if left_out:
        reasons = ", ".join(f"{count:,} {why}" for why, count in left_out.most_common())
        say(f"skipped {left_out.total():,} of {total:,} {what}: {reasons}")
