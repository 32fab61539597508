"""What a web page of another origin may ask the emulator, as browsers decide it (CORS)."""

from __future__ import annotations

import pytest

from tests.support.realtime_emulator import MINIMAL_OFFER, SESSION, running_emulator

PAGE = {"Origin": "https://app.example"}
CALLS = "/openai/v1/realtime/calls?webrtcfilter=on"


async def test_a_page_may_post_its_offer_and_read_the_call_id() -> None:
    async with running_emulator() as emulator:
        asks = {**PAGE, "Access-Control-Request-Method": "POST"}
        asks["Access-Control-Request-Headers"] = "authorization,content-type"
        async with emulator.http.options(emulator.url + CALLS, headers=asks) as allowed:
            assert allowed.status == 204
            assert allowed.headers["Access-Control-Allow-Origin"] == "*"
            assert "POST" in allowed.headers["Access-Control-Allow-Methods"]
            names = allowed.headers["Access-Control-Allow-Headers"].lower().replace(" ", "").split(",")
            assert {"authorization", "content-type"} <= set(names)

        secret = await emulator.client.realtime.client_secrets.create(session=SESSION)  # type: ignore[arg-type]
        offers = {**PAGE, "Authorization": f"Bearer {secret.value}", "Content-Type": "application/sdp"}
        async with emulator.http.post(emulator.url + CALLS, headers=offers, data=MINIMAL_OFFER) as answered:
            assert answered.status == 201
            assert answered.headers["Access-Control-Allow-Origin"] == "*"
            assert answered.headers["Access-Control-Expose-Headers"] == "Location"


async def test_a_page_may_read_why_it_was_refused() -> None:
    async with running_emulator() as emulator:
        offers = {**PAGE, "Authorization": "Bearer ek_unknown", "Content-Type": "application/sdp"}
        async with emulator.http.post(emulator.url + CALLS, headers=offers, data=MINIMAL_OFFER) as refused:
            assert refused.status == 401
            assert refused.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    "path", ["/openai/v1/realtime/client_secrets", "/_emu/calls", "/_emu/expire-secrets"]
)
async def test_nothing_else_is_for_pages(path: str) -> None:
    async with running_emulator() as emulator:
        asks = {**PAGE, "Access-Control-Request-Method": "POST"}
        for method in ("OPTIONS", "GET", "POST"):
            async with emulator.http.request(method, emulator.url + path, headers=asks) as answer:
                assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_server_gets_no_answer_meant_for_pages() -> None:
    async with running_emulator() as emulator, emulator.http.post(emulator.url + CALLS) as answer:
        assert answer.status == 401
        assert "Access-Control-Allow-Origin" not in answer.headers
