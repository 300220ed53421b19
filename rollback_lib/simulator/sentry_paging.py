"""Pages of a list, as the monitoring gives them: a cursor in the `Link` header.

- The header always names a previous and a next page; `results` says whether there is one.
- More than a hundred on a page is refused, not cut.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from starlette.datastructures import URL

from rollback_lib.simulator.sentry_query import Refusal

__all__ = ["page_of"]

T = TypeVar("T")
_MAX = 100
_CURSOR = re.compile(r"^0:(\d+):([01])$")


def page_of(
    items: Sequence[T], params: Mapping[str, str], url: URL, *, name: str = "per_page"
) -> tuple[list[T], dict[str, str]]:
    """Cut the page that is asked for; give it with its headers.

    Args:
        items: All there are, in order.
        params: The query of the request: `cursor` and the size.
        url: The address of the request.
        name: What the size is called.

    Raises:
        Refusal: A size or cursor that does not fit.
    """
    text = params.get(name) or str(_MAX)
    if not (text.isdecimal() and 1 <= int(text) <= _MAX):
        raise Refusal(f"Invalid {name} value. Must be between 1 and {_MAX}.")
    size, found = int(text), _CURSOR.match(params.get("cursor") or "0:0:0")
    if found is None:
        raise Refusal("Invalid cursor parameter.")
    offset = int(found[1])
    before = _link(url, f"0:{max(0, offset - size)}:1", "previous", there=offset > 0)
    after = _link(url, f"0:{offset + size}:0", "next", there=offset + size < len(items))
    return list(items[offset : offset + size]), {"Link": f"{before}, {after}"}


def _link(url: URL, cursor: str, rel: str, *, there: bool) -> str:
    target = url.remove_query_params("cursor").include_query_params(cursor=cursor)
    return f'<{target}>; rel="{rel}"; results="{str(there).lower()}"; cursor="{cursor}"'
