// Why this? One image: the decision in words, the sum that made it, and how other methods see it.
import { api, failed, fill, framed, get, h, picture, post, progress, say, shown, work } from "./dom.js";
import { button, copyButton, figureSavers, fileName, save } from "./drawing.js";
import { percent, three } from "./numbers.js";
import { prototypesOf, sums } from "./reasons.js";
import { tableSaver, whyFigure } from "./taking.js";
import { inWords, usualSum } from "./waterfall.js";

const FIRST = ["self", "lime", "kernelshap", "lrp", "prp", "edges", "random"];
const ORDERS = { number: "by number", mistake: "mistakes first", doubt: "doubtful first" };

export async function why(page) {
  const { root, run, path, more, go, signal } = page;
  const splits = Object.keys(run.splits);
  if (path.length < 2) return go({ path: [splits[0], "0"], more }, { replace: true });
  const [split, index] = path;
  keys(page, split, index); // at once: nobody has to wait for an image before asking for the next
  const target = more.get("target") ?? "";
  const [found, { prototypes }] = await Promise.all([
    get(api(run.name, `why/${split}/${index}${target ? `?target=${encodeURIComponent(target)}` : ""}`), signal),
    prototypesOf(run, signal),
  ]);
  const by = found.linear ? more.get("sum") ?? usualSum(found) : "contribution";
  const source = picture(run.name, split, index);
  const look = viewer(run, source, found);
  const table = h("div", { className: "sums-box" });
  const weigh = (all) => {
    fill(table, sums(run, found, prototypes, { by, source, all, unfold: () => weigh(true), pick: (reason) => look.point(reason) }));
  };
  weigh(false);
  const answer = inWords(found, by);
  fill(root,
    h("h1", {}, "Why this?"),
    h("p", { className: "answer", id: "answer" }, answer),
    h("div", { className: "two" },
      h("section", { className: "left", "aria-label": "the image" }, steps(page, split, index), look.box, facts(run, found), doubts(found.doubt), drop(page)),
      h("section", { className: "right", "aria-label": "this looks like that" }, choices(page, found, by), table, copies(page, found, prototypes, { by, split, index }))),
    others(page, found, split, index, look),
  );
  say(answer);
}

// The image, a map over it that a slider fades, and the box of the prototype that somebody points at.
function viewer(run, source, found) {
  const image = shown(run, source, found.label ? `the image ${found.image}, a picture of ${found.label}` : "your image", 288, { loading: "eager" });
  const over = h("img", { className: "over", alt: "", hidden: true, width: image.getAttribute("width"), height: image.getAttribute("height") });
  const held = h("div", { className: "framed held" }, image, over);
  const slider = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0.6, id: "fade" });
  const words = h("p", { className: "quiet over-words" }, "Point at a row, or choose a method below, to see where.");
  let chosen = null;
  const show = (entry) => {
    over.hidden = !entry?.picture;
    if (entry?.picture) over.src = entry.picture;
    over.classList.toggle("hard", Boolean(entry?.hard));
    over.alt = entry?.words ?? "";
    over.style.opacity = slider.value;
    words.textContent = entry?.words ?? "Point at a row, or choose a method below, to see where.";
  };
  slider.addEventListener("input", () => { over.style.opacity = slider.value; });
  const still = () => held.replaceChildren(image, over);
  return {
    box: h("div", { className: "viewer" }, held, h("label", { className: "slider" }, "overlay", slider), words),
    choose(entry) { chosen = entry; show(entry); },
    point(reason) {
      for (const row of document.querySelectorAll(".sums tr[data-prototype]")) row.classList.toggle("lit", reason !== null && Number(row.dataset.prototype) === reason.prototype);
      still();
      if (!reason) return show(chosen);
      const heat = found.heat[reason.prototype];
      show(heat ? { picture: heat, words: `how like prototype ${reason.prototype} each place is: yellow most, violet least` } : chosen);
      if (reason.box) {
        const lines = framed(run, h("span"), reason.box).querySelector("svg");
        held.append(lines);
      }
      return null;
    },
  };
}

function steps(page, split, index) {
  const { run, more, go } = page;
  const total = run.splits[split];
  if (total === undefined) return h("p", { className: "quiet" }, "Your image. It stays on the machine of the server, in memory, and is forgotten when others come.");
  const field = h("input", { type: "number", min: 0, max: total - 1, value: index, id: "search", "aria-label": "number of the image" });
  const choose = (name, label, options, value, pick) => h("label", {}, label, " ", h("select", { onchange: (event) => pick(event.target.value) }, Object.entries(options).map(([key, text]) => h("option", { value: key, selected: key === value }, text))));
  return h("div", { className: "steps" },
    h("form", { onsubmit: (event) => { event.preventDefault(); go({ path: [split, String(Math.max(0, Math.min(total - 1, Math.trunc(Number(field.value) || 0))))], more: {} }); } },
      h("button", { type: "button", "aria-label": "the image before", "aria-keyshortcuts": "ArrowLeft", onclick: () => step(page, split, index, -1) }, "‹"),
      field, h("span", { className: "quiet" }, ` / ${total.toLocaleString("en")}`),
      h("button", { type: "button", "aria-label": "the next image", "aria-keyshortcuts": "ArrowRight", onclick: () => step(page, split, index, 1) }, "›")),
    Object.keys(run.splits).length > 1 && choose("split", "images", Object.fromEntries(Object.keys(run.splits).map((name) => [name, name])), split, (value) => go({ path: [value, "0"], more: {} })),
    choose("order", "order", ORDERS, more.get("order") ?? "number", (value) => first(page, split, value)));
}

async function first(page, split, order) {
  const found = await get(api(page.run.name, `images?split=${split}&order=${order}&count=1`), page.signal);
  page.go({ path: [split, String(found.images[0].index)], more: order === "number" ? {} : { order, at: "0" } });
}

async function step(page, split, index, by) {
  const { run, more, go, signal } = page;
  const total = run.splits[split];
  if (total === undefined) return;
  const order = more.get("order");
  const kept = new URLSearchParams(more);
  kept.delete("target");
  if (!order) {
    go({ path: [split, String((Number(index) + by + total) % total)], more: kept });
    return;
  }
  const query = new URLSearchParams(kept);
  const at = Math.max(0, Number(query.get("at") ?? 0) + by);
  query.set("split", split);
  query.set("start", at);
  query.set("count", 1);
  const found = await get(api(run.name, `images?${query}`), signal);
  if (!found.images.length) return say("That was the last image.");
  kept.set("at", at);
  go({ path: [split, String(found.images[0].index)], more: kept });
}

function facts(run, found) {
  const right = found.label === null ? null : found.label === found.predicted;
  const likely = Object.entries(found.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 3);
  return h("dl", { className: "image-facts" },
    h("div", {}, h("dt", {}, "image"), h("dd", {}, found.image)),
    found.label !== null && h("div", {}, h("dt", {}, "shows"), h("dd", {}, found.label, right ? " ✓ recognised" : ` ✗ taken for ${found.predicted}`)),
    h("div", {}, h("dt", {}, "likeliest"), h("dd", {}, likely.map(([name, share]) => `${name} (${percent(share)})`).join(", "))));
}

// What networks drawn from a Bayesian one say: the median and where 95 of 100 lie.
function doubts(doubt) {
  if (!doubt) return null;
  const first = [...doubt.classes].sort((a, b) => b.median - a.median).slice(0, 5);
  return h("section", { className: "doubt" },
    h("h2", {}, "How sure is it?"),
    h("p", {}, `${doubt.draws} networks drawn from the posterior; their doubt is ${three(doubt.entropy)} nats, ${three(doubt.mutual_information)} of them because they disagree.`),
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "class"), h("th", { scope: "col", className: "number" }, "median"), h("th", { scope: "col" }, "95 of 100 lie"))),
      h("tbody", {}, first.map((each) => h("tr", {}, h("th", { scope: "row" }, each.name), h("td", { className: "number" }, percent(each.median)),
        h("td", {}, h("svg", { class: "range", width: "120", height: "16", viewBox: "0 0 100 16", preserveAspectRatio: "none", role: "img", "aria-label": `${percent(each.low)} to ${percent(each.high)}` },
          h("line", { class: "rule", x1: "0", x2: "100", y1: "8", y2: "8" }), h("rect", { class: "for", x: 100 * each.low, width: Math.max(1, 100 * (each.high - each.low)), y: "4", height: "8" }))))))));
}

function drop(page) {
  const told = h("p", { className: "quiet", role: "status" });
  const send = async (file) => {
    if (!file) return;
    told.textContent = `Reading ${file.name}…`;
    try {
      const found = await post("/api/uploads", file, page.signal);
      page.go({ path: [found.split, found.index], more: {} });
    } catch (error) {
      if (error.name !== "AbortError") told.textContent = error.message;
    }
  };
  const field = h("input", { type: "file", accept: "image/*,.tif,.tiff", id: "file", className: "unseen", onchange: () => send(field.files[0]) });
  const zone = h("div", { className: "drop" }, h("label", { htmlFor: "file" }, "Drop an image of yours, or choose a file"), field, told);
  for (const kind of ["dragenter", "dragover"]) zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over-zone"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over-zone"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); zone.classList.remove("over-zone"); send(event.dataTransfer.files[0]); });
  return zone;
}

function choices(page, found, by) {
  const { run, more, go } = page;
  const set = (name, value) => { const next = new URLSearchParams(more); if (value) next.set(name, value); else next.delete(name); go({ more: next }); };
  const classes = Object.entries(found.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 200);
  return h("div", { className: "choices" },
    h("label", {}, "explain ", h("select", { onchange: (event) => set("target", event.target.value) }, classes.map(([name, share]) => h("option", { value: name, selected: name === found.explained }, `${name} (${percent(share)})`)))),
    run.linear && h("label", {}, "sum ", h("select", { onchange: (event) => set("sum", event.target.value) },
      h("option", { value: "contribution", selected: by === "contribution" }, "contributions, from the bias"), h("option", { value: "lift", selected: by === "lift" }, "lifts, from the average image"))));
}

function copies(page, found, prototypes, asked) {
  const { run } = page, { split, index } = asked;
  const plain = { ...found };
  delete plain.heat;
  delete plain.classes;
  const file = fileName(run.name, split, index);
  const command = `protolens explain ${run.folder} ${file}.png${found.explained === found.predicted ? "" : ` --target '${found.explained}'`}`;
  return h("p", { className: "copies" },
    button("save as JSON", () => save(`${file}.json`, JSON.stringify({ run: run.name, split, image: index, command, address: location.href, ...plain }, null, 1), "application/json")),
    tableSaver(file, () => [["prototype", "class", "similarity", "weight", "contribution", "lift"], ...found.reasons.map((r) => [r.prototype, r.class_name, r.similarity, r.weight, r.contribution, r.lift])]),
    figureSavers(file, () => whyFigure(run, found, prototypes, asked)),
    h("a", { href: picture(run.name, split, index), download: `${file}.png` }, "save the image"),
    copyButton("copy the address", () => location.href));
}

// The same decision as other methods see it; they stream in, the quick ones first.
function others(page, found, split, index, look) {
  const { run, titles, signal } = page;
  const row = h("div", { className: "methods-row" });
  const section = h("section", { className: "others", "aria-labelledby": "others-title" },
    h("h2", { id: "others-title" }, "The same decision as others see it"),
    h("p", { className: "quiet" }, "Blue speaks for ", found.explained, ", orange against; each map has its own scale. edges and random know nothing of the model. Choose one to lay it over the image."), row);
  const start = (name, why) => {
    const box = h("figure", { className: "method" });
    row.append(box);
    draw(box, name, why);
  };
  const draw = async (box, name, why) => {
    const title = titles[name] ?? name;
    if (why) {
      box.replaceChildren(h("div", { className: "map" }, h("p", { className: "quiet" }, why)), h("figcaption", {}, title));
      return;
    }
    const stopper = new AbortController();
    signal.addEventListener("abort", () => stopper.abort(), { once: true });
    const bar = progress(title, () => stopper.abort());
    box.replaceChildren(h("div", { className: "map" }, bar), h("figcaption", {}, title));
    try {
      const target = `?target=${encodeURIComponent(found.explained)}`;
      const map = await work(api(run.name, `maps/${split}/${index}/${name}${target}`), undefined, stopper.signal, (job, seconds) => bar.tell(job, seconds));
      const words = `${title}: what speaks for ${found.explained}, blue, and against, orange; full colour at ${three(map.full)}`;
      const button = h("button", { type: "button", className: "map", "aria-pressed": "false", "aria-label": `lay ${title} over the image` }, shown(run, map.picture, "", 112));
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") === "true";
        for (const each of row.querySelectorAll("button.map")) each.setAttribute("aria-pressed", "false");
        button.setAttribute("aria-pressed", String(!on));
        look.choose(on ? null : { picture: map.picture, words, hard: run.width < 100 });
      });
      const own = map.agreement.self;
      box.replaceChildren(button, h("figcaption", {}, title, h("br"), h("span", { className: "quiet" }, `full at ${three(map.full)}`), own !== undefined && h("br"), own !== undefined && h("span", { className: "quiet" }, `agrees with the model’s ${own === null ? "–" : own.toFixed(2).replace("-", "−")}`)));
    } catch (error) {
      if (signal.aborted) return;
      const words = error.name === "AbortError" ? "Cancelled." : error.message;
      box.replaceChildren(h("div", { className: "map" }, h("p", { className: "quiet" }, words), h("button", { type: "button", onclick: () => draw(box, name, "") }, "again")), h("figcaption", {}, title));
    }
  };
  get(api(run.name, "methods"), signal).then((methods) => {
    for (const name of FIRST) start(name, methods[name]);
    const left = Object.keys(methods).filter((name) => !FIRST.includes(name));
    const button = h("button", { type: "button", className: "more-methods", onclick: () => { button.remove(); for (const name of left) start(name, methods[name]); } }, `${left.length} more methods`);
    section.append(button);
  }).catch((error) => { if (error.name !== "AbortError") row.replaceChildren(failed(error)); });
  return section;
}

function keys(page, split, index) {
  page.keys.ArrowLeft = () => step(page, split, index, -1);
  page.keys.ArrowRight = () => step(page, split, index, 1);
  page.keys["/"] = () => document.getElementById("search")?.focus();
  for (let number = 1; number <= 9; number += 1) page.keys[number] = () => document.getElementById(`reason-${number}`)?.focus();
}

