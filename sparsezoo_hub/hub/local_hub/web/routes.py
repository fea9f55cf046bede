"""The addresses of the pages."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from sparsezoo_hub.hub.local_hub.api.access import SIGN_IN, account_of
from sparsezoo_hub.hub.local_hub.names import RESERVED_OWNERS
from sparsezoo_hub.hub.local_hub.web.catalogue import catalogue
from sparsezoo_hub.hub.local_hub.web.comparison_page import comparison_page
from sparsezoo_hub.hub.local_hub.web.discussion_pages import discussion_page, discussions_page
from sparsezoo_hub.hub.local_hub.web.files_pages import blob_page, picture, tree_page
from sparsezoo_hub.hub.local_hub.web.history_pages import commit_page, history_page
from sparsezoo_hub.hub.local_hub.web.model_page import model_page
from sparsezoo_hub.hub.local_hub.web.rendering import (
    ICON,
    ICON_ADDRESS,
    SECURITY_HEADERS,
    STYLE,
    STYLE_ADDRESS,
    html_page,
)


class PageRoute(Route):
    """A route for people: it never stands in the way of what the client asks or sends."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match only what a browser fetches, and nothing that begins like the API's addresses."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            return Match.NONE, {}
        if scope["path"].split("/", 2)[1].lower() in RESERVED_OWNERS:
            return Match.NONE, {}
        return super().matches(scope)


def style(_: Request) -> Response:
    """Send the style sheet."""
    return _lasting(STYLE, "text/css")


def icon(_: Request) -> Response:
    """Send the icon."""
    return _lasting(ICON, "image/svg+xml")


def sign_in(request: Request) -> Response:
    """Ask for a name and a token, as a browser asks for a name and a password; then go on."""
    if account_of(request).is_known:
        path = request.query_params.get("next", "/")
        # Only to a page of this Hub. What begins with two slashes is another host; to some browsers so is a
        # backslash or a tab after the first, but the redirection writes those as %5C and %09.
        here = path.startswith("/") and not path.startswith("//")
        return RedirectResponse(path if here else "/", 303)
    return html_page(request, "sign_in.html", status=401, headers={"WWW-Authenticate": SIGN_IN})


def _lasting(content: bytes, media_type: str) -> Response:
    headers = {**SECURITY_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(content, media_type=media_type, headers=headers)


ROUTES = [
    PageRoute("/", catalogue),
    PageRoute("/models", catalogue),
    PageRoute("/compare", comparison_page),
    PageRoute("/login", sign_in),
    PageRoute(STYLE_ADDRESS, style),
    PageRoute(ICON_ADDRESS, icon),
    PageRoute("/{owner}/{name}", model_page),
    PageRoute("/{owner}/{name}/tree/{revision}", tree_page),
    PageRoute("/{owner}/{name}/tree/{revision}/{path:path}", tree_page),
    PageRoute("/{owner}/{name}/blob/{revision}/{path:path}", blob_page),
    PageRoute("/{owner}/{name}/picture/{revision}/{path:path}", picture),
    PageRoute("/{owner}/{name}/commits/{revision}", history_page),
    PageRoute("/{owner}/{name}/commit/{revision}", commit_page),
    PageRoute("/{owner}/{name}/discussions", discussions_page),
    PageRoute("/{owner}/{name}/discussions/{num:int}", discussion_page),
]
