"""What the line to a caller keeps, drops and tells while one of its ends is away or behind."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping

from realtime_worker.media.acs_framing import AcsFraming
from realtime_worker.media.caller_line import HEARD_KEPT_MS, OVER, SAID_KEPT_MS, CallerLine
from shared.errors import UnavailableError
from shared.providers.protocol import AudioSink, AudioSource, EventListener, EventTaker
from tests.support.eventually import eventually

FRAME = base64.b64encode(bytes(960))
SECOND = base64.b64encode(bytes(48_000))
SOURCE = AudioSource(response_id="r1", item_id="i1", content_index=0)
STOP = AcsFraming().stop()


class Wire:
    """A socket whose other end reads, or not."""

    def __init__(self, *, free: bool = True) -> None:
        self.free = free
        self.sent: list[bytes] = []
        self.code = 0

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    async def shut(self, code: int) -> None:
        self.code = code


class Service:
    """A provider's session that takes audio, or does not."""

    def __init__(self) -> None:
        self.free = True
        self.gone = False
        self.heard: list[bytes] = []
        self.close_code = None

    def send_audio(self, audio: bytes) -> None:
        if self.gone:
            raise UnavailableError("provider_disconnected", "gone")
        self.heard.append(audio)

    async def send(self, event: Mapping[str, object]) -> None:
        raise AssertionError("the line sends audio only")

    def play_to(self, sink: AudioSink, listener: EventListener) -> None:
        raise AssertionError("that is the runner's")

    def give_to(self, taker: EventTaker | None) -> None:
        """All is yielded."""

    def tell_words(self, wanted: bool) -> None:
        raise AssertionError("that is the runner's")

    async def events(self) -> AsyncIterator[dict[str, object]]:
        raise AssertionError("that is the runner's")
        yield {}

    async def close(self) -> None:
        raise AssertionError("that is the runner's")


def line(told: list[Mapping[str, object]] | None = None, *, interruptible: bool = True) -> CallerLine:
    return CallerLine((told if told is not None else []).append, interruptible=lambda: interruptible)


def kinds(told: list[Mapping[str, object]]) -> list[str]:
    return [str(event["type"]).rpartition(".")[2] for event in told]


async def test_what_nobody_listens_to_is_kept_for_some_seconds_the_newest_of_it() -> None:
    subject, service = line(), Service()
    frames = [base64.b64encode(number.to_bytes(2, "big") * 480) for number in range(HEARD_KEPT_MS // 20 + 50)]
    for frame in frames:
        subject.hear(frame)
    assert subject.lost_heard_ms == 50 * 20
    subject.listen_with(service)
    assert service.heard == [b"".join(frames[50:])]
    subject.hear(FRAME)
    assert service.heard[1:] == [FRAME]


async def test_a_service_that_is_behind_gets_it_later_in_order() -> None:
    subject, service = line(), Service()
    subject.listen_with(service)
    service.free = False
    subject.hear(b"AAAA")
    subject.hear(b"BBBB")
    service.free = True
    subject.hear(b"CCCC")
    assert service.heard == [b"AAAABBBBCCCC"]


async def test_what_a_lost_service_did_not_take_the_next_one_gets() -> None:
    subject, service = line(), Service()
    subject.listen_with(service)
    service.gone = True
    subject.hear(b"AAAA")
    subject.stop_listening()
    subject.hear(b"BBBB")
    following = Service()
    subject.listen_with(following)
    assert following.heard == [b"AAAABBBB"]


async def test_what_is_said_to_nobody_is_kept_for_some_seconds_and_said_when_the_caller_is_there() -> None:
    told: list[Mapping[str, object]] = []
    subject, wire = line(told), Wire()
    for _ in range(SAID_KEPT_MS // 1000 + 5):
        subject.play(SOURCE, SECOND)
    assert subject.lost_said_ms == 5_000
    assert subject.attach(wire, AcsFraming())
    await eventually(lambda: len(wire.sent) == SAID_KEPT_MS // 1000, what="all that was kept is said")
    assert kinds(told) == ["started"]
    await subject.close(OVER)
    assert wire.code == OVER


async def test_a_carrier_that_is_behind_is_told_to_stop_before_anything_else() -> None:
    told: list[Mapping[str, object]] = []
    subject, wire = line(told), Wire()
    subject.attach(wire, AcsFraming())
    subject.play(SOURCE, SECOND)
    wire.free = False
    subject.play(SOURCE, SECOND)
    subject.interrupt()
    assert STOP not in wire.sent
    following = AudioSource(response_id="r2", item_id="i2", content_index=0)
    subject.play(following, FRAME)
    wire.free = True
    await eventually(lambda: len(wire.sent) == 3, what="the carrier is served again")
    assert wire.sent[1:] == [STOP, AcsFraming().play(FRAME)]
    assert kinds(told) == ["started", "cleared", "started"]
    await subject.close(OVER)


async def test_a_caller_who_interrupted_while_away_hears_nothing_of_it_later() -> None:
    subject, first, second = line(), Wire(), Wire()
    subject.attach(first, AcsFraming())
    subject.play(SOURCE, SECOND)
    subject.detach(first)
    subject.play(SOURCE, SECOND)
    subject.interrupt()
    subject.attach(second, AcsFraming())
    await eventually(lambda: second.sent == [STOP], what="only the stop is told")
    await subject.close(OVER)


async def test_an_agent_that_may_not_be_interrupted_is_not() -> None:
    told: list[Mapping[str, object]] = []
    subject, wire = line(told, interruptible=False), Wire()
    subject.attach(wire, AcsFraming())
    subject.play(SOURCE, SECOND)
    subject.heed({"type": "input_audio_buffer.speech_started"})
    subject.pressed("1")
    assert STOP not in wire.sent
    assert kinds(told) == ["started", "dtmf_event_received"]
    await subject.close(OVER)


async def test_an_answer_that_we_cancelled_is_cut_as_if_spoken_over() -> None:
    told: list[Mapping[str, object]] = []
    subject, wire = line(told), Wire()
    subject.attach(wire, AcsFraming())
    subject.play(SOURCE, SECOND)
    subject.heed({"type": "response.done", "response": {"id": "r1", "status": "cancelled"}})
    subject.play(SOURCE, SECOND)
    assert [message == STOP for message in wire.sent] == [False, True]
    (cleared,) = [event for event in told if str(event["type"]).endswith("cleared")]
    ((heard),) = cleared["heard"]  # type: ignore[misc]
    assert heard["item_id"] == "i1"
    assert heard["audio_end_ms"] < 1_000
    await subject.close(OVER)


async def test_an_answer_is_over_when_it_is_heard_out_and_told_so_once() -> None:
    told: list[Mapping[str, object]] = []
    subject, wire = line(told), Wire()
    subject.attach(wire, AcsFraming())
    subject.play(SOURCE, FRAME)
    done = {"type": "response.done", "response": {"id": "r1", "status": "completed"}}
    subject.heed(done)
    assert kinds(told) == ["started"]
    await eventually(lambda: len(told) == 2, what="it is heard out")
    subject.heed(done)
    subject.interrupt()
    assert kinds(told) == ["started", "stopped"], "nothing of it is left to cut off"


async def test_a_line_that_is_closed_takes_no_other_socket() -> None:
    subject = line()
    await subject.close(OVER)
    assert not subject.attach(Wire(), AcsFraming())
    await subject.close(OVER)
