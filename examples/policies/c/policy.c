/* A routing policy in C. */
#include "witgate.h"

static witgate_answer route(const witgate_decision *decision) {
  const double *in_flight = witgate_column(decision, 0), *usd = witgate_column(decision, 1);
  size_t best = 0;
  for (size_t i = 1; i < decision->count; i++)
    if (in_flight[i] < in_flight[best] || (in_flight[i] == in_flight[best] && usd[i] < usd[best])) best = i;
  return witgate_pick(decision->candidates[best]);
}

const witgate_about witgate_policy = {
  .name = "least-busy-c", .version = "1.0.0", .summary = "Fewest requests in flight; of equals, the cheapest.",
  .signals = {"in-flight", "usd-per-mtok-out"}, .route = route,
};
