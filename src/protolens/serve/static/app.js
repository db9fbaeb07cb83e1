// The address says what is shown: #/VIEW/RUN/SPLIT/IMAGE?more=...; the back key and a colleague's browser understand it.
import { empty, failed, fill, get, h, say } from "./dom.js";
import { compare } from "./compare.js";
import { edit } from "./edit.js";
import { openHelp } from "./help.js";
import { learnt } from "./learnt.js";
import { why } from "./why.js";
import { wrong } from "./wrong.js";

const VIEWS = {
  why: { title: "Why this?", draw: why },
  learnt: { title: "What has it learnt?", draw: learnt },
  wrong: { title: "Where is it wrong?", draw: wrong },
  compare: { title: "Compare", draw: compare },
  edit: { title: "Edit", draw: edit },
};
const place = { view: "why", run: "", path: [], more: new URLSearchParams() };
const page = { runs: [], titles: {}, keys: {}, leave: new AbortController() };

export function address(changes = {}) {
  const next = { ...place, ...changes };
  const more = next.more instanceof URLSearchParams ? next.more : new URLSearchParams(next.more);
  for (const [name, value] of [...more]) if (value === "") more.delete(name);
  const text = more.toString();
  return `#/${[next.view, next.run, ...next.path].map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

export function go(changes, { replace = false } = {}) {
  const there = address(changes);
  if (there === location.hash) return;
  if (replace) {
    history.replaceState(null, "", there);
    read();
  } else location.hash = there;
}

function read() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, run, ...rest] = path.split("/").map(decodeURIComponent);
  place.view = view in VIEWS ? view : "why";
  place.run = run || "";
  place.path = rest.filter(Boolean);
  place.more = new URLSearchParams(query ?? "");
  draw();
}

async function draw() {
  page.leave.abort();
  page.leave = new AbortController();
  page.keys = {};
  const known = page.runs.find((run) => run.name === place.run);
  const root = document.getElementById("view");
  if (!page.runs.length) return;
  if (!known && place.run) {
    fill(root, empty(`There is no run ${place.run} on this page. `, h("a", { href: address({ run: page.runs[0].name, path: [] }) }, `Open ${page.runs[0].name}`)));
    return;
  }
  if (!known) return go({ run: page.runs[0].name }, { replace: true });
  bar(known);
  const title = VIEWS[place.view].title;
  document.title = `${title} ${known.name} · protolens`;
  const context = { root, run: known, runs: page.runs, titles: page.titles, path: place.path, more: place.more, go, address, signal: page.leave.signal, keys: page.keys, refresh };
  if (root.dataset.view !== place.view || root.dataset.run !== known.name) {
    root.replaceChildren();
    root.dataset.view = place.view;
    root.dataset.run = known.name;
    window.scrollTo(0, 0);
  }
  try {
    await VIEWS[place.view].draw(context);
  } catch (error) {
    if (error.name === "AbortError") return;
    fill(root, h("h1", {}, title), failed(error, () => { root.dataset.view = ""; draw(); }));
    say(error.message);
  }
}

function bar(run) {
  const choice = document.getElementById("run");
  choice.replaceChildren(...page.runs.map((each) => h("option", { value: each.name, selected: each === run }, each.name)));
  document.getElementById("views").replaceChildren(...Object.entries(VIEWS).map(([view, { title }]) => h("li", {}, h("a", {
    href: address({ view, path: view === "why" && place.view === "compare" ? place.path : [], more: {} }),
    "aria-current": view === place.view ? "page" : null,
  }, title))));
}

async function refresh() {
  const found = await get("/api/runs");
  page.runs = found.runs;
  page.titles = found.titles;
}

function theme(chosen) {
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
}

function press(event) {
  const typing = event.target.closest("input, select, textarea, dialog[open]");
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
  const actions = { "?": openHelp, e: () => go({ view: "edit", path: [], more: {} }), ...page.keys };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action(event.key);
}

async function begin() {
  const stored = localStorage.getItem("protolens-theme");
  theme(stored);
  document.getElementById("theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).getPropertyValue("color-scheme").trim() === "dark" ||
      (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    const chosen = dark ? "light" : "dark";
    localStorage.setItem("protolens-theme", chosen);
    theme(chosen);
  });
  document.getElementById("help").addEventListener("click", openHelp);
  document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); document.getElementById("view").focus(); });
  document.getElementById("run").addEventListener("change", (event) => go({ run: event.target.value, path: place.view === "why" ? place.path : [], more: {} }));
  document.addEventListener("keydown", press);
  addEventListener("hashchange", read);
  try {
    await refresh();
    read();
  } catch (error) {
    document.getElementById("view").replaceChildren(failed(error, () => location.reload()));
  }
}

begin();
