// A restore that goes on: take over the live parts of this same page, until it is over. Works without as a reload.
const EVERY_MS = 1500;
const AT_MOST_MS = 15_000;
const lost = document.querySelector("#lost");
let failures = 0;

function take(page) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh || fresh.outerHTML === part.outerHTML) continue;
    // The element stays: a live region that is replaced says nothing.
    part.className = fresh.className;
    if (fresh.innerHTML !== part.innerHTML) part.replaceChildren(...fresh.childNodes);
  }
}

async function look() {
  let over = false;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(`answered ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!page.querySelector("#facts")) throw new Error("wants you to log in again");
    over = page.querySelector("#facts[data-over]") !== null;
    labelCells(page);
    take(page);
    failures = 0;
  } catch (error) {
    failures += 1;
    const why = error instanceof TypeError ? "cannot be reached" : error.message;
    lost.textContent =
      `The progress cannot be shown at the moment: Airflow's server ${why}. ` +
      "The restore goes on, and this page tries again.";
  }
  lost.hidden = failures === 0;
  if (!over) setTimeout(look, Math.min(AT_MOST_MS, EVERY_MS * 2 ** failures));
}

setTimeout(look, EVERY_MS);
