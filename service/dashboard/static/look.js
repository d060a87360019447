// Light or dark before anything is painted: the address, then the reader's last choice, then the system.
"use strict";
(() => {
  let stored = null;
  try { stored = localStorage.getItem("equitrade-theme"); } catch { /* private windows have no storage */ }
  const asked = new URLSearchParams(location.search).get("theme");
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.theme = [asked, stored, system].find((look) => look === "light" || look === "dark");
})();
