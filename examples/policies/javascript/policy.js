// A routing policy in JavaScript.
import { lowest, policy } from './witgate.js';

export const { lifecycle, router } = policy({
  name: 'least-busy-javascript', version: '1.0.0', summary: 'Fewest in flight; then no pause, fewest errors, cheapest.',
  signals: ['in-flight', 'cooldown-ms', 'error-rate', 'usd-per-mtok-out'],
  route: ({ candidates, columns }) => lowest(candidates, ...columns),
});
