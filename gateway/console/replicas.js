// The gateways that share the database: how full each is, and what it runs.

import { byId, count, make, say, sayState } from './dom.js';

/** These and no others, as `GET /api/replicas` tells them. */
export function showReplicas(replicas) {
  const [summary, list] = byId('replicas').children;
  say(summary, count(replicas.length, 'replica'));
  while (list.children.length > replicas.length) list.lastChild.remove();
  while (list.children.length < replicas.length) list.append(row());
  replicas.forEach((one, place) => {
    const [name, state, load, facts] = list.children[place].children;
    say(name, one.id);
    name.title = one.url ?? 'other replicas cannot reach it: GATEWAY_ADVERTISE_URL';
    sayState(state, one.state);
    load.value = Math.min(one.load, 1);
    load.title = `${Math.round(one.load * 100)} % of the speakers that it takes`;
    const told = [count(one.sessions, 'session'), count(one.tracks, 'speaker'), count(one.watchers, 'reader'), one.version];
    say(facts, told.map((fact) => fact.replaceAll(' ', '\u00a0')).join(' · '));
  });
  byId('replicas').hidden = replicas.length === 0;
}

function row() {
  const load = Object.assign(make('meter'), { min: 0, max: 1, high: 0.8, optimum: 0 });
  load.setAttribute('aria-label', 'Load');
  return make('li', {}, make('b'), make('span', { className: 'state' }), load, make('span', { className: 'facts' }));
}
