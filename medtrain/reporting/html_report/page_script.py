"""The little JavaScript of the page, without which it is whole: tables are sorted and filtered.

It is inlined, and the page's policy names its SHA-256, so that no other script runs.
"""

from __future__ import annotations

import base64
import hashlib

FILTERED = 12  # rows from which on a table has a field to filter them

SCRIPT = """
"use strict";
const value = (row, place) => {
  const cell = row.cells[place], number = cell.querySelector("data");
  if (number) return Number(number.value);
  return cell.querySelector(".none") ? NaN : cell.textContent.trim();
};
const order = (a, b, down) => {
  const none = x => x === "" || Number.isNaN(x);
  if (none(a) || none(b)) return none(a) - none(b);
  if (typeof a === "number" && typeof b === "number") return down * (a - b);
  return down * String(a).localeCompare(String(b), undefined, { numeric: true });
};
const sortable = (table, head, place) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  head.setAttribute("aria-sort", "none");
  button.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of table.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort((a, b) => order(value(a, place), value(b, place), down)));
  });
};
const filtered = table => {
  const rows = [...table.tBodies[0].rows];
  const [label, field, told] = ["label", "input", "output"].map(name => document.createElement(name));
  field.type = "search";
  field.autocomplete = "off";
  label.className = "filter";
  label.append("Filter rows ", field, " ", told);
  field.setAttribute("aria-label", "Filter rows of: " + table.caption.textContent);
  field.addEventListener("input", () => {
    const words = field.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(words);
    told.textContent = words ? rows.filter(row => !row.hidden).length + " of " + rows.length : "";
  });
  (table.closest(".scroll") || table).before(label);
};
for (const table of document.querySelectorAll("table:not(.matrix)")) {
  const rows = table.tBodies[0].rows.length, heads = table.tHead.rows;
  if (rows > 2) [...heads[heads.length - 1].cells].forEach((head, place) => sortable(table, head, place));
  if (rows >= FILTERED) filtered(table);
}
""".replace("FILTERED", str(FILTERED))
HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
