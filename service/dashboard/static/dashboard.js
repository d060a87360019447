// Forms that show another view at once, parts of a page that are fetched again while a job runs, and printing.
"use strict";
(() => {
  // The form of a view is submitted when a choice changes; without scripts, a button does it.
  const KEPT = "equitrade-focus";
  function submit(field) {
    const focused = field.form.contains(document.activeElement) ? document.activeElement : field;
    try { sessionStorage.setItem(KEPT, JSON.stringify([location.pathname, focused.name, focused.value])); } catch { /* no storage */ }
    // Another run may not have the strategy that was chosen for this one.
    if (field.name === "run" && field.form.elements.strategy) field.form.elements.strategy.disabled = true;
    field.form.requestSubmit();
  }
  for (const field of document.querySelectorAll("[data-submit]")) {
    if (field.type !== "date") { field.addEventListener("change", () => submit(field)); continue; }
    // A typed date changes with every digit of its year (0002, 0020, 0201 …): it is complete when the field is left
    // or on Enter. A date chosen in the calendar is complete at once.
    let typing = false;
    field.addEventListener("keydown", (event) => { typing = event.key !== "Enter"; });
    field.addEventListener("pointerdown", () => { typing = false; });
    field.addEventListener("change", () => { if (!typing) submit(field); });
    field.addEventListener("blur", () => {
      if (typing && field.value !== field.defaultValue) setTimeout(() => submit(field));
      typing = false;
    });
  }
  // Back and Reload show the choices of the page that is shown, not those made before it was left.
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll('form[method="get"]')) {
      form.reset();
      if (form.elements.strategy) form.elements.strategy.disabled = false;
    }
  });
  // After a choice by keyboard, the focus stays on the same field of the new page.
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
