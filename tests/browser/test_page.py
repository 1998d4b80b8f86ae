"""The page as people use it: in Airflow's frame, by mouse and by keyboard, light and dark, wide and narrow."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from perennial_sample.mailbox import Mailbox
from tests.browser.conftest import ASKED_BY_PLATFORM, PROMO, Running, Served, until
from tests.rows import visible
from tests.web.restoring import run_queued, runs

Visit = Callable[..., Page]
# Words of up to twelve letters that stand on more than one line.
BROKEN_WORDS = r"""() => {
  const broken = [], texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    for (const word of text.data.matchAll(/\p{L}+/gu)) {
      const range = new Range();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (word[0].length <= 12 && range.getClientRects().length > 1) broken.push(word[0]);
    }
  }
  return broken;
}"""
# What can be scrolled sideways, in a list of its own or with the page.
SCROLLED = """() => [...document.querySelectorAll("main, main *")].filter((element) =>
  element.scrollWidth > element.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(element).overflowX)
).map((element) => element.outerHTML.slice(0, 80))"""
# Top of each filter's label, top and bottom of its box.
FILTERS = """() => [...document.querySelectorAll("form.filters label")].map((label) => {
  const box = label.querySelector("input, select").getBoundingClientRect();
  return [label.getBoundingClientRect().top, box.top, box.bottom].map(Math.round);
})"""
HOSTILE = "cmp/<b>\"'é🦄"


def in_frame(page: Page):
    """The page inside Airflow's."""
    return page.frame_locator("iframe")


def log_in(page: Page, served: Served) -> None:
    page.get_by_placeholder("Username").or_(page.locator("input[name=username]")).first.fill(served.user)
    page.locator("input[type=password]").first.fill(served.password)
    page.get_by_role("button", name=re.compile("sign in|log in", re.IGNORECASE)).click()


def shown_after_filtering(page, row: str) -> bool:
    page.get_by_role("button", name="Filter").click()
    page.get_by_text("1 source, matching").first.wait_for()
    return page.get_by_role("row", name=re.compile(row)).is_visible()


def restored(page) -> None:
    """Wait for the end of the restore that the page shows."""
    expect(page.locator("#phase")).to_have_text(re.compile("^Done"), timeout=240_000)


def test_an_expired_source_is_found_restored_and_followed_to_the_e_mail(
    visit: Visit, served: Served, dags: Mapping[str, Any], mailbox: Mailbox
) -> None:
    page = visit(logged_in=False)
    page.goto("/")
    log_in(page, served)
    label = page.get_by_role("link", name="Expiry").locator("div")
    # Airflow's bar cuts off what does not fit.
    assert label.evaluate("label => label.scrollWidth <= label.clientWidth")
    page.get_by_role("link", name="Expiry").click()

    frame = in_frame(page)
    frame.get_by_label("Name or id").fill("spring")
    frame.get_by_role("button", name="Filter").click()
    expect(frame.get_by_text("1 source, matching spring").first).to_be_visible()
    # The address bar shows Airflow's address alone; this one can be shared.
    with page.context.expect_page() as own_tab:
        frame.get_by_role("link", name="Open in its own tab").click()
    expect(own_tab.value.get_by_role("link", name="Spring sale")).to_be_visible()
    assert "q=spring" in own_tab.value.url
    own_tab.value.close()
    frame.get_by_role("link", name="Spring sale").click()
    expect(frame.locator("main")).to_contain_text("expired")
    page.screenshot(path="build/screenshots/banner.png", full_page=True)
    frame.get_by_role("link", name="Restore interaction data").or_(
        frame.get_by_role("button", name="Restore interaction data")
    ).first.click()

    expect(frame.locator("main")).to_contain_text("40")
    frame.get_by_label("Notify (one address per line)").fill("ann@example.com")
    frame.get_by_label(re.compile("Reason")).fill("Season starts again")
    frame.get_by_role("button", name="Restore interaction data").click()
    expect(frame.locator("#phase")).to_have_text(re.compile("^Queued"))
    (run,) = runs()
    assert run_queued(dags, run.run_id) == "success"
    restored(frame)
    (mail,) = mailbox.messages()
    assert mail.recipients == ("ann@example.com",)
    assert "Spring sale" in mail.text
    assert sum(row.count("cmp-spring#") for row in visible(served.warehouse)) == 40
    # What happened survives a reload.
    page.reload()
    restored(frame)
    frame.get_by_role("link", name="Sources", exact=True).click()
    frame.get_by_label("Name or id").fill("spring")
    # The list may be a few seconds old.
    until(lambda: shown_after_filtering(frame, "Spring sale.*available"))


@pytest.mark.long
def test_by_keyboard_alone_all_that_match_a_tag_come_back_with_one_request(visit: Visit, running: Running) -> None:
    page = visit("/perennial/sources?tag=promo&state=expired")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, "[data-page]")
    page.keyboard.press("Space")
    expect(page.locator("[data-selected]")).to_have_text(f"{PROMO} selected")
    page.keyboard.press("Space")
    expect(page.locator("[data-selected]")).to_have_text("0 selected")
    tab_to(page, "input[name=all]")
    page.keyboard.press("Space")
    expect(page.locator("[data-selected]")).to_have_text(f"{PROMO} selected")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Restore interaction data")
    expect(page.locator("dl")).to_contain_text(str(PROMO))
    tab_to(page, "textarea[name=notify]")
    page.keyboard.type("bob@example.com")
    tab_to(page, "button.primary")
    page.keyboard.press("Enter")
    # A key does not wait for the page that its form leads to.
    page.wait_for_url(re.compile("/restores/run"))
    run_address = page.url
    second = visit("/perennial/restore?id=cmp-promo-3")
    expect(second.locator("main")).to_contain_text(re.compile("under way|already available"))
    page.reload()
    restored(page)
    assert page.url == run_address
    mail = [mail for mail in running.mailbox.messages() if "bob@example.com" in mail.recipients]
    assert len(mail) == 1
    assert f"{PROMO} sources" in mail[0].subject
    page.get_by_role("link", name="All restores").click()
    expect(page.get_by_role("row").filter(has_text="tag promo")).to_be_visible()


def tab_to(page: Page, selector: str) -> None:
    for _ in range(60):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard never reaches {selector}")


def test_a_source_with_an_awkward_name_is_shown_as_text_and_can_be_followed(visit: Visit) -> None:
    page = visit("/perennial/sources?q=alert")
    page.get_by_role("link", name=re.compile("alert")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert(1)</script>")
    expect(page.locator("main")).to_contain_text(HOSTILE)


@pytest.mark.long(but="^dark-overview$")
@pytest.mark.parametrize(
    "address",
    [
        "sources",
        "overview",
        "source?id=cnv-running",
        "users",
        "user?id=user-1",
        "restores",
        f"erasure?id={ASKED_BY_PLATFORM}",
    ],
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_both_themes(visit: Visit, address: str, scheme: str) -> None:
    page = visit(f"/perennial/{address}", color_scheme=scheme)
    ground, ink = (page.evaluate(f"getComputedStyle(document.body).{what}") for what in ("backgroundColor", "color"))
    assert contrast(ground, ink) > 7
    assert (luminance(ground) < 0.1) == (scheme == "dark")


@pytest.mark.long(but="dark")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_charts_of_the_overview_are_drawn(visit: Visit, scheme: str) -> None:
    page = visit("/perennial/overview", color_scheme=scheme)
    charts = page.locator(f"img.on-{scheme}")
    expect(charts).to_have_count(3)
    for chart in charts.all():
        chart.scroll_into_view_if_needed()
        expect(chart).to_be_visible()
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=chart.element_handle())


@pytest.mark.long(but=r"^360-forecast\?audiences=true$")
@pytest.mark.parametrize(
    "address",
    [
        "sources", "sources?q=nothing", "overview", "forecast?audiences=true", "holds", "preview", "source?id=cnv-running", "source?id=cmp-promo-1", "user?id=user-1",
        "users?q=user-1", "restores", "restore?id=cmp-kept&tags=promo", "docs", "source?id=nobody",
        "erasures", f"erasure?id={ASKED_BY_PLATFORM}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("width", [360, 390])
def test_a_narrow_window_shows_the_page_without_scrolling_sideways(visit: Visit, address: str, width: int) -> None:
    page = visit(f"/perennial/{address}", viewport={"width": width, "height": 740})
    page.evaluate("for (const closed of document.querySelectorAll('main details')) closed.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(SCROLLED) == []
    if address != "docs":
        assert page.evaluate(BROKEN_WORDS) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_filters_that_stand_in_a_line_have_labels_and_boxes_in_one(visit: Visit, width: int) -> None:
    page = visit("/perennial/sources", viewport={"width": width, "height": 800})
    places = page.evaluate(FILTERS)
    lines = {
        round(bottom): {(round(label), round(top)) for label, top, low in places if low == bottom}
        for _, _, bottom in places
    }
    assert {line: len(found) for line, found in lines.items()} == dict.fromkeys(lines, 1)
    assert len(lines) == 1 if width == 1280 else len(lines) > 1


def test_who_logs_in_comes_back_to_the_link_one_came_from(visit: Visit, served: Served) -> None:
    page = visit("/perennial/sources?q=spring", logged_in=False)
    page.get_by_role("link", name="Log in to Airflow").click()
    log_in(page, served)
    page.wait_for_url(re.compile(r"/perennial/sources\?q=spring$"))
    expect(page.get_by_role("link", name="Spring sale")).to_be_visible()


@pytest.mark.long
def test_airflows_own_form_restores_with_one_id_and_one_address(visit: Visit, running: Running) -> None:
    page = visit("/dags/restore_interactions")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    expect(form.get_by_text("Notify (one address per line)")).to_be_visible()
    start = form.get_by_role("button", name="Trigger", exact=True).last
    # Only the addresses have no default.
    expect(start).to_be_disabled()
    assert form.get_by_text("*", exact=True).count() == 1
    form.locator("[name=element_source_ids]").fill("cmp-form")
    form.locator("[name=element_notify]").fill("cleo@example.com")
    form.locator("[name=element_notify]").blur()
    expect(start).to_be_enabled()
    start.click()
    until(lambda: [mail for mail in running.mailbox.messages() if "cleo@example.com" in mail.recipients])
    (mail,) = [mail for mail in running.mailbox.messages() if "cleo@example.com" in mail.recipients]
    assert "By Airflow's form" in mail.subject
    assert sum(row.count("cmp-form#") for row in visible(running.warehouse)) == 40


def test_r22_ids_stay_in_the_window_until_the_request_is_made(visit: Visit) -> None:
    page = visit("/perennial/erasures")
    ids = page.get_by_label("User ids of the platform")
    ids.fill("user-9\nuser-10")
    page.get_by_label("Notify").fill("dpo@example.com")
    reason = page.get_by_label("Reason, without an id")
    reason.fill("for user-10")
    page.get_by_role("button", name="Erase these people").click()
    expect(page.locator("#error")).to_contain_text("reason contains an id")
    expect(ids).to_have_value("user-9\nuser-10")
    reason.fill("ticket 4711")
    page.get_by_role("button", name="Erase these people").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Erasure")
    expect(page.locator("#facts")).to_contain_text("People2")
    assert "user-10" not in page.url + page.content()


@pytest.mark.long
def test_r22_a_request_of_the_page_ends_with_its_receipt_there_and_in_the_mail(visit: Visit, running: Running) -> None:
    page = visit("/perennial/erasures")
    page.get_by_label("Your own user ids").fill("nobody-11")
    page.get_by_label("Notify").fill("dpo-11@example.com")
    page.get_by_label("Reason, without an id").fill("ticket 4712")
    page.get_by_role("button", name="Erase these people").click()
    # The page looks again by itself.
    expect(page.locator("#receipt")).to_contain_text("The warehouse held nothing of 1 person.", timeout=240_000)
    expect(page.locator("#receipt")).to_contain_text("ticket 4712")
    (mail,) = until(lambda: [mail for mail in running.mailbox.messages() if "dpo-11@example.com" in mail.recipients])
    assert "nobody-11" not in page.content() + mail.text + mail.html


@pytest.mark.long
def test_a_narrow_window_still_shows_where_the_data_is(visit: Visit) -> None:
    page = visit("/perennial/sources?q=kept", viewport={"width": 360, "height": 740})
    badge = page.locator("table.sources .badge").bounding_box()
    assert badge is not None
    assert badge["x"] + badge["width"] <= 360


def luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
