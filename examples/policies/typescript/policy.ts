// A routing policy in TypeScript.
import { lowest, policy } from '../javascript/witgate.js';

export const { lifecycle, router } = policy({
  name: 'least-busy-typescript', version: '1.0.0', summary: 'Fewest in flight; then no pause, fewest errors, cheapest.',
  signals: ['in-flight', 'cooldown-ms', 'error-rate', 'usd-per-mtok-out'],
  route: ({ candidates, columns }) => lowest(candidates, ...columns),
});
