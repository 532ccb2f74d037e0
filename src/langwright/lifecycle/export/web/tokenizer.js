// Text to ids and back: byte-level BPE (Sennrich et al. 2016; Radford et al. 2019).

const CUTS = (() => {
  const [L, N, s] = ["L", "N", "s"].map((name) =>
    CLASSES[name].replace(/[0-9a-f]+/g, "\\u{$&}").replace(/ /g, ""),
  );
  // (?i:…) written out; ſ is an s there.
  const contraction = "'(?:[sSſ]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])";
  const word = `[^\\r\\n${L}${N}]?[${L}]+`;
  const signs = ` ?[^${s}${L}${N}]+`;
  const blanks = `[${s}]+(?![^${s}])|[${s}]+`;
  const later = (digits) =>
    `${contraction}|${word}|${digits}|${signs}[\\r\\n]*|[${s}]*[\\r\\n]+|${blanks}`;
  return {
    gpt2: `'(?:[sdmt]|ll|ve|re)| ?[${L}]+| ?[${N}]+|${signs}|${blanks}`,
    llama3: later(`[${N}]{1,3}`),
    qwen2: later(`[${N}]`),
    digit: `[${N}]`,
    digits: `[${N}]+`,
    "three digits": `[${N}]{1,3}`,
  };
})();

// GPT-2's printable stand-in for each byte.
const ALPHABET = (() => {
  const chars = [];
  let others = 256;
  for (let byte = 0; byte < 256; byte++) {
    const plain = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    chars.push(String.fromCharCode(plain ? byte : others++));
  }
  return chars;
})();

class Tokenizer {
  // `pieces`: each id's spelling in GPT-2's alphabet, null for those outside the vocabulary; `added`:
  // [id, text, special]; `merges`: pairs of ids, one behind the other, the first the most urgent.
  constructor({ pieces, added, merges, cuts, whole, nfc }) {
    this.pieces = pieces;
    this.nfc = nfc;
    this.whole = whole; // a piece that is a token is that token, whatever its merges make of it
    this.special = new Set(added.filter((one) => one[2]).map((one) => one[0]));
    this.added = new Map(added.map(([id, text]) => [id, text]));
    this.phrases = new Map(added.filter((one) => !one[2]).map(([id, text]) => [text, id]));
    this.ids = new Map();
    pieces.forEach((piece, id) => piece !== null && this.ids.set(piece, id));
    this.ofByte = ALPHABET.map((char) => this.ids.get(char));
    this.byteOf = new Map(ALPHABET.map((char, byte) => [char, byte]));
    this.merges = new Map();
    for (let at = 0; at < merges.length; at += 2) {
      const [left, right] = [merges[at], merges[at + 1]];
      const made = this.ids.get(pieces[left] + pieces[right]);
      this.merges.set(left * pieces.length + right, { rank: at, made });
    }
    this.cuts = cuts.map((name) => new RegExp(CUTS[name], "gu"));
    this.known = new Map();
    const names = [...this.phrases.keys()].sort((a, b) => b.length - a.length);
    const literal = names.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
    this.phrase = names.length ? new RegExp(literal.join("|"), "gu") : null;
  }

  // Ids of `text`; the names of special tokens in it are ordinary text.
  encode(text) {
    if (/\p{Surrogate}/u.test(text)) throw new Error("The text holds half a character.");
    const ids = [];
    for (const part of this.phrase ? isolated(text, this.phrase) : [text]) {
      if (this.phrases.has(part)) {
        ids.push(this.phrases.get(part));
        continue;
      }
      let pieces = [this.nfc ? part.normalize("NFC") : part];
      for (const cut of this.cuts) pieces = pieces.flatMap((piece) => isolated(piece, cut));
      for (const piece of pieces) for (const id of this.merged(piece)) ids.push(id);
    }
    return ids;
  }

  merged(piece) {
    const before = this.known.get(piece);
    if (before) return before;
    const bytes = Array.from(new TextEncoder().encode(piece));
    const letters = bytes.map((byte) => this.ofByte[byte]);
    if (letters.includes(undefined)) throw new Error(`There is no token for ${this.foreign(piece)}.`);
    const one = this.whole ? this.ids.get(bytes.map((byte) => ALPHABET[byte]).join("")) : undefined;
    const found = one === undefined ? this.merge(letters) : [one];
    if (this.known.size < 50000) this.known.set(piece, found);
    return found;
  }

  // The first character of which some byte has no token.
  foreign(piece) {
    const spelt = (char) => new TextEncoder().encode(char).every((byte) => this.ofByte[byte] !== undefined);
    return `the character ${Array.from(piece).find((char) => !spelt(char))}`;
  }

  // The earliest merge first, of equal ones the leftmost, until there is none.
  merge(ids) {
    for (;;) {
      let best = null;
      let place = 0;
      for (let at = 0; at + 1 < ids.length; at++) {
        const merge = this.merges.get(ids[at] * this.pieces.length + ids[at + 1]);
        if (merge && (!best || merge.rank < best.rank)) [best, place] = [merge, at];
      }
      if (!best) return ids;
      ids.splice(place, 2, best.made);
    }
  }

  // The bytes that an id stands for; of a special token its name.
  bytes(id) {
    const piece = this.pieces[id];
    if (this.added.has(id)) return new TextEncoder().encode(this.added.get(id));
    if (piece === null || piece === undefined) return new Uint8Array();
    const bytes = Array.from(piece, (char) => this.byteOf.get(char));
    return bytes.includes(undefined) ? new TextEncoder().encode(piece) : Uint8Array.from(bytes);
  }
}

// `text` cut before and behind every match.
function isolated(text, pattern) {
  const pieces = [];
  let done = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > done) pieces.push(text.slice(done, match.index));
    pieces.push(match[0]);
    done = match.index + match[0].length;
  }
  if (done < text.length) pieces.push(text.slice(done));
  return pieces;
}
