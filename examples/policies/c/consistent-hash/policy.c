/* Consistent hashing with bounded load: requests that belong together go to the same deployment, whose cache knows
 * them, until that one has more than its share.
 *
 * Each deployment draws a number from the request's affinity and its own place (rendezvous hashing, weighted); the
 * largest wins. When a deployment comes or goes, only the requests that it wins move. A deployment with more requests
 * in flight than `load_factor` times the mean is passed over for the next in rank, so a popular session cannot drown it.
 */
#include <math.h>

#include "witgate.h"

enum { AFFINITY };                /* facts */
enum { IN_FLIGHT, WEIGHT };       /* signals */
enum { HOME, OVERFLOW_OF_HOME };  /* reasons */
enum { RANKED = 3 };

static double load_factor;

static const char *configure(const witgate_policy_types_catalogue_t *catalogue) {
  load_factor = witgate_number(catalogue, "load_factor", 1.25);
  return NULL;
}

/* SplitMix64. */
static uint64_t mix(uint64_t z) {
  z += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

/* Larger is better; a deployment of twice the weight wins twice as often. */
static double draw(uint32_t affinity, uint32_t target, double weight) {
  const double uniform = ((double)(mix(mix(affinity) ^ target) >> 11) + 0.5) / 9007199254740992.0;
  return -weight / log(uniform);
}

static witgate_answer route(const witgate_decision *decision) {
  const uint32_t affinity = (uint32_t)decision->facts[AFFINITY];
  if (affinity == 0) return witgate_abstain();

  const double *in_flight = witgate_column(decision, IN_FLIGHT), *weight = witgate_column(decision, WEIGHT);
  double requests = 1, weights = 0; /* with this one */
  for (size_t i = 0; i < decision->count; i++) requests += in_flight[i], weights += weight[i];

  /* The best by rank, with room before without. */
  struct { double draw; size_t row; bool full; } best[RANKED];
  size_t ranked = 0, home = 0;
  double highest = -1;
  for (size_t i = 0; i < decision->count; i++) {
    const double drawn = draw(affinity, decision->candidates[i], weight[i]);
    const bool full = in_flight[i] + 1 > ceil(load_factor * requests * weight[i] / weights);
    if (drawn > highest) highest = drawn, home = i;
    size_t place = ranked < RANKED ? ranked++ : RANKED;
    for (; place > 0 && (best[place - 1].full > full || (best[place - 1].full == full && best[place - 1].draw < drawn));
         place--)
      if (place < RANKED) best[place] = best[place - 1];
    if (place < RANKED) best[place].draw = drawn, best[place].row = i, best[place].full = full;
  }

  /* A failure goes to where the session would live without its home. */
  witgate_policy_types_attempt_t attempts[RANKED] = {0};
  for (size_t i = 0; i < ranked; i++) {
    attempts[i].target = decision->candidates[best[i].row];
    attempts[i].start = i ? WITGATE_POLICY_TYPES_START_RULE_ON_FAILURE : WITGATE_POLICY_TYPES_START_RULE_AT_ONCE;
  }
  return witgate_follow(attempts, ranked, best[0].row == home ? HOME : OVERFLOW_OF_HOME);
}

const witgate_about witgate_policy = {
  .name = "consistent-hash",
  .version = "1.0.0",
  .summary = "Requests that belong together go to the same deployment, unless it has more than its share.",
  .settings_schema =
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"load_factor\":{"
    "\"description\":\"How many times its fair share of the requests in flight a deployment may have.\","
    "\"type\":\"number\",\"minimum\":1,\"maximum\":100,\"default\":1.25}}}",
  .signals = {"in-flight", "weight"},
  .facts = {"affinity"},
  .reasons = {"the session's own deployment", "the session's deployment has more than its share"},
  .configure = configure,
  .route = route,
};
