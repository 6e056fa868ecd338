/* What a Witgate policy in C needs: one description to fill in, decisions with columns, and the words of an answer.
 *
 * The functions that the gateway calls, and who frees what, are in witgate.c; a policy defines `witgate_policy` only.
 */
#ifndef WITGATE_H
#define WITGATE_H

#include "policy.h" /* made from the contract, see build.sh */

/* The hooks that the world exports; the build says so with -DWITGATE_FILTER and so on. */
#if !defined WITGATE_ROUTER && !defined WITGATE_FALLBACK && !defined WITGATE_FILTER && !defined WITGATE_SCORER && \
  !defined WITGATE_OBSERVER
#define WITGATE_ROUTER
#endif

/* What a policy decides on. Valid during the call. */
typedef struct {
  const witgate_policy_types_request_t *request;
  const uint32_t *candidates; /* numbers of the deployments that may be used */
  size_t count;               /* of candidates; never 0 */
  const double *signals;      /* column after column, in the order of the subscription: see witgate_column */
  const double *facts;        /* in the order of the subscription */
} witgate_decision;

/* One value for each candidate, of the subscribed signal at this place. */
static inline const double *witgate_column(const witgate_decision *decision, size_t place) {
  return decision->signals + place * decision->count;
}

/* A verdict, or an error that is declared to the gateway. */
typedef struct {
  bool is_err;
  union {
    witgate_policy_types_verdict_t ok;
    policy_string_t err;
  } val;
} witgate_answer;

/* This deployment, at once. */
witgate_answer witgate_pick(uint32_t target);
/* These attempts, which are copied. */
witgate_answer witgate_follow(const witgate_policy_types_attempt_t *attempts, size_t count, uint32_t reason);
/* No: answer the client with this status. */
witgate_answer witgate_reject(uint32_t status, double retry_after_ms, uint32_t reason);
/* No opinion. */
witgate_answer witgate_abstain(void);
/* The policy cannot decide: the gateway logs the text and decides by itself. */
witgate_answer witgate_error(const char *text);

/* A number of the settings that stands at the top level under this key. */
double witgate_number(const witgate_policy_types_catalogue_t *catalogue, const char *key, double fallback);

/* Room for 32 names and the null that ends them. */
typedef const char *witgate_names[33];

/* What a policy is. Everything that is left out is empty. */
typedef struct {
  const char *name, *version, *summary, *settings_schema;
  witgate_names signals, facts, outcomes, reasons, overlays;
  /* Called once in each instance, before any decision; a text refuses the configuration. */
  const char *(*configure)(const witgate_policy_types_catalogue_t *catalogue);
#ifdef WITGATE_ROUTER
  witgate_answer (*route)(const witgate_decision *decision);
#endif
#ifdef WITGATE_FALLBACK
  witgate_answer (*after_failure)(const witgate_decision *decision, const witgate_policy_types_failed_attempt_t *failures,
                                  size_t count);
#endif
  /* The others return NULL, or the text of an error that is declared. */
#ifdef WITGATE_FILTER
  /* Writes the candidates to keep, of which there may be decision->count, and their number, which is 0 at first. */
  const char *(*keep)(const witgate_decision *decision, uint32_t *kept, size_t *count);
#endif
#ifdef WITGATE_SCORER
  /* Writes one number from 0 to 1 for each candidate. */
  const char *(*score)(const witgate_decision *decision, double *scores);
#endif
#ifdef WITGATE_OBSERVER
  /* columns + place * rows: one value for each outcome, of the subscribed field at this place. */
  const char *(*observe)(size_t rows, const double *columns);
#endif
} witgate_about;

extern const witgate_about witgate_policy;

#endif
