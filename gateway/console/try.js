// One request of the API document, sent from the page in the name of this tab's token: what went out, what came back.

import { memory } from './api.js';
import { attempt, make } from './dom.js';

const LONGEST = 100_000; // characters of an answer that are shown
const TEXT = /^(text\/|application\/(json|problem\+json|x-subrip))/;

/** A form for it; null where an answer is no answer but a connection. `sampled`: the fields that a body must have. */
export function tryIt(method, path, operation, sampled) {
  if (operation.responses['101']) return null;
  const parameters = (operation.parameters ?? []).filter((one) => one.in !== 'header');
  const fields = parameters.map((one) => [one, make('input', {
    autocomplete: 'off', spellcheck: false, required: one.in === 'path', placeholder: one.schema?.default ?? '',
  })]);
  const body = operation.requestBody
    ? make('textarea', { rows: 4, spellcheck: false, value: JSON.stringify(sampled ?? {}, null, 1) }) : null;
  const send = make('button', { className: method === 'DELETE' ? 'danger' : 'main', textContent: `Send ${method}` });
  const told = make('div', { className: 'answer', role: 'status' });
  const form = make('form', { className: 'try' },
    ...fields.map(([{ name }, input]) => make('label', {}, make('code', { textContent: name }), input)),
    body && make('label', {}, 'Body', body), send, told);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const complain = (text) => text && told.replaceChildren(make('p', { className: 'refused', textContent: text }));
    attempt(send, complain, async () => told.replaceChildren(...await exchange(method, addressOf(path, fields), operation, body?.value)));
  });
  return form;
}

function addressOf(path, fields) {
  const query = new URLSearchParams();
  let filled = path.replace(/^\//, '');
  for (const [{ name, in: where }, { value }] of fields) {
    if (where === 'path') filled = filled.replace(`{${name}}`, encodeURIComponent(value));
    else if (value) query.set(name, value);
  }
  return query.size ? `${filled}?${query}` : filled;
}

async function exchange(method, address, operation, body) {
  const needsToken = Boolean(operation.security?.length);
  if (needsToken && !memory.token) throw new Error('This tab has no token: enter one on another page, under Live for example, and come back.');
  if (body?.trim()) JSON.parse(body); // what is wrong with it is said here, before it goes out
  const began = performance.now();
  const response = await fetch(address, {
    method,
    cache: 'no-store',
    headers: { ...(needsToken && { Authorization: `Bearer ${memory.token}` }), ...(body && { 'Content-Type': 'application/json' }) },
    ...(body && { body }),
  });
  const kind = response.headers.get('Content-Type') ?? '';
  const text = TEXT.test(kind) ? await response.text() : `${(await response.blob()).size} bytes of ${kind || 'nothing'}`;
  const took = Math.round(performance.now() - began);
  return [
    make('p', {}, make('b', { className: response.ok ? 'good' : 'bad', textContent: `${response.status} ${response.statusText}` }),
      ` ${took} ms · ${method} /${address}`),
    block('Headers', [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n')),
    block('Body', kind.includes('json') ? pretty(text) : text),
  ];
}

const block = (name, text) => make('div', {}, make('span', { className: 'hint', textContent: name }),
  make('pre', { tabIndex: 0 }, make('code', { textContent: text.slice(0, LONGEST) || '–' })));

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
