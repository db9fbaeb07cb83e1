// Where is it wrong? Images by mistake, doubt or disagreement, and which classes are taken for which.
import { api, fill, get, h, sameImages } from "./dom.js";
import { fileName } from "./drawing.js";
import { thumb } from "./learnt.js";
import { count, percent } from "./numbers.js";
import { tableSaver } from "./taking.js";

const ORDERS = { mistake: "mistakes, the surest first", doubt: "the most doubtful first", disagreement: "disagreement with another run", number: "by number" };
const PAGE = 60;

export async function wrong(page) {
  const { root, run, runs, more, go, signal } = page;
  const split = more.get("split") ?? Object.keys(run.splits)[0];
  const order = more.get("order") ?? "mistake";
  const beside = runs.filter((each) => each.name !== run.name && sameImages(each, run));
  const other = order === "disagreement" ? more.get("other") ?? beside[0]?.name ?? "" : "";
  const query = new URLSearchParams({ split, order, other, label: more.get("label") ?? "", predicted: more.get("predicted") ?? "", count: PAGE });
  const [table, found] = await Promise.all([get(api(run.name, `confusion?split=${split}`), signal), get(api(run.name, `images?${query}`), signal)]);
  const set = (changes) => { const next = new URLSearchParams(more); for (const [name, value] of Object.entries(changes)) { if (value) next.set(name, value); else next.delete(name); } go({ more: next }); };
  const choose = (label, options, value, name) => h("label", {}, `${label} `, h("select", { onchange: (event) => set({ [name]: event.target.value }) }, options.map(([key, text]) => h("option", { value: key, selected: key === value }, text))));
  const kept = new URLSearchParams({ order });
  for (const name of ["label", "predicted"]) if (more.get(name)) kept.set(name, more.get(name));
  if (other) kept.set("other", other);
  const link = (at) => ({ ...Object.fromEntries(kept), at: String(at) });
  const grid = h("div", { className: "thumbs", id: "images" }, found.images.map((image, at) => entry(page, found.split, image, link(at), order)));
  const orders = Object.entries(ORDERS).filter(([name]) => name !== "disagreement" || beside.length);
  fill(root,
    h("h1", {}, "Where is it wrong?"),
    h("p", { className: "answer", id: "answer" }, answer(run, table)),
    run.splits.test === undefined && h("p", { className: "state" }, `These are validation images, by which the model was chosen, so that it looks better here than it is. `, h("code", {}, `protolens evaluate ${run.folder}`), " reads the test images."),
    h("div", { className: "choices" },
      choose("order", orders, order, "order"),
      order === "disagreement" && choose("other run", beside.map((each) => [each.name, each.name]), other, "other"),
      choose("shows", [["", "any class"], ...run.classes.map((name) => [name, name])], more.get("label") ?? "", "label"),
      choose("taken for", [["", "any class"], ...run.classes.map((name) => [name, name])], more.get("predicted") ?? "", "predicted"),
      Object.keys(run.splits).length > 1 && choose("images", Object.keys(run.splits).map((name) => [name, name]), split, "split")),
    h("p", { className: "quiet" }, found.total ? `${count(found.total)} images. Label → what it was taken for, where that differs.` : "No image is like that. Choose any class above to see all."),
    grid,
    found.images.length < found.total && moreOf(page, grid, query, link, order, found),
    confusion(run, table, set));
}

function entry(page, split, image, more, order) {
  const words = order === "doubt" ? `${image.label} → ${image.predicted}, ${percent(image.probability)}` : undefined;
  return thumb(page, split, image, words, more);
}

function moreOf(page, grid, query, link, order, first) {
  const button = h("button", { type: "button", onclick: async () => {
    query.set("start", grid.childElementCount);
    const found = await get(api(page.run.name, `images?${query}`), page.signal);
    const start = grid.childElementCount;
    grid.append(...found.images.map((image, at) => entry(page, found.split, image, link(start + at), order)));
    if (grid.childElementCount >= first.total) button.remove();
  } }, "show more");
  return button;
}

function answer(run, table) {
  const wrong = table.images - table.right;
  const many = `${count(table.right)} of ${count(table.images)} ${table.split} images ${run.several ? "have all classes right" : "are recognised"} (${percent(table.right / table.images)})`;
  let worst = null;
  if (!run.several) {
    table.table.forEach((row, label) => row.forEach((number, said) => { if (label !== said && number > (worst?.number ?? 0)) worst = { label, said, number }; }));
  }
  const often = worst ? ` The most common mistake: ${table.classes[worst.label]} taken for ${table.classes[worst.said]}, ${count(worst.number)} times.` : "";
  const beside = run.chance && table.split === "test" ? ` Always saying the most common class would get ${percent(run.chance)}.` : "";
  return `${many}${wrong ? `, ${count(wrong)} are not` : ""}.${often}${beside}`;
}

function confusion(run, table, set) {
  const largest = Math.max(1, ...table.table.flatMap((row, label) => row.filter((_, said) => said !== label)));
  const shade = (number, own) => (own || !number ? "" : `shade-${Math.max(1, Math.round(8 * number / largest))}`);
  const head = table.classes.map((name) => h("th", { scope: "col", className: table.classes.length > 12 ? "upright" : "" }, h("span", {}, name)));
  const rows = table.table.map((row, label) => h("tr", {}, h("th", { scope: "row" }, table.classes[label]), row.map((number, said) => {
    const words = `${number} images of ${table.classes[label]} taken for ${table.classes[said]}`;
    const cell = number ? h("button", { type: "button", className: "cell", title: words, "aria-label": words, onclick: () => { set({ label: table.classes[label], predicted: table.classes[said] }); window.scrollTo({ top: 0 }); } }, count(number)) : "";
    return h("td", { className: `${shade(number, label === said)} ${label === said ? "own" : ""}` }, cell);
  })));
  return h("section", { "aria-labelledby": "confusion-title" },
    h("h2", { id: "confusion-title" }, run.several ? "Which classes are said of which?" : "What is taken for what?"),
    h("div", { className: "scroller", tabIndex: 0, role: "region", "aria-label": "classes shown against classes said" },
      h("table", { className: "matrix" }, h("caption", {}, h("div", {}, "A row is what the images show, a column what is said of them. A cell opens its images.")),
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "shows ↓, said →"), head)), h("tbody", {}, rows))),
    h("p", { className: "copies" }, tableSaver(fileName(run.name, table.split, "confusion"), () => [["shows", ...table.classes], ...table.table.map((row, label) => [table.classes[label], ...row])])));
}
