// What people take along: tables as CSV, figures as files of their own. The report holds this module inside, the page of `serve`
// asks for it: it depends on no other.
export const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
export const SVG = "http://www.w3.org/2000/svg";
const EDGE = 12, LINE = 20, LETTER = 9, SHARPNESS = 2;
const KEPT = ["font-weight", "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-opacity", "paint-order", "font-size", "text-anchor", "dominant-baseline"];

export const fileName = (...words) => words.join("-").replace(/[^\w.-]/g, "_");

export function save(name, content, kind) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export function csv(rows) {
  const cell = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? ""));
  return rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

export function button(words, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = words;
  made.addEventListener("click", () => act(made));
  return made;
}

export const copyButton = (words, make) => button(words, async (own) => {
  own.textContent = (await copied(make())) ? "copied" : "could not be copied";
  setTimeout(() => { own.textContent = words; }, 2000);
});

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // not there for files, and for servers without TLS
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

// make: gives the text of an SVG file, now or later
export function figureSavers(name, make) {
  const saver = (words, act) => button(words, async (own) => {
    try {
      own.disabled = true;
      await act();
    } catch {
      own.textContent = "could not be drawn";
    } finally {
      own.disabled = false;
    }
  });
  return [
    saver("save as SVG", async () => save(`${name}.svg`, await make(), "image/svg+xml")),
    saver("save as PNG", async () => save(`${name}.png`, await toPng(await make()), "image/png")),
  ];
}

async function toPng(text) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width * SHARPNESS;
  canvas.height = image.height * SHARPNESS;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

// Words in lines of at most so many letters.
export function inLines(words, letters) {
  const lines = [""];
  for (const word of words.split(" ")) {
    if (lines.at(-1) && lines.at(-1).length + word.length >= letters) lines.push("");
    lines[lines.length - 1] += `${lines.at(-1) ? " " : ""}${word}`;
  }
  return lines;
}

function drawn(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

// A copy with the looks that the page's style gives, written into it where they differ from those around: what is defined
// once and used in several places takes its own from there.
function looking(svg) {
  const copied = svg.cloneNode(true);
  const before = [svg, ...svg.querySelectorAll("*")];
  for (const [at, element] of [copied, ...copied.querySelectorAll("*")].entries()) {
    const style = getComputedStyle(before[at]), around = at ? getComputedStyle(before[at].parentElement) : null;
    for (const name of KEPT) {
      const value = style.getPropertyValue(name);
      if (value !== around?.getPropertyValue(name)) element.setAttribute(name, value);
    }
    for (const name of ["class", "tabindex", "role", "style"]) element.removeAttribute(name);
  }
  return copied;
}

// A figure of a page as the text of an SVG file. title stands above it; legend: names, each with a colour or the
// element that marks it, which stand below.
export function standalone(svg, { title = "", legend = [] } = {}) {
  const { width, height } = svg.viewBox.baseVal, { backgroundColor: paper, color: ink } = getComputedStyle(document.body);
  const lines = title ? inLines(title, width / LETTER) : [], column = LETTER * Math.max(12, ...legend.map(([name]) => name.length)) + 40;
  const across = Math.max(1, Math.floor(width / column)), top = EDGE + LINE * lines.length;
  const wide = Math.max(width, legend.length ? column : 0) + 2 * EDGE, tall = top + height + LINE * Math.ceil(legend.length / across) + EDGE;
  const copied = looking(svg), words = { fill: ink, "font-size": 14, "font-weight": 400, stroke: "none" };
  const box = { width: wide, height: tall, viewBox: `${-EDGE} ${-top} ${wide} ${tall}` };
  for (const [name, value] of Object.entries({ xmlns: SVG, ...box, "font-family": FONT })) copied.setAttribute(name, value);
  copied.prepend(drawn("rect", { x: -EDGE, y: -top, width: wide, height: tall, fill: paper, stroke: "none" }));
  for (const [at, line] of lines.entries()) copied.append(drawn("text", { ...words, x: 0, y: LINE * (at + 1) - top, "font-weight": 650 }, line));
  for (const [at, [name, mark]] of legend.entries()) {
    const x = column * (at % across), y = height + LINE * Math.floor(at / across) + 4;
    const sign = typeof mark === "string" ? drawn("rect", { width: 12, height: 12, fill: mark, stroke: "none" }) : looking(mark);
    const side = Number(sign.getAttribute("width"));
    for (const [place, value] of [["x", x], ["y", y]]) sign.setAttribute(place, value);
    copied.append(sign, drawn("text", { ...words, x: x + side + 8, y: y + 11 }, name));
  }
  return new XMLSerializer().serializeToString(copied);
}
