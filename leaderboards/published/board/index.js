// Sort and filter the tables that the page was written with. No data is loaded and nothing is evaluated.
"use strict";

for (const table of document.querySelectorAll("table.ranking")) {
  for (const button of table.tHead.querySelectorAll("button")) {
    button.addEventListener("click", () => sortBy(table, button));
  }
}

function sortBy(table, button) {
  const head = button.closest("th");
  const column = [...head.parentNode.children].indexOf(head);
  const numeric = button.dataset.kind === "number";
  // Numbers start with the best first (the rank with the smallest), texts from A to Z.
  const before = head.getAttribute("aria-sort");
  const firstUp = column === 0 || !numeric;
  const ascending = before === null ? firstUp : before !== "ascending";
  for (const cell of head.parentNode.children) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const value = (row) => {
    const cell = row.children[column];
    if (!numeric) return cell.textContent.trim().toLowerCase();
    return cell.dataset.value === "" || cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const rows = [...table.tBodies[0].rows].map((row, place) => ({ row, place, key: value(row) }));
  rows.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.place - b.place;
    const order = a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
    return (ascending ? order : -order) || a.place - b.place;
  });
  table.tBodies[0].append(...rows.map((entry) => entry.row));
}

const suite = document.getElementById("filter-suite");
const task = document.getElementById("filter-task");
const model = document.getElementById("filter-model");

const names = new Set([...document.querySelectorAll("th[data-task]")].map((cell) => cell.dataset.task));
for (const name of names) {
  const option = document.createElement("option");
  option.value = option.textContent = name;
  task.append(option);
}

function filter() {
  let shown = 0;
  const part = model.value.trim().toLowerCase();
  for (const board of document.querySelectorAll(".board")) {
    board.hidden = suite.value !== "" && board.dataset.suite !== suite.value;
    for (const row of board.querySelectorAll("tr[data-model]")) {
      row.hidden = !row.dataset.model.includes(part);
      shown += !row.hidden && !board.hidden;
    }
    for (const cell of board.querySelectorAll("[data-task]")) {
      cell.hidden = task.value !== "*" && cell.dataset.task !== task.value;
    }
  }
  document.getElementById("filter-count").textContent = shown === 1 ? "1 variant" : shown + " variants";
}

document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
for (const control of [suite, task, model]) control.addEventListener("input", filter);
filter();
