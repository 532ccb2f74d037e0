// One model's answer: asked for, shown as it comes, ended.

import { answer } from './api.js';
import { Cells, make } from './tokens.js';

const ENDS = { length: 'the limit of tokens was reached', tool_calls: 'the model calls a tool' };

export class Answer {
  #head = make('p', 'by');
  #foot = make('p', 'figures');
  #count = 0;
  #first = 0;
  #last = 0;
  #usage = null;
  #thoughts = null;

  constructor(kind, model, prompt = '') {
    this.kind = kind;
    this.model = model;
    this.failure = null;
    this.element = make('section', 'answer busy');
    this.element.setAttribute('aria-label', `Answer of ${model}`);
    this.#head.textContent = model;
    this.cells = new Cells(`Answer of ${model}, token by token`);
    this.element.append(this.#head);
    if (kind === 'raw') this.element.append(make('span', 'prompt', prompt));
    this.element.append(this.cells.element, this.#foot);
  }

  get text() {
    return this.cells.text;
  }

  /** Ask, and show what comes; `grew` is called after each piece. */
  async run(body, signal, grew) {
    let end = '';
    try {
      for await (const piece of answer(this.kind, body, signal)) {
        this.#add(piece);
        if (piece.reason) end = ENDS[piece.reason] ?? '';
        grew();
      }
    } catch (error) {
      end = error.name === 'AbortError' ? 'stopped' : '';
      if (!end) this.#fail(error);
    }
    this.cells.end();
    this.#thoughts?.end();
    this.#foot.textContent = [...this.#figures(), end].filter(Boolean).join(' · ');
    this.element.classList.remove('busy');
    grew();
  }

  #add({ model, text, thought, tokens, usage }) {
    this.#head.textContent = model;
    if (usage) this.#usage = usage;
    if (text || thought || tokens.length) {
      this.#last = performance.now();
      this.#first ||= this.#last;
      this.#count += tokens.length;
    }
    if (thought) this.#thinking().add(thought, text ? [] : tokens);
    if (text || !thought) this.cells.add(text, tokens);
  }

  #thinking() {
    if (!this.#thoughts) {
      this.#thoughts = new Cells('Thoughts, token by token');
      const folded = make('details', 'thoughts');
      folded.open = true;
      folded.append(make('summary', '', 'Thoughts'), this.#thoughts.element);
      this.cells.element.before(folded);
    }
    return this.#thoughts;
  }

  #figures() {
    const tokens = this.#usage?.completion_tokens ?? this.#count;
    const seconds = (this.#last - this.#first) / 1000;
    const told = [];
    if (this.#usage) told.push(`${this.#usage.prompt_tokens} prompt tokens`);
    if (tokens) told.push(`${tokens} answer tokens`);
    if (tokens > 1 && seconds > 0) told.push(`${((tokens - 1) / seconds).toFixed(1)} tokens/s`);
    return told;
  }

  #fail(error) {
    this.failure = error;
    const said = make('p', 'fault', error.message);
    said.setAttribute('role', 'alert');
    this.#foot.before(said);
  }
}
