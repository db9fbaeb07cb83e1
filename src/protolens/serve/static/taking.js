// What people take with them: tables as CSV, figures as SVG and PNG.
import { csv, h, ofPrototype, picture, save, shortened, signed, three } from "./dom.js";
import { barsAre, inSight, inWords, ordered } from "./reasons.js";

const INK = "#1b1b1b", QUIET = "#5a5a5a", RULE = "#d8d8d4", FOR = "#0b6fb3", AGAINST = "#c75b00", PAPER = "#ffffff";
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
const SVG = "http://www.w3.org/2000/svg";
const LEGEND = 136, WIDTH = 840, LEFT = 176, ROW = 60, BARS = 600, SHARPNESS = 2;
const KEPT = ["font-weight", "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "font-size", "text-anchor", "opacity"];

const escaped = (text) => String(text).replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);
export const fileName = (...words) => words.join("-").replace(/[^\w.-]/g, "_");

export function tableSaver(name, rows, words = "save as CSV") {
  return h("button", { type: "button", onclick: () => save(`${name}.csv`, csv(rows()), "text/csv") }, words);
}

// make: gives the text of an SVG file, now or later
export function figureSavers(name, make) {
  const button = (words, act) => h("button", { type: "button", onclick: async (event) => {
    const { target } = event;
    try {
      target.disabled = true;
      await act();
    } catch {
      target.textContent = "could not be drawn";
    } finally {
      target.disabled = false;
    }
  } }, words);
  return [
    button("save as SVG", async () => save(`${name}.svg`, await make(), "image/svg+xml")),
    button("save as PNG", async () => save(`${name}.png`, await toPng(await make()), "image/png")),
  ];
}

async function toPng(text) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = h("canvas", { width: image.width * SHARPNESS, height: image.height * SHARPNESS });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

// A figure of the page as a file of its own: with the looks that the page's style gives it, on paper.
// legend: names and colours, which stand below
export function standalone(svg, legend = []) {
  const copied = svg.cloneNode(true);
  const drawn = [svg, ...svg.querySelectorAll("*")], own = [copied, ...copied.querySelectorAll("*")];
  for (const [at, element] of own.entries()) {
    const style = getComputedStyle(drawn[at]);
    for (const name of KEPT) element.setAttribute(name, style.getPropertyValue(name));
    for (const name of ["class", "tabindex", "role", "style"]) element.removeAttribute(name);
  }
  const { width, height: tall } = svg.viewBox.baseVal, across = Math.floor(width / LEGEND);
  const height = tall + 24 * Math.ceil(legend.length / across);
  for (const [name, value] of Object.entries({ xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`, "font-family": FONT })) copied.setAttribute(name, value);
  const { backgroundColor, color } = getComputedStyle(document.body);
  copied.prepend(h("rect", { width, height, fill: backgroundColor }));
  for (const [at, [name, fill]] of legend.entries()) {
    const x = LEGEND * (at % across) + 12, y = tall + 24 * Math.floor(at / across);
    copied.append(h("rect", { x, y, width: 12, height: 12, fill }), h("text", { x: x + 18, y: y + 11, "font-size": 14, fill: color }, shortened(name, 12)));
  }
  return new XMLSerializer().serializeToString(copied);
}

async function embedded(address) {
  const answer = await fetch(address, { headers: { "x-protolens": "1" } });
  if (!answer.ok) throw new Error(`${address} gives no picture`);
  const blob = await answer.blob();
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = fail;
    reader.readAsDataURL(blob);
  });
}

const text = (x, y, words, { size = 14, fill = INK, anchor = "start", bold = false } = {}) =>
  `<text x="${x}" y="${y}" font-size="${size}" fill="${fill}" text-anchor="${anchor}"${bold ? ' font-weight="650"' : ""}>${escaped(words)}</text>`;

function imageAt(run, data, x, y, side, box) {
  const scale = side / Math.max(run.width, run.height), width = run.width * scale, height = run.height * scale;
  const lines = box ? `<rect x="${x + box[0] * scale}" y="${y + box[1] * scale}" width="${(box[2] - box[0]) * scale}" height="${(box[3] - box[1]) * scale}" fill="none" stroke="#ffd400" stroke-width="2"/>` : "";
  return `<image x="${x}" y="${y}" width="${width}" height="${height}" href="${data}" preserveAspectRatio="none"${scale > 1 ? ' image-rendering="pixelated"' : ""}/>`
    + `<rect x="${x}" y="${y}" width="${width}" height="${height}" fill="none" stroke="${RULE}"/>${lines}`;
}

// Words in lines of at most so many letters.
function inLines(words, letters) {
  const lines = [""];
  for (const word of words.split(" ")) {
    if (lines.at(-1) && lines.at(-1).length + word.length >= letters) lines.push("");
    lines[lines.length - 1] += `${lines.at(-1) ? " " : ""}${word}`;
  }
  return lines;
}

// This looks like that, with its sum, as a file: the image, the strongest prototypes, their bars to the logit.
export async function reasonsFigure(run, why, prototypes, { by, split, index }) {
  const reasons = ordered(why, by), some = reasons.slice(0, inSight(reasons));
  const source = picture(run.name, split, index);
  const [image, ...pictures] = await Promise.all([source, ...some.map((reason) => ofPrototype(run.name, reason.prototype, prototypes[reason.prototype].decoded ? "decoded" : "nearest"))].map(embedded));
  const title = inLines(inWords(why, by), 84), top = 24 + 20 * title.length + 12;
  const parts = title.map((line, at) => text(16, 32 + 20 * at, line, { size: 16, bold: true }));
  parts.push(imageAt(run, image, 16, top, 144), text(16, top + 164, shortened(why.image, 20), { fill: QUIET, size: 12 }));
  const levels = [by === "lift" ? why.baseline : why.bias];
  for (const reason of some) levels.push(levels.at(-1) + reason[by]);
  const scale = scaleOf(why, some, levels);
  let y = top;
  const line = (words, value, level) => {
    parts.push(text(LEFT, y + 20, words), text(BARS - 24, y + 20, value, { anchor: "end", bold: true }));
    if (level !== null && why.linear) parts.push(`<circle cx="${scale(level)}" cy="${y + 15}" r="4" fill="${INK}"/>`);
    y += 30;
  };
  line(by === "lift" ? "the average training image" : "bias", signed(levels[0]), levels[0]);
  for (const [at, reason] of some.entries()) {
    const prototype = prototypes[reason.prototype];
    parts.push(imageAt(run, pictures[at], LEFT, y + 4, ROW - 12, prototype.decoded ? null : prototype.box));
    parts.push(text(LEFT + 60, y + 24, `prototype ${reason.prototype} (${shortened(reason.class_name, 24)})`), text(LEFT + 60, y + 44, prototype.nearest, { fill: QUIET, size: 12 }));
    parts.push(text(BARS - 24, y + 24, `${three(reason.similarity)} × ${three(reason.weight)}`, { anchor: "end", fill: QUIET }), text(BARS - 24, y + 44, signed(reason[by]), { anchor: "end", bold: true }));
    const [from, to] = why.linear ? [levels[at], levels[at + 1]] : [0, Math.abs(reason.similarity)];
    const begin = Math.min(scale(from), scale(to)), fill = why.linear ? (to >= from ? FOR : AGAINST) : reason.prototype === why.nearest ? FOR : QUIET;
    if (why.linear) parts.push(`<line x1="${scale(to)}" x2="${scale(to)}" y1="${y + 44}" y2="${y + ROW + 16}" stroke="${QUIET}"/>`);
    parts.push(`<rect x="${begin}" y="${y + 16}" width="${Math.max(1, Math.abs(scale(to) - scale(from)))}" height="28" fill="${fill}"/>`);
    y += ROW;
  }
  const rest = reasons.length - some.length;
  if (rest > 0) {
    const [from, to] = [scale(levels.at(-1)), scale(why.logit)];
    if (why.linear) parts.push(`<rect x="${Math.min(from, to)}" y="${y + 9}" width="${Math.max(1, Math.abs(to - from))}" height="12" fill="${to >= from ? FOR : AGAINST}"/>`);
    line(`and ${rest} more, together`, signed(reasons.slice(some.length).reduce((sum, reason) => sum + reason[by], 0)), null);
  }
  line(`logit of ${shortened(why.explained, 30)}`, signed(why.logit), why.logit);
  const height = Math.max(y, top + 190) + 32;
  parts.push(text(16, height - 12, `${run.name}, made with protolens; ${why.linear ? `${by}s, blue for, orange against` : barsAre(why)}`, { fill: QUIET, size: 12 }));
  return `<svg xmlns="${SVG}" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="${escaped(FONT)}"><rect width="${WIDTH}" height="${height}" fill="${PAPER}"/>${parts.join("")}</svg>`;
}

function scaleOf(why, some, levels) {
  const values = why.linear ? [...levels, why.logit] : [0, ...some.map((reason) => Math.abs(reason.similarity))];
  const low = Math.min(...values), high = Math.max(...values), span = high - low || 1;
  return (value) => BARS + 8 + (WIDTH - BARS - 32) * (value - low) / span;
}
