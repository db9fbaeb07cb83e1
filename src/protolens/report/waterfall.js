// An explanation: in words, its prototypes in their order, and as a figure. Shared by the report and the page.
import { FONT, SVG, inLines } from "./drawing.js";
import { shortened, signed, three } from "./numbers.js";

const INK = "#1b1b1b", QUIET = "#5a5a5a", RULE = "#d8d8d4", FOR = "#0b6fb3", AGAINST = "#c75b00", PAPER = "#ffffff";
const WIDTH = 840, LEFT = 176, ROW = 60, BARS = 600, SHOWN = 8;

const escaped = (text) => String(text).replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);

// similarities below 0, such as minus a distance, turn the sense of contributions around: there lifts say more
export const usualSum = (why) => (why.linear && why.reasons.some((reason) => reason.similarity < 0) ? "lift" : "contribution");

// by: "contribution" from the bias, or "lift" from the average training image; both end at the logit
export function ordered(why, by) {
  return [...why.reasons].sort((a, b) => Math.abs(b[by]) - Math.abs(a[by]) || b.similarity - a.similarity);
}

// so many of them are in sight; a single one is not folded
export const inSight = (reasons) => (reasons.length <= SHOWN + 1 ? reasons.length : SHOWN);

export function inWords(why, by) {
  if (by === "lift") return why.sentence;
  const reasons = ordered(why, by);
  const most = reasons.find((reason) => reason.contribution > 0);
  const least = reasons.find((reason) => reason.contribution < 0);
  const first = why.sentence.split(/(?<=\.) /)[0];
  if (!why.linear) {
    const nearest = why.reasons.find((reason) => reason.prototype === why.nearest);
    return `${first} It is nearest to prototype ${why.nearest} (${nearest.class_name}).`;
  }
  const said = [most && `prototype ${most.prototype} (${most.class_name}) adds most to it`, least && `prototype ${least.prototype} (${least.class_name}) takes most away`].filter(Boolean);
  return said.length ? `${first} ${said.join("; ").replace("prototype", "Prototype")}.` : first;
}

// of nearest-prototype heads, where nothing is summed
export const barsAre = (why) => (why.reasons.some((reason) => reason.similarity < 0) ? "bars are distances: the shorter, the nearer" : "bars are similarities: the longer, the nearer");

const text = (x, y, words, { size = 14, fill = INK, anchor = "start", bold = false } = {}) =>
  `<text x="${x}" y="${y}" font-size="${size}" fill="${fill}" text-anchor="${anchor}"${bold ? ' font-weight="650"' : ""}>${escaped(words)}</text>`;

function imageAt(run, data, x, y, side, box) {
  const scale = side / Math.max(run.width, run.height), width = run.width * scale, height = run.height * scale;
  const lines = box ? `<rect x="${x + box[0] * scale}" y="${y + box[1] * scale}" width="${(box[2] - box[0]) * scale}" height="${(box[3] - box[1]) * scale}" fill="none" stroke="#ffd400" stroke-width="2"/>` : "";
  return `<image x="${x}" y="${y}" width="${width}" height="${height}" href="${data}" preserveAspectRatio="none"${scale > 1 ? ' image-rendering="pixelated"' : ""}/>`
    + `<rect x="${x}" y="${y}" width="${width}" height="${height}" fill="none" stroke="${RULE}"/>${lines}`;
}

// This looks like that, with its sum, as the text of an SVG file: the image, the strongest prototypes, their bars to the
// logit. run: its name, and the width and height of its images; image, pictureOf(prototype): pictures as data.
export function reasonsFigure(run, why, prototypes, by, image, pictureOf) {
  const reasons = ordered(why, by), some = reasons.slice(0, inSight(reasons));
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
    parts.push(imageAt(run, pictureOf(reason.prototype), LEFT, y + 4, ROW - 12, prototype.decoded ? null : prototype.box));
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
