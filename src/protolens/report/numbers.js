// Numbers and words as people read them.

export function three(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size < 5e-7) return "0";
  if (size < 1e-4) return value.toExponential(2).replace("-", "−");
  const whole = size >= 999.5 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(size)));
  return minus(value.toLocaleString("en", { minimumFractionDigits: whole, maximumFractionDigits: whole }));
}

export const minus = (text) => text.replace("-", "−");
export const signed = (value) => (value > 0 ? "+" : "") + three(value);
export const count = (number) => number.toLocaleString("en");

export function percent(share) {
  if (share === null || share === undefined) return "–";
  if (share > 0.9995 && share < 1) return "over 99.9\u00a0%";
  return `${three(100 * share)}\u00a0%`;
}

export const points = (share) => `${share > 0 ? "+" : ""}${minus((100 * share).toFixed(2))} points`;
export const shortened = (words, most) => (words.length > most ? `${words.slice(0, most - 1)}…` : words);
export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
