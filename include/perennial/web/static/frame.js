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

// On a narrow window a table is a list of cards (app.css); then each cell needs the words that stand above it.
function labelCells(page) {
  for (const table of page.querySelectorAll(".scroll table:not(.sources)")) {
    const labels = [...table.querySelectorAll("thead th")].map((heading) => heading.textContent.trim());
    for (const row of table.tBodies[0].rows) {
      // A cell over many columns stands for the whole row.
      if (row.cells.length !== labels.length) continue;
      for (const [position, cell] of [...row.cells].entries()) {
        if (cell.textContent.trim()) cell.dataset.label = labels[position];
        else cell.classList.add("blank");
      }
    }
    table.classList.add("cards");
  }
}

document.addEventListener("DOMContentLoaded", () => labelCells(document));

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
    anchor.target = link.target;
    airflow.body.append(anchor);
    anchor.click();
    anchor.remove();
  });
}
