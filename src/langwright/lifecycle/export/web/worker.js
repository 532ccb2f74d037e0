// The worker: the page's messages, answered by the model. It reads and draws here, so that the page
// stays awake.

let model;
let stopped = false;

// Lets messages in, without the delay that timers have.
const breath = (() => {
  const { port1, port2 } = new MessageChannel();
  return () =>
    new Promise((resolve) => {
      port1.onmessage = resolve;
      port2.postMessage(0);
    });
})();

// A token in its place, with how likely it was and what was likeliest there.
function told(id, place) {
  const { tokenizer } = model;
  const likeliest = place ? model.ahead[place - 1] : [];
  return {
    id,
    bytes: tokenizer.bytes(id),
    special: tokenizer.special.has(id),
    probability: place ? model.chances[place] : null,
    likeliest: likeliest.map(([one, probability]) => ({
      id: one, bytes: tokenizer.bytes(one), special: tokenizer.special.has(one), probability,
    })),
  };
}

async function answer({ text, turns, temperature, topK, most }) {
  const ids = turns ? model.chatIds(turns) : model.textIds(text);
  const { context } = model.settings.shape;
  if (!ids.length) throw new Error("Write something first: this model has no token to begin a text with.");
  if (ids.length >= context) {
    throw new Error(`The text has ${ids.length} tokens; this page holds ${context}.`);
  }
  let started = performance.now();
  const look = !turns; // what stands around the turns is not shown
  const kept = model.rewind(ids, look);
  if (look) for (let place = 0; place < kept; place++) post("prompt", told(ids[place], place));
  for (let place = kept; place < ids.length; place++) {
    model.take(ids[place], look || place === ids.length - 1);
    if (look) post("prompt", told(ids[place], place));
    await breath();
    if (stopped) return { reason: "stopped", count: 0, seconds: 0, reading: 0, read: 0 };
  }
  const reading = (performance.now() - started) / 1000;
  started = performance.now();
  let reason = "length";
  let count = 0;
  while (count < most) {
    const place = model.read.length;
    const id = model.now.draw(temperature, topK);
    model.chances[place] = model.now.probability(id);
    count += 1;
    const ends = model.settings.ends.includes(id);
    post("token", { ...told(id, place), ends });
    if (ends) reason = "end";
    else if (place + 1 >= context) reason = "full";
    else if (stopped) reason = "stopped";
    else if (count < most) {
      model.take(id);
      await breath();
      continue;
    }
    break;
  }
  const seconds = (performance.now() - started) / 1000;
  return { reason, count, seconds, reading, read: ids.length - kept };
}

function post(kind, values) {
  self.postMessage({ kind, ...values });
}

const VERBS = {
  start: async ({ settings, wasm }) => {
    model = await Model.load(settings, wasm);
  },
  tensor: ({ index, base64 }) => model.fill(index, base64),
  ready: () => post("ready", {}),
  count: ({ text }) => {
    try {
      post("tokens", { ids: model.tokenizer.encode(text) });
    } catch (error) {
      post("tokens", { ids: [], message: error.message });
    }
  },
  answer: async (asked) => {
    stopped = false;
    post("end", await answer(asked));
  },
};

// One after the other, but for `stop`, which must overtake.
let before = Promise.resolve();
self.onmessage = ({ data }) => {
  if (data.kind === "stop") {
    stopped = true;
    return;
  }
  before = before
    .then(() => VERBS[data.kind](data))
    .catch((error) => post("error", { message: error.message, fatal: data.kind !== "answer" }));
};
