// What is typed into the form stays in this window: the server answers an error without it, because it holds ids.
const form = document.querySelector("form[data-keep]");
const message = document.querySelector("#error");

async function send() {
  const body = new URLSearchParams(new FormData(form));
  const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } });
  if (answer.redirected) {
    form.reset();
    location.assign(answer.url);
    return "";
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return (page.querySelector("#error:not([hidden])") ?? page.querySelector("main")).textContent.trim();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  let error;
  try {
    error = await send();
  } catch {
    error = "Airflow's server cannot be reached; look at the list whether the request was made, before you try again.";
  }
  message.textContent = error;
  message.hidden = !error;
  button.disabled = false;
  if (error) message.scrollIntoView({ block: "nearest" });
});
