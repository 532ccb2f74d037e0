// The tokens of an answer, and what else was likely in their place.

export function make(tag, name = '', text = '') {
  const one = document.createElement(tag);
  if (name) one.className = name;
  if (text) one.textContent = text;
  return one;
}

const told = new WeakMap(); // a cell -> its tokens
const popover = document.getElementById('popover');
let shown = null;

// What has no width of its own, and still must be pointed at.
const LINES = /^[\n\r]+$/;
const UNSEEN = /^[\p{C}\p{M}\n\r]*$/u;

/** Text that grows, each token a cell of its own; tokens that make a character together share
 *  one. */
export class Cells {
  #waiting = [];

  constructor(label) {
    this.element = make('div', 'text');
    this.element.setAttribute('role', 'group');
    this.element.setAttribute('aria-label', label);
    this.text = '';
  }

  add(text, tokens) {
    this.text += text;
    this.#waiting.push(...tokens);
    if (!text) return;
    const taken = this.#waiting.splice(0);
    if (!taken.length) {
      this.element.append(text);
    } else if (taken.map((one) => one.text).join('') === text) {
      for (const one of taken) this.#put(one.text, [one]);
    } else {
      this.#put(text, taken);
    }
  }

  /** No more comes: what makes no text stands for itself. */
  end() {
    if (this.#waiting.length) this.#put('', this.#waiting.splice(0));
  }

  #put(text, tokens) {
    const cell = make('span', 'token', text);
    if (LINES.test(text)) cell.classList.add('line');
    else if (UNSEEN.test(text)) cell.classList.add('blank');
    const all = tokens.reduce((sum, one) => sum + one.logprob, 0);
    cell.style.setProperty('--unlikely', (1 - Math.exp(all)).toFixed(3));
    cell.tabIndex = this.element.querySelector('.token') ? -1 : 0;
    told.set(cell, tokens);
    this.element.append(cell);
  }
}

const percent = (logprob) => `${(100 * Math.exp(logprob)).toFixed(1)}%`;

/** How a token is written where its spaces must be seen. */
function written({ text, bytes }) {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array(bytes));
  } catch {
    return `bytes ${bytes.map((byte) => byte.toString(16).padStart(2, '0').toUpperCase()).join(' ')}`;
  }
  if (!text) return '(nothing)';
  return text.replaceAll(' ', '␣').replaceAll('\n', '↵').replaceAll('\t', '⇥').replaceAll('\r', '␍');
}

function chart(token) {
  const part = make('div', 'chart');
  const head = make('p', 'chosen');
  head.append(make('code', '', written(token)), make('strong', '', percent(token.logprob)));
  const bars = make('ul');
  const same = (one) => one.bytes.join() === token.bytes.join();
  for (const one of token.top) {
    const row = make('li', same(one) ? 'same' : '');
    const bar = make('i');
    bar.style.width = `${100 * Math.exp(one.logprob)}%`;
    const track = make('span', 'track');
    track.append(bar);
    row.append(make('code', '', written(one)), track, make('span', 'percent', percent(one.logprob)));
    bars.append(row);
  }
  part.append(head, bars);
  return part;
}

function show(cell) {
  if (cell === shown) return;
  hide();
  shown = cell;
  cell.setAttribute('aria-describedby', popover.id);
  popover.replaceChildren(...told.get(cell).map(chart));
  popover.hidden = false;
  // A space at the end of a line leaves the word on the next.
  const at = [...cell.getClientRects()].at(-1) ?? cell.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = popover;
  const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - width - 8));
  const below = at.bottom + 6;
  const top = below + height < window.innerHeight ? below : Math.max(8, at.top - height - 6);
  popover.style.left = `${left}px`;
  popover.style.top = `${top}px`;
}

function hide() {
  shown?.removeAttribute('aria-describedby');
  shown = null;
  popover.hidden = true;
}

/** Show what is known of the cells in `log` to the pointer and to the keyboard. */
export function watch(log) {
  const cellOf = (event) => event.target.closest?.('.token');
  const follow = (event) => (cellOf(event) ? show(cellOf(event)) : hide());
  log.addEventListener('pointerover', follow);
  log.addEventListener('pointerleave', hide);
  log.addEventListener('focusin', follow);
  log.addEventListener('focusout', hide);
  log.addEventListener('scroll', hide);
  log.addEventListener('keydown', (event) => {
    const cell = cellOf(event);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!cell || !step) return;
    const all = [...cell.parentElement.querySelectorAll('.token')];
    const next = all[all.indexOf(cell) + step];
    if (!next) return;
    event.preventDefault();
    cell.parentElement.querySelector('[tabindex="0"]').tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  document.addEventListener('keydown', (event) => event.key === 'Escape' && hide());
}
