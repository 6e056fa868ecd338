/* The exports of the contract, in terms of `witgate_policy`.
 *
 * The gateway frees what is returned and leaves to us what it passes in, so texts are copied on the way out and
 * arguments are freed here: a policy has nothing to free.
 */
#include "witgate.h"

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

void exports_witgate_policy_lifecycle_describe(exports_witgate_policy_lifecycle_policy_info_t *info) {
  copy_text(&info->name, witgate_policy.name);
  copy_text(&info->version, witgate_policy.version);
  copy_text(&info->summary, witgate_policy.summary);
  copy_text(&info->settings_schema, witgate_policy.settings_schema);
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
    copy_names(&wanted->outcomes, (witgate_names){NULL});
    copy_names(&wanted->reasons, witgate_policy.reasons);
    copy_names(&wanted->overlays, witgate_policy.overlays);
  }
  exports_witgate_policy_lifecycle_catalogue_free(catalogue);
  return text == NULL;
}

bool exports_witgate_policy_router_route(exports_witgate_policy_router_request_t *request,
                                         policy_list_u32_t *candidates, policy_list_f64_t *signals,
                                         policy_list_f64_t *facts, exports_witgate_policy_router_verdict_t *verdict,
                                         policy_string_t *error) {
  const witgate_decision decision = {request, candidates->ptr, candidates->len, signals->ptr, facts->ptr};
  const witgate_answer answer = witgate_policy.route(&decision);
  policy_list_u32_free(candidates);
  policy_list_f64_free(signals);
  policy_list_f64_free(facts);
  if (answer.is_err) {
    *error = answer.val.err;
  } else {
    *verdict = answer.val.ok;
  }
  return !answer.is_err;
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
