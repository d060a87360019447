// Draws the figures of a payload (trading_app/report/payload.py) into the elements that name them.
"use strict";
(() => {
  const source = JSON.parse(document.getElementById("payload").textContent);
  const NARROW = 520;
  const KINDS = { f4: Float32Array, f8: Float64Array, i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array, u4: Uint32Array };
  const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;

  function decode(value) {
    if (!value || !value.bdata) return value;
    const bytes = Uint8Array.from(atob(value.bdata), (c) => c.charCodeAt(0));
    const flat = new KINDS[value.dtype](bytes.buffer);
    if (!value.shape) return flat;
    const [rows, columns] = String(value.shape).split(",").map(Number);
    return Array.from({ length: rows }, (_, i) => flat.subarray(i * columns, (i + 1) * columns));
  }
  const arrays = source.arrays.map(decode);

  // A copy with the shared arrays in their places.
  function filled(value) {
    if (Array.isArray(value)) return value.map(filled);
    if (value === null || typeof value !== "object") return value;
    if ("$" in value) return arrays[value.$];
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filled(item)]));
  }
  function put(target, path, value) {
    const last = path[path.length - 1];
    let place = target;
    for (const key of path.slice(0, -1)) place = place[key] ??= {};
    place[last] = filled(value);
  }

  const views = {};  // what a reader changed: axis types by figure
  function content(name, theme, width) {
    const figure = source.figures[name];
    const made = { data: filled(figure.data), layout: filled(figure.layout) };
    if (theme === "dark") for (const [path, value] of figure.dark) put(made, path, value);
    if (width < NARROW) for (const [path, value] of Object.entries(figure.narrow)) put(made, path.split("."), value);
    made.layout.template = source.templates[theme];
    made.layout.margin = { ...(made.layout.margin || {}), t: 12 };
    if (matchMedia("(pointer: coarse)").matches) made.layout.dragmode = false;  // a finger scrolls the page
    if (views[name]) made.layout.yaxis = { ...made.layout.yaxis, type: views[name] };
    return made;
  }

  const root = document.documentElement;
  const plots = new Map([...document.querySelectorAll("[data-figure]")].map((element) => [element.dataset.figure, element]));
  const drawn = new Set();
  let theme = "light";
  // A figure follows the width of its place, and takes its narrow form below a width.
  const widths = new Map();
  let printing = false;
  const follow = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const name = target.dataset.figure;
      const [before, now] = [widths.get(name), target.clientWidth];
      if (printing || !drawn.has(name) || before === now || now === 0) continue;
      widths.set(name, now);
      if (before < NARROW === now < NARROW) Plotly.Plots.resize(target);
      else draw(name);
    }
  });
  function draw(name, look = theme, width = null) {
    const element = plots.get(name);
    const made = content(name, look, width ?? element.clientWidth);
    if (width) made.layout.width = width;
    drawn.add(name);
    widths.set(name, element.clientWidth);
    follow.observe(element);
    return Plotly.react(element, made.data, made.layout, { displayModeBar: false, doubleClick: "reset" });
  }
  function redraw() { for (const name of drawn) draw(name); }

  // Figures below the fold wait until they come near.
  if ("IntersectionObserver" in window) {
    const watch = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        watch.unobserve(entry.target);
        draw(entry.target.dataset.figure);
      }
    }, { rootMargin: "800px 0px" });
    for (const element of plots.values()) watch.observe(element);
  } else {
    for (const name of plots.keys()) draw(name);
  }

  // Light or dark: the address, then the reader's last choice, then the system.
  const button = document.getElementById("theme");
  function show(look, remember) {
    theme = look;
    root.dataset.theme = look;
    if (button) {
      button.textContent = look === "dark" ? "Light" : "Dark";
      button.setAttribute("aria-label", `Switch to the ${look === "dark" ? "light" : "dark"} look`);
    }
    if (remember) try { localStorage.setItem("equitrade-theme", look); } catch { /* private windows have no storage */ }
    redraw();
  }
  let stored = null;
  try { stored = localStorage.getItem("equitrade-theme"); } catch { /* as above */ }
  const asked = new URLSearchParams(location.search).get("theme");
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  show([asked, stored, system].find((look) => look === "light" || look === "dark"), false);
  if (button) button.addEventListener("click", () => show(theme === "dark" ? "light" : "dark", true));

  // Paper is light and as wide as paper; everything is on it.
  const PAPER = 690;
  addEventListener("beforeprint", () => {
    printing = true;
    root.dataset.theme = "light";
    for (const element of document.querySelectorAll("details:not([open])")) {
      element.open = true;
      element.dataset.closed = "";
    }
    for (const name of plots.keys()) draw(name, "light", PAPER);
  });
  addEventListener("afterprint", () => {
    printing = false;
    root.dataset.theme = theme;
    for (const element of document.querySelectorAll("details[data-closed]")) {
      element.open = false;
      delete element.dataset.closed;
    }
    redraw();
  });

  function save(name, type, text) {
    const link = document.createElement("a");
    link.href = typeof text === "string" && text.startsWith("data:") ? text : URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
  }
  function csv(name) {
    const quote = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
    const lines = ["series,x,y,value"];
    for (const [i, trace] of filled(source.figures[name].data).entries()) {
      const label = quote(trace.name ?? `series ${i + 1}`);
      if (trace.z) {
        trace.z.forEach((row, r) => row.forEach((z, c) => lines.push([label, trace.x[c], trace.y[r], z].map(quote).join(","))));
      } else {
        Array.from(trace.x ?? []).forEach((x, k) => lines.push([label, x, trace.y[k], ""].map(quote).join(",")));
      }
    }
    return lines.join("\n") + "\n";
  }
  async function png(name) {
    const figure = source.figures[name];
    const made = content(name, theme, 1200);
    made.layout.title = { text: figure.title, subtitle: { text: figure.subtitle } };
    delete made.layout.margin;
    return Plotly.toImage(made, { format: "png", width: 1200, height: (made.layout.height ?? 400) + 80, scale: 2 });
  }
  document.addEventListener("click", async (event) => {
    const { csv: table, png: picture, axis } = event.target.dataset ?? {};
    if (table) save(`${table}.csv`, "text/csv", csv(table));
    if (picture) save(`${picture}.png`, "image/png", await png(picture));
    if (axis) {
      views[axis] = (views[axis] ?? "log") === "log" ? "linear" : "log";
      event.target.setAttribute("aria-pressed", String(views[axis] === "log"));
      event.target.textContent = views[axis] === "log" ? "Log axis" : "Linear axis";
      draw(axis);
    }
  });
  if (!reduced) root.style.scrollBehavior = "smooth";
})();
