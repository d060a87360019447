// Forms that show another view at once, and parts of a page that are read again while something runs.
"use strict";
(() => {
  // A choice of a view is sent when it is made; the button beside it serves those without scripts.
  const KEPT = "equitrade-focus";
  for (const field of document.querySelectorAll("[data-submit]")) {
    field.addEventListener("change", () => {
      try { sessionStorage.setItem(KEPT, JSON.stringify([location.pathname, field.name, field.value])); } catch { /* no storage */ }
      // Another run may lack the strategy that was chosen of this one.
      if (field.name === "run" && field.form.elements.strategy) field.form.elements.strategy.disabled = true;
      field.form.requestSubmit();
    });
  }
  // Who chose with the keyboard goes on where they were, not at the top of the new page.
  try {
    const [path, name, value] = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    sessionStorage.removeItem(KEPT);
    const fields = path === location.pathname ? [...document.querySelectorAll("[data-submit]")] : [];
    fields.find((field) => field.name === name && (field.type !== "checkbox" || field.value === value))?.focus({ preventScroll: true });
  } catch { /* no storage */ }
  for (const button of document.querySelectorAll(".unscripted")) button.hidden = true;
  // Empty fields of a view would only make its address longer.
  for (const form of document.querySelectorAll('form[method="get"]')) {
    form.addEventListener("formdata", (event) => {
      for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
    });
  }

  // <div data-poll="/path" data-every="1000">: its content is replaced until the answer says that it is done.
  async function poll(place) {
    const pause = Number(place.dataset.every || 1000);
    try {
      const answer = await fetch(place.dataset.poll, { headers: { Accept: "text/html" }, redirect: "error" });
      if (answer.ok) {
        const text = await answer.text();
        if (answer.headers.get("X-Done") === "yes" && place.dataset.then) return location.assign(place.dataset.then);
        const focused = place.contains(document.activeElement);
        if (text !== place.dataset.seen && !focused) {
          place.dataset.seen = text;
          place.innerHTML = text;
          place.dispatchEvent(new CustomEvent("polled", { bubbles: true }));
        }
        if (answer.headers.get("X-Done") === "yes") return;
      }
    } catch { /* the service restarts or the network is away: try again */ }
    setTimeout(() => poll(place), document.hidden ? 5 * pause : pause);
  }
  for (const place of document.querySelectorAll("[data-poll]")) setTimeout(() => poll(place), 300);
})();
