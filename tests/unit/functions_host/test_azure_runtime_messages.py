"""What crosses to and from Microsoft's worker library, without the library."""

from __future__ import annotations

from pathlib import Path

from emulators.functions_host import trace_context
from emulators.functions_host.azure_runtime_executor import own_frames
from emulators.functions_host.worker_protos import PROTOS, ParameterBinding, TypedData

STACK = """Traceback (most recent call last):
  File "/venv/site-packages/azure_functions_runtime/handle_event.py", line 1, in invocation_request
    call()
    ~~~~^^
  File "/apps/mine/function_app.py", line 7, in f
    raise ValueError("x")
  File "/apps/mine/.venv/lib/site-packages/other.py", line 1, in g
    pass
ValueError: x
and more of the message
"""


def test_a_stack_is_cut_to_the_app_s_own_frames() -> None:
    assert own_frames(STACK, Path("/apps/mine")) == (
        '  File "/apps/mine/function_app.py", line 7, in f\n'
        '    raise ValueError("x")\n'
        "ValueError: x\n"
        "and more of the message\n"
    )
    assert own_frames(STACK, Path("/elsewhere")) == ""


def test_typed_data_tells_its_one_field() -> None:
    assert TypedData(json="{}").WhichOneof("data") == "json"
    assert ParameterBinding(name="x", data=TypedData(string="s")).WhichOneof("rpc_data") == "data"
    assert not hasattr(TypedData(json="{}"), "TypedData"), "the worker probes for it"
    assert getattr(PROTOS.RpcHttpCookie.SameSite, "None") == ""


def test_trace_context_is_taken_only_when_it_is_well_formed() -> None:
    good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    taken = trace_context.from_headers({"traceparent": good, "tracestate": "a=b"})
    assert taken is not None
    assert (taken.traceparent, taken.tracestate) == (good, "a=b")
    for bad in ("", "x", good[:-1], good.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32), f"{good}-x"):
        assert trace_context.from_headers({"traceparent": bad}) is None
    begun = trace_context.begin()
    assert trace_context.from_headers({"traceparent": begun.traceparent}) == begun
