// This looks like that: the sum from the bias to the logit, a row a prototype.
import { api, framed, get, h, ofPrototype, shown } from "./dom.js";
import { plural, signed, three } from "./numbers.js";
import { barsAre, inSight, ordered } from "./waterfall.js";

const known = new Map();

export function prototypesOf(run, signal) {
  if (!known.has(run.name)) {
    const found = get(api(run.name, "prototypes"), signal);
    known.set(run.name, found);
    found.catch(() => known.delete(run.name));
  }
  return known.get(run.name);
}

export const forget = (run) => known.delete(run.name);

function far(reason, nearest, longest) {
  return h("svg", { class: "fall", width: "100%", height: "100%", "aria-hidden": "true" },
    h("rect", { class: nearest ? "for" : "other", x: "0", width: `${100 * Math.abs(reason.similarity) / longest}%`, y: "28%", height: "44%" }));
}

function scaleOf(levels) {
  const low = Math.min(...levels), high = Math.max(...levels);
  const air = 0.03 * (high - low) || 0.5;
  return (value) => 100 * (value - low + air) / (high - low + 2 * air);
}

function fall(scale, start, end, kind) {
  const from = `${scale(start)}%`, to = `${scale(end)}%`;
  const marks = [];
  if (kind !== "first") marks.push(h("line", { class: "way", x1: from, x2: from, y1: "0", y2: "50%" }));
  if (kind !== "last") marks.push(h("line", { class: "way", x1: to, x2: to, y1: "50%", y2: "100%" }));
  if (kind) marks.push(h("circle", { class: kind === "first" ? "begin" : "end", cx: to, cy: "50%", r: "5" }));
  else {
    const left = Math.min(scale(start), scale(end)), width = Math.abs(scale(end) - scale(start));
    marks.push(h("rect", { class: end >= start ? "for" : "against", x: `${left}%`, width: `${width}%`, y: "28%", height: "44%" }));
  }
  return h("svg", { class: "fall", width: "100%", height: "100%", "aria-hidden": "true" }, marks);
}

const cell = (label, text, more = "") => h("td", { className: `number ${more}`, "data-label": label }, text);

// The table. source: where the image's picture lies; pick: is told the row that somebody points at, or null.
export function sums(run, why, prototypes, { by, source, pick, all, unfold }) {
  const reasons = ordered(why, by), placed = reasons.some((reason) => reason.box);
  const most = all ? reasons.length : inSight(reasons);
  const start = by === "lift" ? why.baseline : why.bias;
  const levels = [start];
  for (const reason of reasons) levels.push(levels.at(-1) + reason[by]);
  const longest = Math.max(...reasons.map((reason) => Math.abs(reason.similarity))) || 1;
  const scale = scaleOf([...levels.slice(0, most + 1), why.logit]);
  const rows = reasons.slice(0, most).map((reason, at) => {
    const prototype = prototypes[reason.prototype];
    const row = h("tr", { tabIndex: 0, id: `reason-${at + 1}`, "data-prototype": reason.prototype,
      onmouseenter: () => pick(reason), onmouseleave: () => pick(null), onfocus: () => pick(reason), onblur: () => pick(null) },
      placed && h("td", { className: "found" }, reason.box ? framed(run, shown(run, source, `where the image is most like prototype ${reason.prototype}`, 72), reason.box) : h("span", { className: "quiet" }, "alike everywhere")),
      h("th", { scope: "row", className: "who" }, h("div", { className: "beside" },
        framed(run, shown(run, ofPrototype(run.name, reason.prototype, prototype.decoded ? "decoded" : "nearest"), prototype.alt, 72), prototype.decoded ? null : prototype.box),
        prototype.decoded && shown(run, ofPrototype(run.name, reason.prototype), `its nearest training image, ${prototype.nearest}`, 72),
        h("span", {}, h("a", { href: `#/learnt/${encodeURIComponent(run.name)}/${reason.prototype}` }, `prototype ${reason.prototype}`), h("br"), reason.class_name,
          h("br"), h("span", { className: "quiet" }, why.linear ? prototype.nearest : reason.prototype === why.nearest ? "nearest of all" : reason.contribution ? `nearest of ${reason.class_name}` : prototype.nearest)))),
      cell("similarity", three(reason.similarity)),
      cell("× weight", signed(reason.weight)),
      cell("= contribution", signed(reason.contribution), by === "contribution" ? "strong" : "quiet"),
      why.linear && cell("lift", signed(reason.lift), by === "lift" ? "strong" : "quiet"),
      h("td", { className: "falls" }, why.linear ? fall(scale, levels[at], levels[at + 1]) : far(reason, reason.prototype === why.nearest, longest)));
    return row;
  });
  const wide = (placed ? 2 : 1) + 2;
  const line = (words, value, other, kind, from, to) => h("tr", { className: "sum" }, h("th", { scope: "row", colSpan: wide }, words),
    cell("= contribution", by === "contribution" ? value : other), why.linear && cell("lift", by === "lift" ? value : other), h("td", { className: "falls" }, why.linear && fall(scale, from, to, kind)));
  const rest = reasons.slice(most);
  const together = rest.reduce((sum, reason) => sum + reason[by], 0);
  const head = (text, more = "number") => h("th", { scope: "col", className: more }, text);
  return h("table", { className: `sums${placed ? " placed" : ""}` },
    h("caption", {}, h("div", {}, by === "lift"
      ? `From the average training image (${signed(why.baseline)}) to the logit of ${why.explained}: what each prototype adds beyond what is usual.`
      : `From the bias to the logit of ${why.explained}: similarity × weight = contribution. ${why.linear ? "Blue speaks for it, orange against." : `The nearest decides; ${barsAre(why)}.`}`)),
    h("thead", {}, h("tr", {}, placed && head("in this image", ""), head(placed ? "looks like this" : "this looks like that", ""), head("similarity"), head("× weight"), head("= contribution"), why.linear && head("lift"), head(why.linear ? "running sum" : "how near", "falls"))),
    h("tbody", {},
      line(by === "lift" ? "the average training image" : "bias", signed(start), "", "first", start, start),
      rows,
      rest.length > 0 && line(h("span", {}, `and ${plural(rest.length, "more prototype")}, together `, h("button", { type: "button", onclick: unfold }, "show")), signed(together), "", "", levels[most], why.logit),
      line(`logit of ${why.explained}`, signed(why.logit), "", "last", why.logit, why.logit)));
}
