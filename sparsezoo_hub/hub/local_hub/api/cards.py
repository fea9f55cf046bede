"""Checking a model card before it is committed."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sparsezoo_hub.hub.local_hub.api.request_parts import read_json
from sparsezoo_hub.hub.local_hub.card_metadata import check_card
from sparsezoo_hub.hub.local_hub.refusals import RefusalError


async def validate_card(request: Request) -> JSONResponse:
    """Tell what is wrong with the metadata of a card, if anything."""
    content = (await read_json(request)).get("content")
    if not isinstance(content, str):
        raise RefusalError(400, f"content must be the card's text, got {type(content).__name__}")
    metadata = check_card(content.encode("utf-8", "surrogatepass"))
    missing = "the card has no metadata at its top: a model is found by its tags, license and base_model"
    warnings = [] if metadata else [{"message": missing}]
    return JSONResponse({"errors": [], "warnings": warnings})


ROUTES = [Route("/api/validate-yaml", validate_card, methods=["POST"])]
