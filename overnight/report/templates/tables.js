"use strict";
// Sorting: a click on a heading sorts by its column, a second one the other way; missing values stay last.
// The address can ask for it too: #sort?table-trials.6.descending
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell ? cell.dataset.value ?? (cell.firstChild ? cell.firstChild.textContent.trim() : "") : "";
  };
  const sort = (column, down) => {
    heads.forEach((other) => other.setAttribute("aria-sort", "none"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const x = value(a, column), y = value(b, column);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : Number(x) - Number(y);
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    if (head.dataset.name) button.setAttribute("aria-label", head.dataset.name);
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(column, head.getAttribute("aria-sort") === "ascending"));
  });
  const asked = location.hash.match(/^#sort\?([\w-]+)\.(\d+)\.(ascending|descending)$/);
  if (asked && asked[1] === table.id && heads[asked[2]]) sort(Number(asked[2]), asked[3] === "descending");
}
// Columns: each button shows or hides those of one metric; without this script all of them are there.
for (const group of document.querySelectorAll("[data-columns]")) {
  const table = document.getElementById(group.dataset.columns);
  group.hidden = false;
  for (const button of group.querySelectorAll("button")) {
    const show = (on) => {
      button.setAttribute("aria-pressed", String(on));
      table.classList.toggle(`no-${button.dataset.group}`, !on);
    };
    button.addEventListener("click", () => show(button.getAttribute("aria-pressed") !== "true"));
    show(button.getAttribute("aria-pressed") === "true");
  }
}
