"""Make docs/screenshot.png: the page over the sample workspace, in Airflow, in a real browser (`make screenshot`)."""

from __future__ import annotations

import os
import sys
import tempfile

from rich.console import Console

from perennial.settings import Settings
from perennial_sample.mailbox import Mailbox
from perennial_sample.ports import free_port
from perennial_sample.serve import running_airflow
from perennial_sample.story import tell_story
from tests import PROJECT_ROOT
from tests.browser.chromium import find_chromium, open_browser

TARGET = PROJECT_ROOT / "docs" / "screenshot.png"


def main() -> int:
    path = find_chromium()
    if path is None:
        sys.stderr.write("There is no Chromium on this machine (apt-get install chromium).\n")
        return 1
    with tempfile.TemporaryDirectory() as home:
        os.environ["PERENNIAL_HOME"] = home
        settings = Settings.from_environment()
        tell_story(Console(stderr=True, quiet=True), 200_000)
        with (
            Mailbox(settings.home / "mail") as mailbox,
            running_airflow(settings, free_port(), mailbox) as airflow,
            open_browser(path) as browser,
        ):
            page = browser.new_page(base_url=airflow.url, viewport={"width": 1280, "height": 800})
            page.set_default_timeout(120_000)
            page.goto("/")
            page.locator("input[name=username]").fill("admin")
            page.locator("input[type=password]").fill(airflow.password)
            page.keyboard.press("Enter")
            page.get_by_role("link", name="Expiry").click()
            frame = page.frame_locator("iframe")
            frame.locator("select[name=state]").select_option("expired")
            frame.get_by_role("button", name="Filter").click()
            # Until the list is the filtered one: only then something leads back to all.
            frame.get_by_role("link", name="Clear").wait_for()
            frame.locator("input[name=id]").nth(1).check()
            frame.locator("input[name=id]").nth(3).check()
            page.screenshot(path=TARGET)
    sys.stdout.write(f"{TARGET.relative_to(PROJECT_ROOT)} is written.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
