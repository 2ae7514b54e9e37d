// The few things every part of the page does with elements. Text goes in as text: nothing here parses HTML.

export const byId = (id) => document.getElementById(id);

/** An element with properties and children; strings become text, null is left out. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Write only what differs, so that a screen reader is not told the same thing every two seconds. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === '';
}

/** A state as a coloured word; the word is the state unless it is told in others. */
export function sayState(element, text, state = text) {
  say(element, text);
  element.dataset.state = state;
}

/** Milliseconds as m:ss, or h:mm:ss from an hour on. */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [Math.floor(seconds / 60) % 60, seconds % 60];
  if (seconds >= 3600) parts.unshift(Math.floor(seconds / 3600));
  return parts.map((part, place) => (place ? String(part).padStart(2, '0') : part)).join(':');
}

export const dateOf = (moment) => new Date(moment).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });

/** Shorter: the year only where it is another one. */
export function when(moment) {
  const isThisYear = new Date(moment).getFullYear() === new Date().getFullYear();
  return isThisYear
    ? new Date(moment).toLocaleString([], { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit' })
    : dateOf(moment);
}

export const dollars = (usd) => `$${usd.toFixed(usd >= 0.00005 && usd < 0.01 ? 4 : 2)}`;

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString('en')} ${number === 1 ? one : many}`;

/** Put what a field holds on the clipboard, and say so on the button. */
export async function copy(field, button) {
  try {
    await navigator.clipboard.writeText(field.value);
  } catch { // only secure pages have a clipboard
    field.select();
    document.execCommand('copy');
  }
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

/** The same with any text; the button says what it said before a moment later. */
export async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = make('textarea', { value: text, className: 'unseen' });
    button.after(field);
    field.select();
    document.execCommand('copy');
    field.remove();
  }
  const said = button.dataset.says ??= button.textContent;
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = said; }, 1500);
}

/** Run what a button does; while it runs the button is off. `complain` gets what went wrong, and an empty text before. */
export async function attempt(button, complain, action) {
  button.disabled = true;
  complain('');
  try {
    await action();
  } catch (error) {
    complain(error.message);
  } finally {
    button.disabled = false;
  }
}

/** The same for the button that a form is sent with, which `action` gets; what went wrong stands in the element `where`. */
export function onSubmit(form, where, action) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    attempt(event.submitter, (text) => say(where, text), () => action(event.submitter));
  });
}
