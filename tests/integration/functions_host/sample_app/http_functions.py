"""HTTP triggers: echo what arrived, all kinds of answers, keys, a durable client."""

import json
import logging
import time

import azure.durable_functions as df
import azure.functions as func

bp = df.Blueprint()


@bp.route("ping", methods=["GET"], auth_level="anonymous")
def ping(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("pong")


@bp.route("echo/{id:int}/{name?}", methods=["GET", "POST"], auth_level="anonymous")
async def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    logging.getLogger("sample").info("echo called")
    seen = {
        "method": req.method,
        "url": req.url,
        "params": dict(req.params),
        "route": dict(req.route_params),
        "headers": dict(req.headers),
        "body": req.get_body().decode(),
        "function": context.function_name,
        "traceparent": context.trace_context.trace_parent,
    }
    answer = func.HttpResponse(json.dumps(seen), status_code=201, mimetype="application/json")
    answer.headers.add("Set-Cookie", "a=1; Path=/")
    answer.headers.add("Set-Cookie", "b=2; HttpOnly")
    return answer


@bp.route("a-catch-all/{*rest}", methods=["GET"], auth_level="anonymous")
def z_catch_all(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.route_params.get("rest", "(none)"))


@bp.route("shadow/{value}", methods=["GET"], auth_level="anonymous")
def first_by_name(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("first_by_name")


@bp.route("shadow/literal", methods=["GET"], auth_level="anonymous")
def second_by_name(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("second_by_name")


@bp.route("raises", auth_level="anonymous")
def raises(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("on purpose")


@bp.route("returns-none", auth_level="anonymous")
def returns_none(req: func.HttpRequest) -> func.HttpResponse:
    return None


@bp.route("returns-text", auth_level="anonymous")
def returns_text(req: func.HttpRequest) -> str:
    return req.params.get("text", "plain")


@bp.route("bytes", auth_level="anonymous")
def returns_bytes(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(bytes(range(256)), mimetype="application/octet-stream")


@bp.route("slow", auth_level="anonymous")
def slow(req: func.HttpRequest) -> func.HttpResponse:
    time.sleep(float(req.params.get("seconds", "30")))
    return func.HttpResponse("slept")


@bp.route("with-function-key", auth_level="function")
def with_function_key(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("open")


@bp.route("with-admin-key", auth_level="admin")
def with_admin_key(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("open")


@bp.route("start/{name}", methods=["POST"], auth_level="anonymous")
@bp.durable_client_input("client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    given = req.get_json() if req.get_body() else None
    instance_id = await client.start_new(req.route_params["name"], req.params.get("id"), given)
    return client.create_check_status_response(req, instance_id)


@bp.route("client/{operation}", methods=["POST"], auth_level="anonymous")
@bp.durable_client_input("client")
async def client_operation(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Call one method of the SDK's client: its arguments in the body, its result in the answer."""
    arguments = req.get_json()
    if "entity" in arguments:
        name, key = arguments.pop("entity")
        arguments["entityId"] = df.EntityId(name, key)
    try:
        result = await getattr(client, req.route_params["operation"])(**arguments)
    except Exception as error:  # what the SDK raises is what the test looks at
        return func.HttpResponse(json.dumps({"raised": str(error)}), mimetype="application/json")
    shown = _shown(result)
    return func.HttpResponse(json.dumps({"result": shown}), mimetype="application/json")


def _shown(result: object) -> object:
    """Turn what the SDK returns into JSON."""
    if isinstance(result, list):
        return [_shown(r) for r in result]
    if hasattr(result, "runtime_status"):
        if not result:
            return None
        history = {"historyEvents": result.historyEvents} if hasattr(result, "historyEvents") else {}
        return {**result.to_json(), **history}
    if hasattr(result, "instances_deleted"):
        return {"instances_deleted": result.instances_deleted}
    if hasattr(result, "entity_exists"):
        return {"entity_exists": result.entity_exists, "entity_state": result.entity_state}
    return result
