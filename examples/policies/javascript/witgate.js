/**
 * What a Witgate policy in JavaScript or TypeScript needs: one object in, the exported interfaces out.
 *
 * `route({ request, candidates, columns, facts })` gets one decision and returns a deployment's number (pick it),
 * nothing (no opinion) or a verdict made by `plan` or `reject`. `columns` holds one array for each subscribed signal,
 * with one value for each candidate. Whatever it throws, or returns that is none of these, is *declared* to the gateway,
 * with its file and line; the gateway counts it under the policy's name and decides by itself, and the next decision is
 * not affected.
 *
 * The other hooks are functions beside `route`, and each makes one more interface, to be exported like `router`:
 * `keep` (`filter`) returns the candidates to keep, `score` (`scorer`) one number from 0 to 1 for each candidate,
 * `afterFailure` (`fallback`) what `route` may; its decision holds `failures` besides. `observe` (`observer`) gets
 * `{ rows, columns }`, with one array for each subscribed outcome field.
 *
 * `configure(catalogue, settings)`, if given, is called once in each instance, before any decision. What it returns, for
 * example `{ reasons: [...] }`, takes the place of the lists given here. `witgate.d.ts` has the types.
 */
export function policy({ name, version, summary, signals = [], facts = [], outcomes = [], reasons = [], overlays = [],
                         settingsSchema = NO_SETTINGS, configure = () => {},
                         route, afterFailure, keep, score, observe }) {
  const schema = typeof settingsSchema === 'string' ? settingsSchema : JSON.stringify(settingsSchema);
  const interfaces = {
    lifecycle: {
      describe: () => ({ name, version, summary, settingsSchema: schema }),
      configure: declared((catalogue) => {
        const own = configure(catalogue, JSON.parse(catalogue.settings));
        return { signals, facts, outcomes, reasons, overlays, ...own };
      }, REFUSAL),
    },
  };
  const decision = (request, candidates, values, facts) =>
    ({ request, candidates, columns: columns(candidates.length, values), facts });
  if (route) interfaces.router = { route: declared((...told) => verdict(route(decision(...told)))) };
  if (keep) interfaces.filter = { keep: declared((...told) => keep(decision(...told))) };
  if (score) interfaces.scorer = { score: declared((...told) => score(decision(...told))) };
  if (afterFailure) {
    const told = (request, failures, ...rest) => ({ failures, ...decision(request, ...rest) });
    interfaces.fallback = { afterFailure: declared((...all) => verdict(afterFailure(told(...all)))) };
  }
  if (observe) {
    interfaces.observer = { observe: declared((rows, values) => void observe({ rows, columns: columns(rows, values) })) };
  }
  // Without a function an interface cannot be exported. To ask for it is a mistake, which is told when the file is built.
  for (const [name, hook] of Object.entries(HOOKS)) {
    if (name in interfaces) continue;
    const get = () => { throw new Error(`to export \`${name}\`, give policy({...}) a function \`${hook}\``); };
    Object.defineProperty(interfaces, name, { get });
  }
  return interfaces;
}

/** The candidate with the least value in the first column; of equals in the second, and so on; of equals the first. */
export function lowest(candidates, ...columns) {
  // Most rows differ in the first column, so that one is read without a loop around it: an interpreter pays for each step.
  const first = columns[0] ?? [], count = candidates.length, more = columns.length;
  let best = 0, least = first[0];
  for (let i = 1; i < count; i++) {
    const value = first[i];
    if (value > least) continue;
    if (value === least) {
      let k = 1;
      while (k < more && columns[k][i] === columns[k][best]) k++;
      if (k >= more || columns[k][i] > columns[k][best]) continue;
    }
    best = i;
    least = value;
  }
  return candidates[best];
}

/** One try of a plan: at once, after the one before has failed, or when it has been silent for so long. */
export const atOnce = (target, more) => ({ target, start: 'at-once', delayMs: 0, timeoutMs: 0, ...more });
export const onFailure = (target, more) => ({ target, start: 'on-failure', delayMs: 0, timeoutMs: 0, ...more });
export const hedge = (target, delayMs, more) => ({ target, start: 'hedge', delayMs, timeoutMs: 0, ...more });

/** Carry out these tries, in order. */
export const plan = (attempts, { reason = 0, tag = 0 } = {}) => ({ tag: 'follow', val: { attempts, reason, tag } });

/** Answer the client with an error. */
export const reject = (status, { retryAfterMs = 0, reason = 0 } = {}) =>
  ({ tag: 'reject', val: { status, retryAfterMs, reason } });

/** The function that answers each interface. */
const HOOKS = { router: 'route', filter: 'keep', scorer: 'score', fallback: 'afterFailure', observer: 'observe' };

const NO_SETTINGS = { type: 'object', properties: {}, additionalProperties: false };

/** One array for each signal, out of one that holds column after column. */
const columns = (rows, values) => {
  const all = [];
  for (let start = 0; start < values.length; start += rows) all.push(values.slice(start, start + rows));
  return all;
};

const verdict = (choice) => {
  if (choice === undefined || choice === null) return { tag: 'abstain' };
  // What crosses is an integer below 2^31.
  if ((choice | 0) === choice && choice >= 0) return { tag: 'pick', val: choice };
  if (typeof choice === 'object' && TAGS.includes(choice.tag)) return choice;
  if (typeof choice?.then === 'function') throw new Misuse('route returned a promise: it must not be async');
  throw new Misuse(`route returned ${typeof choice === 'object' ? JSON.stringify(choice) : String(choice)}, which is `
    + 'neither a candidate, nor nothing, nor a verdict');
};

const TAGS = ['pick', 'follow', 'reject', 'abstain'];

/** A function returned what it may not: no line of it is to blame. */
class Misuse extends TypeError {}

/** What `configure` throws on purpose, with a text for the operator. */
const REFUSAL = 'Error';

/**
 * Turns anything thrown into an error that the gateway is told of: bindings know what to do with an `Error` alone. It
 * says where it was thrown, unless it is of the kind that is thrown on purpose.
 */
const declared = (hook, purposely) => (...args) => {
  try {
    return hook(...args);
  } catch (error) {
    throw new Error(String(error) + (error?.name === purposely ? '' : place(error)));
  }
};

/**
 * The last line of the policy's own that was reached. In a bundle, which holds this file too, that is a line of the
 * bundle, so its function is named as well.
 */
const place = (error) => {
  if (!(error instanceof Error) || error instanceof Misuse) return '';
  const frames = [...String(error.stack).matchAll(FRAME)];
  const own = frames.find(([, , file]) => file !== HERE);
  if (own) return ` (${own[2].replace(FOLDER, '')}, line ${own[3]})`;
  const [, name, file, line] = frames[0] ?? [];
  return line ? ` (${file.slice(1)}, line ${line}, in ${name})` : '';
};

/** A line of a stack: function, file and line. */
const FRAME = /at (.*) \((.+):(\d+):\d+\)/g;

/** This file, and where it lies. */
const [[, , HERE] = []] = [...String(new Error().stack).matchAll(FRAME)];
const FOLDER = HERE?.slice(0, HERE.lastIndexOf('/') + 1);
