// /openapi.json as a page for people: operations by tag, what goes in, what comes out.

import { memory, readFragment } from './api.js';
import { byId, make, say } from './dom.js';
import { askOtherTabs } from './tabs.js';
import { offerThemes } from './theme.js';
import { tryIt } from './try.js';

let schemas = {};

function render(api) {
  schemas = api.components.schemas;
  const byTag = new Map();
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const tag = operation.tags?.[0] ?? 'other';
      if (!byTag.has(tag)) byTag.set(tag, []);
      byTag.get(tag).push(showOperation(api, method.toUpperCase(), path, operation));
    }
  }
  byId('document').replaceChildren(
    make('h1', { textContent: `${api.info.title} ${api.info.version}` }),
    make('p', {}, ...marked(api.info.description)),
    make('p', {}, 'The document itself: ', make('a', { href: 'openapi.json', textContent: 'openapi.json' }), '.'),
    make('nav', { className: 'tags', ariaLabel: 'Parts of the document' }, ...[...byTag.keys()].map((tag) =>
      make('a', { className: 'button', href: `docs#part-${tag}`, textContent: tag }))),
    heading('h2', 'credentials'),
    showTable(Object.entries(api.components.securitySchemes).map(([name, scheme]) =>
      [code(name), [scheme.type, scheme.scheme ?? scheme.name].join(' '), ...marked(scheme.description)])),
    ...[...byTag].flatMap(([tag, operations]) => [Object.assign(heading('h2', tag), { id: `part-${tag}` }), ...operations]),
  );
}

function showOperation(api, method, path, operation) {
  const needs = operation.security?.map((one) => Object.keys(one)[0]).join(' or ');
  const body = operation.requestBody?.content['application/json']?.schema;
  const details = make('details', { className: 'operation', id: operation.operationId },
    make('summary', {},
      make('span', { className: 'method mono', textContent: method }),
      code(path),
      make('span', { textContent: operation.summary }),
      make('span', { className: 'hint', textContent: needs ? `${needs} token` : 'no token' })));
  if (operation.parameters) {
    details.append(heading('h3', 'Parameters'), showTable(operation.parameters.map((one) =>
      [code(one.name), `${one.in}, ${typeOf(one.schema)}`, ...marked(one.description)])));
  }
  if (body) details.append(heading('h3', 'Body'), ...showSchema(body));
  details.append(heading('h3', 'Example'), make('pre', { tabIndex: 0 }, code(example(api, method, path, operation, body))));
  const sampled = body ? Object.fromEntries(requiredOf(body)) : null;
  const form = tryIt(method, path, operation, sampled);
  if (form) details.append(heading('h3', 'Try it'), form);
  details.append(heading('h3', 'Answers'), ...Object.entries(operation.responses).map(showAnswer));
  return details;
}

function showAnswer([status, answer]) {
  const kinds = Object.entries(answer.content ?? {});
  const title = `${status} ${answer.description}`;
  const named = kinds.map(([media, { schema }]) => (schema?.$ref ? `${typeOf(schema)}, ${media}` : media)).join('; ');
  const schema = kinds[0]?.[1].schema;
  if (!schema?.$ref) return make('p', {}, title, make('span', { className: 'type', textContent: named ? `: ${named}` : '' }));
  return make('details', {}, make('summary', {}, title, make('span', { className: 'type', textContent: `: ${named}` })),
    ...showSchema(schema));
}

// --- schemas --------------------------------------------------------------------------------------------------

const nameOf = (ref) => ref.split('/').at(-1);
const resolve = (schema) => (schema?.$ref ? schemas[nameOf(schema.$ref)] : schema);

/** The fields of a schema, then those of every schema it leads to, each once. */
function showSchema(root) {
  const shown = [];
  const waiting = new Set([root.$ref ?? '']);
  for (const ref of waiting) { // a Set may grow while it is walked
    const schema = ref ? resolve({ $ref: ref }) : root;
    const fields = Object.entries(schema.properties ?? {});
    if (shown.length) shown.push(heading('h3', nameOf(ref)));
    if (schema.description) shown.push(make('p', { className: 'hint' }, ...marked(schema.description)));
    shown.push(showTable(fields.map(([name, field]) => [
      code(schema.required?.includes(name) ? name : `${name}?`), typeOf(field), ...marked(describe(field))])));
    for (const [, field] of fields) refsIn(field).forEach((one) => waiting.add(one));
  }
  return shown;
}

const refsIn = (schema) =>
  schema.$ref ? [schema.$ref] : [...(schema.anyOf ?? []), schema.items, schema.additionalProperties]
    .filter((part) => part && typeof part === 'object').flatMap(refsIn);

function typeOf(schema = {}) {
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' | ');
  if (schema.type === 'array') return `${typeOf(schema.items)}[]`;
  if (schema.additionalProperties?.type) return `{string: ${typeOf(schema.additionalProperties)}}`;
  return schema.type ?? 'anything';
}

function describe(schema) {
  const parts = [schema, ...(schema.anyOf ?? []), ...(schema.items ? [schema.items] : [])];
  const first = (name) => parts.find((part) => part[name] !== undefined)?.[name];
  const said = [first('description')];
  if (first('minLength') > 1 || first('maxLength')) said.push(`${first('minLength') ?? 0} to ${first('maxLength') ?? '…'} characters`);
  if (first('exclusiveMinimum') !== undefined) said.push(`above ${first('exclusiveMinimum')}`);
  if (schema.default !== undefined && schema.default !== null) said.push(`default ${JSON.stringify(schema.default)}`);
  return said.filter(Boolean).join('; ');
}

/** A command that can be pasted; `$TOKEN` and `$SLUG` are the reader's. */
function example(api, method, path, operation, body) {
  const base = api.servers?.[0]?.url ?? location.origin;
  const query = operation.parameters?.filter((one) => one.in === 'query' && one.name === 'session').map(() => '?session=$SLUG').join('') ?? '';
  const url = `${base}${path.replace('{slug}', '$SLUG')}${query}`;
  if (operation.responses['101']) {
    return `websocat -H "Authorization: Bearer $TOKEN" "${url.replace(/^http/, 'ws')}"`;
  }
  const parts = ['curl', method === 'GET' ? '' : `-X ${method}`, operation.security?.length ? '-H "Authorization: Bearer $TOKEN"' : ''];
  if (body) {
    const value = Object.fromEntries(requiredOf(body).map(([name, given]) => [name, name === 'sessionSlug' ? '$SLUG' : given]));
    parts.push(`--json "${JSON.stringify(value).replaceAll('"', '\\"')}"`);
  }
  return [...parts, `"${url}"`].filter(Boolean).join(body ? ' \\\n  ' : ' ');
}

/** The fields that a body must have, each with a value. */
const requiredOf = (body) => (resolve(body).required ?? []).map((name) => [name, sample(resolve(body).properties[name])]);

const sample = (schema) => schema.default ?? schema.enum?.[0] ?? (schema.type === 'string' ? '…' : schema.type === 'boolean' ? true : 1);

// --- elements -------------------------------------------------------------------------------------------------

const code = (textContent) => make('code', { textContent });
const heading = (tag, textContent) => make(tag, { textContent });

/** Text with `code` in it, as nodes. */
const marked = (text = '') => text.split('`').map((part, place) => (place % 2 ? code(part) : part));

/** Rows of [name, type, ...meaning]. */
const showTable = (rows) => make('div', { className: 'wide' }, make('table', {}, make('tbody', {},
  ...rows.map(([name, type, ...meaning]) => make('tr', {},
    make('td', {}, name), make('td', { className: 'type mono', textContent: type }), make('td', {}, ...meaning))))));

offerThemes();
memory.token ||= await askOtherTabs();
readFragment(); // a token that a link brings to a browser without one
try {
  const response = await fetch('openapi.json');
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  render(await response.json());
  const asked = byId(location.hash.slice(1));
  asked?.setAttribute('open', '');
  asked?.scrollIntoView();
} catch (error) {
  say(byId('trouble'), `The document cannot be shown: ${error.message}`);
}
