// The decoder: a token in, the logits of the next one out. Weights, keys and values lie in the memory
// of the WebAssembly module whose products it calls.

const PAGE = 65536;

class Decoder {
  // `shape`: the settings of the model; `tensors`: [name, type, rows, columns] of each.
  static async build(shape, tensors, wasm) {
    const decoder = new Decoder(shape);
    decoder.plan(tensors);
    const bytes = decoder.size;
    try {
      decoder.memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / PAGE) });
    } catch {
      throw new Error(`There is no room for the model's ${Math.ceil(bytes / 1e6)} MB.`);
    }
    const page = { memory: decoder.memory };
    const { instance } = await WebAssembly.instantiate(wasm, { page });
    decoder.products = instance.exports;
    decoder.findParts();
    return decoder;
  }

  constructor(shape) {
    this.shape = shape;
    this.size = 0;
    this.length = 0; // tokens that have been read
  }

  reserve(bytes) {
    const at = this.size;
    this.size += Math.ceil(bytes / 16) * 16;
    return at;
  }

  plan(tensors) {
    const { shape } = this;
    this.tensors = tensors.map(([name, type, rows, columns]) => {
      if (type === "q8_0") {
        const at = this.reserve(rows * columns);
        return { name, type, rows, columns, at, scales: this.reserve((rows * columns) / 8) };
      }
      const padded = Math.ceil(columns / 4) * 4;
      return { name, type, rows, columns, padded, at: this.reserve(rows * padded * 4) };
    });
    this.headPadded = Math.ceil(shape.head_dim / 4) * 4;
    const queries = shape.num_heads * shape.head_dim;
    const keys = shape.num_kv_heads * shape.head_dim;
    const widths = {
      x: shape.hidden_size, normed: shape.hidden_size, out: shape.hidden_size,
      q: queries, k: keys, v: keys, mixed: queries, scores: shape.context,
      gate: shape.intermediate_size, up: shape.intermediate_size,
      logits: shape.vocab_size, head: shape.head_dim,
    };
    this.places = {};
    for (const [name, width] of Object.entries(widths)) {
      this.places[name] = { at: this.reserve(4 * width), width };
    }
    const widest = Math.max(...Object.values(widths));
    this.quants = { at: this.reserve(4 * widest), scales: this.reserve(4 * Math.ceil(widest / 32)) };
    this.cacheSize = 4 * shape.context * this.headPadded; // of one head: its keys, or its values
    this.cache = this.reserve(2 * shape.num_layers * shape.num_kv_heads * this.cacheSize);
  }

  view(at, width) {
    return new Float32Array(this.memory.buffer, at, width);
  }

  findParts() {
    const named = new Map(this.tensors.map((tensor) => [tensor.name, tensor]));
    for (const place of Object.values(this.places)) {
      place.values = this.view(place.at, Math.ceil(place.width / 4) * 4);
    }
    const linear = (name) => {
      const matrix = named.get(`${name}.weight`);
      const bias = named.get(`${name}.bias`);
      return matrix && { matrix, bias: bias && this.view(bias.at, bias.columns) };
    };
    const norm = (name) => {
      const [weight, bias] = [named.get(`${name}.weight`), named.get(`${name}.bias`)];
      if (!weight) return undefined;
      const values = this.view(weight.at, weight.columns);
      return { weight: values, bias: bias && this.view(bias.at, bias.columns) };
    };
    const attention = ["q_proj", "k_proj", "v_proj", "o_proj"];
    const forward = ["gate_proj", "up_proj", "down_proj"];
    const norms = [
      "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
      "post_feedforward_layernorm",
    ];
    this.layers = Array.from({ length: this.shape.num_layers }, (_, number) => {
      const path = `layers.${number}`;
      const part = { number };
      for (const name of attention) part[name] = linear(`${path}.self_attn.${name}`);
      for (const name of forward) part[name] = linear(`${path}.mlp.${name}`);
      for (const name of norms) part[name] = norm(`${path}.${name}`);
      for (const name of ["q_norm", "k_norm"]) part[name] = norm(`${path}.self_attn.${name}`);
      return part;
    });
    this.embedding = named.get("embed_tokens.weight");
    this.positions = named.get("embed_positions.weight");
    this.norm = norm("norm");
    this.head = linear("lm_head") || { matrix: this.embedding };
  }

  // Put the bytes of a tensor, as the page holds them, in their place.
  fill(index, bytes) {
    const tensor = this.tensors[index];
    const { type, rows, columns, padded, at } = tensor;
    if (type === "q8_0") {
      const count = rows * columns;
      new Int8Array(this.memory.buffer, at, count).set(new Int8Array(bytes.buffer, 0, count));
      widen(new Uint16Array(bytes.buffer, count), this.view(tensor.scales, count / 32));
      return;
    }
    const values = type === "f16" ? new Float32Array(rows * columns) : new Float32Array(bytes.buffer);
    if (type === "f16") widen(new Uint16Array(bytes.buffer), values);
    const placed = this.view(at, rows * padded);
    for (let row = 0; row < rows; row++) {
      placed.set(values.subarray(row * columns, (row + 1) * columns), row * padded);
    }
  }

  // Read one more token. Its logits are `logits()`.
  read(token) {
    const { shape, places } = this;
    if (this.length >= shape.context) throw new Error(`The page holds ${shape.context} tokens.`);
    const x = places.x.values;
    this.row(this.embedding, token, x);
    if (shape.scale_embeddings) {
      const factor = Math.fround(Math.sqrt(shape.hidden_size));
      for (let at = 0; at < x.length; at++) x[at] *= factor;
    }
    if (this.positions) {
      this.row(this.positions, this.length, places.normed.values);
      add(x, places.normed.values);
    }
    const turns = [this.turn(shape.frequencies, shape.magnitude), null];
    if (shape.local_frequencies) turns[1] = this.turn(shape.local_frequencies, 1);
    for (const layer of this.layers) this.block(layer, turns);
    this.normalise(this.norm, x, places.normed.values);
    this.length += 1;
  }

  // The logits behind the last token, valid until the next is read.
  logits() {
    const { shape, places } = this;
    this.multiply(this.head, places.normed, places.logits);
    const logits = places.logits.values.subarray(0, shape.vocab_size);
    const cap = shape.logit_softcap;
    if (cap) for (let at = 0; at < logits.length; at++) logits[at] = cap * Math.tanh(logits[at] / cap);
    return logits;
  }

  block(layer, turns) {
    const { shape, places } = this;
    const [x, out] = [places.x.values, places.out.values];
    this.normalise(layer.input_layernorm, x, places.normed.values);
    this.attend(layer, turns);
    if (shape.sandwich_norms) this.normalise(layer.post_attention_layernorm, out, out);
    add(x, out);
    const before = shape.sandwich_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm";
    this.normalise(layer[before], x, places.normed.values);
    this.multiply(layer.up_proj, places.normed, places.up);
    const [gate, up, act] = [places.gate.values, places.up.values, ACTIVATIONS[shape.activation]];
    if (layer.gate_proj) {
      this.multiply(layer.gate_proj, places.normed, places.gate);
      for (let at = 0; at < places.up.width; at++) up[at] *= act(gate[at]);
    } else {
      for (let at = 0; at < places.up.width; at++) up[at] = act(up[at]);
    }
    this.multiply(layer.down_proj, places.up, places.out);
    if (shape.sandwich_norms) this.normalise(layer.post_feedforward_layernorm, out, out);
    add(x, out);
  }

  attend(layer, turns) {
    const { shape, places, products } = this;
    const width = shape.head_dim;
    this.multiply(layer.q_proj, places.normed, places.q);
    this.multiply(layer.k_proj, places.normed, places.k);
    this.multiply(layer.v_proj, places.normed, places.v);
    const windowed = shape.sliding_layers.includes(layer.number);
    const turn = (windowed && turns[1]) || turns[0];
    const rotates = turn && !shape.unrotated_layers.includes(layer.number);
    for (const [place, norm] of [[places.q, layer.q_norm], [places.k, layer.k_norm]]) {
      for (let at = 0; at < place.width; at += width) {
        const head = place.values.subarray(at, at + width);
        if (norm) this.normalise(norm, head, head, "rms");
        if (rotates) rotate(head, turn);
      }
    }
    const first = windowed ? Math.max(0, this.length + 1 - shape.sliding_window) : 0;
    const rows = this.length + 1 - first;
    const skipped = 4 * first * this.headPadded;
    const scale = shape.attention_scale || 1 / Math.sqrt(width);
    const groups = shape.num_heads / shape.num_kv_heads;
    for (let kv = 0; kv < shape.num_kv_heads; kv++) {
      const keys = this.cache + 2 * (layer.number * shape.num_kv_heads + kv) * this.cacheSize;
      const values = keys + this.cacheSize;
      const last = 4 * this.length * this.headPadded;
      const part = [kv * width, (kv + 1) * width];
      this.view(keys + last, width).set(places.k.values.subarray(...part));
      this.view(values + last, width).set(places.v.values.subarray(...part));
      for (let head = kv * groups; head < (kv + 1) * groups; head++) {
        const query = places.q.values.subarray(head * width, (head + 1) * width);
        for (let at = 0; at < width; at++) places.head.values[at] = query[at] * scale;
        const scores = places.scores;
        products.product_f32(scores.at, keys + skipped, places.head.at, rows, this.headPadded);
        softmax(scores.values.subarray(0, rows));
        products.mix_f32(places.head.at, values + skipped, scores.at, rows, this.headPadded);
        places.mixed.values.set(places.head.values.subarray(0, width), head * width);
      }
    }
    this.multiply(layer.o_proj, places.mixed, places.out);
  }

  multiply({ matrix, bias }, from, to) {
    const { products, quants } = this;
    const { at, scales, rows, columns, padded } = matrix;
    if (matrix.type === "q8_0") {
      products.to_whole(from.at, quants.at, quants.scales, columns);
      products.product_q8(to.at, at, scales, quants.at, quants.scales, rows, columns);
    } else products.product_f32(to.at, at, from.at, rows, padded);
    if (bias) add(to.values, bias);
  }

  // One row of a table.
  row(table, number, to) {
    if (table.type !== "q8_0") {
      to.set(this.view(table.at + 4 * number * table.padded, table.padded));
      return;
    }
    const { columns } = table;
    const quants = new Int8Array(this.memory.buffer, table.at + number * columns, columns);
    const scales = this.view(table.scales + (number * columns) / 8, columns / 32);
    for (let at = 0; at < columns; at++) to[at] = quants[at] * scales[at >> 5];
  }

  normalise({ weight, bias }, x, to, kind = this.shape.norm) {
    const count = weight.length;
    let mean = 0;
    if (kind === "layer") {
      for (let at = 0; at < count; at++) mean += x[at];
      mean /= count;
    }
    let squares = 0;
    for (let at = 0; at < count; at++) squares += (x[at] - mean) ** 2;
    const factor = 1 / Math.sqrt(squares / count + this.shape.norm_eps);
    const offset = kind === "rms" ? this.shape.norm_offset : 0;
    for (let at = 0; at < count; at++) {
      to[at] = (x[at] - mean) * factor * (weight[at] + offset) + (bias ? bias[at] : 0);
    }
  }

  // cos and sin of the angles at this position; computed as float32, as the model learned them.
  turn(frequencies, magnitude) {
    if (!frequencies) return null;
    const angles = Float32Array.from(frequencies, (one) => this.length * Math.fround(one));
    return {
      cos: Float32Array.from(angles, (angle) => Math.cos(angle) * magnitude),
      sin: Float32Array.from(angles, (angle) => Math.sin(angle) * magnitude),
    };
  }
}

const ACTIVATIONS = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu2: (x) => Math.max(x, 0) ** 2,
};

function add(x, y) {
  for (let at = 0; at < y.length; at++) x[at] += y[at];
}

// Each pair (x_i, x_{i + D/2}) by its angle.
function rotate(head, { cos, sin }) {
  const half = cos.length;
  for (let at = 0; at < half; at++) {
    const [first, second] = [head[at], head[at + half]];
    head[at] = first * cos[at] - second * sin[at];
    head[at + half] = second * cos[at] + first * sin[at];
  }
}

// In place; the sum that it divided by is that of exp(x - largest).
function softmax(x) {
  let most = -Infinity;
  for (let at = 0; at < x.length; at++) if (x[at] > most) most = x[at];
  let sum = 0;
  for (let at = 0; at < x.length; at++) sum += x[at] = Math.exp(x[at] - most);
  for (let at = 0; at < x.length; at++) x[at] /= sum;
}

// float16 to float32.
function widen(halves, to) {
  for (let at = 0; at < halves.length; at++) {
    const half = halves[at];
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    const size =
      exponent === 31 ? (fraction ? NaN : Infinity)
      : exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024)
      : 2 ** -14 * (fraction / 1024);
    to[at] = half & 32768 ? -size : size;
  }
}
