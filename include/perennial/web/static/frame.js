// Airflow shows this page in a frame: take on its theme, and let links to Airflow's own pages leave the frame.
// Stands in the head, before anything is drawn, so that the page does not flash in the other theme.
"use strict";

function outer() {
  try {
    return window.parent !== window ? window.parent.document : null;
  } catch {
    return null; // framed by another origin
  }
}

const airflow = outer();

function applyTheme() {
  const root = airflow?.documentElement;
  if (!root) return;
  const dark = root.classList.contains("dark") || root.dataset.theme === "dark";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

if (airflow) {
  applyTheme();
  new MutationObserver(applyTheme).observe(airflow.documentElement, {
    attributes: true,
    attributeFilter: ["class", "data-theme"],
  });
  document.addEventListener("DOMContentLoaded", () => {
    for (const link of document.querySelectorAll("[data-framed]")) link.hidden = false;
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-airflow]");
    if (!link) return;
    event.preventDefault();
    // The frame's sandbox forbids target=_top; a link of the page around it may go where it likes.
    const anchor = airflow.createElement("a");
    anchor.href = link.href;
    airflow.body.append(anchor);
    anchor.click();
    anchor.remove();
  });
}
