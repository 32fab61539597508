"""What a worker says at its start about a model service that it cannot use."""

from __future__ import annotations

import logging

import pytest

from realtime_worker.worker import check_provider
from shared.providers.failures import failure_of
from tests.support.scripted_provider import ScriptedProvider


class Refused(ScriptedProvider):
    """A service that answers the check with a failure."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self._failure = failure

    async def check(self) -> None:
        raise self._failure


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (404, "DeploymentNotFound", "REALTIME_MODEL names a deployment of that resource"),
        (401, "PermissionDenied", "role Cognitive Services OpenAI User"),
    ],
)
async def test_a_wrong_deployment_or_role_is_said_with_the_setting_and_the_fix(
    caplog: pytest.LogCaptureFixture, status: int, code: str, remedy: str
) -> None:
    with caplog.at_level(logging.ERROR, logger="sidetone"):
        await check_provider(Refused(failure_of(status, code)))
    (record,) = [one for one in caplog.records if one.getMessage() == "model service cannot be used"]
    assert remedy in str(vars(record)["detail"])


async def test_what_nobody_foresaw_does_not_end_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    await check_provider(Refused(RuntimeError("odd")))
    assert "model service could not be checked" in caplog.text
