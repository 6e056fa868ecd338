/* A routing policy in C. */
#include "witgate.h"

static witgate_answer route(const witgate_decision *decision) {
  size_t best = 0;
  for (size_t i = 1; i < decision->count; i++)
    for (size_t signal = 0; signal < 4; signal++) {
      const double *column = witgate_column(decision, signal);
      if (column[i] == column[best]) continue;
      if (column[i] < column[best]) best = i;
      break;
    }
  return witgate_pick(decision->candidates[best]);
}

const witgate_about witgate_policy = {
  .name = "least-busy-c", .version = "1.0.0", .summary = "Fewest in flight; then no pause, fewest errors, cheapest.",
  .signals = {"in-flight", "cooldown-ms", "error-rate", "usd-per-mtok-out"}, .route = route,
};
