// What all views share: elements, questions to the server, work that takes a while.
import { three } from "./numbers.js";

export function h(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "line", "rect", "circle", "path", "text", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value); // by the object model: the policy forbids attributes
    else if (name in element && !svg && !["list", "form", "width", "height"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// What an element holds from now on; what is none is left out.
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

export class Refused extends Error {}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { "x-protolens": "1", ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Is `protolens serve` still running? Reload the page once it is.");
  }
  const content = await answer.json().catch(() => ({ error: "The server gave an answer that cannot be read." }));
  if (!answer.ok) throw new Refused(sentence(content.error));
  return content;
}

export const get = (path, signal) => ask(path, { signal });
export const post = (path, body, signal) => ask(path, { method: "POST", body: body === undefined ? null : body instanceof Blob ? body : JSON.stringify(body), signal });
const cancel = (job) => ask(`/api/jobs/${job}`, { method: "DELETE" }).catch(() => null);

export function sentence(text) {
  const said = (text ?? "something went wrong").trim();
  return said.charAt(0).toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : ".");
}

// Waits for work of the server; told hears how far it is. Where nobody wants it any more, the work is stopped.
export async function work(path, body, signal, told = () => {}) {
  let job = await post(path, body, signal);
  const begun = performance.now();
  const stop = () => cancel(job.id);
  signal?.addEventListener("abort", stop, { once: true });
  try {
    for (let pause = 60; job.state === "waiting" || job.state === "running"; pause = Math.min(500, pause * 1.3)) {
      told(job, (performance.now() - begun) / 1000);
      await new Promise((wake) => setTimeout(wake, pause));
      signal?.throwIfAborted();
      job = await get(`/api/jobs/${job.id}`, signal);
    }
  } finally {
    signal?.removeEventListener("abort", stop);
  }
  if (job.state === "failed") throw new Refused(sentence(job.error));
  if (job.state === "cancelled") throw new Refused("Cancelled.");
  return job.result;
}

// A box that says how far work is, with a button to stop it.
export function progress(about, stop) {
  const bar = h("progress", { max: 1, "aria-label": about });
  const words = h("span", { className: "quiet" }, about);
  const box = h("div", { className: "progress" }, bar, words, stop && h("button", { type: "button", onclick: stop }, "cancel"));
  box.tell = (job, seconds) => {
    if (job.share > 0) bar.value = job.share;
    const left = job.share > 0.02 ? ` · some ${three(Math.max(0.1, (seconds / job.share) * (1 - job.share)))} s left` : "";
    words.textContent = job.state === "waiting" ? `${about}: waiting for its turn` : about + left;
  };
  return box;
}

export const failed = (error, again) => h("div", { className: "state failed", role: "alert" }, h("p", {}, error.message), again && h("button", { type: "button", onclick: again }, "try again"));
export const empty = (...words) => h("p", { className: "state" }, ...words);

// Runs that were made with the same images can be held against each other; the server makes sure.
export const sameImages = (one, other) => one.set === other.set && one.shape === other.shape;

export function say(text) {
  document.getElementById("told").textContent = text;
}

const part = encodeURIComponent;
export const picture = (run, split, index) => `/api/runs/${part(run)}/image/${split}/${index}.png`;
export const ofPrototype = (run, number, kind = "nearest") => `/api/runs/${part(run)}/prototypes/${number}/${kind}.png`;
export const api = (run, rest) => `/api/runs/${part(run)}/${rest}`;

// An image of the run's size, enlarged to whole multiples with hard edges, or made smaller.
export function shown(run, source, alt, side, more = {}) {
  const scale = side / Math.max(run.width, run.height);
  const times = scale >= 1 ? Math.floor(scale) : scale;
  const size = { width: Math.round(run.width * times), height: Math.round(run.height * times) };
  return h("img", { src: source, alt, width: size.width, height: size.height, className: scale >= 1 ? "hard" : "", loading: "lazy", ...more });
}

// The same with a box in it. box: left, top, right, bottom in pixels of the run's images.
export function framed(run, image, box) {
  if (!box) return image;
  const [left, top, right, bottom] = box;
  const around = { x: left, y: top, width: right - left, height: bottom - top, "vector-effect": "non-scaling-stroke" };
  const lines = h("svg", { viewBox: `0 0 ${run.width} ${run.height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    h("rect", { class: "casing", ...around }), h("rect", { class: "box", ...around }));
  return h("div", { className: "framed" }, image, lines);
}
