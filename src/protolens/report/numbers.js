// Numbers and words as people read them: three and percent as numbers.py writes them.

export function three(value) {
  if (value === null || value === undefined) return "–";
  const rounded = Number(value.toPrecision(3));
  if (rounded === 0) return "0";
  const places = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded))));
  if (places > 6) return minus(value.toExponential(2));
  return minus(value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places }));
}

export const minus = (text) => text.replaceAll("-", "−");
export const signed = (value) => (value > 0 ? "+" : "") + three(value);
export const count = (number) => number.toLocaleString("en");

export function percent(share) {
  if (share === null || share === undefined) return "–";
  if (share > 0 && share < 1e-4) return "under 0.01\u00a0%";
  const text = three(100 * share);
  if (text === "100" && share < 1) return `${share >= 0.99995 ? "over 99.99" : (100 * share).toFixed(2)}\u00a0%`;
  return `${text}\u00a0%`;
}

export const points = (share) => `${share > 0 ? "+" : ""}${minus((100 * share).toFixed(2))} points`;
export const shortened = (words, most) => (words.length > most ? `${words.slice(0, most - 1)}…` : words);
export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
