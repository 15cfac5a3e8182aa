"use strict";
// The items: decoded one trial at a time, filtered, and shown a page at a time. Every text goes through
// textContent. The choices stand in the address, so that a view can be linked: #items?trial=0&outcome=lost
(() => {
  const PER_PAGE = 25, FLAGS = { abstained: 1, truncated: 2, empty: 4 };
  const form = document.getElementById("choices"), list = document.getElementById("list");
  const pages = document.getElementById("pages"), shown = document.getElementById("shown");
  const decoded = new Map();
  let page = 0, found = [];

  const decode = (id) => {
    if (!decoded.has(id)) decoded.set(id, JSON.parse(document.getElementById(id).textContent));
    return decoded.get(id);
  };
  const beginning = (text) => (Array.isArray(text) ? text[0] : text ?? "");
  const rest = (text) => {
    if (!Array.isArray(text)) return "";
    return `\n\u2026 ${(text[1] - text[0].length).toLocaleString("en")} of ${text[1].toLocaleString("en")} characters left out`;
  };
  const whole = (text) => beginning(text) + rest(text);
  const haystack = (row, asked) => {
    if (row.text === undefined) {
      const [key, dataset, , question, passage, answers] = asked.items[row[0]];
      const texts = [question, passage === null ? "" : asked.passages[passage], ...answers, ...[row[4], row[5]].map((r) => r && r[0])];
      row.text = [key, dataset, ...texts.map(beginning)].join("\n").toLowerCase();
    }
    return row.text;
  };
  const matches = (row, asked, wanted) => {
    const item = asked.items[row[0]], flags = (row[4] ? row[4][3] : 0) | (row[5] ? row[5][3] : 0);
    return (
      (wanted.t === "" || row[1] === Number(wanted.t)) &&
      (wanted.dataset === "" || item[1] === wanted.dataset) &&
      (wanted.type === "" || item[2] === wanted.type) &&
      (wanted.outcome === "" || row[2] === wanted.outcome) &&
      (wanted.flag === "" || (wanted.flag === "differ" ? row[3] === 1 : (flags & FLAGS[wanted.flag]) !== 0)) &&
      (wanted.text === "" || haystack(row, asked).includes(wanted.text.toLowerCase()))
    );
  };
  const fill = (node, arm, reply, verdicts) => {
    const [head, body] = [node.querySelector("h4"), node.querySelector(".verbatim")];
    head.textContent = reply ? `${arm}: ${verdicts[reply[2]]} (${reply[1]})` : arm;
    if (!reply) body.textContent = "n/a (this arm was not run)";
    else if (reply[1] === "error") body.textContent = "n/a (the request failed)";
    else if (beginning(reply[0]) === "") body.textContent = "(an empty reply)";
    else { body.textContent = whole(reply[0]); return; }
    body.classList.add("muted");
  };
  const card = (row, asked, verdicts) => {
    const [key, , type, question, passage, answers] = asked.items[row[0]];
    const node = document.getElementById("item").content.cloneNode(true);
    const outcome = form.elements.outcome.querySelector(`[value="${row[2]}"]`).textContent;
    const facts = [key, `T ${row[1]}`, type, outcome];
    node.querySelector("h3").textContent = question === null ? "n/a (not among the frozen items)" : whole(question);
    node.querySelector(".facts").textContent = facts.join(" \u00b7 ");
    node.querySelector(".gold").textContent = question === null ? "" :
      `Gold: ${answers.length ? answers.map(whole).join("; ") : "none, the passage does not answer it"}`;
    fill(node.querySelector(".control"), "control", row[4], verdicts);
    fill(node.querySelector(".treatment"), "treatment", row[5], verdicts);
    const details = node.querySelector("details");
    if (passage === null) details.remove();
    else details.addEventListener("toggle", () => { details.querySelector(".verbatim").textContent = whole(asked.passages[passage]); }, { once: true });
    return node;
  };
  const choices = () => Object.fromEntries(new FormData(form));
  const draw = () => {
    const asked = decode("asked"), { verdicts, rows } = decode(`replies-${choices().trial}`);
    const last = Math.max(0, Math.ceil(found.length / PER_PAGE) - 1);
    page = Math.min(Math.max(page, 0), last);
    const part = found.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
    list.replaceChildren(...part.map((row) => card(row, asked, verdicts)));
    const range = part.length ? `, ${page * PER_PAGE + 1} to ${page * PER_PAGE + part.length} shown` : "";
    shown.textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} found${range}`;
    pages.hidden = last === 0;
    pages.querySelector("span").textContent = `page ${page + 1} of ${last + 1}`;
    pages.querySelector("[data-step='-1']").disabled = page === 0;
    pages.querySelector("[data-step='1']").disabled = page === last;
  };
  const search = (at = 0) => {
    const asked = decode("asked"), wanted = choices();
    found = decode(`replies-${wanted.trial}`).rows.filter((row) => matches(row, asked, wanted));
    page = at;
    draw();
  };
  const remember = () => {
    const kept = Object.entries({ ...choices(), page: page ? String(page + 1) : "" }).filter(([, value]) => value !== "");
    history.replaceState(null, "", `#items?${new URLSearchParams(kept)}`);
  };
  const begin = () => {
    const [section, query] = location.hash.slice(1).split("?");
    const asked = new URLSearchParams(section === "items" ? query ?? "" : "");
    for (const [name, value] of asked) {
      const field = form.elements[name];
      if (field instanceof HTMLSelectElement && ![...field.options].some((option) => option.value === value)) continue;
      if (field) field.value = value;
    }
    search(Number(asked.get("page") ?? 1) - 1 || 0);
    if (section === "items") document.getElementById("items").scrollIntoView();
  };
  if (!document.getElementById("replies-0")) return;
  form.hidden = false;
  let waiting;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
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
  window.addEventListener("hashchange", () => { if (location.hash.startsWith("#items?")) begin(); });
  // Nothing is decoded before somebody comes near.
  if (location.hash.startsWith("#items") || !("IntersectionObserver" in window)) begin();
  else new IntersectionObserver((seen, observer) => {
    if (seen.some((entry) => entry.isIntersecting)) { observer.disconnect(); begin(); }
  }, { rootMargin: "800px" }).observe(form);
})();
