// The sample browser. Data arrives as script files, each one call of PVB(key, value); text is only ever set as text.
"use strict";

const store = new Map();
const waiting = new Map();

function PVB(key, value) {
  store.set(key, value);
}
window.PVB = PVB;

// `key` names the value that `file` hands over; file names are made of ids and numbers only.
function load(key, file) {
  if (store.has(key)) return Promise.resolve(store.get(key));
  if (!waiting.has(key)) {
    waiting.set(key, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = "data/" + file + ".js";
      script.onload = () => {
        script.remove();
        store.has(key) ? resolve(store.get(key)) : reject(new Error(file + " does not hold " + key));
      };
      script.onerror = () => reject(new Error(file + " is missing"));
      document.head.append(script);
    }));
  }
  return waiting.get(key);
}

const BITS = { right: 1, contracts: 2, cut: 4, high: 8, low: 16, judges: 32, failed: 64, unread: 128 };
const at = (id) => document.getElementById(id);
const controls = { b: at("board"), t: at("task"), a: at("first"), c: at("second"), f: at("filter") };
let page = 0;
let meta = null;
let drawing = 0;

function make(tag, name, ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function option(value, text) {
  const node = make("option", "", text);
  node.value = value;
  return node;
}

function wanted() {
  const found = {};
  for (const part of location.hash.slice(1).split("&")) {
    const [name, value] = part.split("=");
    if (/^[a-z]$/.test(name) && /^[a-z0-9]{0,12}$/.test(value || "")) found[name] = value || "";
  }
  return found;
}

function fill() {
  const asked = wanted();
  const board = meta.boards.find((one) => one.id === asked.b) || meta.boards[0];
  controls.b.replaceChildren(...meta.boards.map((one) => option(one.id, one.name)));
  controls.b.value = board.id;
  controls.t.replaceChildren(option("", "all"), ...board.tasks.map((one, i) => option(String(i), one.name)));
  controls.t.value = board.tasks[Number(asked.t)] && asked.t !== "" ? asked.t : "";
  controls.a.replaceChildren(...board.variants.map((one) => option(one.id, one.name)));
  controls.c.replaceChildren(option("", "nothing"), ...board.variants.map((one) => option(one.id, one.name)));
  const known = new Set(board.variants.map((one) => one.id));
  controls.a.value = known.has(asked.a) ? asked.a : board.variants[0].id;
  controls.c.value = known.has(asked.c) ? asked.c : "";
  controls.f.value = [...controls.f.options].some((one) => one.value === asked.f) ? asked.f : "";
  page = /^\d{1,6}$/.test(asked.p || "") ? Number(asked.p) : 0;
  draw();
}

function remember(reset) {
  if (reset) page = 0;
  const parts = Object.entries(controls).filter(([, node]) => node.value !== "").map(([name, node]) => name + "=" + node.value);
  if (page) parts.push("p=" + page);
  history.replaceState(null, "", "#" + parts.join("&"));
}

const bytes = (text) => Uint8Array.from({ length: text.length / 2 }, (_, i) => parseInt(text.substr(2 * i, 2), 16));

function keeps(filter, one, two) {
  if (filter === "") return true;
  if (filter === "wrong") return !(one & (BITS.right | BITS.failed));
  if (filter === "flip") return two !== null && (one & BITS.right) !== 0 && !(two & (BITS.right | BITS.failed));
  if (filter === "flop") return two !== null && (two & BITS.right) !== 0 && !(one & (BITS.right | BITS.failed));
  return (one & BITS[filter]) !== 0;
}

async function draw() {
  const turn = ++drawing;
  const board = meta.boards.find((one) => one.id === controls.b.value);
  const names = [controls.a.value, controls.c.value].filter((id) => id !== "");
  try {
    const flags = await Promise.all(names.map((id) => load("f/" + board.id + "/" + id, board.id + "-" + id + "-flags")));
    const rows = [];
    board.tasks.forEach((task, number) => {
      if (controls.t.value !== "" && controls.t.value !== String(number)) return;
      const [one, two] = flags.map((found) => bytes(found[number]));
      for (let i = 0; i < task.kept; i++) {
        if (keeps(controls.f.value, one[i], two ? two[i] : null)) rows.push([number, i]);
      }
    });
    const pages = Math.max(1, Math.ceil(rows.length / meta.size));
    page = Math.min(page, pages - 1);
    const shown = rows.slice(page * meta.size, (page + 1) * meta.size);
    const cards = await Promise.all(shown.map(([task, i]) => card(board, task, i, names)));
    if (turn !== drawing) return;
    at("list").replaceChildren(...cards);
    const total = board.tasks.reduce((sum, task) => sum + task.total, 0);
    const kept = board.tasks.reduce((sum, task) => sum + task.kept, 0);
    at("status").textContent = rows.length + " answers" +
      (kept < total ? "; this page holds " + kept + " of the board's " + total + " questions, the tables count all" : "");
    at("place").textContent = "page " + (page + 1) + " of " + pages;
    at("back").disabled = page === 0;
    at("on").disabled = page >= pages - 1;
  } catch (problem) {
    at("status").textContent = "Could not load: " + problem.message;
  }
}

async function card(board, task, i, names) {
  const chunk = Math.floor(i / meta.size);
  const place = task + "-" + chunk;
  const [question, picture] = (await load("q/" + board.id + "/" + task + "/" + chunk, board.id + "-q-" + place))[i % meta.size];
  const answers = await Promise.all(names.map(async (id) =>
    (await load("a/" + board.id + "/" + id + "/" + task + "/" + chunk, board.id + "-" + id + "-" + place))[i % meta.size]));
  const title = make("h2", "", make("bdi", "", board.tasks[task].name + " · " + question.id));
  for (const label of [question.t, question.s]) {
    if (label) title.append(" ", make("span", "tag", make("bdi", "", label)));
  }
  const side = make("figure", "picture");
  if (picture && /^[0-9a-f]{64}\.jpg$/.test(picture)) {
    const image = make("img");
    image.src = "images/" + picture;
    image.alt = "Image of the question";
    image.loading = "lazy";
    side.append(image);
  } else {
    side.append(make("p", "soft", "No thumbnail with these runs."));
  }
  const text = make("p", "question", question.q);
  text.dir = "auto";
  const options = make("ol", "options", ...question.o.map((one, n) => {
    const node = make("li", n === question.k ? "key" : "", make("b", "", "ABCDEFGHIJ"[n] + ") "), make("bdi", "", one));
    if (n === question.k) node.append(" ", make("span", "tag", "key"));
    return node;
  }));
  const columns = make("div", "answers", ...answers.map((one, n) => answer(board, names[n], one)));
  return make("article", "", title, make("div", "columns", side, make("div", "body", text, options, columns)));
}

function answer(board, id, one) {
  const name = board.variants.find((variant) => variant.id === id).name;
  const verdict = one.f === "error" ? "no answer" : one.r[1] ? "right" : "wrong";
  const box = make("section", "answer " + verdict.replace(" ", "-"),
    make("h3", "", make("bdi", "", name), " ", make("span", "tag verdict", verdict)));
  if (one.f === "length") box.querySelector("h3").append(" ", make("span", "tag", "cut off"));
  const read = make("p", "contracts");
  ["strict", "letter", "omnimed"].forEach((contract, n) => {
    const right = one.r[n] === null ? "" : one.r[n] ? ": right" : ": wrong";
    read.append(make("span", "", make("em", "", contract), " read ", make("b", "", one.l[n] || "nothing"), right), " ");
  });
  box.append(read);
  if (one.e) box.append(make("p", "problem", "Error: ", make("bdi", "", one.e)));
  if (one.p) box.append(make("p", "problem", "Why nothing was read: ", make("bdi", "", one.p)));
  const quotes = one.s.flatMap((score) => score.e.map((event) => event[2])).filter((quote) => quote !== "");
  if (one.th !== null) box.append(block("Reasoning", one.th, quotes));
  if (one.an !== null && one.c === null) box.append(block("Answer", one.an, []));
  if (one.c !== null) box.append(block("Completion", one.c, one.th === null ? quotes : []));
  if (one.s.length) box.append(scores(one.s));
  if (one.n !== null) box.append(make("p", "soft", one.n + " tokens"));
  return box;
}

function block(title, text, quotes) {
  const pre = make("pre", "", ...highlight(text, quotes));
  pre.dir = "auto";
  pre.tabIndex = 0;
  return make("div", "", make("h4", "", title), pre);
}

// The text in pieces, quoted evidence inside <mark>; every piece is a text node.
function highlight(text, quotes) {
  const low = text.toLowerCase();
  const spans = [];
  for (const quote of quotes) {
    const start = quote.trim() === "" || low.length !== text.length ? -1 : low.indexOf(quote.trim().toLowerCase());
    if (start >= 0) spans.push([start, start + quote.trim().length]);
  }
  spans.sort((a, b) => a[0] - b[0]);
  const pieces = [];
  let end = 0;
  for (const [from, to] of spans) {
    if (to <= end) continue;
    const start = Math.max(from, end);
    pieces.push(text.slice(end, start), make("mark", "", text.slice(start, to)));
    end = to;
  }
  pieces.push(text.slice(end));
  return pieces.filter((piece) => piece !== "");
}

function scores(list) {
  const box = make("ul", "scores");
  for (const score of list) {
    const line = make("li", "", make("b", "", make("bdi", "", score.p)), " ",
      score.v === null ? "missing" : Number(score.v).toFixed(2), " ", make("span", "soft", make("bdi", "", score.j)), " ",
      make("bdi", "", score.w));
    for (const [event, held, quote] of score.e) {
      line.append(make("div", "event", (held ? "yes " : "no "), make("bdi", "", event), quote ? ": “" : "",
        quote ? make("mark", "", quote) : null, quote ? "”" : ""));
    }
    box.append(line);
  }
  return box;
}

for (const [name, node] of Object.entries(controls)) {
  node.addEventListener("input", () => {
    remember(true);
    if (name === "b") fill();
    else draw();
  });
}
at("choices").addEventListener("submit", (event) => event.preventDefault());
function turn(by) {
  page += by;
  remember(false);
  draw().then(() => at("list").querySelector("article")?.scrollIntoView());
}
at("back").addEventListener("click", () => turn(-1));
at("on").addEventListener("click", () => turn(1));
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea, pre") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "n" && !at("on").disabled) turn(1);
  if (event.key === "p" && !at("back").disabled) turn(-1);
});
window.addEventListener("hashchange", () => meta && fill());
load("meta", "meta").then((found) => {
  meta = found;
  fill();
}, (problem) => {
  at("status").textContent = "Could not load: " + problem.message;
});
