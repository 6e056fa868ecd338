// What a Witgate policy in C++ needs: a setup to fill in, decisions with columns, and the words of an answer.
//
// A policy is a class with a constant `about`, a constructor that takes a `Setup` and a member `route`;
// WITGATE_REGISTER, once in one source file, exports it. The gateway frees what is returned and leaves to us what it
// passes in: both are dealt with here. There are no exceptions; what cannot go on returns `error`.
#ifndef WITGATE_HPP
#define WITGATE_HPP

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy.h" // made from the contract, see build.sh

namespace witgate {

using Attempt = witgate_policy_types_attempt_t;
using Request = witgate_policy_types_request_t;

// What a policy says about itself. Without a schema it has no settings.
struct About {
  std::string_view name, version, summary;
  std::string_view settings_schema = R"({"type":"object","properties":{},"additionalProperties":false})";
};

inline std::string_view view(const policy_string_t &text) {
  return {reinterpret_cast<const char *>(text.ptr), text.len};
}

// A deployment of the catalogue. Valid during construction of the policy.
class Deployment {
public:
  explicit Deployment(const witgate_policy_types_deployment_t &raw) : raw(raw) {}
  std::string_view id() const { return view(raw.id); }
  std::string_view region() const { return view(raw.region); }
  // The value of the operator's label.
  std::optional<std::string_view> label(std::string_view key) const {
    for (const auto &entry : std::span(raw.labels.ptr, raw.labels.len))
      if (view(entry.f0) == key) return view(entry.f1);
    return std::nullopt;
  }

private:
  const witgate_policy_types_deployment_t &raw;
};

// What a policy is told once, and what it asks for in return.
class Setup {
public:
  explicit Setup(const exports_witgate_policy_lifecycle_catalogue_t &catalogue) : catalogue(catalogue) {}

  // Names of what to be fed, and texts that answers name by their places.
  std::vector<std::string> signals, facts, reasons, overlays;
  // A text here refuses the configuration.
  std::optional<std::string> refusal;

  size_t deployments() const { return catalogue.deployments.len; }
  Deployment deployment(size_t number) const { return Deployment(catalogue.deployments.ptr[number]); }

  // A number of the settings that stands at the top level under this key.
  double number(std::string_view key, double fallback) const;

private:
  const exports_witgate_policy_lifecycle_catalogue_t &catalogue;
};

// What a policy decides on. Valid during the call.
class Decision {
public:
  const Request &request;
  // Numbers of the deployments that may be used; never empty.
  const std::span<const uint32_t> candidates;
  // In the order of the subscription.
  const std::span<const double> facts;

  Decision(const Request &request, std::span<const uint32_t> candidates, std::span<const double> signals,
           std::span<const double> facts)
      : request(request), candidates(candidates), facts(facts), signals(signals) {}

  // One value for each candidate, of the subscribed signal at this place.
  std::span<const double> column(size_t place) const {
    return signals.subspan(place * candidates.size(), candidates.size());
  }

  // The candidate whose row costs least; of equals, the first.
  template <typename Cost> uint32_t lowest(Cost cost) const {
    size_t best = 0;
    auto least = cost(best);
    for (size_t row = 1; row < candidates.size(); row++)
      if (auto next = cost(row); next < least) best = row, least = next;
    return candidates[best];
  }

private:
  const std::span<const double> signals;
};

// A verdict, or an error that is declared to the gateway.
using Answer = exports_witgate_policy_router_result_verdict_string_t;

// Texts and lists that are returned belong to the gateway, which frees them with `free`.
inline policy_string_t copy(std::string_view text) {
  policy_string_t copied{nullptr, text.size()};
  if (text.empty()) return copied;
  copied.ptr = static_cast<uint8_t *>(std::malloc(text.size()));
  std::copy(text.begin(), text.end(), copied.ptr);
  return copied;
}

inline policy_list_string_t copy(const std::vector<std::string> &texts) {
  policy_list_string_t copied{nullptr, texts.size()};
  if (texts.empty()) return copied;
  copied.ptr = static_cast<policy_string_t *>(std::malloc(texts.size() * sizeof *copied.ptr));
  std::transform(texts.begin(), texts.end(), copied.ptr, [](const std::string &text) { return copy(text); });
  return copied;
}

// This deployment, at once.
inline Answer pick(uint32_t target) {
  Answer answer{};
  answer.val.ok.tag = WITGATE_POLICY_TYPES_VERDICT_PICK;
  answer.val.ok.val.pick = target;
  return answer;
}

// A try when the plan starts.
inline Attempt at_once(uint32_t target) { return {.target = target, .start = WITGATE_POLICY_TYPES_START_RULE_AT_ONCE}; }

// A try when the one before it has failed.
inline Attempt on_failure(uint32_t target) {
  return {.target = target, .start = WITGATE_POLICY_TYPES_START_RULE_ON_FAILURE};
}

// These attempts.
inline Answer follow(std::span<const Attempt> attempts, uint32_t reason = 0, uint32_t tag = 0) {
  Answer answer{};
  answer.val.ok.tag = WITGATE_POLICY_TYPES_VERDICT_FOLLOW;
  auto &plan = answer.val.ok.val.follow;
  plan = {{nullptr, attempts.size()}, reason, tag};
  if (attempts.empty()) return answer;
  plan.attempts.ptr = static_cast<Attempt *>(std::malloc(attempts.size_bytes()));
  std::copy(attempts.begin(), attempts.end(), plan.attempts.ptr);
  return answer;
}

// No: answer the client with this status.
inline Answer reject(uint32_t status, double retry_after_ms = 0, uint32_t reason = 0) {
  Answer answer{};
  answer.val.ok.tag = WITGATE_POLICY_TYPES_VERDICT_REJECT;
  answer.val.ok.val.reject = {status, retry_after_ms, reason};
  return answer;
}

// No opinion.
inline Answer abstain() {
  Answer answer{};
  answer.val.ok.tag = WITGATE_POLICY_TYPES_VERDICT_ABSTAIN;
  return answer;
}

// The policy cannot decide: the gateway logs the text and decides by itself.
inline Answer error(std::string_view text) {
  Answer answer{};
  answer.is_err = true;
  answer.val.err = copy(text);
  return answer;
}

inline double Setup::number(std::string_view key, double fallback) const {
  // The gateway has parsed and checked the text: it is an object. Strings are skipped whole, nested values by depth.
  const std::string_view json = view(catalogue.settings);
  int depth = 0;
  for (size_t at = 0; at < json.size(); at++) {
    if (json[at] == '{' || json[at] == '[') depth++;
    if (json[at] == '}' || json[at] == ']') depth--;
    if (json[at] != '"') continue;
    const size_t start = ++at;
    while (json[at] != '"') at += json[at] == '\\' ? 2 : 1;
    const std::string_view text = json.substr(start, at - start);
    const size_t colon = json.find_first_not_of(" \t\r\n", at + 1);
    if (depth != 1 || text != key || colon == json.npos || json[colon] != ':') continue;
    return std::strtod(std::string(json.substr(colon + 1)).c_str(), nullptr);
  }
  return fallback;
}

template <typename Policy> std::optional<Policy> policy;

template <typename Policy> void describe(exports_witgate_policy_lifecycle_policy_info_t *info) {
  constexpr About about = Policy::about;
  *info = {copy(about.name), copy(about.version), copy(about.summary), copy(about.settings_schema)};
}

template <typename Policy>
bool configure(exports_witgate_policy_lifecycle_catalogue_t *catalogue,
               exports_witgate_policy_lifecycle_subscription_t *wanted, policy_string_t *refusal) {
  Setup setup(*catalogue);
  policy<Policy>.emplace(setup);
  exports_witgate_policy_lifecycle_catalogue_free(catalogue);
  if (setup.refusal) {
    *refusal = copy(*setup.refusal);
    return false;
  }
  *wanted = {copy(setup.signals), copy(setup.facts), {nullptr, 0}, copy(setup.reasons), copy(setup.overlays)};
  return true;
}

template <typename Policy>
bool route(exports_witgate_policy_router_request_t *request, policy_list_u32_t *candidates, policy_list_f64_t *signals,
           policy_list_f64_t *facts, exports_witgate_policy_router_verdict_t *verdict, policy_string_t *problem) {
  const Decision decision(*request, {candidates->ptr, candidates->len}, {signals->ptr, signals->len},
                          {facts->ptr, facts->len});
  const Answer answer = policy<Policy>->route(decision);
  policy_list_u32_free(candidates);
  policy_list_f64_free(signals);
  policy_list_f64_free(facts);
  if (answer.is_err) {
    *problem = answer.val.err;
  } else {
    *verdict = answer.val.ok;
  }
  return !answer.is_err;
}

} // namespace witgate

// Exports a policy.
#define WITGATE_REGISTER(Policy)                                                                                       \
  extern "C" {                                                                                                         \
  void exports_witgate_policy_lifecycle_describe(exports_witgate_policy_lifecycle_policy_info_t *info) {               \
    witgate::describe<Policy>(info);                                                                                   \
  }                                                                                                                    \
  bool exports_witgate_policy_lifecycle_configure(exports_witgate_policy_lifecycle_catalogue_t *catalogue,             \
                                                  exports_witgate_policy_lifecycle_subscription_t *wanted,             \
                                                  policy_string_t *refusal) {                                          \
    return witgate::configure<Policy>(catalogue, wanted, refusal);                                                     \
  }                                                                                                                    \
  bool exports_witgate_policy_router_route(exports_witgate_policy_router_request_t *request,                           \
                                           policy_list_u32_t *candidates, policy_list_f64_t *signals,                  \
                                           policy_list_f64_t *facts, exports_witgate_policy_router_verdict_t *verdict, \
                                           policy_string_t *problem) {                                                 \
    return witgate::route<Policy>(request, candidates, signals, facts, verdict, problem);                              \
  }                                                                                                                    \
  }

#endif
