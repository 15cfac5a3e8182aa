"use strict";
// Prompts token by token, coloured by a trait at a layer. Decoded when somebody comes near, and a prompt only when it is
// shown. Every text goes through textContent. The choices stand in the address: #strips?trait=1&layer=12
(() => {
  const PER_PAGE = 10, MU = 255, STEPS = 127, UNDEFINED = 255, LEVELS = 5;
  const [MODEL, LABEL, ID, PROMPT, N_PROMPT, TOKENS, PROJECTION, Z] = [0, 1, 2, 3, 4, 5, 6, 7];
  const form = document.getElementById("strips-choices"), list = document.getElementById("strips-list");
  const pages = document.getElementById("strips-pages"), shown = document.getElementById("strips-shown");
  const ramp = document.getElementById("strips-ramp");
  if (!form) return;
  const { model, trait, sublayer, layer, kind } = form.elements;
  let data, page = 0, found = [], seenLayer = 0;

  const decode = () => (data ??= JSON.parse(document.getElementById("strips-data").textContent));
  const own = () => decode().models[Number(model.value)];
  const bytes = (row, which) => {
    const place = which === "z" ? Z : PROJECTION;
    if (typeof row[place] === "string") row[place] = Uint8Array.from(atob(row[place]), (one) => one.charCodeAt(0));
    return row[place];
  };
  const layers = () => [...new Set(own().layers.filter((_, at) => own().sublayers[at] === sublayer.value))].sort((a, b) => a - b);
  const point = () => {
    const wanted = layers()[Number(layer.value)];
    return own().layers.findIndex((one, at) => one === wanted && own().sublayers[at] === sublayer.value);
  };
  // The other way round of `quantised` in strips.py.
  const number = (row, which, at, token) => {
    const held = bytes(row, which), t = Number(trait.value), n = row[TOKENS].length;
    if (!held) return null;
    const step = held[(t * own().layers.length + at) * n + token];
    if (step === UNDEFINED) return null;
    const size = Math.expm1((Math.abs(step - STEPS) / STEPS) * Math.log1p(MU)) / MU;
    return Math.sign(step - STEPS) * own().scales[which][at][t] * size;
  };
  const text = (value) => {
    if (value === 0) return "0";
    const digits = Math.max(0, 1 - Math.floor(Math.log10(Math.abs(value))));
    return Number(value.toPrecision(2)).toLocaleString("en", { maximumFractionDigits: Math.min(6, digits), useGrouping: true }).replace("-", "\u2212");
  };
  const said = (value, name) => (value === null ? `${name} undefined` : `${name} about ${text(value)}`);
  const about = (row, token, at) => {
    const next = row[TOKENS][token + 1];
    return [
      JSON.stringify(row[TOKENS][token]),
      `${token < row[N_PROMPT] ? "prompt" : "reply"}, position of state ${token}`,
      next === undefined ? "the last state, no token predicted was kept" : `token predicted ${JSON.stringify(next)}`,
      said(number(row, "projection", at, token), "projection"),
      row[Z] ? said(number(row, "z", at, token), "z") : "no z",
    ].join(", ");
  };
  const shade = (span, value, reach) => {
    span.classList.toggle("absent", value === null);
    if (value === null) { delete span.dataset.level; delete span.dataset.sign; return; }
    span.dataset.sign = value < 0 ? "-" : "+";
    span.dataset.level = reach > 0 ? Math.min(LEVELS, Math.round((Math.abs(value) / reach) * LEVELS)) : 0;
  };
  const which = (row) => (kind.value === "z" && row[Z] ? "z" : "projection");
  const paint = () => {
    const at = point(), t = Number(trait.value);
    seenLayer = own().layers[at];
    for (const box of list.querySelectorAll(".strip")) {
      const { row } = box, reach = own().reach[which(row)][at][t];
      for (const span of box.querySelectorAll("[role='option']")) {
        shade(span, number(row, which(row), at, span.place), reach);
        span.title = about(row, span.place, at);
        span.setAttribute("aria-label", span.title);
      }
      const picked = box.querySelector("[aria-selected='true']");
      if (picked) box.parentNode.querySelector(".about").textContent = picked.title;
    }
    const reach = own().reach[kind.value][at][t];
    ramp.hidden = false;
    ramp.querySelector(".low").textContent = `${kind.value} ${text(-reach)} or less`;
    ramp.querySelector(".high").textContent = `${text(reach)} or more`;
    const chosen = own().chosen[t] === at && own().isChosen[t];
    form.elements["layer-name"].textContent = `${own().layers[at]} of ${layers()[0]} to ${layers().at(-1)}${chosen ? ", chosen for this trait" : ""}`;
    layer.setAttribute("aria-valuetext", `layer ${own().layers[at]}${chosen ? ", chosen for this trait" : ""}`);
  };
  const options = (select, names, values = names.map((_, at) => at)) => {
    select.replaceChildren(...names.map((name, at) => {
      const option = document.createElement("option");
      option.textContent = name;
      option.value = values[at];
      return option;
    }));
  };
  const setLayers = (wanted) => {
    const known = layers();
    layer.max = known.length - 1;
    let nearest = 0;
    known.forEach((one, at) => { if (Math.abs(one - wanted) < Math.abs(known[nearest] - wanted)) nearest = at; });
    layer.value = nearest;
  };
  const toChosen = () => {
    const at = own().chosen[Number(trait.value)];
    sublayer.value = own().sublayers[at];
    setLayers(own().layers[at]);
  };
  const setModel = () => {
    options(trait, own().traits);
    const names = [...new Set(own().sublayers)];
    options(sublayer, names.map((name) => name.replaceAll("_", " ")), names);
    toChosen();
  };
  const element = (row, token) => {
    const span = document.createElement("span");
    span.textContent = row[TOKENS][token];
    span.place = token;
    span.setAttribute("role", "option");
    span.setAttribute("aria-selected", "false");
    span.tabIndex = -1;
    span.classList.toggle("asked", token < row[N_PROMPT]);
    span.classList.toggle("newline", /\n/.test(row[TOKENS][token]));
    return span;
  };
  const pick = (span) => {
    const box = span.parentNode;
    for (const other of box.querySelectorAll("[aria-selected='true']")) other.setAttribute("aria-selected", "false");
    for (const other of box.querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
    span.setAttribute("aria-selected", "true");
    span.tabIndex = 0;
    box.parentNode.querySelector(".about").textContent = span.title;
  };
  const card = (row) => {
    const node = document.getElementById("strips-item").content.cloneNode(true);
    const labels = form.elements.label.options, n = row[TOKENS].length;
    node.querySelector("h3").textContent = row[PROMPT];
    node.querySelector(".facts").textContent = [row[ID], labels[row[LABEL] + 1].textContent, `${row[N_PROMPT]} tokens of prompt, ${n - row[N_PROMPT]} of reply`].join(" \u00b7 ");
    const box = node.querySelector(".strip"), spans = row[TOKENS].map((_, token) => element(row, token));
    box.row = row;
    box.setAttribute("aria-label", `Tokens of: ${row[PROMPT]}`);
    if (row[N_PROMPT] < n) {
      const mark = document.createElement("span");
      mark.className = "reply-begins";
      mark.textContent = "reply";
      mark.setAttribute("aria-hidden", "true");
      box.append(...spans.slice(0, row[N_PROMPT]), mark, ...spans.slice(row[N_PROMPT]));
    } else box.append(...spans);
    node.querySelector(".about").textContent = "Point at a token, or go through them with the arrow keys.";
    if (spans.length) spans[0].tabIndex = 0;
    return node;
  };
  const draw = () => {
    const last = Math.max(0, Math.ceil(found.length / PER_PAGE) - 1);
    page = Math.min(Math.max(page, 0), last);
    const part = found.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
    list.replaceChildren(...part.map(card));
    paint();
    const range = part.length ? `, ${page * PER_PAGE + 1} to ${page * PER_PAGE + part.length} shown` : "";
    shown.textContent = `${found.length.toLocaleString("en")} of ${decode().rows.length.toLocaleString("en")} found${range}`;
    pages.hidden = last === 0;
    pages.querySelector("span").textContent = `page ${page + 1} of ${last + 1}`;
    pages.querySelector("[data-step='-1']").disabled = page === 0;
    pages.querySelector("[data-step='1']").disabled = page === last;
  };
  const haystack = (row) => (row.text ??= `${row[ID]}\n${row[PROMPT]}\n${row[TOKENS].join("")}`.toLowerCase());
  const search = (at = 0) => {
    const label = form.elements.label.value, wanted = form.elements.text.value.toLowerCase();
    found = decode().rows.filter((row) => row[MODEL] === Number(model.value) && (label === "" || row[LABEL] === Number(label)) && (wanted === "" || haystack(row).includes(wanted)));
    page = at;
    draw();
  };
  const remember = () => {
    const kept = Object.entries({ ...Object.fromEntries(new FormData(form)), layer: String(own().layers[point()]), page: page ? String(page + 1) : "" }).filter(([, value]) => value !== "");
    history.replaceState(null, "", `#strips?${new URLSearchParams(kept)}`);
  };
  const begin = () => {
    const [section, query] = location.hash.slice(1).split("?");
    const asked = new URLSearchParams(section === "strips" ? query ?? "" : "");
    const has = (field, value) => [...field.options].some((one) => one.value === value);
    if (asked.has("model") && has(model, asked.get("model"))) model.value = asked.get("model");
    setModel();
    if (asked.has("trait") && has(trait, asked.get("trait"))) { trait.value = asked.get("trait"); toChosen(); }
    for (const name of ["sublayer", "kind", "label"]) {
      if (asked.has(name) && has(form.elements[name], asked.get(name))) form.elements[name].value = asked.get(name);
    }
    const wanted = asked.get("layer");
    setLayers(wanted !== null && Number.isFinite(Number(wanted)) ? Number(wanted) : own().layers[own().chosen[Number(trait.value)]]);
    form.elements.text.value = asked.get("text") ?? "";
    search(Number(asked.get("page") ?? 1) - 1 || 0);
    if (section === "strips") document.getElementById("strips").scrollIntoView();
  };
  form.hidden = false;
  let waiting;
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    const { name } = event.target;
    if (name === "model") { setModel(); search(); remember(); return; }
    if (name === "trait") toChosen();
    if (name === "sublayer") setLayers(seenLayer);
    if (["trait", "sublayer", "layer", "kind"].includes(name)) { paint(); waiting = setTimeout(remember, 120); return; }
    waiting = setTimeout(() => { search(); remember(); }, 120);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { setModel(); search(); remember(); }));
  pages.addEventListener("click", (event) => {
    if (!event.target.dataset.step) return;
    page += Number(event.target.dataset.step);
    draw();
    remember();
    list.focus({ preventScroll: true });
    list.scrollIntoView();
  });
  const isToken = (node) => node instanceof Element && node.getAttribute("role") === "option";
  for (const event of ["pointerover", "focusin"]) list.addEventListener(event, ({ target }) => { if (isToken(target)) pick(target); });
  list.addEventListener("keydown", (event) => {
    if (!isToken(event.target)) return;
    const box = event.target.parentNode, spans = [...box.querySelectorAll("[role='option']")], at = spans.indexOf(event.target);
    const turned = getComputedStyle(box).direction === "rtl" ? -1 : 1;
    const to = { ArrowRight: at + turned, ArrowLeft: at - turned, ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: spans.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    spans[to]?.focus();
  });
  window.addEventListener("hashchange", () => { if (location.hash.startsWith("#strips?")) begin(); });
  // Nothing is decoded before somebody comes near.
  if (location.hash.startsWith("#strips") || !("IntersectionObserver" in window)) begin();
  else new IntersectionObserver((seen, observer) => {
    if (seen.some((entry) => entry.isIntersecting)) { observer.disconnect(); begin(); }
  }, { rootMargin: "800px" }).observe(form);
})();
