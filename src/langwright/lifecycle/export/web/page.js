"use strict";
// The page itself: what is typed goes to the worker, what comes back is shown. Whatever a model says
// is text, never HTML.

const element = (id) => document.getElementById(id);
const [form, text, go, stop, state] = ["ask", "text", "go", "stop", "state"].map(element);
const [answer, bars, loading] = ["answer", "bars", "loading"].map(element);
const modes = [...form.querySelectorAll("[name=mode]")];

let turns = []; // of the conversation so far
let given = ""; // the text that is being continued
let decoder = null; // of the bytes of the tokens that come
let paragraph = null; // where they are shown
let waiting = false; // for the end of an answer

const code = element("model").textContent + element("worker").textContent;
const source = URL.createObjectURL(new Blob([`"use strict";${code}`], { type: "text/javascript" }));
const worker = new Worker(source);
URL.revokeObjectURL(source);

function say(words, bad = false) {
  state.textContent = words;
  state.classList.toggle("bad", bad);
}

// The weights, one tensor at a time, so that none is held twice for long.
function load() {
  const take = (script) => {
    const content = script.textContent;
    script.remove();
    return content;
  };
  const settings = JSON.parse(take(element("settings")));
  worker.postMessage({ kind: "start", settings, wasm: take(element("products")) });
  const tensors = [...document.querySelectorAll("script.tensor")];
  let index = 0;
  const next = () => {
    if (index === tensors.length) {
      worker.postMessage({ kind: "ready" });
      return;
    }
    worker.postMessage({ kind: "tensor", index, base64: take(tensors[index]) });
    index += 1;
    loading.value = index / tensors.length;
    setTimeout(next);
  };
  next();
}

const mode = () => (modes.find((one) => one.checked) || { value: "text" }).value;

function busy(on) {
  waiting = on;
  go.disabled = on;
  stop.disabled = !on;
  for (const one of modes) one.disabled = on;
}

function newParagraph(kind, content = "") {
  paragraph = document.createElement("p");
  paragraph.className = `turn ${kind}`;
  paragraph.textContent = content;
  answer.append(paragraph);
  decoder = new TextDecoder("utf-8", { ignoreBOM: true });
}

function clear() {
  answer.replaceChildren();
  turns = [];
  given = "";
  text.value = "";
  element("count").textContent = "";
}

function ask(event) {
  event.preventDefault();
  if (waiting || go.disabled) return;
  const number = (id) => element(id).valueAsNumber;
  const settings = { temperature: number("temperature"), topK: number("top-k"), most: number("most") };
  if (!form.reportValidity() || Object.values(settings).some(Number.isNaN)) return;
  const typed = text.value;
  if (mode() === "chat") {
    if (!typed.trim()) return;
    turns.push(typed);
    newParagraph("asked", typed);
    newParagraph("said");
    text.value = "";
    element("count").textContent = "";
    worker.postMessage({ kind: "answer", turns, ...settings });
  } else {
    given = typed;
    answer.replaceChildren();
    newParagraph("continued");
    worker.postMessage({ kind: "answer", text: given, ...settings });
  }
  say("Reading …");
  busy(true);
}

// A token of the answer. One that holds a part of a character shows it once the rest has come.
function addToken(token, prompt) {
  const span = document.createElement("span");
  span.className = "token";
  if (prompt) span.classList.add("given");
  if (token.special) span.classList.add("special");
  const words = token.special ? new TextDecoder().decode(token.bytes) : decoder.decode(token.bytes, { stream: true });
  if (!token.ends) span.textContent = words;
  else span.textContent = " ■";
  span.told = token;
  paragraph.append(span);
  return words;
}

function visible(token) {
  if (token.special) return new TextDecoder().decode(token.bytes);
  try {
    const words = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(token.bytes);
    return words.replace(/ /g, "␣").replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/\r/g, "␍");
  } catch {
    return Array.from(token.bytes, (byte) => `<${byte.toString(16).toUpperCase()}>`).join("");
  }
}

function percent(probability) {
  if (probability >= 0.1) return `${(100 * probability).toFixed(1)}%`;
  return probability >= 0.0001 ? `${(100 * probability).toFixed(2)}%` : "<0.01%";
}

function showBars(span) {
  for (const one of answer.querySelectorAll(".shown")) one.classList.remove("shown");
  span.classList.add("shown");
  const token = span.told;
  if (token.probability === null) {
    const words = document.createElement("p");
    words.className = "soft";
    words.textContent = "The first token: the model was asked for nothing here.";
    bars.replaceChildren(words);
    return;
  }
  const rows = [...token.likeliest];
  if (!rows.some((one) => one.id === token.id)) rows.push(token);
  bars.replaceChildren(
    ...rows.map((one) => {
      const row = document.createElement("div");
      row.className = one.id === token.id ? "bar here" : "bar";
      const [name, bar, share] = ["code", "i", "b"].map((tag) => document.createElement(tag));
      name.textContent = visible(one);
      name.title = `token ${one.id}`;
      bar.style.width = `${100 * one.probability}%`;
      share.textContent = percent(one.probability);
      row.append(name, bar, share);
      return row;
    }),
  );
}

let said = "";
const HEARD = {
  ready() {
    loading.remove();
    go.disabled = false;
    say("Ready.");
  },
  tokens({ ids, message }) {
    const words = ids.length === 1 ? "1 token" : `${ids.length} tokens`;
    element("count").textContent = message || (text.value ? words : "");
  },
  prompt(token) {
    addToken(token, true);
  },
  token(token) {
    const words = addToken(token, false);
    if (!token.special) said += words;
    showBars(paragraph.lastChild);
    say("Writing …");
  },
  end({ reason, count, seconds, reading, read }) {
    const rest = decoder.decode(); // of a character that was never completed
    if (rest) paragraph.append(rest);
    if (mode() === "chat") {
      if (count) turns.push(said + rest);
      else turns.pop();
    }
    said = "";
    const why = {
      end: "The model ended here.", length: "That was the number of tokens asked for.",
      stopped: "Stopped.", full: "The context is full.",
    }[reason];
    const speed = seconds ? ` ${count} tokens, ${(count / seconds).toFixed(1)} tokens per second.` : "";
    const before = read && reading ? ` ${read} tokens were read in ${reading.toFixed(1)} s.` : "";
    say(`${why}${speed}${before}`);
    busy(false);
  },
  error({ message, fatal }) {
    say(message, true);
    if (fatal) {
      go.disabled = stop.disabled = true;
      return;
    }
    if (mode() === "chat") {
      // What was asked goes back where it came from.
      text.value = turns.pop();
      answer.lastChild.remove();
      answer.lastChild.remove();
    }
    busy(false);
  },
};

worker.onmessage = ({ data }) => HEARD[data.kind](data);
worker.onerror = (event) => HEARD.error({ message: event.message || "The program failed.", fatal: true });
form.addEventListener("submit", ask);
stop.addEventListener("click", () => worker.postMessage({ kind: "stop" }));
element("clear").addEventListener("click", () => waiting || clear());
text.addEventListener("input", () => worker.postMessage({ kind: "count", text: text.value }));
text.addEventListener("keydown", (event) => {
  const alone = event.key === "Enter" && !event.isComposing;
  if (alone && (mode() === "chat" ? !event.shiftKey : event.ctrlKey || event.metaKey)) ask(event);
});
for (const one of modes) {
  one.addEventListener("change", () => {
    clear();
    go.textContent = mode() === "chat" ? "Send" : "Continue";
    text.placeholder = mode() === "chat" ? "Ask something" : "Begin a text, and the model goes on";
  });
}
for (const kind of ["pointerover", "click"]) {
  answer.addEventListener(kind, ({ target }) => target.told && showBars(target));
}
load();
