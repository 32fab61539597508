"""A real Chromium for tests, driven over the Chrome DevTools Protocol.

    async with Chromium.launched(tmp_path, microphone=wav) as browser:
        page = await browser.open("http://127.0.0.1:8000/")
        assert await page.evaluate("document.title") == "Hello"

The browser knows no network but 127.0.0.1, has a profile of its own, and none of its processes outlives the
block. Its microphone plays a WAV file (48 kHz mono PCM16) once, from the moment that a page opens it.

Source: the Chrome DevTools Protocol (domains Target, Runtime, Page, Log), in flat session mode.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.eventually import eventually

EXECUTABLE = shutil.which("chromium")
WHY_NOT = "no `chromium` on PATH (Debian and Ubuntu: apt-get install chromium)"

_ANSWERS_WITHIN_S = 20.0
_LARGEST_MESSAGE = 64 * 1024 * 1024
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # for root, and for the microphone's file
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-audio-output",  # nobody listens, and pages get the audio all the same
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    # Nothing but this machine: a test must not depend on the network, nor tell it anything.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-pings",
    "--password-store=basic",
    "--disable-features=MediaRouter,OptimizationHints,Translate",
    # A page without a window must not be slowed down.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)


class BrowserError(AssertionError):
    """The browser, or a script in a page, failed; says how."""


class Chromium:
    """A running browser."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._commands = 0

    @classmethod
    @asynccontextmanager
    async def launched(
        cls, directory: Path, *, microphone: Path | None = None
    ) -> AsyncGenerator[Chromium, None]:
        """Start a browser with its profile and log below `directory`; end it with the block."""
        assert EXECUTABLE is not None, WHY_NOT
        profile, log = directory / "chromium", directory / "chromium.log"
        profile.mkdir(parents=True)
        microphone_flags = (
            [f"--use-file-for-fake-audio-capture={microphone}%noloop"] if microphone is not None else []
        )
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                EXECUTABLE,
                *_FLAGS,
                f"--user-data-dir={profile}",
                *microphone_flags,
                "about:blank",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "HOME": str(profile)},  # no file of the browser outside of the profile
                start_new_session=True,
            )
        browser = cls(process, log)
        try:
            async with browser._connected(profile):
                yield browser
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            # Its crash handlers lead groups of their own, and end when the browser has.
            await eventually(lambda: not _processes_of(profile), what="all of chromium's processes are gone")

    async def open(self, url: str) -> Page:
        """Open a tab on `url`; returns once its document has loaded."""
        target = await self.command("Target.createTarget", url="about:blank")
        attached = await self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, attached["sessionId"])
        self._pages[attached["sessionId"]] = page
        for domain in ("Runtime", "Log", "Page"):
            await page.command(f"{domain}.enable")
        navigated = await page.command("Page.navigate", url=url)
        if "errorText" in navigated:
            raise BrowserError(f"{url}: {navigated['errorText']}")
        await page.until("document.readyState === 'complete'", within=_ANSWERS_WITHIN_S)
        return page

    async def command(self, method: str, session: str = "", **parameters: object) -> dict[str, Any]:
        """Send one command of the protocol; returns its result."""
        assert self._socket is not None
        self._commands += 1
        number = self._commands
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                await self._socket.send_str(json.dumps(message))
                answer = await reply
        except (TimeoutError, ConnectionError) as error:
            raise BrowserError(f"no answer to {method}: {error!r}\n{self.log_tail()}") from None
        finally:
            del self._replies[number]
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def log_tail(self) -> str:
        """Return the end of what the browser itself printed."""
        printed = self._log.read_text(errors="replace").splitlines()
        told = [line for line in printed if "ERROR:dbus" not in line]  # it has no desktop, and says so often
        return "\n".join([f"--- chromium ({self._log})", *told[-20:]])

    @asynccontextmanager
    async def _connected(self, profile: Path) -> AsyncGenerator[None, None]:
        address = await self._debugger(profile / "DevToolsActivePort")
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(address, max_msg_size=_LARGEST_MESSAGE) as socket,
        ):
            self._socket = socket
            reading = asyncio.create_task(self._read(socket))
            try:
                yield
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _debugger(self, port_file: Path) -> str:
        def probe() -> list[str]:
            if self._process.returncode is not None:
                raise BrowserError(f"chromium ended with {self._process.returncode}\n{self.log_tail()}")
            lines = port_file.read_text().splitlines() if port_file.exists() else []
            return lines if len(lines) == 2 else []

        try:
            port, path = await eventually(probe, within=_ANSWERS_WITHIN_S, what="chromium is up")
        except BrowserError:
            raise
        except AssertionError as error:
            raise BrowserError(f"{error}\n{self.log_tail()}") from None
        return f"ws://127.0.0.1:{port}{path}"

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            received: dict[str, Any] = json.loads(message.data)
            if "id" in received:
                waiting = self._replies.get(received["id"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(received)
            elif (page := self._pages.get(received.get("sessionId", ""))) is not None:
                page.take(received["method"], received["params"])
        for waiting in self._replies.values():
            if not waiting.done():
                waiting.set_exception(BrowserError(f"chromium went away\n{self.log_tail()}"))


class Page:
    """A tab. `console` has what its scripts printed and what went wrong, `problems` only the latter."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self.console: list[str] = []
        self.problems: list[str] = []

    async def command(self, method: str, **parameters: object) -> dict[str, Any]:
        return await self._browser.command(method, self._session, **parameters)

    async def evaluate(self, expression: str) -> Any:
        """Return the JSON value of a JavaScript expression, awaited; BrowserError where it throws."""
        answer = await self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {_thrown(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    async def call(self, function: str, *arguments: object) -> Any:
        """Call a function of the page with JSON values; returns what it returns."""
        return await self.evaluate(f"{function}({', '.join(json.dumps(each) for each in arguments)})")

    async def until(self, condition: str, *, within: float) -> Any:
        """Wait until a JavaScript expression is truthy; return its value."""
        return await eventually(lambda: self.evaluate(condition), within=within, what=condition)

    async def screenshot(self) -> bytes:
        """Return a picture of the page as PNG."""
        picture = await self.command("Page.captureScreenshot", format="png")
        return base64.b64decode(picture["data"])

    def take(self, method: str, event: dict[str, Any]) -> None:
        """Take an event of the protocol."""
        match method:
            case "Runtime.consoleAPICalled":
                text = " ".join(_shown(argument) for argument in event["args"])
                self._note(f"{event['type']}: {text}", problem=event["type"] in ("error", "assert"))
            case "Runtime.exceptionThrown":
                self._note(f"uncaught: {_thrown(event['exceptionDetails'])}", problem=True)
            case "Log.entryAdded":
                entry = event["entry"]
                text = f"{entry['source']} {entry['level']}: {entry['text']} {entry.get('url', '')}"
                self._note(text.rstrip(), problem=entry["level"] == "error")
            case _:
                pass  # of the enabled domains, nothing else is of interest

    def _note(self, line: str, *, problem: bool) -> None:
        self.console.append(line)
        if problem:
            self.problems.append(line)


def _processes_of(profile: Path) -> list[str]:
    found: list[str] = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(profile).encode() in command.read_bytes():
                found.append(command.parent.name)
    return found


def _thrown(details: dict[str, Any]) -> str:
    exception = details.get("exception", {})
    return str(exception.get("description") or exception.get("value") or details["text"])


def _shown(argument: dict[str, Any]) -> str:
    value = argument.get("value", argument.get("description", argument["type"]))
    return value if isinstance(value, str) else json.dumps(value)
