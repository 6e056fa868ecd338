/**
 * What a Witgate policy in JavaScript needs: one object in, the two exported interfaces out.
 *
 * `route({ request, candidates, columns, facts })` gets one decision and returns a deployment's number (pick it),
 * nothing (no opinion) or a verdict such as `{ tag: 'follow', val: { attempts, reason, tag } }`. `columns` holds one
 * array for each subscribed signal, with one value for each candidate. Whatever it throws is *declared* to the
 * gateway, which counts it under the policy's name and decides by itself; a bare `throw undefined` would cost the
 * instance.
 *
 * `configure(catalogue, settings)`, if given, is called once in each instance, before any decision.
 */
export function policy({ name, version, summary, signals = [], facts = [], reasons = [], overlays = [],
                         settingsSchema = '{}', configure = () => {}, route }) {
  return {
    lifecycle: {
      describe: () => ({ name, version, summary, settingsSchema }),
      configure: declared((catalogue) => {
        configure(catalogue, JSON.parse(catalogue.settings));
        return { signals, facts, outcomes: [], reasons, overlays };
      }),
    },
    router: {
      route: declared((request, candidates, values, facts) =>
        verdict(route({ request, candidates, columns: columns(candidates.length, values), facts }))),
    },
  };
}

/** One array for each signal, out of one that holds column after column. */
const columns = (rows, values) =>
  Array.from({ length: values.length / rows }, (_, k) => values.slice(k * rows, (k + 1) * rows));

const verdict = (choice) => {
  if (typeof choice === 'number') return { tag: 'pick', val: choice };
  return choice ?? { tag: 'abstain' };
};

/** Turns anything thrown into an error that the gateway is told of. */
const declared = (hook) => (...args) => {
  try {
    return hook(...args);
  } catch (error) {
    throw new Error(String(error));
  }
};
