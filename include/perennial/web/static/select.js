// Selecting sources: everything works without this; it counts, and ticks all of a page at once.
const form = document.querySelector("form[data-select]");
const everything = form.elements.namedItem("all");
const onPage = form.querySelector("[data-page]");
const said = form.querySelector("[data-selected]");
const button = form.querySelector("button");
const boxes = [...form.querySelectorAll("input[name=id]")];

function show() {
  const ticked = boxes.filter((box) => box.checked).length;
  const selected = everything?.checked ? Number(form.dataset.total) : ticked;
  onPage.checked = ticked > 0 && ticked === boxes.length;
  onPage.indeterminate = ticked > 0 && ticked < boxes.length;
  for (const box of [onPage, ...boxes]) box.disabled = Boolean(everything?.checked);
  said.textContent = `${selected.toLocaleString("en")} selected`;
  button.disabled = selected === 0 || button.hasAttribute("data-refused");
}

onPage.closest("label").hidden = false;
onPage.addEventListener("change", () => {
  for (const box of boxes) box.checked = onPage.checked;
});
form.addEventListener("change", show);
// Coming back to the page brings back what was ticked.
window.addEventListener("pageshow", show);
show();
