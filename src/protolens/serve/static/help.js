// Keys and words, in a dialog.
import { h } from "./dom.js";

const KEYS = [
  ["← →", "the image before, the next image"],
  ["1 to 9", "the first to ninth prototype of the sum: where it is found in the image"],
  ["/", "to the field that searches: the image’s number, a prototype’s class"],
  ["e", "to the editor"],
  ["u", "take the last edit back"],
  ["?", "this help"],
];
const WORDS = [
  ["prototype", "What the model compares images with: an example, a part of one, or a pattern that it has learnt. A class has one or more."],
  ["similarity", "How like the image is to a prototype, in the model’s own measure. Larger is more alike; for PrototypeDL it is minus the distance. Two models’ similarities cannot be compared."],
  ["weight", "What one unit of similarity adds to the logit of the class that is explained. Below 0 it speaks against."],
  ["contribution", "Similarity × weight. Bias and all contributions sum to the logit: that is the whole decision, nothing is left out."],
  ["lift", "What a prototype adds beyond what it adds for the average training image. It misleads where no image is like the average, so heads that choose the nearest prototype have none."],
  ["logit", "The number by which classes are ranked; the largest wins. A softmax makes probabilities of all of them."],
  ["nearest", "Some models decide by the most similar prototype of each class alone; all others count nothing."],
  ["agreement", "Rank correlation of two maps of the same image: 1 is the same order of pixels, 0 is none. Two methods can agree and both be wrong."],
  ["control", "random and edges know nothing of the model. A map that looks like edges, or agrees with it, may show the image and not the model."],
  ["interval", "Where the figure would lie in 95 of 100 such samples of images. It knows nothing of other seeds, nor of images unlike these."],
  ["validation images", "Images that were kept from training to choose by. Edits are judged by them, so that the test images stay unread."],
];

export function openHelp() {
  const dialog = document.getElementById("words");
  dialog.replaceChildren(
    h("h2", { id: "words-title" }, "Keys and words"),
    h("dl", { className: "keys-list" }, KEYS.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)))),
    h("h3", {}, "Words"),
    h("dl", { className: "facts" }, WORDS.map(([word, what]) => h("div", {}, h("dt", {}, word), h("dd", {}, what)))),
    h("form", { method: "dialog" }, h("button", {}, "close")),
  );
  if (!dialog.open) dialog.showModal();
}
