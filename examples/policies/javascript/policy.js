// A routing policy in JavaScript.
import { lowest, policy } from './witgate.js';

export const { lifecycle, router } = policy({
  name: 'least-busy-javascript', version: '1.0.0', summary: 'Fewest requests in flight; of equals, the cheapest.',
  signals: ['in-flight', 'usd-per-mtok-out'],
  route: ({ candidates, columns: [inFlight, usd] }) => lowest(candidates, inFlight, usd),
});
