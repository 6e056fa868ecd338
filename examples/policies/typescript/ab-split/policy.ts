// Splits users among arms of an experiment; whoever comes again gets the same arm.
import { atOnce, lowest, onFailure, plan, policy } from '../../javascript/witgate.js';
import type { Attempt, Deployment } from '../../javascript/witgate.js';

interface Arm {
  name: string;
  share: number;
  deployments: string[];
}

interface Settings {
  experiment: string;
  arms: Arm[];
}

/** Where the shares of the arms end, from 0 to 1, and who serves each. */
let arms: { end: number; targets: Set<number> }[] = [];
let salt = 0;

export const { lifecycle, router } = policy<Settings>({
  name: 'ab-split',
  version: '1.0.0',
  summary: 'Splits users among arms of an experiment, each always to the same.',
  signals: ['in-flight'],
  facts: ['affinity', 'tenant'],
  settingsSchema: {
    type: 'object',
    additionalProperties: false,
    required: ['experiment', 'arms'],
    properties: {
      experiment: { description: 'Another name shuffles the users anew.', type: 'string', minLength: 1 },
      arms: {
        type: 'array',
        minItems: 2,
        maxItems: 16,
        items: {
          type: 'object',
          additionalProperties: false,
          required: ['name', 'share', 'deployments'],
          properties: {
            name: { type: 'string', minLength: 1, maxLength: 64 },
            share: { description: 'Relative to the other arms.', type: 'number', exclusiveMinimum: 0 },
            deployments: {
              description: 'Ids, or `key=value` for all with that label.',
              type: 'array', minItems: 1, items: { type: 'string' },
            },
          },
        },
      },
    },
  },
  configure({ deployments }, settings) {
    const total = settings.arms.reduce((sum, arm) => sum + arm.share, 0);
    let end = 0;
    arms = settings.arms.map((arm) => {
      end += arm.share / total;
      return { end, targets: new Set(arm.deployments.flatMap((wanted) => named(wanted, deployments))) };
    });
    salt = hash(settings.experiment);
    return { reasons: settings.arms.map((arm) => `${settings.experiment}: ${arm.name}`) };
  },
  route({ request, candidates, columns: [inFlight], facts: [affinity, tenant] }) {
    // Requests that belong together, else the tenant, else chance.
    const user = affinity || (tenant ? tenant + 0x40000000 : request.seed);
    const point = (mix(salt ^ user!) >>> 0) / 2 ** 32;
    const place = arms.findIndex((arm) => point < arm.end);
    const number = place < 0 ? arms.length - 1 : place;
    const offered = candidates.filter((target) => arms[number]!.targets.has(target));
    // The arm is down: the next policy decides, and without the tag the request does not count for the experiment.
    if (offered.length === 0) return undefined;
    const load = candidates.flatMap((target, row) => (offered.includes(target) ? [inFlight![row]!] : []));
    const first = lowest(offered, load);
    const attempts: Attempt[] = [atOnce(first), ...offered.filter((target) => target !== first).map((t) => onFailure(t))];
    return plan(attempts.slice(0, 3), { reason: number, tag: number + 1 });
  },
});

/** The numbers of an id or a label. */
function named(wanted: string, deployments: Deployment[]): number[] {
  const numbers = deployments.flatMap(({ id, labels }, number) =>
    id === wanted || labels.some(([key, value]) => `${key}=${value}` === wanted) ? [number] : []);
  if (numbers.length === 0)
    throw new Error(`settings: \`${wanted}\` is neither the id nor a label (\`key=value\`) of any deployment`);
  return numbers;
}

/** FNV-1a of a text. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value;
}

/** The finaliser of MurmurHash3: every bit of the input reaches every bit of the result. */
function mix(value: number): number {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return value ^ (value >>> 16);
}
