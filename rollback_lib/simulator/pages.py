"""The HTML of the app.

- A page's marker text stands on that page alone, so that finding it proves the page.
- A broken page is what a visitor of a broken build gets: an error, or a shell without its content.
"""

from __future__ import annotations

from html import escape

from rollback_lib.simulator import company

__all__ = ["error", "hollow", "home", "page", "protected", "sign_in"]

_NAVIGATION = (
    ("/", "Home"),
    ("/membership", "Membership"),
    ("/trainer-booking", "Trainers"),
    ("/marketplace", "Shop"),
    ("/ai-plan", "AI plan"),
    ("/sign-in", "Sign in"),
)
_CONTENT = {
    "/membership": "<ul><li>Basic, 19.95 a week</li><li>Plus, 24.95 a week</li><li>Family, 39.95 a week</li></ul>",
    "/trainer-booking": "<ul><li>Mia, strength</li><li>Noah, boxing</li><li>Zoe, mobility</li></ul>",
    "/marketplace": "<ul><li>Gloves</li><li>Protein bar</li><li>Towel</li></ul>",
    "/ai-plan": "<p>Tell us your goal and how many days a week you train.</p>",
}


def _document(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
        f"<body>{body}</body></html>"
    )


def _framed(title: str, body: str, base: str, member: str | None) -> str:
    links = " ".join(f'<a href="{base}{path}">{text}</a>' for path, text in _NAVIGATION)
    who = f'<p id="member">Signed in as {escape(member)}</p>' if member else ""
    return _document(
        title, f"<header><nav>{links}</nav>{who}</header><main><h1>{escape(title)}</h1>{body}</main>"
    )


def home(base: str, member: str | None) -> str:
    """Show the start page; `base` stands before every link."""
    return _framed("Derrimut 24:7", "<p>Open day and night.</p>", base, member)


def page(path: str, base: str, member: str | None) -> str:
    """Show a page with its content."""
    marker = next(item.marker for item in company.PAGES if item.path == path)
    return _framed(marker, _CONTENT[path], base, member)


def sign_in(base: str, member: str | None, problem: str = "") -> str:
    """Show the form that signs a member in."""
    marker = next(item.marker for item in company.PAGES if item.path == "/sign-in")
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    form = (
        f'{alert}<form method="post" action="{base}/sign-in">'
        '<label>Email <input name="email" type="email" autocomplete="username" required></label> '
        '<label>Password <input name="password" type="password" autocomplete="current-password" required></label> '
        '<button type="submit">Sign in</button></form>'
    )
    leave = f'<form method="post" action="{base}/sign-out"><button>Sign out</button></form>' if member else ""
    return _framed(marker, form + leave, base, member)


def error(status: int) -> str:
    """Show what a failed request leaves."""
    return _document(
        str(status), "<h2>Application error: a server-side exception has occurred.</h2><p>Digest: 2338641</p>"
    )


def hollow() -> str:
    """Show a page that was served but has nothing on it."""
    return _document("Derrimut 24:7", '<div id="__next"></div>')


def protected() -> str:
    """Show what stands before a protected deployment."""
    return _document(
        "Authentication Required", "<h1>Authentication Required</h1><p>Log in to view this page.</p>"
    )
