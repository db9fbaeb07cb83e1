// The page needs none of this: it adds buttons that copy tables as CSV, and save figures and explanations as files.
import { button, copyButton, csv, figureSavers, fileName, save, standalone } from "./drawing.js";
import { reasonsFigure } from "./waterfall.js";

const RUN = document.querySelector("h1").textContent;

function cellText(cell) {
  const plain = cell.cloneNode(true);
  for (const extra of plain.querySelectorAll(".what, .arrow, svg")) extra.remove();
  for (const line of plain.querySelectorAll("br")) line.replaceWith(" ");
  const found = plain.textContent.replace(/\s+/g, " ").trim();
  const number = found.replace(/\u2212/g, "-").replace(/,/g, "");
  return /^[+-]?\d+(\.\d+)?$/.test(number) ? number : found;
}

function toCsv(table) {
  const rows = [...table.querySelectorAll("tr")].filter((row) => !row.closest("[aria-hidden]"));
  const told = (row) => [...row.cells].filter((cell) => !cell.matches(".falls, .bar"));
  return csv(rows.map((row) => told(row).flatMap((cell) => [cellText(cell), ...Array(cell.colSpan - 1).fill("")])));
}

for (const table of document.querySelectorAll("table:not(.strip)")) {
  table.caption.firstElementChild.append(" ", copyButton("copy as CSV", () => toCsv(table)));
}

function beside(...buttons) {
  const line = document.createElement("p");
  line.className = "copies";
  line.append(...buttons);
  return line;
}

// the marks that several charts share stand above them
function legendOf(figure) {
  const charts = figure.closest(".pairs") ?? figure.closest(".charts"), above = charts.previousElementSibling;
  return above?.matches(".legend") ? above.children : [];
}

for (const figure of document.querySelectorAll(".charts figure")) {
  const svg = figure.querySelector(":scope > svg"), words = figure.querySelector("figcaption").cloneNode(true);
  if (!svg) continue;
  for (const list of words.querySelectorAll("ul")) list.remove();
  const title = words.textContent.replace(/\s+/g, " ").trim();
  const marks = [...figure.querySelectorAll("figcaption li"), ...legendOf(figure)];
  const legend = marks.map((item) => [item.textContent.trim(), item.querySelector("svg")]);
  figure.append(beside(...figureSavers(fileName(RUN, title.slice(0, 40)), () => standalone(svg, { title, legend }))));
}

// the explanation as the page of `serve` saves it, with the pictures that this page holds
function figureOf(why, facts) {
  const prototypes = {}, pictures = {};
  let width, height;
  for (const { prototype } of facts.reasons) {
    const nearest = document.getElementById(`n${prototype}`), decoded = document.getElementById(`p${prototype}`);
    const { words, box, size } = nearest.dataset;
    prototypes[prototype] = { nearest: words, decoded: decoded !== null, box: box?.split(" ").map(Number) };
    pictures[prototype] = (decoded ?? nearest).querySelector("image").getAttribute("href");
    [width, height] = size.split(" ").map(Number);
  }
  const image = why.querySelector("summary img").src;
  return reasonsFigure({ name: RUN, width, height }, { ...facts, linear: true }, prototypes, "lift", image, (number) => pictures[number]);
}

for (const why of document.querySelectorAll("details.why")) {
  const facts = JSON.parse(why.querySelector("script").textContent), name = fileName(RUN, facts.image);
  why.append(beside(
    button("save as JSON", () => save(`${name}.json`, JSON.stringify({ run: RUN, ...facts }, null, 1), "application/json")),
    ...figureSavers(name, () => figureOf(why, facts))));
}
