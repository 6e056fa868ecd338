// A routing policy in JavaScript.
import { policy } from './witgate.js';

export const { lifecycle, router } = policy({
  name: 'least-busy-javascript', version: '1.0.0', summary: 'Fewest requests in flight; of equals, the cheapest.',
  signals: ['in-flight', 'usd-per-mtok-out'],
  route({ candidates, columns: [inFlight, usd] }) {
    let best = 0;
    for (let i = 1; i < candidates.length; i++)
      if (inFlight[i] < inFlight[best] || (inFlight[i] === inFlight[best] && usd[i] < usd[best])) best = i;
    return candidates[best];
  },
});
