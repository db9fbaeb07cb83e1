// The page needs none of this: it adds a button to each table that copies it as CSV.
"use strict";

function cellText(cell) {
  const plain = cell.cloneNode(true);
  for (const extra of plain.querySelectorAll(".what, .arrow, svg")) extra.remove();
  for (const line of plain.querySelectorAll("br")) line.replaceWith(" ");
  const text = plain.textContent.replace(/\s+/g, " ").trim();
  const number = text.replace(/\u2212/g, "-").replace(/,/g, "");
  return /^[+-]?\d+(\.\d+)?$/.test(number) ? number : text;
}

function toCsv(table) {
  const rows = [...table.querySelectorAll("tr")].filter((row) => !row.closest("[aria-hidden]"));
  return rows.map((row) => [...row.cells].filter((cell) => !cell.matches(".falls, .bar")).flatMap((cell) => {
    const text = cellText(cell);
    const quoted = /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
    return [quoted, ...Array(cell.colSpan - 1).fill("")];
  }).join(",")).join("\n") + "\n";
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

for (const table of document.querySelectorAll("table")) {
  if (table.classList.contains("strip")) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "copy as CSV";
  button.addEventListener("click", async () => {
    button.textContent = (await copy(toCsv(table))) ? "copied" : "could not be copied";
    setTimeout(() => { button.textContent = "copy as CSV"; }, 2000);
  });
  table.caption.firstElementChild.append(" ", button);
}
