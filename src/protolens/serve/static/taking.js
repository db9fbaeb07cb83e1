// What people take with them: tables as CSV, explanations as figures.
import { h, ofPrototype, picture } from "./dom.js";
import { csv, save } from "./drawing.js";
import { inSight, ordered, reasonsFigure } from "./waterfall.js";

export function tableSaver(name, rows, words = "save as CSV") {
  return h("button", { type: "button", onclick: () => save(`${name}.csv`, csv(rows()), "text/csv") }, words);
}

// An explanation with all its pictures inside.
export async function whyFigure(run, why, prototypes, { by, split, index }) {
  const reasons = ordered(why, by), some = reasons.slice(0, inSight(reasons)).map((reason) => reason.prototype);
  const kinds = some.map((number) => ofPrototype(run.name, number, prototypes[number].decoded ? "decoded" : "nearest"));
  const [image, ...pictures] = await Promise.all([picture(run.name, split, index), ...kinds].map(embedded));
  return reasonsFigure(run, why, prototypes, by, image, (number) => pictures[some.indexOf(number)]);
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
