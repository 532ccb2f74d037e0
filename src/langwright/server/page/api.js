// Calls of this server, in OpenAI's dialect.

export class Failure extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const KEY = 'langwright.key';
export const keepKey = (key) => sessionStorage.setItem(KEY, key);

async function call(path, body, signal) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  if (body) headers['content-type'] = 'application/json';
  let answer;
  try {
    const method = body ? 'POST' : 'GET';
    answer = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Failure('The server cannot be reached. Is it still running?');
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  throw new Failure(told?.error?.message ?? `The server answered ${answer.status}.`, answer.status);
}

export async function models() {
  const answer = await call('v1/models');
  return (await answer.json()).data.map((one) => one.id);
}

/** Pieces {text, thought, tokens, reason, usage, model} of an answer, as they come. A token is
 *  {text, bytes, logprob, top: [{text, bytes, logprob}]}. */
export async function* answer(kind, body, signal) {
  const path = kind === 'raw' ? 'v1/completions' : 'v1/chat/completions';
  const options = { stream: true, stream_options: { include_usage: true } };
  const response = await call(path, { ...body, ...options }, signal);
  for await (const data of messages(response.body)) {
    if (data === '[DONE]') return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Failure(chunk.error.message);
    const choice = chunk.choices[0];
    yield {
      model: chunk.model,
      text: (kind === 'raw' ? choice?.text : choice?.delta.content) ?? '',
      thought: choice?.delta?.reasoning_content ?? '',
      tokens: choice?.logprobs ? (kind === 'raw' ? older : newer)(choice.logprobs) : [],
      reason: choice?.finish_reason,
      usage: chunk.usage,
    };
  }
  throw new Failure('The connection ended before the answer did.');
}

async function* messages(stream) {
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  let held = '';
  for (;;) {
    let read;
    try {
      read = await reader.read();
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new Failure('The connection ended before the answer did.');
    }
    held += decoder.decode(read.value, { stream: !read.done });
    const parts = held.split('\n\n');
    held = parts.pop();
    for (const part of parts) {
      const lines = part.split('\n').filter((line) => line.startsWith('data:'));
      if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join('\n');
    }
    if (read.done) return;
  }
}

const newer = ({ content }) =>
  content.map(({ token, bytes, logprob, top_logprobs: top }) => ({
    text: token,
    bytes,
    logprob,
    top: top.map((one) => ({ text: one.token, bytes: one.bytes, logprob: one.logprob })),
  }));

// The older form has no bytes but for pieces that are no text, as "bytes:\xf0\x9f".
const older = ({ tokens, token_logprobs: logprobs, top_logprobs: tops }) =>
  tokens.map((token, at) => ({
    ...spelt(token),
    logprob: logprobs[at],
    top: Object.entries(tops[at]).map(([text, logprob]) => ({ ...spelt(text), logprob })),
  }));

function spelt(token) {
  if (!/^bytes:(\\x[0-9a-f]{2})+$/.test(token)) {
    return { text: token, bytes: [...new TextEncoder().encode(token)] };
  }
  const bytes = token.slice(6).match(/[0-9a-f]{2}/g).map((byte) => parseInt(byte, 16));
  return { text: '\ufffd', bytes };
}
