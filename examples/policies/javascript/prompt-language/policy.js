// Sends a prompt to a deployment that is good at its language, as the operator has labelled them.
import { text } from 'witgate:policy/prompt@0.1.0';
import { detect, NAMES } from './language.js';
import { atOnce, lowest, plan, policy } from './witgate.js';

/** For each language, which deployments speak it. */
const speakers = new Map();
let sample = 0;

export const { lifecycle, router } = policy({
  name: 'prompt-language',
  version: '1.0.0',
  summary: 'Sends a prompt to a deployment that is good at its language.',
  signals: ['in-flight', 'usd-per-mtok-out'],
  reasons: Object.values(NAMES).map((name) => `the prompt is in ${name}`),
  settingsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      label: { description: 'Label of deployments that lists languages: `de fr`.', type: 'string', default: 'languages' },
      sample_bytes: {
        description: 'How much of the prompt is looked at.',
        type: 'integer', minimum: 64, maximum: 16384, default: 1024,
      },
    },
  },
  configure({ deployments }, settings) {
    sample = settings.sample_bytes ?? 1024;
    const label = settings.label ?? 'languages';
    deployments.forEach(({ id, labels }, number) => {
      const value = labels.find(([key]) => key === label)?.[1] ?? '';
      for (const language of value.split(/[\s,]+/).filter(Boolean)) {
        if (!(language in NAMES))
          throw new Error(`the label \`${label}\` of ${id} has \`${language}\`; known are ${Object.keys(NAMES).join(', ')}`);
        speakers.set(language, (speakers.get(language) ?? new Set()).add(number));
      }
    });
  },
  route({ candidates, columns }) {
    const language = detect(text(0, sample));
    const fluent = speakers.get(language);
    const rows = candidates.map((_, row) => row).filter((row) => fluent?.has(candidates[row]));
    // Nobody offered speaks it, or it is not known: no opinion.
    if (rows.length === 0) return undefined;
    const best = lowest(rows, ...columns.map((column) => rows.map((row) => column[row])));
    return plan([atOnce(candidates[best])], { reason: Object.keys(NAMES).indexOf(language) });
  },
});
