"""Let pages of any origin post an SDP offer, as the service does: a browser asks first (CORS).

Only the calls endpoint answers pages, and it shows them the call's `Location`. An ephemeral token must still
be sent, and browsers add none by themselves, so any origin may ask. Source: the Fetch standard, "CORS
protocol"; the Realtime API's WebRTC guide, where the page itself posts the offer.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

_PAGES_MAY_POST_TO = "/realtime/calls"
_PREFLIGHT_KEPT_S = "600"


@web.middleware
async def answer_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer preflight requests for the calls endpoint, and let pages read its answers, refusals too."""
    if not request.path.endswith(_PAGES_MAY_POST_TO) or "Origin" not in request.headers:
        return await handler(request)
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        response: web.StreamResponse = web.Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = "POST"
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
        response.headers["Access-Control-Max-Age"] = _PREFLIGHT_KEPT_S
    else:
        response = await handler(request)
        response.headers["Access-Control-Expose-Headers"] = "Location"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response
