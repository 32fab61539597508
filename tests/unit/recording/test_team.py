"""A call that is handed over replays as it was, and its recording holds nothing that was told along."""

from __future__ import annotations

import gzip
from pathlib import Path

from realtime_worker.conversation.role import Accepted, Declined
from realtime_worker.recording.file_format import read_recording
from realtime_worker.recording.recorder import Recorder
from realtime_worker.recording.replay import first_difference, play
from shared.session.log import ToolCalled, ToolExecution, ToolStatus
from shared.session.model import FactValue, Standing
from tests.unit.conversation.scene import Scene, call_item
from tests.unit.conversation.team_scene import BILLING, RECEPTION, TO_BILLING, TO_RECEPTION, team_setup
from tests.unit.recording.calls import BOUNDS

WORDS = ("Hannah", "Tomsk", "48291734", "guaranteed")


def test_a_team_is_recorded_and_replays(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, BOUNDS, share=1.0)
    unanswered = ToolCalled(
        tool_call_id="c0",
        name="look_up",
        arguments='{"who":"Hannah"}',
        execution=ToolExecution.INLINE,
        response_id="r0",
        agent="reception",
        at_ms=1,
    )
    standing = Standing(agent="reception", agent_version="v1", facts={"member_name": "Hannah"})
    subject = recorder.conversation(team_setup(standing=standing, unanswered=[unanswered]), "webrtc")
    scene = Scene(subject)
    facts: dict[str, FactValue | None] = {"member_verified": True, "member_id": "48291734", "number": 7}
    scene.take(subject.tool_finished("c0", ToolStatus.OK, '{"name":"Hannah"}', 1.0, scene.now, facts))
    scene.respond("r1", call_item("c1", TO_BILLING, '{"reason":"Hannah of Tomsk"}'))
    scene.take(subject.handoff_answered("c1", Declined(code="x", message="Hannah of Tomsk"), scene.now))
    scene.respond("r2", call_item("c2", TO_BILLING, '{"reason":"Hannah of Tomsk"}'))
    told: dict[str, FactValue] = {"reason": "Hannah of Tomsk"}
    scene.take(subject.handoff_answered("c2", Accepted(role=BILLING, context=told), scene.now))
    scene.say("session.updated", session=BILLING.configuration["session"])
    scene.respond("r3", call_item("c3", "pay"), call_item("c4", TO_RECEPTION))
    scene.take(subject.tool_finished("c3", ToolStatus.OK, "{}", 1.0, scene.now, {"member_verified": None}))
    scene.take(subject.handoff_answered("c4", Accepted(role=RECEPTION), scene.now))
    scene.say("session.updated", session=RECEPTION.configuration["session"])
    scene.say("response.created", response={"id": "r4"})
    scene.take(subject.guardrail_tripped("promise", "r4", "It is not guaranteed, Hannah.", scene.now))
    scene.take(subject.gone(scene.now))
    recorder.release("ses_x", 1)
    recorder.close()
    (path,) = tmp_path.iterdir()
    content = gzip.decompress(path.read_bytes()).decode()
    assert not [word for word in WORDS if word in content]
    recording = read_recording(path)
    assert recording.setup.role.handoffs == {
        TO_BILLING: RECEPTION.handoffs[TO_BILLING].__class__(
            to="billing", requires=("member_verified",), announce="xxxx xx xxxxxxx."
        )
    }
    assert [role.agent for role in recording.setup.earlier] == ["billing"]
    different = first_difference(play(recording))
    assert different is None, different
