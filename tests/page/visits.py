"""A visitor of the page: what is seen, what is done, what the browser asks and complains of."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, FilePayload, Locator, Page, Request, expect

REFUSED = re.compile("Failed to load resource")
STREAM, CLASSIFY, STATUS = "/classify/stream", "/classify", "/v1/status"
# A file, as a drop or a paste brings it.
HAND_OVER = """([kind, name, type, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, {type}));
  const options = {bubbles: true, cancelable: true};
  const event = kind === "paste"
    ? new ClipboardEvent(kind, {...options, clipboardData: data})
    : new DragEvent(kind, {...options, dataTransfer: data});
  document.querySelector("#picture").dispatchEvent(event);
}"""


class Visit:
    """One page in a browser context of its own."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.refusals_expected = False
        self.requests: list[Request] = []
        self._complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request))
        page.on("pageerror", lambda error: self._complaints.append(str(error)))
        page.on("console", self._console)
        page.on("dialog", lambda dialog: self._complaints.append(f"dialog {dialog.message!r}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._complaints.append(f"{message.text} ({message.location.get('url')})")

    def open(self, address: str = "/") -> Visit:
        """Go there, until the page has asked about its first image."""
        self.page.goto(self.origin + address)
        self.page.wait_for_selector("html[data-ready]", state="attached")
        return self

    @property
    def complaints(self) -> list[str]:
        """Errors of scripts, breaches of the policy, dialogs; and, unless these were expected,
        requests that were refused."""
        return [
            complaint
            for complaint in self._complaints
            if not (self.refusals_expected and REFUSED.search(complaint))
        ]

    def asked(self, path: str) -> int:
        """How many requests there were for this path."""
        return sum(urlsplit(request.url).path == path for request in self.requests)

    # What is seen

    def at(self, selector: str, has_text: str | None = None) -> Locator:
        return self.page.locator(selector, has_text=has_text)

    @property
    def handle(self) -> Locator:
        return self.page.get_by_role("slider", name="entropy threshold")

    @property
    def threshold(self) -> float:
        return float(self.handle.get_attribute("aria-valuenow") or "nan")

    @property
    def exit(self) -> int:
        """The timestep after which the image leaves, as the headline says."""
        found = re.search(r"after (\d+) of", self.at("#verdict").inner_text())
        assert found, self.at("#verdict").inner_text()
        return int(found[1])

    def agrees(self) -> None:
        """The service, asked with the threshold that is shown, says what the page says."""
        agreement = self.at("#agreement")
        label = self.handle.locator("text").text_content()
        expect(agreement).to_contain_text(f"asked with {label}:")
        expect(agreement).to_have_attribute("data-same", "true")

    def says(self, words: str) -> None:
        """A problem is told in these words."""
        expect(self.at("#problem")).to_be_visible()
        expect(self.at("#problem p")).to_contain_text(words)

    def usable(self) -> None:
        """An example can be asked about, and is answered."""
        self.answered(self.at("#examples button").nth(1).click)
        expect(self.at("#problem")).to_be_hidden()

    # What is done

    def answered(self, action: Callable[[], Any]) -> None:
        """Do it, until the service has answered and the page compared."""
        with self.page.expect_response(lambda response: urlsplit(response.url).path.endswith(CLASSIFY)):
            action()
        self.agrees()

    def upload(self, body: bytes, name: str = "picture.png", kind: str = "image/png") -> None:
        """Choose a file."""
        payload: FilePayload = {"name": name, "mimeType": kind, "buffer": body}
        self.at("#file").set_input_files(files=[payload])

    def drag(self, share: float) -> None:
        """The threshold's handle, by mouse, to this share of the plot's height from its top."""
        plot = self.at("#entropy svg")
        plot.scroll_into_view_if_needed()
        box, grip = plot.bounding_box(), self.handle.locator(".grip").bounding_box()
        assert box and grip
        mouse = self.page.mouse
        mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
        mouse.down()
        mouse.move(box["x"] + box["width"] / 2, box["y"] + share * box["height"], steps=3)
        mouse.up()

    @property
    def focused(self) -> Locator:
        return self.page.locator(":focus")

    def bring(self, event: Literal["drop", "paste"], body: bytes) -> None:
        """A picture, by mouse or from the clipboard."""
        self.page.evaluate(
            HAND_OVER, [event, "picture.png", "image/png", base64.b64encode(body).decode()]
        )
