// The accountant's report: a chart, a table, and everything as CSV.

import { addressOf } from './address.js';
import { get, request, save } from './api.js';
import { attempt, byId, count, dollars, make, onSubmit, say } from './dom.js';
import { Gate } from './gate.js';
import { learnTitles, titleOf } from './titles.js';

const BARS = 62; // of two months; further rows stand in the table only
const HEIGHT = 200;
const LABEL = 90; // pixels that one takes
const KEYS = { day: 'day', month: 'month', space: 'spaceId', user: 'userId', session: 'sessionSlug' };
const SVG = 'http://www.w3.org/2000/svg';

let asked = null; // what the form said when it was last sent
let rows = [];
let cursor = null;

const dayOf = (date) => date.toISOString().slice(0, 10);
const nameOf = (row) => row.title || (row.sessionSlug ? titleOf(row.sessionSlug) : row[KEYS[asked.groupBy]] || (asked.groupBy === 'user' ? 'nobody signed in' : '–'));
const minutesOf = (seconds) => (seconds === null ? '–' : (seconds / 60).toLocaleString('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 }));
/** Below a bar there is little room. */
const shortOf = (row) => (row.day ? new Date(row.day).toLocaleDateString([], { month: 'short', day: 'numeric', timeZone: 'UTC' }) : nameOf(row).replace('Meeting of ', '').slice(0, 12)); // else all would begin alike

/** The day of `to` is meant to be part of it; for the API the end is exclusive. */
function read() {
  const to = new Date(`${byId('to').value}T00:00:00Z`);
  to.setUTCDate(to.getUTCDate() + 1);
  const tag = byId('tag').value.trim();
  return { from: byId('from').value, to: dayOf(to), groupBy: byId('by').value, ...(tag && { tag }) };
}

/** Rows, and what their sessions are called. */
async function fetchRows(query) {
  const page = await get(`api/usage?${new URLSearchParams(query)}`);
  await learnTitles(page.rows.filter((row) => row.sessionSlug && !row.title && !row.deleted).map((row) => row.sessionSlug));
  return page;
}

async function look() {
  asked ??= read();
  const page = await fetchRows(asked);
  ({ rows, nextCursor: cursor } = page);
  const { durationMinutes, totalCost, billedSeconds, costSaved } = page.totals;
  const totals = [
    ['Transcribed', count(durationMinutes, 'minute')], ['Cost', dollars(totalCost)],
    ['Billed by the provider', billedSeconds === null ? '–' : `${minutesOf(billedSeconds)} minutes`], ['Saved by silence', dollars(costSaved)],
  ];
  byId('totals').replaceChildren(...totals.map(([name, told]) =>
    make('div', {}, make('dt', { textContent: name }), make('dd', { textContent: told }))));
  byId('totals').hidden = rows.length === 0;
  show();
}

function show() {
  say(byId('key'), asked.groupBy);
  byId('rows').hidden = rows.length === 0;
  byId('rows').tBodies[0].replaceChildren(...rows.map((row) => make('tr', {},
    make('th', { scope: 'row' }, row.sessionSlug && !row.deleted
      ? make('a', { href: addressOf(row.sessionSlug) }, make('bdi', { textContent: nameOf(row) })) : make('bdi', { textContent: nameOf(row) })),
    ...[row.durationMinutes.toLocaleString('en'), dollars(row.totalCost), minutesOf(row.billedSeconds), dollars(row.costSaved)]
      .map((textContent) => make('td', { textContent })))));
  byId('more').hidden = cursor === null;
  byId('chart').replaceChildren(rows.length ? chart(rows.slice(0, BARS)) : make('p', { className: 'hint', textContent: 'Nothing was transcribed in that time. Choose other days, or begin something under Live.' }));
}

function element(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Where a label stands, so that it is not cut off at an edge. */
function below(middle, width) {
  if (middle < LABEL / 2) return { x: 0, 'text-anchor': 'start' };
  return middle > width - LABEL / 2 ? { x: width, 'text-anchor': 'end' } : { x: middle, 'text-anchor': 'middle' };
}

/** Minutes, a bar a row. The table says the same in numbers, so it is one picture to a screen reader. */
function chart(shown) {
  const most = Math.max(1, ...shown.map((row) => row.durationMinutes));
  const width = Math.max(280, byId('chart').clientWidth);
  const step = width / shown.length;
  const every = Math.ceil((shown.length * LABEL) / width); // labels
  const svg = element('svg', { viewBox: `0 0 ${width} ${HEIGHT + 40}`, role: 'img', 'aria-label': `Minutes by ${asked.groupBy}` });
  svg.append(element('text', { x: 0, y: 12 }, `${most.toLocaleString('en')} min`));
  shown.forEach((row, place) => {
    const height = (row.durationMinutes / most) * (HEIGHT - 20);
    const thick = Math.min(step * 0.8, 60);
    const x = place * step + (step - thick) / 2;
    const bar = element('rect', { x, y: HEIGHT - height, width: thick, height, rx: 2 });
    bar.append(element('title', {}, `${nameOf(row)}: ${count(row.durationMinutes, 'minute')}, ${dollars(row.totalCost)}`));
    svg.append(bar);
    if (place % every === 0) svg.append(element('text', { ...below(x + thick / 2, width), y: HEIGHT + 18 }, shortOf(row)));
  });
  svg.append(element('line', { x1: 0, x2: width, y1: HEIGHT, y2: HEIGHT }));
  return svg;
}

async function more() {
  const page = await fetchRows({ ...asked, cursor });
  rows.push(...page.rows);
  cursor = page.nextCursor;
  show();
}

const complain = (text) => say(byId('wrong'), text);
const today = new Date();
byId('to').value = dayOf(today);
byId('from').value = dayOf(new Date(today.getTime() - 29 * 86_400_000));
onSubmit(byId('ask'), byId('wrong'), async () => {
  asked = read();
  await look();
});
byId('csv').addEventListener('click', ({ target }) => attempt(target, complain, async () => {
  const wanted = read();
  await save(await request(`api/usage?${new URLSearchParams({ ...wanted, format: 'csv' })}`), `usage-${wanted.from}-${wanted.groupBy}.csv`);
}));
byId('more').addEventListener('click', ({ target }) => attempt(target, complain, more));

// A report is read once; who wants it anew asks anew.
const gate = new Gate({ everyMs: 2 ** 31 - 1, refusals: [401, 403], look, show: () => {}, admits: () => false, enter: () => {} });
gate.enter();
