/* What a Witgate policy in C needs: one description to fill in, decisions with columns, and the words of an answer.
 *
 * The functions that the gateway calls, and who frees what, are in witgate.c; a policy defines `witgate_policy` only.
 */
#ifndef WITGATE_H
#define WITGATE_H

#include "policy.h" /* made from the contract, see build.sh */

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
typedef exports_witgate_policy_router_result_verdict_string_t witgate_answer;

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

/* Room for 32 names and the null that ends them. */
typedef const char *witgate_names[33];

/* What a policy is. Everything that is left out is empty. */
typedef struct {
  const char *name, *version, *summary, *settings_schema;
  witgate_names signals, facts, reasons, overlays;
  /* Called once in each instance, before any decision; a text refuses the configuration. */
  const char *(*configure)(const witgate_policy_types_catalogue_t *catalogue);
  witgate_answer (*route)(const witgate_decision *decision);
} witgate_about;

extern const witgate_about witgate_policy;

#endif
