"""The command alone: help, bad apps and settings, signals."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.functions_host.conftest import EXECUTORS, make_host
from tests.support.eventually import eventually
from tests.support.functions_host import REPOSITORY, FunctionsHost

MINIMAL = """
import azure.functions as func
app = func.FunctionApp()
@app.route("x", auth_level="anonymous")
def x(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("x")
"""
HOST_JSON = '{"version": "2.0"}'


def run(*arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [python, "-m", "emulators", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def app(directory: Path, code: str = MINIMAL, host_json: str = HOST_JSON) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "function_app.py").write_text(code, encoding="utf-8")
    (directory / "host.json").write_text(host_json, encoding="utf-8")
    return directory


def test_help_works_alone() -> None:
    done = run("functions", "--help")
    assert done.returncode == 0
    assert all(
        option in done.stdout for option in ("--port", "--db", "--auth", "--keys", "--executor", "--cors")
    )
    listed = run("--help")
    assert (listed.returncode, "functions" in listed.stdout, "realtime" in listed.stdout) == (0, True, True)
    unknown = run("nothing")
    assert (unknown.returncode, "there is no emulator 'nothing'" in unknown.stderr) == (2, True)


@pytest.mark.parametrize(
    ("host_json", "says"),
    [
        ("{", "is not JSON: Expecting property name enclosed in double quotes at line 1, column 2."),
        ("[]", "must hold a JSON object"),
        ("{}", '"version" must be "2.0", it is null'),
        ('{"version": "2.0", "extensions": 1}', '"extensions" must be an object, it is 1'),
        ('{"version": "2.0", "functionTimeout": "soon"}', "must look like 00:05:00"),
        (
            '{"version": "2.0", "extensions": {"durableTask": {"maxConcurrentActivityFunctions": 0}}}',
            '"extensions.durableTask.maxConcurrentActivityFunctions" must be a whole number of at least 1',
        ),
    ],
)
def test_a_wrong_host_json(tmp_path: Path, host_json: str, says: str) -> None:
    done = run("functions", str(app(tmp_path / "app", host_json=host_json)), "--port", "0")
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


BROKEN_APPS = {
    "syntax": ("def (:", "The function app does not load: SyntaxError"),
    "import": ("import not_there_at_all", "No module named 'not_there_at_all'"),
    "raises": ("def f():\n    raise RuntimeError('in my code')\nf()", "RuntimeError: in my code"),
    "no app": ("x = 1", "Could not find top level function app instances in function_app.py"),
    "two apps": (MINIMAL + "\nsecond = app\n", "More than one FunctionApp or other top level function app"),
    "parameter": (
        MINIMAL.replace("req: func.HttpRequest", "request: func.HttpRequest"),
        "cannot load the x function",
    ),
    "annotation": (
        MINIMAL.replace("req: func.HttpRequest", "req: func.TimerRequest"),
        "cannot load the x function",
    ),
    "return": (MINIMAL.replace("-> func.HttpResponse", "-> int"), "cannot load the x function"),
}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("case", list(BROKEN_APPS))
def test_an_app_that_does_not_load(tmp_path: Path, case: str, executor: str) -> None:
    code, says = BROKEN_APPS[case]
    python = make_host(tmp_path / "host", executor).python
    done = run(
        "functions", str(app(tmp_path / "app", code)), "--port", "0", "--executor", executor, python=python
    )
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "emulators/functions_host" not in done.stderr, "no frames of the host"
    if case == "raises":
        assert 'function_app.py", line 2, in f' in done.stderr


@pytest.mark.parametrize(
    ("code", "host_json", "says"),
    [
        (MINIMAL, '{"version": "2.0", "extensions": {"http": {"routePrefix": "admin"}}}', "reserved words"),
        (
            MINIMAL + MINIMAL.split("\n", 3)[3].replace("def x(", "def y("),
            HOST_JSON,
            "conflicts with that of x: both answer",
        ),
        (MINIMAL.replace('route("x"', 'route("x/{id:odd}"'), HOST_JSON, "unknown constraint 'odd'"),
        (
            "import azure.functions as func\napp = func.FunctionApp()\n"
            "@app.timer_trigger(schedule='every day', arg_name='t')\ndef x(t: func.TimerRequest): pass\n",
            HOST_JSON,
            "is not a schedule: write six fields",
        ),
    ],
)
def test_routes_and_schedules_that_cannot_be_served(
    tmp_path: Path, code: str, host_json: str, says: str
) -> None:
    done = run("functions", str(app(tmp_path / "app", code, host_json)), "--port", "0")
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_not_an_app(tmp_path: Path) -> None:
    missing = run("functions", str(tmp_path / "nothing"))
    assert (missing.returncode, "There is no directory" in missing.stderr) == (2, True)
    empty = run("functions", str(tmp_path))
    assert (empty.returncode, "There is no host.json" in empty.stderr) == (2, True)
    (tmp_path / "host.json").write_text(HOST_JSON, encoding="utf-8")
    without_code = run("functions", str(tmp_path), "--port", "0")
    assert (without_code.returncode, "There is no function_app.py" in without_code.stderr) == (2, True)


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("functions", str(app(tmp_path / "app")), "--port", port)
    assert done.returncode == 2
    assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_database_that_is_none(tmp_path: Path) -> None:
    wrong = tmp_path / "not.db"
    wrong.write_text(
        "this is not a database, but it is long enough to be taken for one" * 20, encoding="utf-8"
    )
    done = run("functions", str(app(tmp_path / "app")), "--port", "0", "--db", str(wrong))
    assert (done.returncode, "cannot be used" in done.stderr) == (2, True)


def test_state_of_one_s_own_stays_out_of_git(tmp_path: Path) -> None:
    host = FunctionsHost(app_dir=app(tmp_path / "app"), state_dir=tmp_path)
    host.start()
    host.stop()
    assert not (tmp_path / "app" / ".functions_host").exists(), "--db was given, --auth was not"


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_it_ends_quickly_even_while_user_code_blocks(
    new_host: Callable[..., FunctionsHost], executor: str
) -> None:
    host = new_host(executor=executor)
    host.start()
    process = host.process
    async with host.client() as client:
        instance = await client.start(
            "slow_orchestration", {"key": "blocked", "until_gone": str(host.app_dir)}
        )
        await client.until(instance, "Running")
        await eventually(lambda: "slow blocked" in host.journal_lines())
    began = time.monotonic()
    assert host.stop() == 0
    assert time.monotonic() - began < 4
    assert process is not None
    assert process.poll() == 0


def test_it_ends_quickly_while_the_app_is_still_loading(tmp_path: Path) -> None:
    marker = tmp_path / "loading"
    code = f"import pathlib, time\npathlib.Path({str(marker)!r}).touch()\ntime.sleep(60)\n"
    command = [
        sys.executable,
        "-m",
        "emulators",
        "functions",
        str(app(tmp_path / "app", code)),
        "--port",
        "0",
    ]
    with subprocess.Popen(command, cwd=REPOSITORY) as process:
        deadline = time.monotonic() + 20
        while not marker.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.monotonic()
        process.terminate()
        assert process.wait(10) == 0
    assert time.monotonic() - began < 4


async def test_a_function_over_its_time_limit_fails(new_host: Callable[..., FunctionsHost]) -> None:
    host = new_host()
    settings = host.app_dir / "host.json"
    settings.write_text(settings.read_text().replace("00:00:20", "00:00:01"), encoding="utf-8")
    host.start()
    async with host.client() as client:
        answer = await client.ask("GET", "/api/slow", params={"seconds": "3"})
    assert answer.status == 500
    text = "Timeout value of 1.0 s was exceeded by function: Functions.slow"
    await eventually(lambda: any(text in line for line in host.output))


async def test_settings_reach_the_app_and_real_ones_win(new_host: Callable[..., FunctionsHost]) -> None:
    host = new_host()
    host.environment = {"AzureWebJobs.ping.Disabled": "true", "HOURLY": "0 30 * * * *"}
    code = host.app_dir / "http_functions.py"
    code.write_text(
        code.read_text()
        .replace(
            'HttpResponse("open")',
            'HttpResponse(repr([os.getenv("FROM_LOCAL_SETTINGS"), os.getenv("HOURLY"), os.getcwd()]))',
        )
        .replace("import json", "import json\nimport os", 1),
        encoding="utf-8",
    )
    host.start()
    async with host.client() as client:
        shown = await client.ask("GET", "/api/with-admin-key")
        assert shown.text == repr(["yes", "0 30 * * * *", str(host.app_dir)])
        assert (await client.ask("GET", "/api/ping")).status == 404, "disabled by a setting"
