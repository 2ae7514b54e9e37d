// The webhooks page: who is told what happens, what was delivered, sending it again.

import { get, patch, post, request, showAddress, takeFragment } from './api.js';
import { confirmed } from './confirm.js';
import { attempt, byId, copy, make, onSubmit, say, sayState } from './dom.js';
import { Gate } from './gate.js';
import { Items } from './items.js';
import { listen } from './keys.js';

const items = new Items(pick, (id) => `webhooks#webhook=${encodeURIComponent(id)}`);
const secrets = new Map(); // id → its secret, which only the answers of create and rotate tell
let webhooks = [];
let shown = ''; // id
let pages = 1;

const pathOf = (id) => `api/webhooks/${encodeURIComponent(id)}`;
const nameOf = ({ description, url }) => description || new URL(url).host;
const stateOf = ({ enabled }) => (enabled ? 'on' : 'off');
const moment = (text) => new Date(text).toLocaleString([], { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit', second: '2-digit' });
/** What somebody has switched off is no trouble. */
const troubleOf = ({ disabledReason }) => (disabledReason === 'switched off by request' ? '' : disabledReason ?? '');
const complain = (text) => say(byId('failed'), text);

const gate = new Gate({
  everyMs: 2000,
  refusals: [401, 403],
  look,
  show,
  admits: () => false,
  enter: () => show(takeFragment().webhook ?? ''),
});

async function look() {
  ({ webhooks } = await get('api/webhooks'));
  items.show(webhooks.map((one) => ({
    slug: one.id,
    name: nameOf(one),
    state: stateOf(one),
    facts: [new URL(one.url).host, one.spaceId && `space ${one.spaceId}`],
    trouble: troubleOf(one),
  })), shown);
  await refresh();
}

/** As a person chooses: Back undoes it. */
function pick(id) {
  showAddress('webhook', id);
  return show(id);
}

/** Show a webhook; an empty id shows none. */
async function show(id) {
  if (id && id === shown) return;
  shown = id;
  pages = 1;
  byId('console').dataset.view = id ? 'session' : 'list';
  byId('nothing').hidden = Boolean(id);
  byId('session').hidden = true; // until it is known
  byId('deliveries').replaceChildren();
  complain('');
  items.mark(id);
  await refresh().catch((problem) => complain(problem.message));
}

async function refresh() {
  const one = webhooks.find(({ id }) => id === shown);
  if (!one) return;
  let deliveries = [];
  let cursor = '';
  for (let page = 0; page < pages && cursor !== null; page++) {
    const answer = await get(`${pathOf(one.id)}/deliveries${cursor && `?cursor=${cursor}`}`);
    deliveries = deliveries.concat(answer.deliveries);
    cursor = answer.nextCursor;
  }
  if (one.id !== shown) return;
  say(byId('name'), nameOf(one));
  sayState(byId('state'), stateOf(one));
  say(byId('address'), one.url);
  say(byId('events'), one.events.join(', ') + (one.spaceId ? ` · space ${one.spaceId}` : ''));
  say(byId('why'), troubleOf(one));
  say(byId('switch'), one.enabled ? 'Switch off' : 'Switch on');
  byId('rotate').hidden = byId('delete').hidden = one.id === 'setting';
  byId('told').hidden = !secrets.has(one.id);
  byId('secret').value = secrets.get(one.id) ?? '';
  showDeliveries(deliveries);
  byId('older').hidden = cursor === null;
  byId('session').hidden = false;
}

function showDeliveries(deliveries) {
  const there = new Map([...byId('deliveries').children].map((row) => [row.dataset.id, row]));
  const rows = deliveries.map((one) => {
    const row = there.get(one.id) ?? newRow(one);
    const [, , state, attempts, answer, again] = row.children;
    sayState(state.firstChild, one.status);
    say(attempts, String(one.attempts));
    attempts.dataset.label = one.attempts === 1 ? 'attempt' : 'attempts';
    const next = one.nextAttemptAt && one.error ? `; again ${moment(one.nextAttemptAt)}` : '';
    answer.textContent = one.error ? one.error + next : String(one.responseStatus ?? '');
    again.firstChild.hidden = one.status === 'pending';
    return row;
  });
  byId('deliveries').replaceChildren(...rows);
  byId('quiet').hidden = rows.length > 0;
}

function newRow(one) {
  const again = make('button', { type: 'button', className: 'plain', textContent: 'Replay', ariaLabel: `Replay ${one.type}` });
  again.addEventListener('click', () => attempt(again, complain, async () => {
    await post(`${pathOf(shown)}/deliveries/${one.id}/replay`, {});
    await refresh();
  }));
  const cells = [one.type, make('time', { dateTime: one.timestamp, textContent: moment(one.timestamp) }), make('span', { className: 'state' }), '', '', again];
  const row = make('tr', { title: `${one.eventId}\n${JSON.stringify(one.body.data, null, 1)}` }, ...cells.map((cell) => make('td', {}, cell)));
  row.dataset.id = one.id;
  return row;
}

onSubmit(byId('create'), byId('create-refused'), async () => {
  const made = await post('api/webhooks', {
    url: byId('url').value.trim(),
    description: byId('description').value.trim() || null,
    spaceId: byId('space').value.trim() || null,
  });
  secrets.set(made.id, made.secret);
  if (byId('finals').checked) await patch(pathOf(made.id), { events: [...made.events, 'transcript.final'] });
  byId('create').reset();
  byId('new').open = false;
  await look();
  await pick(made.id);
});

const onClick = (id, action) =>
  byId(id).addEventListener('click', () => attempt(byId(id), complain, async () => {
    await action();
    await look();
  }));

onClick('test', () => post(`${pathOf(shown)}/test`, {}));
onClick('switch', () => patch(pathOf(shown), { enabled: !webhooks.find(({ id }) => id === shown).enabled }));
onClick('rotate', async () => secrets.set(shown, (await post(`${pathOf(shown)}/secret`, {})).secret));
onClick('older', async () => { pages += 1; });
onClick('delete', async () => {
  const isSure = await confirmed('Delete this webhook?', 'It is told nothing more, and what still waits for it is not sent.', 'Delete');
  if (!isSure) return;
  await request(pathOf(shown), { method: 'DELETE' });
  await pick('');
});
byId('back').addEventListener('click', () => pick(''));
byId('copy').addEventListener('click', () => copy(byId('secret'), byId('copy')));
listen({ j: () => items.step(1), k: () => items.step(-1) });

gate.enter();
