"""An application of Call Automation: takes events, callbacks and media, and checks who sends them."""

from __future__ import annotations

import asyncio
import base64
import json
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt
from aiohttp import WSMsgType, web

from tests.support.eventually import eventually

RESOURCE = "6f1c3d52-0a6e-4f43-9f0b-3a2f6d5c8e71"
ISSUER = "https://acscallautomation.communication.azure.com"
Json = dict[str, Any]


@dataclass
class MediaConnection:
    """One media socket that the service has opened."""

    headers: dict[str, str]
    query: dict[str, str]
    socket: web.WebSocketResponse
    messages: list[Json] = field(default_factory=list)
    close_code: int | None = None
    closed: bool = False

    @property
    def metadata(self) -> Json:
        return self.messages[0]["audioMetadata"]

    def frames(self, participant: str | None = None) -> list[Json]:
        """The audio frames, of one participant where one is named."""
        frames = [message["audioData"] for message in self.messages if message["kind"] == "AudioData"]
        return [one for one in frames if participant in (None, one.get("participantRawID"))]

    def sound(self, participant: str | None = None) -> list[bytes]:
        """What is not silent."""
        return [base64.b64decode(one["data"]) for one in self.frames(participant) if not one["silent"]]

    def digits(self) -> str:
        return "".join(one["dtmfData"]["data"] for one in self.messages if one["kind"] == "DtmfData")

    async def play(self, pcm16: bytes) -> None:
        """Send audio as the public Python samples do."""
        data = base64.b64encode(pcm16).decode()
        await self.socket.send_json({"Kind": "AudioData", "AudioData": {"Data": data}, "StopAudio": None})

    async def stop(self) -> None:
        await self.socket.send_json({"Kind": "StopAudio", "AudioData": None, "StopAudio": {}})


class Application:
    """What it was told, in the order in which it came."""

    def __init__(self, emulator_url: str, client: aiohttp.ClientSession) -> None:
        self.url = ""
        self.callbacks: list[Json] = []
        self.refused: list[tuple[str, list[str]]] = []
        self.tokens: list[str] = []
        self.deliveries: list[tuple[dict[str, str], Any]] = []
        self.statuses: list[int] = []
        self.media: list[MediaConnection] = []
        self.media_status = 101
        self.files: dict[str, bytes] = {}
        self._emulator_url = emulator_url
        self._client = client
        self._keys: dict[str, Any] = {}

    @property
    def callback_url(self) -> str:
        return f"{self.url}/callbacks?session=s1"

    @property
    def media_url(self) -> str:
        return self.url.replace("http", "ws") + "/media?session=s1"

    def names(self) -> list[str]:
        """The names of the callbacks, without their prefix."""
        return [str(event["type"]).rpartition(".")[2] for event in self.callbacks]

    async def callback(self, name: str, count: int = 1) -> Json:
        """Wait for the `count`-th callback of a name, and return its data."""

        def found() -> list[Json]:
            return [event for event in self.callbacks if event["type"].endswith("." + name)]

        await eventually(lambda: len(found()) >= count, within=5, what=f"{name}; came: {self.names()}")
        return found()[count - 1]["data"]

    async def connection(self, number: int = 1) -> MediaConnection:
        """Wait for a media connection that has brought its metadata."""
        await eventually(
            lambda: len(self.media) >= number and self.media[number - 1].messages,
            within=5,
            what=f"media connection {number}",
        )
        return self.media[number - 1]

    async def verified(self, authorization: str) -> Json:
        """Return the claims of a token, checked with the keys that the service publishes."""
        scheme, _, token = authorization.partition(" ")
        assert scheme == "Bearer"
        key_id = jwt.get_unverified_header(token)["kid"]
        if key_id not in self._keys:
            await self._fetch_keys()
        return jwt.decode(
            token,
            self._keys[key_id],
            algorithms=["RS256"],
            issuer=ISSUER,
            audience=RESOURCE,
            options={"require": ["exp", "nbf", "iss", "aud"]},
        )

    async def _fetch_keys(self) -> None:
        configuration = f"{self._emulator_url}/calling/.well-known/acsopenidconfiguration"
        async with self._client.get(configuration) as answer:
            document = await answer.json()
        async with self._client.get(document["jwks_uri"]) as answer:
            keys = jwt.PyJWKSet.from_dict(await answer.json())
        self._keys = {key.key_id: key for key in keys.keys}

    async def take_callback(self, request: web.Request) -> web.Response:
        events = await request.json()
        try:
            await self.verified(request.headers.get("Authorization", ""))
        except (jwt.PyJWTError, AssertionError) as error:
            self.refused.append((type(error).__name__, [event["type"] for event in events]))
            return web.Response(status=401)
        assert request.query["session"] == "s1"
        self.tokens.append(request.headers["Authorization"])
        if self.statuses:
            status = self.statuses.pop(0)
            if status != 200:
                return web.Response(status=status)
        self.callbacks.extend(events)
        return web.Response()

    async def take_event(self, request: web.Request) -> web.Response:
        """An Event Grid webhook of either schema."""
        if request.method == "OPTIONS":
            self.deliveries.append((dict(request.headers), None))
            return web.Response(headers={"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "*"})
        body = await request.json()
        self.deliveries.append((dict(request.headers), body))
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        if request.headers["aeg-event-type"] == "SubscriptionValidation":
            return web.json_response({"validationResponse": body[0]["data"]["validationCode"]})
        return web.Response(status=202)

    async def take_media(self, request: web.Request) -> web.StreamResponse:
        if self.media_status != 101:
            return web.Response(status=self.media_status)
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        connection = MediaConnection(dict(request.headers), dict(request.query), socket)
        self.media.append(connection)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                try:
                    connection.messages.append(json.loads(message.data))
                except json.JSONDecodeError:
                    connection.messages.append({"kind": "not JSON", "size": len(message.data)})
            else:
                connection.messages.append({"kind": "binary", "size": len(message.data)})
        connection.close_code = socket.close_code
        connection.closed = True
        return socket

    async def give_file(self, request: web.Request) -> web.Response:
        data = self.files.get(request.match_info["name"])
        return web.Response(status=404) if data is None else web.Response(body=data)


@asynccontextmanager
async def running_application(emulator_url: str) -> AsyncIterator[Application]:
    """Serve an application until the block ends."""
    async with aiohttp.ClientSession() as client:
        application = Application(emulator_url, client)
        app = web.Application()
        app.router.add_post("/callbacks", application.take_callback)
        app.router.add_route("*", "/events", application.take_event)
        app.router.add_get("/media", application.take_media)
        app.router.add_get("/files/{name}", application.give_file)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        application.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield application
        finally:
            await asyncio.gather(*(one.socket.close() for one in application.media if not one.closed))
            await runner.cleanup()


def loudness(pcm16: bytes) -> int:
    """The loudest sample."""
    samples = array("h", pcm16)
    return max(map(abs, samples), default=0)
