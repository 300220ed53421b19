"""Reading a list page by page: bounded, and never in a circle."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rollback_lib.errors import Unreachable
from rollback_lib.http import Reply

__all__ = ["MOST_PAGES", "pages"]

MOST_PAGES = 50


def pages(
    fetch: Callable[[str], Reply], following: Callable[[Reply], str], most: int | None = None
) -> Iterator[Reply]:
    """Yield page after page until there is no next one.

    Args:
        fetch: Reads one page; the first is asked for with an empty cursor.
        following: Finds the cursor of the next page; empty at the end.
        most: Ends quietly after so many pages; None: all pages, of which there must be at most `MOST_PAGES`.

    Raises:
        Unreachable: A cursor comes again, or there are too many pages: an incomplete list is never passed off
            as the whole. As `fetch` does.
    """
    cursor, seen = "", {""}
    for _ in range(most if most is not None else MOST_PAGES):
        reply = fetch(cursor)
        yield reply
        cursor = following(reply)
        if not cursor:
            return
        if cursor in seen:
            raise _endless(reply, f"its page {cursor!r} comes again")
        seen.add(cursor)
    if most is None:
        raise _endless(reply, f"it has more than {MOST_PAGES} pages")


def _endless(reply: Reply, why: str) -> Unreachable:
    return Unreachable(
        f"{reply.source}: the list does not end: {why}.",
        "Nothing was changed by this request.",
        "Run the cell again; if it stays so, look at the platform's own dashboard.",
    )
