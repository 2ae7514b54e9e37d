// The form of capacity.md.
import { need } from './capacity-model.js';

const form = document.getElementById('capacity');
const told = document.getElementById('capacity-told');
const number = (value, digits = 0) =>
  value.toLocaleString('en', { maximumFractionDigits: value < 10 ? Math.max(digits, 1) : digits });

const ROWS = [
  ['Gateways of one core, filled to 60 %', (n) => number(n.replicas)],
  ['Speakers at once (`GATEWAY_MAX_TRACKS` counts them)', (n) => number(n.tracks)],
  ['Places at the provider (`GATEWAY_STT_MAX_SESSIONS`)', (n) => number(n.places)],
  ['Other gateways that show a session', (n) => number(n.elsewhere, 1)],
  ['PostgreSQL: statements a second', (n) => number(n.statements)],
  ['… cores', (n) => number(n.databaseCores, 1)],
  ['… connections without a pooler', (n) => number(n.connections)],
  ['… log written, MB a second', (n) => number(n.walMB, 1)],
  ['… kept, GB a month', (n) => number(n.gigabytesAMonth, 1)],
  ['Redis: share of its one thread', (n) => `${number(n.redisCores * 100, 1)} %`],
  ['… Gbit/s out', (n) => number(n.redisGbits, 2)],
  ['Provider, USD a month', (n) => number(n.moneyAMonth)],
  ['… not paid, because silence is not sent', (n) => number(n.savedAMonth)],
];

function show() {
  const asked = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, Number(value)]));
  asked.talk /= 100;
  asked.hashed /= 100;
  const wrong = !form.checkValidity() || Object.values(asked).some((value) => !Number.isFinite(value));
  const result = wrong ? null : need(asked);
  told.replaceChildren(
    ...(result
      ? ROWS.map(([name, value]) => {
          const row = document.createElement('tr');
          const head = document.createElement('th');
          head.scope = 'row';
          head.textContent = name.replaceAll('`', '');
          const cell = document.createElement('td');
          cell.textContent = value(result);
          row.append(head, cell);
          return row;
        })
      : []),
  );
}

form.addEventListener('input', show);
form.addEventListener('submit', (event) => event.preventDefault());
show();
