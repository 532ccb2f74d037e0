// The conversation, and what it is asked with.

import { keepKey, models } from './api.js';
import { Answer } from './answer.js';
import { make, watch } from './tokens.js';

const $ = (id) => document.getElementById(id);
const log = $('log');
const question = $('question');

/** Each {kind, question, answers, element}; an answer for each model that was asked. */
const exchanges = [];
let running = null;

function option(value, text = value) {
  const one = make('option', '', text);
  one.value = value;
  return one;
}

async function fillModels() {
  try {
    const names = await models();
    for (const [select, first] of [[$('model'), []], [$('second'), [option('', 'none')]]]) {
      const before = select.value;
      select.replaceChildren(...first, ...names.map((name) => option(name)));
      if (names.includes(before)) select.value = before;
    }
    $('key-form').hidden = true;
    notice(names.length ? '' : 'This server has no model yet. Bring one: langwright pull NAME');
  } catch (error) {
    fault(error);
  }
}

function notice(text) {
  $('notice').textContent = text;
  $('notice').hidden = !text;
}

function fault(error) {
  if (error.status === 401) $('key-form').hidden = false;
  notice(error.message);
}

function sampling() {
  const said = {};
  for (const name of ['temperature', 'top_p', 'max_tokens', 'seed']) {
    if ($(name).value !== '') said[name] = $(name).valueAsNumber;
  }
  return said;
}

/** What the model of a column reads before the exchange `until`: its own answers. */
function history(column, until) {
  const said = [];
  if ($('system').value.trim()) said.push({ role: 'system', content: $('system').value });
  for (const one of exchanges.slice(0, until)) {
    const answer = one.answers[column] ?? one.answers[0];
    if (one.kind === 'raw' || (answer.failure && !answer.text)) continue;
    said.push({ role: 'user', content: one.question });
    said.push({ role: 'assistant', content: answer.text });
  }
  return said;
}

function body(exchange, column) {
  const said = { model: exchange.answers[column].model, ...sampling() };
  if (exchange.kind === 'raw') {
    if ($('logprobs').checked) said.logprobs = 5;
    return { ...said, prompt: exchange.question };
  }
  if ($('logprobs').checked) Object.assign(said, { logprobs: true, top_logprobs: 5 });
  const before = history(column, exchanges.indexOf(exchange));
  return { ...said, messages: [...before, { role: 'user', content: exchange.question }] };
}

async function ask(kind, text) {
  if (running || !text.trim() || !$('settings').reportValidity()) return false;
  const names = [$('model').value, $('second').value].filter(Boolean);
  if (!names.length) return false;
  const exchange = { kind, question: text, element: make('article', 'exchange') };
  exchange.answers = names.map((name) => new Answer(kind, name, text));
  const columns = make('div', 'columns');
  columns.append(...exchange.answers.map((one) => one.element));
  exchange.element.append(asked(kind, text), columns);
  exchanges.push(exchange);
  log.append(exchange.element);
  log.scrollTop = log.scrollHeight;
  await run(exchange);
  return true;
}

function asked(kind, text) {
  const said = make('div', 'asked');
  if (kind === 'raw') said.append(make('p', 'by', 'Raw text, no part of the conversation'));
  else said.append(make('p', 'by', 'You'), make('p', 'text', text));
  return said;
}

async function run(exchange) {
  running = new AbortController();
  notice('');
  refresh('Answering');
  let atEnd = true;
  const grew = () => {
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  const scrolled = () => (atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40);
  log.addEventListener('scroll', scrolled);
  await Promise.all(
    exchange.answers.map((one, column) => one.run(body(exchange, column), running.signal, grew)),
  );
  log.removeEventListener('scroll', scrolled);
  running = null;
  const failed = exchange.answers.find((one) => one.failure);
  if (failed?.failure.status === 401) fault(failed.failure);
  refresh(failed ? 'The answer failed' : 'The answer is there');
  grew();
}

/** What can be done now. */
function refresh(status = '') {
  $('empty').hidden = exchanges.length > 0;
  $('send').hidden = $('raw').hidden = $('clear').hidden = Boolean(running);
  $('stop').hidden = !running;
  $('clear').disabled = !exchanges.length;
  $('status').textContent = status;
  log.querySelector('.redo')?.remove();
  const last = exchanges.at(-1);
  if (running || !last) return;
  const row = make('p', 'redo');
  for (const [text, act] of [['Edit', edit], ['Regenerate', again]]) {
    const button = make('button', 'quiet', text);
    button.type = 'button';
    button.addEventListener('click', act);
    row.append(button);
  }
  last.element.append(row);
}

function drop() {
  const last = exchanges.pop();
  last.element.remove();
  return last;
}

function edit() {
  const draft = question.value;
  question.value = drop().question + (draft && `\n${draft}`);
  refresh();
  question.focus();
}

function again() {
  if (!$('settings').reportValidity() || !$('model').value) return;
  const { kind, question: text } = drop();
  ask(kind, text);
}

function send(kind) {
  const text = question.value;
  if (running || !text.trim()) return;
  question.value = '';
  ask(kind, text).then((sent) => {
    if (!sent) question.value = text;
  });
}

$('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  send('chat');
});
question.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send('chat');
});
$('raw').addEventListener('click', () => send('raw'));
$('stop').addEventListener('click', () => {
  running?.abort();
  question.focus();
});
$('clear').addEventListener('click', () => {
  while (exchanges.length) drop();
  refresh('The conversation is cleared');
  question.focus();
});
$('settings').addEventListener('submit', (event) => event.preventDefault());
$('toggle').addEventListener('click', () => {
  const open = $('settings').classList.toggle('open');
  $('toggle').setAttribute('aria-expanded', String(open));
});
$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  keepKey($('key').value);
  $('key').value = '';
  fillModels();
});
// A server that follows a run has other models after a while.
window.addEventListener('focus', () => running || fillModels());

watch(log);
refresh();
await fillModels();
