// Compare: the table of the predicates with plain sentences, and one image as two runs see it.
import { api, empty, failed, fill, framed, get, h, ofPrototype, picture, sameImages, shown } from "./dom.js";
import { figureSavers, fileName, standalone } from "./drawing.js";
import { percent, signed, three } from "./numbers.js";
import { prototypesOf } from "./reasons.js";
import { tableSaver } from "./taking.js";
import { inWords, ordered, usualSum } from "./waterfall.js";

const STRONGEST = 5;

export async function compare(page) {
  const { root, run, runs, more, go, signal } = page;
  const alike = runs.filter((each) => sameImages(each, run));
  const chosen = (more.get("runs")?.split(",") ?? alike.filter((each) => each.splits.test !== undefined).slice(0, 3).map((each) => each.name)).filter((name) => alike.some((each) => each.name === name));
  const pick = (name, on) => { const next = new URLSearchParams(more); next.set("runs", alike.map((each) => each.name).filter((each) => (each === name ? on : chosen.includes(each))).join(",")); go({ more: next }); };
  const head = [h("h1", {}, "Compare"),
    h("fieldset", { className: "choices" }, h("legend", {}, `runs on ${run.set}`), alike.map((each) => h("label", { className: "tick" }, h("input", { type: "checkbox", checked: chosen.includes(each.name), onchange: (event) => pick(each.name, event.target.checked) }), ` ${each.name} `, h("span", { className: "quiet" }, each.accuracy === undefined || each.accuracy === null ? "not evaluated" : `${each.measure} ${percent(each.accuracy)}`))))];
  const table = h("section", { className: "compared" }), image = h("section", { className: "one-image" });
  fill(root, ...head, table, image);
  if (chosen.length < 2) {
    table.replaceChildren(empty(alike.length < 2 ? "There is one run on these images. Start the page with more: " : "Choose two runs or more.", alike.length < 2 && h("code", {}, "protolens serve RUN RUN")));
    return;
  }
  await Promise.all([
    get(`/api/compare?runs=${chosen.map(encodeURIComponent).join(",")}`, signal).then((found) => table.replaceChildren(...tables(found)), (error) => { if (error.name !== "AbortError") table.replaceChildren(failed(error)); }),
    oneImage(page, image, chosen),
  ]);
}

const list = (lines) => h("ul", {}, lines.map((line) => h("li", {}, line)));

function tables(found) {
  const cell = (each) => h("td", { className: `number${each.best ? " strong" : ""}` }, each.text, each.spread && h("span", { className: "quiet" }, ` ${each.spread}`));
  return [
    h("p", { className: "answer", id: "answer" }, found.answer),
    list(found.pairs),
    found.others.length > 0 && h("details", {}, h("summary", {}, `the other ${found.others.length} pairs, which cannot be told apart`), list(found.others)),
    ...found.groups.map((group) => h("section", {}, h("h2", {}, group.question), group.measured && h("p", {}, group.measured),
      h("div", { className: "scroller", tabIndex: 0, role: "region", "aria-label": group.question }, h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "run"), group.columns.map((column) => h("th", { scope: "col", className: "number", title: column.about }, column.head)))),
        h("tbody", {}, group.rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.name), row.cells.map(cell)))))),
      h("p", { className: "copies" }, tableSaver(fileName(group.question), () => [["run", ...group.columns.map((column) => column.head)], ...group.rows.map((row) => [row.name, ...row.cells.map((each) => [each.text, each.spread].filter(Boolean).join(" "))])])),
      h("details", {}, h("summary", {}, "what these mean"), h("dl", { className: "facts" }, group.columns.map((column) => h("div", {}, h("dt", {}, column.head), h("dd", {}, column.about))))))),
    found.plane && plane(found.plane),
  ].filter(Boolean);
}

function plane(chart) {
  const svg = new DOMParser().parseFromString(chart.svg, "text/html").querySelector("svg");
  svg?.setAttribute("role", "img");
  svg?.setAttribute("aria-label", chart.words);
  return h("section", {}, h("h2", {}, "Two diversities"), h("div", { className: "charts" }, h("figure", {}, h("figcaption", {}, chart.title), svg ?? "", h("p", { className: "quiet" }, chart.words), svg && h("p", { className: "copies" }, figureSavers("diversities", () => standalone(svg, { title: chart.title }))))));
}

// One image as each run sees it, side by side.
async function oneImage(page, box, chosen) {
  const { runs, more, go, path, signal } = page;
  const all = chosen.map((name) => runs.find((run) => run.name === name));
  const split = path[0] ?? (all.every((run) => run.splits.test !== undefined) ? "test" : "validation");
  const index = path[1] ?? "0";
  const field = h("input", { type: "number", min: 0, value: index, id: "search", "aria-label": "number of the image" });
  const step = (by) => go({ path: [split, String(Math.max(0, Number(index) + by))], more });
  page.keys.ArrowLeft = () => step(-1);
  page.keys.ArrowRight = () => step(1);
  box.replaceChildren(h("h2", {}, "One image, seen by each"),
    h("form", { className: "steps", onsubmit: (event) => { event.preventDefault(); go({ path: [split, field.value || "0"], more }); } },
      h("button", { type: "button", "aria-label": "the image before", onclick: () => step(-1) }, "‹"), field, h("button", { type: "button", "aria-label": "the next image", onclick: () => step(1) }, "›"),
      h("a", { href: page.address({ view: "wrong", path: [], more: { order: "disagreement", other: chosen.find((name) => name !== page.run.name) ?? "" } }) }, "where do they disagree?")));
  const columns = h("div", { className: "columns" });
  box.append(columns);
  columns.replaceChildren(...await Promise.all(all.map((run) => column(run, split, index, signal))));
}

async function column(run, split, index, signal) {
  try {
    const [found, { prototypes }] = await Promise.all([get(api(run.name, `why/${split}/${index}`), signal), prototypesOf(run, signal)]);
    const source = picture(run.name, split, index), by = usualSum(found);
    return h("article", {}, h("h3", {}, h("a", { href: `#/why/${encodeURIComponent(run.name)}/${split}/${index}` }, run.name)),
      h("div", { className: "beside" }, shown(run, source, `image ${index}`, 112), h("p", {}, inWords(found, by), found.label !== null && h("span", { className: "quiet" }, ` It shows ${found.label}.`))),
      h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "looks like"), h("th", { scope: "col", className: "number" }, "similarity"), h("th", { scope: "col", className: "number" }, by))),
        h("tbody", {}, ordered(found, by).slice(0, STRONGEST).map((reason) => {
          const prototype = prototypes[reason.prototype];
          return h("tr", {}, h("th", { scope: "row" }, h("div", { className: "beside" }, framed(run, shown(run, ofPrototype(run.name, reason.prototype, prototype.decoded ? "decoded" : "nearest"), prototype.alt, 56), prototype.decoded ? null : prototype.box), h("span", {}, `prototype ${reason.prototype}`, h("br"), reason.class_name))),
            h("td", { className: "number" }, three(reason.similarity)), h("td", { className: "number" }, signed(reason[by])));
        }))));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return h("article", {}, h("h3", {}, run.name), failed(error));
  }
}
