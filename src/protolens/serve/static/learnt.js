// What has it learnt? Prototypes by class, what is odd about them, and where they stand among the codes.
import { api, failed, fill, framed, get, h, ofPrototype, picture, progress, shown, work } from "./dom.js";
import { figureSavers, fileName, standalone } from "./drawing.js";
import { count, plural, shortened } from "./numbers.js";
import { forget, prototypesOf } from "./reasons.js";
import { tableSaver } from "./taking.js";

// of middling lightness, to be seen on white and on black; after ten classes they come again
const COLOURS = ["#3b7ddd", "#e07b00", "#2a9d5c", "#c8509b", "#8a6d3b", "#7a5cd6", "#0fa3b1", "#a89800", "#d64545", "#7f8790"];
const SIDE = 420, EDGE = 14;

export async function learnt(page) {
  const { root, run, path, signal, keys } = page;
  const found = await prototypesOf(run, signal);
  const list = found.prototypes;
  const search = h("input", { type: "search", id: "search", placeholder: "class, number, or what is odd", "aria-label": "find prototypes by class, number, or what is odd" });
  const odd = h("input", { type: "checkbox", id: "odd" });
  const groups = h("div", { className: "groups" });
  const open = h("section", { className: "opened", "aria-live": "polite" });
  const choose = () => {
    const words = search.value.trim().toLowerCase();
    const fits = (each) => (!words || each.class.toLowerCase().includes(words) || String(each.prototype) === words || findings(each).some((line) => line.toLowerCase().includes(words))) && (!odd.checked || findings(each).length);
    const chosen = list.filter(fits);
    const own = run.classes.map((name) => [name, chosen.filter((each) => each.class === name)]).filter(([, each]) => each.length);
    groups.replaceChildren(...own.map(([name, own]) => h("section", { className: "group" }, h("h3", {}, name), h("div", { className: "cards" }, own.map((each) => card(page, each))))));
    if (!chosen.length) groups.replaceChildren(h("p", { className: "state" }, "No prototype is like that. Clear the search to see all."));
  };
  search.addEventListener("input", choose);
  odd.addEventListener("change", choose);
  choose();
  fill(root,
    h("h1", {}, "What has it learnt?"),
    h("p", { className: "answer", id: "answer" }, answer(run, found)),
    h("p", { className: "quiet" }, run.about),
    open,
    h("div", { className: "choices" }, h("label", {}, "find ", search), h("label", { className: "tick" }, odd, " only those about which something is odd"), examine(page, found), tableSaver(fileName(run.name, "prototypes"), () => [["prototype", "class", "use", "nearest training image", "findings"], ...list.map((each) => [each.prototype, each.class, each.use, each.nearest, findings(each).join("; ")])])),
    h("h2", { className: "unseen" }, "Prototypes by class"),
    groups,
    map(page));
  keys["/"] = () => search.focus();
  if (path.length) await nearest(page, open, list[Number(path[0])]);
}

const findings = (each) => (each.illnesses.length ? each.illnesses.map((illness) => illness.sentence) : each.findings);

function answer(run, found) {
  const classes = new Set(found.prototypes.map((each) => each.class));
  const odd = found.prototypes.filter((each) => findings(each).length).length;
  const silent = run.classes.filter((name) => !classes.has(name));
  const said = [`${plural(found.prototypes.length, "prototype")} for ${classes.size} of ${run.classes.length} classes`];
  if (silent.length) said.push(`none speaks for ${silent.slice(0, 5).join(", ")}${silent.length > 5 ? ` and ${silent.length - 5} more` : ""}`);
  said.push(odd ? `something is odd about ${count(odd)}, marked with a flag` : `nothing is odd${found.asked ? "" : " at first sight"}`);
  return `${said.join("; ")}.`;
}

function card(page, each) {
  const { run, address } = page;
  const side = 104;
  const near = framed(run, shown(run, ofPrototype(run.name, each.prototype), each.decoded ? `its nearest training image, ${each.nearest}` : each.alt, side), each.box);
  return h("article", { className: "card", id: `prototype-${each.prototype}` },
    h("h4", {}, h("a", { href: address({ path: [String(each.prototype)] }), "aria-label": `prototype ${each.prototype}: the images nearest to it` }, `prototype ${each.prototype}`)),
    h("div", { className: "pair" },
      each.decoded && h("figure", {}, shown(run, ofPrototype(run.name, each.prototype, "decoded"), each.alt, side), h("figcaption", {}, "the prototype")),
      h("figure", {}, near, h("figcaption", {}, each.nearest))),
    h("p", {}, each.use),
    findings(each).map((line) => h("p", { className: "finding" }, line)),
    each.illnesses.length > 0 && h("details", {}, h("summary", {}, "what to do"), [...new Set(each.illnesses.map((illness) => illness.mend))].map((mend) => h("p", {}, mend))));
}

// The images that are most like a prototype.
async function nearest(page, box, each) {
  const { run, address, signal } = page;
  if (!each) {
    box.replaceChildren(h("p", { className: "state" }, "There is no such prototype."));
    return;
  }
  const title = h("h2", { tabIndex: -1 }, `The images most like prototype ${each.prototype} (${each.class})`);
  const row = h("div", { className: "thumbs waiting" });
  box.replaceChildren(title, row, h("p", {}, h("a", { href: address({ path: [] }) }, "close"), " · ", h("a", { href: address({ view: "edit", path: [], more: { edits: `off:${each.prototype}` } }) }, "what if it were switched off?")));
  box.scrollIntoView({ block: "nearest" });
  const split = Object.keys(run.splits)[0];
  const found = await get(api(run.name, `images?split=${split}&order=prototype&prototype=${each.prototype}&count=24`), signal);
  row.classList.remove("waiting");
  row.replaceChildren(...found.images.map((image) => thumb(page, found.split, image)));
}

export function thumb(page, split, image, words, more = {}) {
  const { run, address } = page;
  const said = words ?? (image.right ? image.label : `${image.label} → ${image.predicted}`);
  return h("a", { className: `thumb${image.right ? "" : " wrong"}`, href: address({ view: "why", path: [split, String(image.index)], more }) },
    shown(run, picture(run.name, split, image.index), `image ${image.index}, ${image.label}, taken for ${image.predicted}`, 72), h("span", {}, said));
}

function examine(page, found) {
  const { run, root, signal } = page;
  if (found.asked) return h("span", { className: "quiet" }, `The doctor found ${count(found.healthy)} of ${count(found.prototypes.length)} healthy.`);
  const box = h("span", {});
  const button = h("button", { type: "button", onclick: async () => {
    const bar = progress("looking at training and validation images");
    box.replaceChildren(bar);
    try {
      await work(api(run.name, "doctor"), undefined, signal, (job, seconds) => bar.tell(job, seconds));
      forget(run);
      root.dataset.view = "";
      await learnt(page);
    } catch (error) {
      if (!signal.aborted) box.replaceChildren(failed(error));
    }
  } }, "call the doctor");
  box.append(button);
  return box;
}

// Codes in a plane; a click opens the image.
function map(page) {
  const { run, signal } = page;
  const held = h("div", { className: "plane-box" });
  const section = h("section", { "aria-labelledby": "map-title" }, h("h2", { id: "map-title" }, "Where do they stand?"),
    h("p", { className: "quiet" }, "Validation images as dots, prototypes as squares, by their codes. A dot opens its image."), held);
  const make = async (kind) => {
    const bar = progress("placing the codes");
    held.replaceChildren(bar);
    try {
      const found = await work(api(run.name, `plane/${kind}`), undefined, signal, (job, seconds) => bar.tell(job, seconds));
      held.replaceChildren(drawn(page, found));
    } catch (error) {
      if (!signal.aborted) held.replaceChildren(failed(error, () => make(kind)));
    }
  };
  const button = (kind, words) => h("button", { type: "button", onclick: () => make(kind) }, words);
  held.append(h("p", { className: "state" }, button("pca", "draw the plane that keeps most (PCA)"), " ", button("umap", "bend it so that neighbours stay (UMAP)")));
  return section;
}

function drawn(page, found) {
  const { run, address } = page;
  const all = [...found.images, ...found.prototypes];
  const xs = all.map((point) => point.x), ys = all.map((point) => point.y);
  const low = [Math.min(...xs), Math.min(...ys)], span = Math.max(Math.max(...xs) - low[0], Math.max(...ys) - low[1]) || 1;
  const at = (point) => [EDGE + (SIDE - 2 * EDGE) * (point.x - low[0]) / span, SIDE - EDGE - (SIDE - 2 * EDGE) * (point.y - low[1]) / span];
  const colour = (name) => COLOURS[Math.max(0, run.classes.indexOf(name)) % COLOURS.length];
  const dots = found.images.map((image) => {
    const [x, y] = at(image);
    const dot = h("circle", { cx: x, cy: y, r: 3.5, fill: colour(image.label), "fill-opacity": 0.6 }, h("title", {}, `image ${image.index}: ${image.label}`));
    dot.addEventListener("click", () => page.go({ view: "why", path: ["validation", String(image.index)], more: {} }));
    return dot;
  });
  const squares = found.prototypes.map((each) => {
    const [x, y] = at(each);
    const square = h("rect", { class: "mark", x: x - 5, y: y - 5, width: 10, height: 10, fill: colour(each.class), tabindex: 0, role: "link", "aria-label": `prototype ${each.prototype}, ${each.class}` }, h("title", {}, `prototype ${each.prototype}: ${each.class}`));
    const open = () => page.go({ path: [String(each.prototype)] });
    square.addEventListener("click", open);
    square.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
    return square;
  });
  const svg = h("svg", { class: "plane", viewBox: `0 0 ${SIDE} ${SIDE}`, role: "group", "aria-label": `${found.images.length} images and ${found.prototypes.length} prototypes in a plane` }, dots, squares);
  return h("figure", {}, svg,
    h("figcaption", {}, found.kept === null ? "UMAP: near stays near, far says little." : `The plane keeps ${(100 * found.kept).toFixed(0)} % of the squared distances.`,
      h("ul", { className: "legend" }, run.classes.slice(0, 30).map((name) => h("li", {}, h("svg", { width: 12, height: 12, "aria-hidden": "true" }, h("rect", { width: 12, height: 12, fill: colour(name) })), " ", name)))),
    h("p", { className: "copies" }, figureSavers(fileName(run.name, "codes"), () => standalone(svg, { legend: run.classes.slice(0, 30).map((name) => [shortened(name, 40), colour(name)]) })), h("a", { href: address({ view: "wrong", path: [], more: {} }) }, "all images as a list")));
}
