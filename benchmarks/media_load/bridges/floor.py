"""The least that a bridge can do: picows, and bytes cut out of one message and put into another.

Takes the service's WebSocket address; prints "ready PORT". Needs picows and uvloop, and nothing of ours.
"""

import asyncio
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect, ws_create_server

_APPEND, _APPEND_END = b'{"type":"input_audio_buffer.append","audio":"', b'"}'
_PLAY, _PLAY_END = b'{"Kind":"AudioData","AudioData":{"Data":"', b'"},"StopAudio":null}'
_DATA, _DELTA = b'"data":"', b'"delta":"'


def cut(message: bytes, before: bytes) -> bytes:
    at = message.find(before)
    return message[at + len(before) : message.find(b'"', at + len(before))] if at >= 0 else b""


class Service(WSListener):
    def __init__(self, carrier: WSTransport) -> None:
        self._carrier = carrier

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT and (audio := cut(frame.get_payload_as_bytes(), _DELTA)):
            self._carrier.send(WSMsgType.TEXT, _PLAY + audio + _PLAY_END)


class Carrier(WSListener):
    def __init__(self, url: str) -> None:
        self._url = url
        self._service: WSTransport | None = None
        self._dialling: asyncio.Task | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._dialling = asyncio.get_running_loop().create_task(self._dial(transport))

    async def _dial(self, carrier: WSTransport) -> None:
        self._service, _ = await ws_connect(lambda: Service(carrier), self._url)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT and self._service is not None:
            if audio := cut(frame.get_payload_as_bytes(), _DATA):
                self._service.send(WSMsgType.TEXT, _APPEND + audio + _APPEND_END)
        elif frame.msg_type is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())


async def main() -> None:
    server = await ws_create_server(lambda _: Carrier(sys.argv[1]), "127.0.0.1", 0)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


uvloop.run(main())
