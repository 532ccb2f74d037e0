// The model of the page: text in, tokens out, each with what was likeliest in its place.

class Model {
  static async load(settings, wasm) {
    const model = new Model();
    model.settings = settings;
    model.tokenizer = new Tokenizer(settings.tokenizer);
    model.decoder = await Decoder.build(settings.shape, settings.tensors, fromBase64(wasm));
    model.read = []; // the ids whose keys and values the decoder holds
    model.chances = []; // how likely each of them was there
    model.ahead = []; // what was likeliest behind each of them
    model.now = null; // all of what may come behind the last one
    return model;
  }

  fill(index, base64) {
    this.decoder.fill(index, fromBase64(base64));
  }

  // The ids of a raw text, as the engine reads it.
  textIds(text) {
    const { start } = this.settings;
    return [...(start === null ? [] : [start]), ...this.tokenizer.encode(text)];
  }

  // The ids of a conversation (the turns of user and assistant, one after the other, the user's
  // first and last) up to the answer. What stands around the turns is cut out of the model's own
  // template: text, and the ids of special tokens.
  chatIds(turns) {
    const { first, answer, next } = this.settings.chat;
    const parts = [...first];
    turns.forEach((turn, place) => {
      if (place) parts.push(...(place % 2 ? answer : next));
      parts.push(turn);
    });
    parts.push(...answer);
    const ids = [];
    let text = "";
    const end = () => {
      if (text) for (const id of this.tokenizer.encode(text)) ids.push(id);
      text = "";
    };
    for (const part of parts) {
      if (typeof part === "string") {
        text += part;
        continue;
      }
      end();
      ids.push(part);
    }
    end();
    return ids;
  }

  // How many of these ids need not be read again; what was read beyond them is forgotten. The last
  // two always are: only so is it known how likely the last one was, and what comes behind it. With
  // `look`, what was read without looking ahead is read again.
  rewind(ids, look = true) {
    let same = 0;
    const held = () => this.read[same] === ids[same] && (!look || this.ahead[same]);
    while (same < ids.length - 1 && held()) same++;
    same = Math.max(0, same - 1);
    this.read.length = this.ahead.length = this.decoder.length = same;
    this.chances.length = Math.min(this.chances.length, same + 1);
    this.now = null;
    return same;
  }

  // Read one id; returns the logits behind it, valid until the next is read. Without `look` there
  // are none, which saves the widest of all products.
  take(id, look = true) {
    const place = this.read.length;
    if (this.now) this.chances[place] = this.now.probability(id);
    this.decoder.read(id);
    this.read.push(id);
    if (!look) {
      this.now = null;
      this.ahead.push(null);
      return null;
    }
    const logits = this.decoder.logits();
    this.now = new Ahead(logits.subarray(0, this.settings.shape.tokens));
    this.ahead.push(this.now.likeliest().map((one) => [one, this.now.probability(one)]));
    return logits;
  }
}

const SHOWN = 10;

// What may come next, by the model itself, before any setting.
class Ahead {
  constructor(logits) {
    this.logits = logits;
    let most = -Infinity;
    for (let id = 0; id < logits.length; id++) if (logits[id] > most) most = logits[id];
    let sum = 0;
    for (let id = 0; id < logits.length; id++) sum += Math.exp(logits[id] - most);
    this.total = most + Math.log(sum);
  }

  probability(id) {
    return Math.exp(this.logits[id] - this.total);
  }

  // The `count` likeliest ids, the likeliest first.
  likeliest(count = SHOWN) {
    const { logits } = this;
    const best = [];
    for (let id = 0; id < logits.length; id++) {
      if (best.length === count && !(logits[id] > logits[best[count - 1]])) continue;
      let place = best.length;
      while (place && logits[id] > logits[best[place - 1]]) place--;
      best.splice(place, 0, id);
      if (best.length > count) best.pop();
    }
    return best;
  }

  // A token: the likeliest at temperature 0, else one drawn among the `topK` likeliest (0: all).
  draw(temperature, topK, random = Math.random) {
    const { logits } = this;
    if (temperature === 0) return this.likeliest(1)[0];
    let least = -Infinity;
    if (topK > 0 && topK < logits.length) least = logits[this.likeliest(topK)[topK - 1]];
    const most = logits[this.likeliest(1)[0]];
    const weight = (id) => (logits[id] < least ? 0 : Math.exp((logits[id] - most) / temperature));
    let sum = 0;
    for (let id = 0; id < logits.length; id++) sum += weight(id);
    let left = random() * sum;
    let last = 0;
    for (let id = 0; id < logits.length; id++) {
      const share = weight(id);
      if (!share) continue;
      last = id;
      left -= share;
      if (left < 0) break;
    }
    return last;
  }
}

function fromBase64(text) {
  const codes = new TextEncoder().encode(text);
  const value = new Uint8Array(256);
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (let at = 0; at < 64; at++) value[letters.charCodeAt(at)] = at;
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = new Uint8Array((codes.length / 4) * 3 - padding);
  for (let from = 0, to = 0; from < codes.length; from += 4) {
    const three =
      (value[codes[from]] << 18) | (value[codes[from + 1]] << 12) |
      (value[codes[from + 2]] << 6) | value[codes[from + 3]];
    bytes[to++] = three >> 16;
    bytes[to++] = three >> 8; // what lies beyond the end is dropped
    bytes[to++] = three;
  }
  return bytes;
}
