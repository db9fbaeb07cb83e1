// Edit: what if a prototype were gone, spoke for another class, or a region were hidden? Seen at once, on validation images.
import { api, failed, fill, h, ofPrototype, picture, post, progress, say, shown, work } from "./dom.js";
import { fileName } from "./drawing.js";
import { count, percent, plural, points } from "./numbers.js";
import { prototypesOf } from "./reasons.js";
import { tableSaver } from "./taking.js";

const FLIPS = 60;
const opened = new Map();

// off:3,move:4:nine,forbid:0:0:28:4 and back; what people may put into class names is escaped
const write = (edits) => edits.map((edit) => (edit.kind === "off" ? `off:${edit.prototype}` : edit.kind === "move" ? `move:${edit.prototype}:${encodeURIComponent(edit.to)}` : `forbid:${edit.box.join(":")}`)).join(",");
function readEdits(text) {
  return (text ? text.split(",") : []).map((word) => {
    const [kind, ...rest] = word.split(":");
    if (kind === "off") return { kind, prototype: Number(rest[0]) };
    if (kind === "move") return { kind, prototype: Number(rest[0]), to: decodeURIComponent(rest[1] ?? "") };
    return { kind: "forbid", box: rest.map(Number) };
  });
}

const words = (edit) => (edit.kind === "off" ? `prototype ${edit.prototype} is switched off` : edit.kind === "move" ? `prototype ${edit.prototype} speaks for ${edit.to}` : `the region ${edit.box.slice(0, 2).join(", ")} to ${edit.box.slice(2).join(", ")} is hidden`);

export async function edit(page) {
  const { root, more, go, keys } = page;
  const edits = readEdits(more.get("edits"));
  const change = (next) => go({ more: next.length ? { edits: write(next) } : {} });
  const undo = () => (edits.length ? change(edits.slice(0, -1)) : say("There is nothing to undo."));
  keys.u = undo;
  keys["/"] = () => document.getElementById("search")?.focus();
  if (!root.querySelector("#consequences")) await begin(page);
  root.page = page;
  root.change = change;
  root.edits = edits;
  mark(page, edits);
  root.querySelector("#history").replaceChildren(...history(edits, change, undo));
  await consequences(page, edits);

}

// The frame, drawn once for a run; what changes is filled in afterwards, so that nothing jumps.
async function begin(page) {
  const { root, run, signal } = page;
  const bar = progress("looking at the validation images");
  fill(root, h("h1", {}, "Edit"), h("p", { className: "answer", id: "answer" }, "What if a prototype were gone, or spoke for another class?"), bar);
  if (!opened.has(run.name)) opened.set(run.name, await work(api(run.name, "bench"), undefined, signal, (job, seconds) => bar.tell(job, seconds)));
  const { can, caution } = opened.get(run.name);
  const { prototypes } = await prototypesOf(run, signal);
  fill(root,
    h("h1", {}, "Edit"),
    h("p", { className: "answer", id: "answer" }, "What if a prototype were gone, or spoke for another class?"),
    h("div", { className: "two edit" },
      h("section", { className: "left panel", "aria-label": "consequences" }, h("div", { id: "consequences" }), h("div", { id: "history" }), h("div", { id: "saving" })),
      h("section", { className: "right", "aria-label": "prototypes" },
        can.off && h("p", { className: "state" }, can.off),
        !can.off && gallery(page, prototypes, can, caution),
        h("h2", {}, "Hide a region"), can.forbid ? h("p", { className: "state" }, can.forbid) : region(page))),
    h("section", { "aria-labelledby": "flips-title" }, h("h2", { id: "flips-title" }, "Predictions that change"), h("div", { id: "flips" })));
  root.querySelector("#saving").append(saving(page));
}

const now = (root) => root.edits ?? [];

function gallery(page, prototypes, can, caution) {
  const { root, run } = page;
  const search = h("input", { type: "search", id: "search", placeholder: "class or number", "aria-label": "find prototypes by class or number" });
  const cards = prototypes.map((each) => {
    const off = h("input", { type: "checkbox", checked: true, onchange: (event) => root.change(event.target.checked ? now(root).filter((edit) => !(edit.kind === "off" && edit.prototype === each.prototype)) : [...now(root).filter((edit) => edit.kind === "forbid" || edit.prototype !== each.prototype), { kind: "off", prototype: each.prototype }]) });
    const to = h("select", { "aria-label": `class that prototype ${each.prototype} speaks for`, disabled: Boolean(can.move), onchange: (event) => {
      const left = now(root).filter((edit) => !(edit.kind === "move" && edit.prototype === each.prototype));
      root.change(event.target.value === each.class ? left : [...left, { kind: "move", prototype: each.prototype, to: event.target.value }]);
    } }, run.classes.map((name) => h("option", { value: name, selected: name === each.class }, name)));
    const odd = each.illnesses.length ? each.illnesses.map((illness) => illness.sentence) : each.findings;
    const short = each.illnesses.length ? each.illnesses.map((illness) => illness.kind.replaceAll("-", " ")).join(", ") : odd[0]?.split(":")[0];
    const card = h("article", { className: "switch", "data-prototype": each.prototype },
      h("label", { className: "tick" }, off, ` prototype ${each.prototype}`),
      shown(run, ofPrototype(run.name, each.prototype, each.decoded ? "decoded" : "nearest"), each.alt, 84),
      h("label", { className: "to" }, h("span", { className: "unseen" }, "speaks for"), to),
      odd.length > 0 && h("p", { className: "finding", title: odd.join("; ") }, short));
    return { card, each };
  });
  const box = h("div", { className: "switches" }, cards.map(({ card }) => card));
  search.addEventListener("input", () => {
    const text = search.value.trim().toLowerCase();
    for (const { card, each } of cards) card.hidden = Boolean(text) && !(each.class.toLowerCase().includes(text) || String(each.prototype) === text);
  });
  return [h("div", { className: "choices" }, h("label", {}, "find ", search)), caution && h("p", { className: "quiet" }, caution), can.move && h("p", { className: "state" }, can.move), box];
}

function mark(page, edits) {
  for (const card of page.root.querySelectorAll(".switch")) {
    const number = Number(card.dataset.prototype);
    const off = edits.some((edit) => edit.kind === "off" && edit.prototype === number);
    const moved = edits.findLast((edit) => edit.kind === "move" && edit.prototype === number);
    card.querySelector("input").checked = !off;
    card.classList.toggle("off", off);
    card.classList.toggle("moved", Boolean(moved));
    const choice = card.querySelector("select");
    choice.value = moved ? moved.to : [...choice.options].find((option) => option.defaultSelected)?.value ?? choice.value;
  }
}

function history(edits, change, undo) {
  return [
    h("h2", {}, edits.length ? `${edits.length} edit${edits.length === 1 ? "" : "s"}` : "No edits yet"),
    h("ol", { className: "edits" }, edits.map((each, at) => h("li", {}, words(each), " ", h("button", { type: "button", "aria-label": `take back: ${words(each)}`, onclick: () => change(edits.filter((_, other) => other !== at)) }, "×")))),
    h("p", {}, h("button", { type: "button", disabled: !edits.length, "aria-keyshortcuts": "u", onclick: undo }, "undo"), " ", h("button", { type: "button", disabled: !edits.length, onclick: () => change([]) }, "take all back")),
  ];
}

async function consequences(page, edits) {
  const { root, run, signal } = page;
  const box = root.querySelector("#consequences"), flips = root.querySelector("#flips");
  box.classList.add("busy");
  try {
    const found = edits.some((each) => each.kind === "forbid")
      ? await slowly(page, box, edits)
      : await post(api(run.name, "edit"), { edits }, signal);
    box.replaceChildren(...told(run, found));
    flips.replaceChildren(...flipped(page, found));
    root.querySelector("#answer").textContent = edits.length ? found.sentence : "What if a prototype were gone, or spoke for another class? Switch one off to see.";
    say(edits.length ? `${found.sentence} ${flipsInWords(found)}` : "No edits.");
  } catch (error) {
    if (error.name === "AbortError") throw error;
    box.replaceChildren(failed(error));
    say(error.message);
  } finally {
    box.classList.remove("busy");
  }
}

async function slowly(page, box, edits) {
  const bar = progress("looking at the validation images again");
  box.replaceChildren(bar);
  return work(api(page.run.name, "edit-slowly"), { edits }, page.signal, (job, seconds) => bar.tell(job, seconds));
}

const flipsInWords = (found) => `${plural(found.mended, "prediction")} become${found.mended === 1 ? "s" : ""} right, ${count(found.broken)} wrong.`;

function told(run, found) {
  const row = (name, each) => h("tr", {}, h("th", { scope: "row" }, name), h("td", { className: "number strong" }, percent(each.share)), h("td", { className: "number quiet" }, `${percent(each.interval[0])} to ${percent(each.interval[1])}`));
  return [
    h("h2", {}, "On validation images"),
    h("table", {}, h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col", className: "number" }, "accuracy"), h("th", { scope: "col", className: "number" }, "95 % interval"))), h("tbody", {}, row("before", found.before), row("after", found.after))),
    h("p", { className: "difference" }, h("span", { className: "strong" }, points(found.difference)), h("span", { className: "quiet" }, ` (95 % interval ${points(found.interval[0]).replace(" points", "")} to ${points(found.interval[1])})`)),
    h("p", {}, flipsInWords(found), ` ${count(found.before.images)} images; the test images stay unread.`),
    h("p", { className: "copies" }, tableSaver(fileName(run.name, "edited"), () => [["image", "shows", "before", "after"], ...found.flips.map((flip) => [flip.index, flip.label, flip.before, flip.after])], `save ${found.flips.length < found.mended + found.broken + found.other ? "some of " : ""}the changed predictions as CSV`)),
  ];
}

function flipped(page, found) {
  const groups = { broken: "become wrong", mended: "become right", other: "stay wrong, in another way" };
  const parts = Object.entries(groups).map(([way, title]) => {
    const own = found.flips.filter((flip) => flip.way === way);
    const number = found[way];
    return number > 0 && h("section", {}, h("h3", {}, `${count(number)} ${title}`), h("div", { className: "thumbs" }, own.slice(0, FLIPS).map((flip) => h("a", { className: `thumb ${way}`, href: page.address({ view: "why", path: ["validation", String(flip.index)], more: {} }) },
      shown(page.run, picture(page.run.name, "validation", flip.index), `image ${flip.index}, ${flip.label}: ${flip.before} becomes ${flip.after}`, 72), h("span", {}, `${flip.before} → ${flip.after}`)))),
      number > Math.min(own.length, FLIPS) && h("p", { className: "quiet" }, `and ${count(number - Math.min(own.length, FLIPS))} more`));
  }).filter(Boolean);
  return parts.length ? parts : [h("p", { className: "state" }, "None.")];
}

// A box drawn over an image, or typed: the same for those who use no mouse.
function region(page) {
  const { root, run } = page;
  const names = ["left", "top", "right", "bottom"], most = [run.width, run.height, run.width, run.height];
  const fields = names.map((name, at) => h("input", { type: "number", min: 0, max: most[at], value: at < 2 ? 0 : most[at], "aria-label": `${name}, in pixels` }));
  const image = shown(run, picture(run.name, "validation", 0), "a validation image, to draw a region on", 224, { loading: "eager", draggable: false });
  const box = h("rect", { class: "box", x: 0, y: 0, width: 0, height: 0, "vector-effect": "non-scaling-stroke" });
  const held = h("div", { className: "framed draw" }, image, h("svg", { viewBox: `0 0 ${run.width} ${run.height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, box));
  let from = null;
  const at = (event) => { const place = image.getBoundingClientRect(); return [Math.max(0, Math.min(run.width, Math.round((event.clientX - place.left) / place.width * run.width))), Math.max(0, Math.min(run.height, Math.round((event.clientY - place.top) / place.height * run.height)))]; };
  const show = () => { const [left, top, right, bottom] = fields.map((field) => Number(field.value)); box.setAttribute("x", left); box.setAttribute("y", top); box.setAttribute("width", Math.max(0, right - left)); box.setAttribute("height", Math.max(0, bottom - top)); };
  held.addEventListener("pointerdown", (event) => { event.preventDefault(); from = at(event); held.setPointerCapture(event.pointerId); });
  held.addEventListener("pointermove", (event) => { if (!from) return; const to = at(event); [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])].forEach((value, place) => { fields[place].value = value; }); show(); });
  held.addEventListener("pointerup", () => { from = null; });
  for (const field of fields) field.addEventListener("input", show);
  return h("div", { className: "region" }, held, h("form", { className: "fields", onsubmit: (event) => { event.preventDefault(); root.change([...now(root), { kind: "forbid", box: fields.map((field) => Math.trunc(Number(field.value))) }]); } },
    h("p", { className: "quiet" }, "The model is shown no image there: its pixels become the median of the training images. Draw a box, or type its edges in pixels."),
    names.map((name, place) => h("label", {}, `${name} `, fields[place])), h("button", {}, "hide this region")));
}

function saving(page) {
  const { root, run, refresh } = page;
  const field = h("input", { type: "text", value: `${run.folder}-edited`, maxLength: 64, id: "name", pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*", required: true });
  const told = h("div", { role: "status" });
  return h("form", { onsubmit: async (event) => {
    event.preventDefault();
    if (!now(root).length) {
      told.replaceChildren(h("p", { className: "state" }, "Nothing was edited yet."));
      return;
    }
    const { signal } = root.page; // of the view as it is now: each edit has an address of its own
    const bar = progress("saving, and looking at the training images");
    told.replaceChildren(bar);
    try {
      const made = await work(api(run.name, "save"), { edits: now(root), name: field.value }, signal, (job, seconds) => bar.tell(job, seconds));
      await refresh();
      told.replaceChildren(h("p", {}, "Saved as a new run with its edits: ", h("a", { href: `#/learnt/${encodeURIComponent(made.name)}` }, made.name), ". Its history stands in run.json; ", h("code", {}, `protolens evaluate ${made.folder}`), " reads the test images."));
      say(`Saved as ${made.name}.`);
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(failed(error));
    }
  } }, h("h2", {}, "Save"), h("label", {}, "name of the new run ", field), " ", h("button", {}, "save as a new run"), told, h("p", { className: "quiet" }, "The run that it came from stays as it is."));
}

