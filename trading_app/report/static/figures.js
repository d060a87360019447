// Draws figures into the elements that name them: those of the page's payload (trading_app/report/payload.py), and
// those that an element's data-source is the address of, which are fetched when they come near.
"use strict";
(() => {
  const embedded = document.getElementById("payload");
  const source = embedded ? JSON.parse(embedded.textContent) : { arrays: [], figures: {}, templates: {} };
  const NARROW = 520;
  const KINDS = { f4: Float32Array, f8: Float64Array, i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array, u4: Uint32Array };
  const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const root = document.documentElement;

  function decode(value) {
    if (!value || !value.bdata) return value;
    const bytes = Uint8Array.from(atob(value.bdata), (c) => c.charCodeAt(0));
    const flat = new KINDS[value.dtype](bytes.buffer);
    if (!value.shape) return flat;
    const [rows, columns] = String(value.shape).split(",").map(Number);
    return Array.from({ length: rows }, (_, i) => flat.subarray(i * columns, (i + 1) * columns));
  }
  const pool = source.arrays.map(decode);

  // A copy with the shared arrays in their places.
  function filled(value, arrays = pool) {
    if (Array.isArray(value)) return value.map((item) => filled(item, arrays));
    if (value === null || typeof value !== "object") return value;
    if (ArrayBuffer.isView(value)) return value;
    if ("$" in value) return arrays[value.$];
    if ("bdata" in value) return decode(value);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filled(item, arrays)]));
  }
  function put(target, path, value) {
    const last = path[path.length - 1];
    let place = target;
    for (const key of path.slice(0, -1)) place = place[key] ??= {};
    place[last] = filled(value);
  }
  // Text, lines and margins grow with the page's own text, so that a figure is readable on a screen of any size.
  const SIZES = new Set(["size", "height", "width", "l", "r", "t", "b", "standoff", "ticklen", "yshift", "xgap", "ygap"]);
  function grown(value, factor) {
    if (Array.isArray(value)) return value.length > 60 ? value : value.map((item) => grown(item, factor));
    if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
    const one = ([key, item]) => [key, SIZES.has(key) && typeof item === "number" ? item * factor : grown(item, factor)];
    return Object.fromEntries(Object.entries(value).map(one));
  }
  const growth = () => parseFloat(getComputedStyle(root).fontSize) / 16;

  // Figures by name and look; those of the payload carry both looks.
  const fetched = new Map();
  const plots = new Map([...document.querySelectorAll("[data-figure]")].map((element) => [element.dataset.figure, element]));
  // Long series are thinned to what eyes see; of the dates zoomed to, figures that can are fetched in detail.
  const detail = (name) => (zoom && plots.get(name).dataset.fine !== undefined ? zoom.join("_") : "");
  const known = (name, look) => source.figures[name] ?? fetched.get(`${name} ${look} ${detail(name)}`);
  async function figureOf(name, look) {
    const near = detail(name);
    if (!known(name, look)) {
      const address = new URL(plots.get(name).dataset.source, location.href);
      address.searchParams.set("theme", look);
      if (near) address.searchParams.set("zoom", near);
      const answer = await fetch(address);
      if (!answer.ok) throw new Error((await answer.text()).slice(0, 300) || `the service answered ${answer.status}`);
      const figure = await answer.json();
      figure.arrays = figure.arrays.map(decode);
      fetched.set(`${name} ${look} ${near}`, figure);
    }
    return source.figures[name] ?? fetched.get(`${name} ${look} ${near}`);
  }

  const views = {};  // what a reader changed: axis types by figure
  let zoom = null;  // dates shown in every figure of time
  const ofTime = (made) => typeof made.data[0]?.x?.[0] === "string" && /^\d{4}-\d\d-\d\d/.test(made.data[0].x[0]);
  function content(name, figure, look, width) {
    const made = { data: filled(figure.data, figure.arrays), layout: filled(figure.layout, figure.arrays) };
    if (look === "dark") for (const [path, value] of figure.dark ?? []) put(made, path, value);
    if (width < NARROW) for (const [path, value] of Object.entries(figure.narrow)) put(made, path.split("."), filled(value, figure.arrays));
    made.layout.template = figure.template ?? source.templates[look];
    made.layout.margin = { ...(made.layout.margin || {}), t: 12 };
    if (matchMedia("(pointer: coarse)").matches) made.layout.dragmode = false;  // a finger scrolls the page
    if (views[name]) made.layout.yaxis = { ...made.layout.yaxis, type: views[name] };
    if (zoom && ofTime(made)) made.layout.xaxis = { ...made.layout.xaxis, range: zoom, autorange: false };
    const factor = growth();
    return factor === 1 ? made : { data: grown(made.data, factor), layout: grown(made.layout, factor) };
  }

  // plotly.js may still be on its way; where the page only preloads it, it is run after the first frame.
  function script() {
    const found = document.getElementById("plotly");
    if (found?.localName !== "link") return found;
    const made = Object.assign(document.createElement("script"), { id: "plotly", async: true });
    const start = () => { made.src = found.href; };
    found.removeAttribute("id");
    found.after(made);  // the link stays: without it the browser would stop reading and begin anew
    if (document.hidden) start(); else requestAnimationFrame(() => setTimeout(start));
    return made;
  }
  const library = () => window.Plotly ? Promise.resolve() : new Promise((done, failed) => {
    const element = script();
    if (!element) return failed(new Error("plotly.js is missing"));
    element.addEventListener("load", () => done());
    element.addEventListener("error", () => failed(new Error("plotly.js could not be loaded; reload the page")));
  });

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
  function paint(name, look, width) {
    const element = plots.get(name);
    const made = content(name, known(name, look), look, width ?? element.clientWidth / growth());
    if (width) made.layout.width = width;
    const first = !drawn.has(name);
    drawn.add(name);
    if (first && element.dataset.source) element.textContent = "";
    widths.set(name, element.clientWidth);
    follow.observe(element);
    Plotly.react(element, made.data, made.layout, { displayModeBar: false, doubleClick: "reset" });
    if (first && element.dataset.source && ofTime(made)) element.on("plotly_relayout", (change) => zoomed(name, change));
  }
  async function draw(name) {
    const element = plots.get(name);
    try {
      await Promise.all([figureOf(name, theme), library()]);
      if (!known(name, theme)) return;  // look or zoom have changed since, and with them comes another call
      introduce(name, known(name, theme), element);
      paint(name, theme);
      element.dataset.drawn = theme;
    } catch (error) {
      element.textContent = `This figure cannot be shown: ${error.message}`;
      element.classList.add("failed");
      element.dataset.drawn = "failed";
    }
  }
  // A subtitle that names the axis names the one that the reader chose.
  const subtitled = (name, { subtitle }) => views[name] ? subtitle.replace(/(log|linear) axis/, `${views[name]} axis`) : subtitle;
  // What the figure itself says it shows takes the place of its working title.
  function introduce(name, figure, element) {
    const says = { title: figure.title, subtitle: subtitled(name, figure) };
    for (const [part, text] of Object.entries(says)) {
      for (const place of document.querySelectorAll(`[data-${part}="${name}"]`)) place.textContent = text;
    }
    element.setAttribute("aria-label", `${says.title}. ${says.subtitle}`.replace(/<[^>]*>/g, ""));
  }
  function redraw() { for (const name of drawn) draw(name); }

  // Figures below the fold wait until they come near.
  const watch = "IntersectionObserver" in window ? new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watch.unobserve(entry.target);
      draw(entry.target.dataset.figure);
    }
  }, { rootMargin: embedded ? "800px 0px" : "400px 0px" }) : null;
  function begin() {
    for (const [name, element] of plots) if (watch) watch.observe(element); else draw(name);
  }

  // The view is kept in the address, so that a link shows what its sender saw.
  function keep(key, value) {
    const address = new URL(location.href);
    if (value === null) address.searchParams.delete(key);
    else address.searchParams.set(key, value);
    history.replaceState(history.state, "", address);
  }
  function zoomed(name, change) {
    const range = change["xaxis.range"] ?? [change["xaxis.range[0]"], change["xaxis.range[1]"]];
    const next = range[0] ? range.map((day) => String(day).slice(0, 10)) : null;
    if (!next && !change["xaxis.autorange"]) return;
    if (String(next) === String(zoom)) return;
    zoom = next;
    keep("zoom", next && next.join("_"));
    for (const other of drawn) {
      const element = plots.get(other);
      if (other === name || !element.dataset.source || !ofTime(element)) continue;
      Plotly.relayout(element, next ? { "xaxis.range": [...next] } : { "xaxis.autorange": true });
    }
    for (const other of drawn) if (plots.get(other).dataset.fine !== undefined) draw(other);
  }
  function scale(name, kind) {
    views[name] = kind;
    for (const button of document.querySelectorAll(`[data-axis="${name}"]`)) {
      button.setAttribute("aria-pressed", String(kind === "log"));
      button.textContent = kind === "log" ? "Log axis" : "Linear axis";
    }
  }
  const asked = new URLSearchParams(location.search);
  const span = (asked.get("zoom") ?? "").split("_");
  if (span.length === 2 && span.every((day) => /^\d{4}-\d\d-\d\d$/.test(day))) zoom = span;
  if (asked.get("scale") === "linear") for (const { dataset } of document.querySelectorAll("[data-axis]")) scale(dataset.axis, "linear");

  // Light or dark: the address, then the reader's last choice, then the system.
  const button = document.getElementById("theme");
  function show(look, remember) {
    theme = look;
    root.dataset.theme = look;
    if (button) {
      button.textContent = look === "dark" ? "Light" : "Dark";
      button.setAttribute("aria-label", `Switch to ${look === "dark" ? "light" : "dark"} mode`);
    }
    if (remember) try { localStorage.setItem("equitrade-theme", look); } catch { /* private windows have no storage */ }
    redraw();
  }
  let stored = null;
  try { stored = localStorage.getItem("equitrade-theme"); } catch { /* as above */ }
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  show([asked.get("theme"), stored, system].find((look) => look === "light" || look === "dark"), false);
  if (button) button.addEventListener("click", () => show(theme === "dark" ? "light" : "dark", true));
  begin();

  // What the page watches has moved: figures that live are read again, in their places.
  document.addEventListener("polled", () => {
    for (const element of document.querySelectorAll("[data-live] [data-figure]")) {
      const name = element.dataset.figure;
      if (!drawn.has(name)) continue;
      for (const key of [...fetched.keys()]) if (key.startsWith(`${name} `)) fetched.delete(key);
      draw(name);
    }
  });

  // Paper is light and as wide as paper. Figures that nobody scrolled to are fetched before the dialog opens.
  const PAPER = 690;
  async function print() {
    await Promise.allSettled([library(), ...[...plots.keys()].map((name) => figureOf(name, "light"))]);
    window.print();
  }
  document.getElementById("print")?.addEventListener("click", print);
  addEventListener("keydown", (event) => {
    if (embedded || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey || event.key.toLowerCase() !== "p") return;
    event.preventDefault();
    print();
  });
  addEventListener("beforeprint", () => {
    printing = true;
    root.dataset.theme = "light";
    for (const element of document.querySelectorAll("details:not([open])")) {
      element.open = true;
      element.dataset.closed = "";
    }
    for (const [name, element] of plots) {
      if (!known(name, "light") || !window.Plotly) continue;
      introduce(name, known(name, "light"), element);
      paint(name, "light", PAPER);
    }
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
    const [figure] = await Promise.all([figureOf(name, theme), library()]);
    const made = content(name, figure, theme, 1200);
    made.layout.title = { text: figure.title, subtitle: { text: subtitled(name, figure) } };
    delete made.layout.margin;
    return Plotly.toImage(made, { format: "png", width: 1200, height: (made.layout.height ?? 400) + 80, scale: 2 });
  }
  document.addEventListener("click", async (event) => {
    const { csv: table, png: picture, axis } = event.target.dataset ?? {};
    if (table) save(`${table}.csv`, "text/csv", csv(table));
    if (picture) save(`${picture}.png`, "image/png", await png(picture));
    if (axis) {
      scale(axis, (views[axis] ?? "log") === "log" ? "linear" : "log");
      keep("scale", views[axis] === "linear" ? "linear" : null);
      draw(axis);
    }
  });
  if (!reduced) root.style.scrollBehavior = "smooth";
})();
