// The proof: node runs the code of a page with the page's weights. One question a line on standard
// input, one answer a line on standard output.
//
//   node prove.js PAGE.html
"use strict";
const fs = require("node:fs");
const readline = require("node:readline");

// Of a page's scripts, those that hold data: [attributes, content], in the page's order.
function scripts(page) {
  const found = [];
  for (let at = page.indexOf("<script"); at >= 0; at = page.indexOf("<script", at)) {
    const open = page.indexOf(">", at);
    const close = page.indexOf("</script>", open);
    found.push([page.slice(at, open), page.slice(open + 1, close)]);
    at = close;
  }
  return found;
}

async function main() {
  const found = scripts(fs.readFileSync(process.argv[2], "latin1"));
  const part = (id) => {
    const [, content] = found.find(([tag]) => tag.includes(`id="${id}"`));
    return Buffer.from(content, "latin1").toString("utf8");
  };
  const Model = new Function(`"use strict";${part("model")};return Model;`)();
  const model = await Model.load(JSON.parse(part("settings")), part("products"));
  const tensors = found.filter(([tag]) => tag.includes('class="tensor"'));
  tensors.forEach(([, base64], index) => model.fill(index, base64));
  const answers = {
    version: () => process.version,
    text: ({ text }) => model.textIds(text),
    chat: ({ turns }) => model.chatIds(turns),
    // The logits behind some places of the ids, float32.
    logits: ({ ids, places }) => {
      const kept = Buffer.alloc(4 * places.length * model.settings.shape.vocab_size);
      model.rewind([]);
      ids.forEach((id, place) => {
        const row = places.indexOf(place);
        const logits = model.take(id, row >= 0);
        if (!logits) return;
        const { buffer, byteOffset, byteLength } = logits;
        Buffer.from(buffer, byteOffset, byteLength).copy(kept, row * byteLength);
      });
      return kept.toString("base64");
    },
  };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    process.stdout.write(`${JSON.stringify(answers[asked.kind](asked))}\n`);
  }
}

main();
