/* The exports of the contract, in terms of `witgate_policy`.
 *
 * The gateway frees what is returned and leaves to us what it passes in, so texts are copied on the way out and
 * arguments are freed here: a policy has nothing to free.
 */
#include "witgate.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void copy_text(policy_string_t *to, const char *text) {
  policy_string_dup(to, text ? text : "");
}

static void copy_names(policy_list_string_t *to, const char *const *names) {
  size_t count = 0;
  while (names[count]) count++;
  to->len = count;
  to->ptr = count ? malloc(count * sizeof *to->ptr) : NULL;
  for (size_t i = 0; i < count; i++) copy_text(&to->ptr[i], names[i]);
}

/* Without a schema there are no settings. */
void exports_witgate_policy_lifecycle_describe(exports_witgate_policy_lifecycle_policy_info_t *info) {
  copy_text(&info->name, witgate_policy.name);
  copy_text(&info->version, witgate_policy.version);
  copy_text(&info->summary, witgate_policy.summary);
  const char *schema = witgate_policy.settings_schema;
  copy_text(&info->settings_schema,
            schema ? schema : "{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}");
}

bool exports_witgate_policy_lifecycle_configure(exports_witgate_policy_lifecycle_catalogue_t *catalogue,
                                                exports_witgate_policy_lifecycle_subscription_t *wanted,
                                                policy_string_t *refusal) {
  const char *text = witgate_policy.configure ? witgate_policy.configure(catalogue) : NULL;
  if (text) {
    copy_text(refusal, text);
  } else {
    copy_names(&wanted->signals, witgate_policy.signals);
    copy_names(&wanted->facts, witgate_policy.facts);
    copy_names(&wanted->outcomes, witgate_policy.outcomes);
    copy_names(&wanted->reasons, witgate_policy.reasons);
    copy_names(&wanted->overlays, witgate_policy.overlays);
  }
  exports_witgate_policy_lifecycle_catalogue_free(catalogue);
  return text == NULL;
}

#if defined WITGATE_ROUTER || defined WITGATE_FALLBACK
static bool answered(const witgate_answer *answer, witgate_policy_types_verdict_t *verdict, policy_string_t *error) {
  if (answer->is_err) {
    *error = answer->val.err;
  } else {
    *verdict = answer->val.ok;
  }
  return !answer->is_err;
}
#endif

#if defined WITGATE_FILTER || defined WITGATE_SCORER || defined WITGATE_OBSERVER
static bool said(const char *problem, policy_string_t *error) {
  if (problem) copy_text(error, problem);
  return problem == NULL;
}
#endif

#if defined WITGATE_ROUTER || defined WITGATE_FALLBACK || defined WITGATE_FILTER || defined WITGATE_SCORER
static void free_all(policy_list_u32_t *candidates, policy_list_f64_t *signals, policy_list_f64_t *facts) {
  policy_list_u32_free(candidates);
  policy_list_f64_free(signals);
  policy_list_f64_free(facts);
}
#endif

#ifdef WITGATE_ROUTER
bool exports_witgate_policy_router_route(exports_witgate_policy_router_request_t *request,
                                         policy_list_u32_t *candidates, policy_list_f64_t *signals,
                                         policy_list_f64_t *facts, exports_witgate_policy_router_verdict_t *verdict,
                                         policy_string_t *error) {
  const witgate_decision decision = {request, candidates->ptr, candidates->len, signals->ptr, facts->ptr};
  const witgate_answer answer = witgate_policy.route(&decision);
  free_all(candidates, signals, facts);
  return answered(&answer, verdict, error);
}
#endif

#ifdef WITGATE_FALLBACK
bool exports_witgate_policy_fallback_after_failure(exports_witgate_policy_fallback_request_t *request,
                                                   exports_witgate_policy_fallback_list_failed_attempt_t *failures,
                                                   policy_list_u32_t *candidates, policy_list_f64_t *signals,
                                                   policy_list_f64_t *facts,
                                                   exports_witgate_policy_fallback_verdict_t *verdict,
                                                   policy_string_t *error) {
  const witgate_decision decision = {request, candidates->ptr, candidates->len, signals->ptr, facts->ptr};
  const witgate_answer answer = witgate_policy.after_failure(&decision, failures->ptr, failures->len);
  exports_witgate_policy_fallback_list_failed_attempt_free(failures);
  free_all(candidates, signals, facts);
  return answered(&answer, verdict, error);
}
#endif

#ifdef WITGATE_FILTER
bool exports_witgate_policy_filter_keep(exports_witgate_policy_filter_request_t *request, policy_list_u32_t *candidates,
                                        policy_list_f64_t *signals, policy_list_f64_t *facts, policy_list_u32_t *kept,
                                        policy_string_t *error) {
  const witgate_decision decision = {request, candidates->ptr, candidates->len, signals->ptr, facts->ptr};
  kept->len = 0;
  kept->ptr = malloc(decision.count * sizeof *kept->ptr);
  const char *problem = witgate_policy.keep(&decision, kept->ptr, &kept->len);
  /* A list without entries is not freed by the gateway. */
  if (problem || !kept->len) free(kept->ptr);
  free_all(candidates, signals, facts);
  return said(problem, error);
}
#endif

#ifdef WITGATE_SCORER
bool exports_witgate_policy_scorer_score(exports_witgate_policy_scorer_request_t *request, policy_list_u32_t *candidates,
                                         policy_list_f64_t *signals, policy_list_f64_t *facts, policy_list_f64_t *scores,
                                         policy_string_t *error) {
  const witgate_decision decision = {request, candidates->ptr, candidates->len, signals->ptr, facts->ptr};
  scores->len = decision.count;
  scores->ptr = malloc(decision.count * sizeof *scores->ptr);
  const char *problem = witgate_policy.score(&decision, scores->ptr);
  if (problem) free(scores->ptr);
  free_all(candidates, signals, facts);
  return said(problem, error);
}
#endif

#ifdef WITGATE_OBSERVER
bool exports_witgate_policy_observer_observe(uint32_t rows, policy_list_f64_t *columns, policy_string_t *error) {
  const char *problem = witgate_policy.observe(rows, columns->ptr);
  policy_list_f64_free(columns);
  return said(problem, error);
}
#endif

double witgate_number(const witgate_policy_types_catalogue_t *catalogue, const char *key, double fallback) {
  /* The gateway has parsed and checked the text: it is an object. Strings are skipped whole, nested values by depth. */
  const char *json = (const char *)catalogue->settings.ptr, *end = json + catalogue->settings.len;
  int depth = 0;
  for (; json < end; json++) {
    if (*json == '{' || *json == '[') depth++;
    if (*json == '}' || *json == ']') depth--;
    if (*json != '"') continue;
    const char *text = ++json;
    while (*json != '"') json += *json == '\\' ? 2 : 1;
    const size_t length = (size_t)(json - text);
    const char *colon = json + 1;
    while (colon < end && isspace((unsigned char)*colon)) colon++;
    if (depth != 1 || colon == end || *colon != ':') continue;
    if (length != strlen(key) || memcmp(text, key, length) != 0) continue;
    /* What follows ends with `,` or `}` at the latest, within the text. */
    return strtod(colon + 1, NULL);
  }
  return fallback;
}

witgate_answer witgate_pick(uint32_t target) {
  witgate_answer answer = {.val.ok.tag = WITGATE_POLICY_TYPES_VERDICT_PICK};
  answer.val.ok.val.pick = target;
  return answer;
}

witgate_answer witgate_follow(const witgate_policy_types_attempt_t *attempts, size_t count, uint32_t reason) {
  witgate_answer answer = {.val.ok.tag = WITGATE_POLICY_TYPES_VERDICT_FOLLOW};
  witgate_policy_types_plan_t *plan = &answer.val.ok.val.follow;
  plan->attempts.len = count;
  plan->attempts.ptr = count ? malloc(count * sizeof *attempts) : NULL;
  if (count) memcpy(plan->attempts.ptr, attempts, count * sizeof *attempts);
  plan->reason = reason;
  return answer;
}

witgate_answer witgate_reject(uint32_t status, double retry_after_ms, uint32_t reason) {
  witgate_answer answer = {.val.ok.tag = WITGATE_POLICY_TYPES_VERDICT_REJECT};
  answer.val.ok.val.reject = (witgate_policy_types_rejection_t){status, retry_after_ms, reason};
  return answer;
}

witgate_answer witgate_abstain(void) {
  return (witgate_answer){.val.ok.tag = WITGATE_POLICY_TYPES_VERDICT_ABSTAIN};
}

witgate_answer witgate_error(const char *text) {
  witgate_answer answer = {.is_err = true};
  copy_text(&answer.val.err, text);
  return answer;
}
