"use strict";
// The vectors: rows that do not match what is chosen are hidden. Without this script all of them are there.
(() => {
  const form = document.getElementById("vector-choices"), table = document.getElementById("table-vectors");
  if (!form || !table) return;
  const rows = [...table.tBodies[0].rows], shown = document.getElementById("vectors-shown");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const search = () => {
    const wanted = Object.fromEntries(new FormData(form)), text = (wanted.text ?? "").trim().toLowerCase();
    let found = 0;
    for (const row of rows) {
      const matches =
        (!wanted.trial || row.dataset.trial === wanted.trial) &&
        (!wanted.role || row.dataset.role === wanted.role) &&
        (text === "" || texts.get(row).includes(text));
      row.hidden = !matches;
      found += matches;
    }
    shown.textContent = `${found.toLocaleString("en")} of ${rows.length.toLocaleString("en")} shown`;
  };
  form.hidden = false;
  form.addEventListener("input", search);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(search));
  search();
})();
