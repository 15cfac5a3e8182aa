"use strict";
// The tokens of answers: decoded when somebody comes near, filtered, and shown a page at a time. Every text goes through
// textContent. The choices stand in the address, so that a view can be linked: #tokens?right=0&colour=relevance
(() => {
  const PER_PAGE = 10, UNCOUNTED = 1, ENDS = 2, PART = 4;
  const [TRIAL, KEY, QUESTION, GOLDS, RIGHT, FINISH, TOTAL, TOKENS, ALL] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const form = document.getElementById("tokens-choices"), list = document.getElementById("tokens-list");
  const pages = document.getElementById("tokens-pages"), shown = document.getElementById("tokens-shown");
  if (!form) return;
  let data, page = 0, found = [];

  const decode = () => (data ??= JSON.parse(document.getElementById("tokens-data").textContent));
  const choices = () => Object.fromEntries(new FormData(form));
  const signed = (value, digits) => value.toFixed(digits).replace("-", "\u2212");
  const share = (nll) => `${(100 * Math.exp(-nll)).toPrecision(3)} %`;
  const haystack = (row) => (row.text ??= [row[KEY], row[QUESTION], ...row[GOLDS], row[TOKENS].map((t) => t[0]).join("")].join("\n").toLowerCase());
  const matches = (row, wanted) =>
    (wanted.trial === "" || row[TRIAL] === Number(wanted.trial)) &&
    (wanted.right === "" || String(row[RIGHT]) === wanted.right) &&
    (wanted.text === "" || haystack(row).includes(wanted.text.toLowerCase()));

  const about = ([text, nll, relevance, flags, bytes]) => [
    flags & ENDS ? "end of the answer" : flags & PART ? "part of a character" : JSON.stringify(text),
    bytes ? `bytes ${bytes}` : "",
    nll === null ? "no log-probability" : `log-probability ${signed(-nll, 3)} (${share(nll)})`,
    relevance === null ? "" : `relevance ${relevance.toFixed(3)}`,
    flags & UNCOUNTED ? "does not count" : "",
  ].filter(Boolean).join(", ");
  const level = (value, limits) => limits.filter((limit) => value >= limit).length;
  const paint = (span, token, colour) => {
    const value = colour === "nll" ? token[1] : token[2];
    const coloured = !(token[3] & UNCOUNTED);
    span.classList.toggle("absent", coloured && value === null);
    if (coloured && value !== null) span.dataset.level = level(value, decode().levels[colour]);
    else delete span.dataset.level;
  };
  const element = (token) => {
    const span = document.createElement("span"), [text, , , flags] = token;
    span.textContent = text;
    span.title = about(token);
    span.setAttribute("role", "option");
    span.setAttribute("aria-selected", "false");
    span.setAttribute("aria-label", span.title);
    span.tabIndex = -1;
    span.classList.toggle("uncounted", (flags & UNCOUNTED) !== 0);
    span.classList.toggle("part", (flags & PART) !== 0);
    span.classList.toggle("end", (flags & ENDS) !== 0 && text === "");
    span.classList.toggle("newline", /^\s*\n\s*$/.test(text));
    span.token = token;
    return span;
  };
  const point = (span) => {
    const box = span.parentNode;
    for (const other of box.querySelectorAll("[aria-selected='true']")) other.setAttribute("aria-selected", "false");
    for (const other of box.querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
    span.setAttribute("aria-selected", "true");
    span.tabIndex = 0;
    box.parentNode.querySelector(".about").textContent = span.title;
  };
  const card = (row, names) => {
    const node = document.getElementById("tokens-item").content.cloneNode(true);
    const right = { 1: "right", 0: "wrong", null: "not labelled" }[row[RIGHT]];
    const counts = row[TOKENS].some((token) => !(token[3] & UNCOUNTED));
    const total = row[TOTAL] === null ? (counts ? "no likelihood" : "no token counts") : `surprise ${row[TOTAL].toFixed(2)} nats in all`;
    const cut = row[FINISH] === "length" ? "cut off at its longest" : "";
    node.querySelector("h3").textContent = row[QUESTION];
    node.querySelector(".facts").textContent = [names[row[TRIAL]], row[KEY], right, total, cut].filter(Boolean).join(" \u00b7 ");
    node.querySelector(".gold").textContent = `Gold: ${row[GOLDS].length ? row[GOLDS].join("; ") : "none"}`;
    const box = node.querySelector(".tokens"), spans = row[TOKENS].map(element);
    box.setAttribute("aria-label", `Tokens of the answer to: ${row[QUESTION]}`);
    box.append(...spans);
    const left = row[ALL] - spans.length;
    const hint = node.querySelector(".about");
    hint.textContent = spans.length ? "Point at a token, or go through them with the arrow keys." : "The answer has no tokens.";
    if (left > 0) hint.textContent += ` ${left.toLocaleString("en")} more tokens are left out.`;
    if (spans.length) spans[0].tabIndex = 0;
    return node;
  };
  const repaint = () => {
    const { colour } = choices();
    for (const legend of document.querySelectorAll(".token-legend")) legend.hidden = legend.dataset.colour !== colour;
    for (const box of list.querySelectorAll(".tokens")) {
      box.dataset.colour = colour;
      for (const span of box.children) paint(span, span.token, colour);
    }
  };
  const draw = () => {
    const names = [...form.elements.trial.options].slice(1).map((option) => option.textContent.replace(/ \([^()]*\)$/, ""));
    const last = Math.max(0, Math.ceil(found.length / PER_PAGE) - 1);
    page = Math.min(Math.max(page, 0), last);
    const part = found.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
    list.replaceChildren(...part.map((row) => card(row, names)));
    repaint();
    const range = part.length ? `, ${page * PER_PAGE + 1} to ${page * PER_PAGE + part.length} shown` : "";
    shown.textContent = `${found.length.toLocaleString("en")} of ${decode().rows.length.toLocaleString("en")} found${range}`;
    pages.hidden = last === 0;
    pages.querySelector("span").textContent = `page ${page + 1} of ${last + 1}`;
    pages.querySelector("[data-step='-1']").disabled = page === 0;
    pages.querySelector("[data-step='1']").disabled = page === last;
  };
  const search = (at = 0) => {
    const wanted = choices(), down = wanted.order === "down" ? -1 : 1;
    found = decode().rows.filter((row) => matches(row, wanted));
    // Without a likelihood an answer is neither surprising nor not: it stands last.
    if (wanted.order) found.sort((a, b) => (a[TOTAL] === null) - (b[TOTAL] === null) || down * (a[TOTAL] - b[TOTAL]));
    page = at;
    draw();
  };
  const remember = () => {
    const kept = Object.entries({ ...choices(), page: page ? String(page + 1) : "" }).filter(([, value]) => value !== "");
    history.replaceState(null, "", `#tokens?${new URLSearchParams(kept)}`);
  };
  const begin = () => {
    const [section, query] = location.hash.slice(1).split("?");
    const asked = new URLSearchParams(section === "tokens" ? query ?? "" : "");
    for (const [name, value] of asked) {
      const field = form.elements[name];
      if (field instanceof HTMLSelectElement && ![...field.options].some((one) => one.value === value && !one.disabled)) continue;
      if (field) field.value = value;
    }
    search(Number(asked.get("page") ?? 1) - 1 || 0);
    if (section === "tokens") document.getElementById("tokens").scrollIntoView();
  };
  form.hidden = false;
  let waiting;
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    if (event.target.name === "colour") { repaint(); remember(); return; }
    waiting = setTimeout(() => { search(); remember(); }, 120);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { search(); remember(); }));
  pages.addEventListener("click", (event) => {
    if (!event.target.dataset.step) return;
    page += Number(event.target.dataset.step);
    draw();
    remember();
    list.focus({ preventScroll: true });
    list.scrollIntoView();
  });
  for (const kind of ["pointerover", "focusin"]) {
    list.addEventListener(kind, (event) => { if (event.target.token) point(event.target); });
  }
  list.addEventListener("keydown", (event) => {
    if (!event.target.token) return;
    const { parentNode: box, nextSibling: next, previousSibling: before } = event.target;
    const turned = getComputedStyle(box).direction === "rtl";
    const to = { ArrowRight: turned ? before : next, ArrowLeft: turned ? next : before, ArrowDown: next, ArrowUp: before, Home: box.firstChild, End: box.lastChild }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to) to.focus();
  });
  window.addEventListener("hashchange", () => { if (location.hash.startsWith("#tokens?")) begin(); });
  // Nothing is decoded before somebody comes near.
  if (location.hash.startsWith("#tokens") || !("IntersectionObserver" in window)) begin();
  else new IntersectionObserver((seen, observer) => {
    if (seen.some((entry) => entry.isIntersecting)) { observer.disconnect(); begin(); }
  }, { rootMargin: "800px" }).observe(form);
})();
