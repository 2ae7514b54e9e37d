// The page at /s/SLUG: one session to be read, as it is said and for as long as there is something of it.

import { momentHere, nameMoment, slugHere } from './address.js';
import { get, memory } from './api.js';
import { Chosen } from './chosen.js';
import { byId, make, say } from './dom.js';
import { Entrance } from './entrance.js';
import { showFacts } from './facts.js';
import { Find } from './find.js';
import { Following } from './following.js';
import { History } from './history.js';
import { Live } from './live.js';
import { Minutes } from './minutes.js';
import { BlockView } from './paragraph-view.js';
import { nameOf } from './speakers.js';
import { refusalOf, standing } from './states.js';
import { Timeline } from './timeline.js';
import { nameOf as sessionName } from './titles.js';
import { closeFind, setTools } from './toolbar.js';
import { Transcript, blockOf } from './transcript.js';
import { TranslationChoice } from './translation.js';
import { VirtualList } from './virtual.js';

const AGAIN_MS = 5_000;
const HELD_MS = 3_000;
const SPOKEN = 3; // newest lines that are read aloud by who reads pages aloud
const SECOND_MS = 1_000; // an address names whole seconds
const EXPIRED = 4501;

const slug = slugHere();
const pane = byId('pane');
const transcript = new Transcript();
const now = { line: 'connecting', state: '', isOver: false, paused: null, isLate: false, hasWords: false };
const views = new WeakMap(); // section → its BlockView
const changed = new Set(); // blocks to be drawn with the next frame
let view = null; // of the session, once it is known
let minutes = null;
let goal = null; // where the reader drags the timeline to
let wasMoved = false; // to the moment of the address, once

const translation = new TranslationChoice(byId('translation'), byId('translation-label'), () => {
  change(list.near);
  find.again();
  live.follow(translation.language);
});
const page = {
  slug,
  isNews: false,
  get language() { return translation.language; },
  get instead() { return translation.instead; },
  translated: ({ utteranceId }) => (translation.language ? transcript.translated(translation.language, utteranceId) : ''),
};
const following = new Following(pane, tellFollowing);
const list = new VirtualList(pane, byId('blocks'), following, { draw, clear });
const chosen = new Chosen(slug);
const history = new History(slug, transcript, came);
const find = new Find(byId('search'), byId('found'), transcript, {
  show, translated: page.translated, done: closeFind, found: (hits) => timeline.mark(hits),
  sections: () => list.near.map((number) => byId('blocks').children[number]),
});
const timeline = new Timeline(byId('strip'), transcript, drag);
const entrance = new Entrance([byId('bar'), pane], enter);
const live = new Live(slug, transcript, {
  stands, began, said,
  changed(blocks, isNews = false) {
    page.isNews ||= isNews;
    change(blocks);
  },
  translatedTo(language) {
    translation.offer([language]);
    find.again();
  },
  noSuchLanguage() {
    translation.drop();
    live.follow('');
  },
  wasOver() {
    stands({ isOver: true });
    openMinutes();
  },
  ended() {
    stands({ isOver: true });
    if (!minutes) loadView();
  },
  refused: (code) => entrance.refuse(refusalOf(code), code === EXPIRED),
});

// --- what is on screen ----------------------------------------------------------------------------------------

function draw(number, section) {
  const isTail = number === live.tail;
  const isHere = transcript.isHere(number);
  if (!isHere) history.want(number);
  const view = views.get(section) ?? new BlockView(section, page);
  views.set(section, view);
  view.draw([...transcript.ofBlock(number), ...(isTail ? transcript.partials.values() : [])]);
  const element = chosen.seq && blockOf(chosen.seq) === number && section.querySelector(`[data-seq="${chosen.seq}"]`);
  if (element) chosen.show(element);
  return isHere || isTail;
}

function clear(number, section) {
  chosen.awayFrom(section);
  views.get(section)?.clear();
}

/** Draw these with the next frame. */
function change(blocks) {
  if (!changed.size) requestAnimationFrame(redrawChanged);
  blocks.forEach((block) => changed.add(block));
}

function redrawChanged() {
  const blocks = [...changed];
  changed.clear();
  now.hasWords = transcript.last > 0 || transcript.partials.size > 0;
  tell();
  list.setCount(live.tail + 1);
  list.changed(blocks);
  if (following.isOn) list.show(live.tail);
  page.isNews = false;
  timeline.draw();
  find.paint();
  look();
  minutes?.grown();
}

/** Of the past, read by the history. */
function came(blocks) {
  const shown = blocks.filter((block) => list.near.includes(block));
  if (shown.length) change(shown);
  timeline.draw();
  find.again();
  minutes?.grown();
}

/** Where one reads: for the timeline, and for a search to begin. */
function look() {
  const { bottom } = pane.getBoundingClientRect();
  const isShown = (element) => element && element.getBoundingClientRect().top < bottom;
  let first = list.atTop();
  if (!isShown(first)) first = null;
  let last = first;
  while (isShown(last?.nextElementSibling)) last = last.nextElementSibling;
  timeline.showing(Number(first?.dataset.ms ?? 0), Number(last?.dataset.ms ?? 0)); // above are the minutes
}

/** Everything about how it stands, in words. */
function tell() {
  const { chip, kind, sentence } = standing(now);
  say(byId('chip'), chip);
  byId('chip').dataset.kind = kind;
  if (byId('now').textContent !== sentence || byId('now').classList.contains('empty') === now.hasWords) {
    list.keep(() => {
      say(byId('now'), sentence);
      byId('now').classList.toggle('empty', !now.hasWords);
    });
  }
  byId('follow').hidden = now.isOver;
}

function tellFollowing() {
  byId('newest').hidden = following.isOn || now.isOver;
  byId('newest').textContent = following.unseen ? `${following.unseen} new ↓` : 'To the newest ↓';
  byId('follow').ariaPressed = String(following.isOn);
  byId('follow').textContent = following.isOn ? 'Following' : 'Follow';
}

// --- moving about -----------------------------------------------------------------------------------------

/** To a moment, read first where it is not here; `chooses`: what is said there is the reader's choice. */
async function go(ms, chooses = true) {
  const final = await history.at(ms).catch(() => transcript.at(ms));
  if (final) show(final, chooses);
}

/** Along the timeline: of many moments in a row the last one counts. */
async function drag(ms) {
  const isUnderWay = goal !== null;
  goal = ms;
  while (!isUnderWay && goal !== null) {
    const to = goal;
    await go(to, false);
    if (goal === to) goal = null;
  }
}

function show(final, chooses = true) {
  following.rest();
  list.setCount(live.tail + 1);
  const section = list.show(blockOf(final.seq));
  const element = views.get(section)?.lineOf(final.utteranceId);
  element?.scrollIntoView({ block: 'center' });
  following.rest();
  if (chooses) chosen.choose(final, element);
  look();
}

function goWhereTheAddressSays() {
  const moment = momentHere();
  if (moment === undefined) chosen.drop();
  else go(moment + SECOND_MS - 1);
}

byId('blocks').addEventListener('click', ({ target }) => {
  const line = target.closest('.line[data-seq]');
  if (!line || getSelection()?.toString()) return; // words are being marked
  const final = transcript.ofNumber(Number(line.dataset.seq));
  following.rest();
  chosen.choose(final, line);
  nameMoment(slug, final.startMs, true);
});
pane.addEventListener('scroll', () => requestAnimationFrame(look), { passive: true });
byId('newest').addEventListener('click', () => {
  following.turn(true);
  pane.focus({ preventScroll: true });
});
byId('follow').addEventListener('click', () => following.turn(!following.isOn));
byId('find-next').addEventListener('click', () => find.step(1));
byId('find-before').addEventListener('click', () => find.step(-1));
byId('details-open').addEventListener('click', () => showFacts({ slug, view, transcript, live }));
setTools({ resized: () => list.resized(), recoloured: () => timeline.draw(), follow: () => following.turn(!following.isOn) });

// --- the stream -----------------------------------------------------------------------------------------------

/** With the token of this tab. Nothing is asked before: the words come first. */
function enter() {
  live.follow(translation.language);
  loadView();
}

function began(restarted) {
  if (restarted) list.setCount(0);
  history.read();
  if (!wasMoved && momentHere() !== undefined) goWhereTheAddressSays();
  wasMoved = true;
}

/** For who has pages read aloud, and for who is not at the end. */
function said(final) {
  following.cameNew();
  const aloud = byId('spoken');
  aloud.append(make('p', { textContent: `${nameOf(final)}: ${final.text}`, lang: final.language ?? '' }));
  while (aloud.childElementCount > SPOKEN) aloud.firstElementChild.remove();
  find.again();
}

function stands(news) {
  Object.assign(now, news);
  tell();
}

// --- the session ----------------------------------------------------------------------------------------------

async function loadView() {
  const path = `api/sessions/${encodeURIComponent(slug)}`;
  const again = ({ status }) => (status === 0 || status >= 500) && setTimeout(loadView, AGAIN_MS);
  try {
    view = await globalThis.first?.view(memory.token) ?? await get(path);
    get(`${path}/transcript?before=0&limit=1`).then(({ translatedTo = [] }) => translation.offer(translatedTo)).catch(again);
  } catch (error) {
    again(error);
  }
  document.title = view ? sessionName(view) : 'Meeting';
  say(byId('title'), document.title);
  if (['ENDED', 'EXPIRED'].includes(view?.status)) stands({ isOver: true });
  if (now.isOver) openMinutes();
  minutes?.grown();
}

/** Of a session that was over when one came, they are what one sees first; else they are above, and one stays where one is. */
function openMinutes() {
  if (minutes) return;
  minutes = new Minutes(byId('minutes'), {
    slug, transcript, get view() { return view; }, language: () => translation.language, changed: (what) => list.keep(what),
  });
  following.turn(false);
  if (wasMoved || momentHere() !== undefined) return;
  const place = byId('minutes'); // held for a moment, so that nothing on the screen moves when all of them come
  place.classList.add('awaited');
  minutes.draw();
  setTimeout(() => place.classList.remove('awaited'), HELD_MS);
  pane.scrollTop = 0;
}

addEventListener('hashchange', () => (/token=/.test(location.hash) ? entrance.come() : goWhereTheAddressSays()));
entrance.come();
