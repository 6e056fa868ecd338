// What a Witgate policy in C++ needs: a setup to fill in, decisions with columns, and the words of an answer.
//
// A policy is a class with a constant `about`, a constructor that takes a `Setup`, and a member for each hook of its
// world: `route`, `after_failure`, `keep`, `score` or `observe`. WITGATE_REGISTER, once in one source file, exports it.
// The gateway frees what is returned and leaves to us what it passes in: both are dealt with here. There are no
// exceptions; what cannot go on returns `error`.
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
#include <variant>
#include <vector>

#include "policy.h" // made from the contract, see build.sh

// The hooks that the world exports, and the capabilities that it imports; the build says so with -DWITGATE_FILTER,
// -DWITGATE_PROMPT and so on.
#if !defined WITGATE_ROUTER && !defined WITGATE_FALLBACK && !defined WITGATE_FILTER && !defined WITGATE_SCORER && \
    !defined WITGATE_OBSERVER
#define WITGATE_ROUTER
#endif

namespace witgate {

using Attempt = witgate_policy_types_attempt_t;
using FailedAttempt = witgate_policy_types_failed_attempt_t;
using Request = witgate_policy_types_request_t;
using Verdict = witgate_policy_types_verdict_t;

// What a policy says about itself. Without a schema it has no settings.
struct About {
  std::string_view name, version, summary;
  std::string_view settings_schema = R"({"type":"object","properties":{},"additionalProperties":false})";
};

inline std::string_view view(const policy_string_t &text) {
  return {reinterpret_cast<const char *>(text.ptr), text.len};
}

// For a call into the gateway, which only reads it.
inline policy_string_t borrow(std::string_view text) {
  return {reinterpret_cast<uint8_t *>(const_cast<char *>(text.data())), text.size()};
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
  std::vector<std::string> signals, facts, outcomes, reasons, overlays;
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

// What became of some attempts, as columns. Valid during the call.
class Outcomes {
public:
  // How many there are; never 0.
  const size_t rows;

  Outcomes(size_t rows, const double *columns) : rows(rows), columns(columns) {}

  // One value for each outcome, of the subscribed field at this place.
  std::span<const double> column(size_t place) const { return {columns + place * rows, rows}; }

private:
  const double *columns;
};

// Why a policy cannot decide: the gateway logs the text and decides by itself.
struct Error {
  std::string text;
};

inline Error error(std::string_view text) { return {std::string(text)}; }

// An answer, or an error that is declared to the gateway; either is returned as it is.
template <typename Value> class Result {
public:
  Result(Value value) : content(std::move(value)) {}
  Result(Error error) : content(std::move(error)) {}

  const Value *value() const { return std::get_if<Value>(&content); }
  const Error *problem() const { return std::get_if<Error>(&content); }

private:
  std::variant<Value, Error> content;
};

using Answer = Result<Verdict>;              // of `route` and `after_failure`
using Kept = Result<std::vector<uint32_t>>;  // of `keep`: the candidates to keep
using Scores = Result<std::vector<double>>;  // of `score`: from 0 to 1 for each candidate
using Learned = std::optional<Error>;        // of `observe`: usually `{}`

// Texts and lists that are returned belong to the gateway, which frees them with `free`; it frees no empty list.
template <typename Item> Item *copy_items(std::span<const Item> items) {
  if (items.empty()) return nullptr;
  auto *copied = static_cast<Item *>(std::malloc(items.size_bytes()));
  std::copy(items.begin(), items.end(), copied);
  return copied;
}

inline policy_string_t copy(std::string_view text) {
  return {copy_items(std::span(reinterpret_cast<const uint8_t *>(text.data()), text.size())), text.size()};
}

inline policy_list_string_t copy(const std::vector<std::string> &texts) {
  std::vector<policy_string_t> copies;
  for (const std::string &text : texts) copies.push_back(copy(text));
  return {copy_items(std::span<const policy_string_t>(copies)), copies.size()};
}

// This deployment, at once.
inline Verdict pick(uint32_t target) {
  Verdict verdict{};
  verdict.tag = WITGATE_POLICY_TYPES_VERDICT_PICK;
  verdict.val.pick = target;
  return verdict;
}

// A try when the plan starts.
inline Attempt at_once(uint32_t target) { return {.target = target, .start = WITGATE_POLICY_TYPES_START_RULE_AT_ONCE}; }

// A try when the one before it has failed.
inline Attempt on_failure(uint32_t target) {
  return {.target = target, .start = WITGATE_POLICY_TYPES_START_RULE_ON_FAILURE};
}

// A try when the one before it has been silent for so long, or has failed.
inline Attempt hedge(uint32_t target, double delay_ms) {
  return {.target = target, .start = WITGATE_POLICY_TYPES_START_RULE_HEDGE, .delay_ms = delay_ms};
}

// These attempts, which are copied.
inline Verdict follow(std::span<const Attempt> attempts, uint32_t reason = 0, uint32_t tag = 0) {
  Verdict verdict{};
  verdict.tag = WITGATE_POLICY_TYPES_VERDICT_FOLLOW;
  verdict.val.follow = {{copy_items(attempts), attempts.size()}, reason, tag};
  return verdict;
}

// No: answer the client with this status.
inline Verdict reject(uint32_t status, double retry_after_ms = 0, uint32_t reason = 0) {
  Verdict verdict{};
  verdict.tag = WITGATE_POLICY_TYPES_VERDICT_REJECT;
  verdict.val.reject = {status, retry_after_ms, reason};
  return verdict;
}

// No opinion.
inline Verdict abstain() {
  Verdict verdict{};
  verdict.tag = WITGATE_POLICY_TYPES_VERDICT_ABSTAIN;
  return verdict;
}

// Numbers that all instances of the policy in this gateway share, and that outlive them; 0 at first.
class Table {
public:
  // Call it in the constructor: opening the same name again gives the same table. When it cannot be had, the setup is
  // refused.
  Table(Setup &setup, std::string_view name, uint32_t width) {
    policy_string_t passed = borrow(name), problem;
    if (witgate_policy_cells_open(&passed, width, WITGATE_POLICY_CELLS_SCOPE_PROCESS,
                                  WITGATE_POLICY_CELLS_MERGE_NEWEST, &number, &problem))
      return;
    setup.refusal = view(problem);
    policy_string_free(&problem);
  }
  double load(uint32_t index) const { return witgate_policy_cells_load(number, index); }
  void store(uint32_t index, double value) { witgate_policy_cells_store(number, index, value); }
  // Adds and gives the new value, in one step.
  double add(uint32_t index, double delta) { return witgate_policy_cells_add(number, index, delta); }

private:
  uint32_t number = 0;
};

#ifdef WITGATE_HEADERS
// The request header's first value.
inline std::optional<std::string> header(std::string_view name) {
  policy_string_t passed = borrow(name), value;
  if (!witgate_policy_headers_value(&passed, &value)) return std::nullopt;
  std::string copied(view(value));
  policy_string_free(&value);
  return copied;
}
#endif

#ifdef WITGATE_PROMPT
// The prompt's text from its byte `start` on.
inline std::string prompt(uint32_t start, uint32_t max_bytes) {
  policy_string_t text;
  witgate_policy_prompt_text(start, max_bytes, &text);
  std::string copied(view(text));
  policy_string_free(&text);
  return copied;
}
#endif

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
  *wanted = {copy(setup.signals), copy(setup.facts), copy(setup.outcomes), copy(setup.reasons), copy(setup.overlays)};
  return true;
}

// What the gateway passes in, freed when the call is over.
struct Arguments {
  Request *request;
  policy_list_u32_t *candidates;
  policy_list_f64_t *signals, *facts;

  ~Arguments() {
    policy_list_u32_free(candidates);
    policy_list_f64_free(signals);
    policy_list_f64_free(facts);
  }
  Decision decision() const {
    return {*request, {candidates->ptr, candidates->len}, {signals->ptr, signals->len}, {facts->ptr, facts->len}};
  }
};

inline bool answer(const Result<Verdict> &result, Verdict *verdict, policy_string_t *problem) {
  if (const Error *error = result.problem()) return *problem = copy(error->text), false;
  return *verdict = *result.value(), true;
}

template <typename List, typename Item>
bool answer(const Result<std::vector<Item>> &result, List *list, policy_string_t *problem) {
  if (const Error *error = result.problem()) return *problem = copy(error->text), false;
  const std::span<const Item> items = *result.value();
  return *list = {copy_items(items), items.size()}, true;
}

} // namespace witgate

// The exports of each hook, which call the policy.
#define WITGATE_ARGUMENTS policy_list_u32_t *candidates, policy_list_f64_t *signals, policy_list_f64_t *facts

#ifdef WITGATE_ROUTER
#define WITGATE_EXPORT_ROUTER(Policy)                                                                                  \
  bool exports_witgate_policy_router_route(witgate::Request *request, WITGATE_ARGUMENTS, witgate::Verdict *verdict,    \
                                           policy_string_t *problem) {                                                 \
    const witgate::Arguments arguments{request, candidates, signals, facts};                                           \
    return witgate::answer(witgate::policy<Policy>->route(arguments.decision()), verdict, problem);                    \
  }
#else
#define WITGATE_EXPORT_ROUTER(Policy)
#endif

#ifdef WITGATE_FALLBACK
#define WITGATE_EXPORT_FALLBACK(Policy)                                                                                \
  bool exports_witgate_policy_fallback_after_failure(witgate::Request *request,                                        \
                                                     exports_witgate_policy_fallback_list_failed_attempt_t *failures,  \
                                                     WITGATE_ARGUMENTS, witgate::Verdict *verdict,                     \
                                                     policy_string_t *problem) {                                       \
    const witgate::Arguments arguments{request, candidates, signals, facts};                                           \
    const std::span<const witgate::FailedAttempt> failed(failures->ptr, failures->len);                                \
    const witgate::Answer answer = witgate::policy<Policy>->after_failure(arguments.decision(), failed);               \
    exports_witgate_policy_fallback_list_failed_attempt_free(failures);                                                \
    return witgate::answer(answer, verdict, problem);                                                                  \
  }
#else
#define WITGATE_EXPORT_FALLBACK(Policy)
#endif

#ifdef WITGATE_FILTER
#define WITGATE_EXPORT_FILTER(Policy)                                                                                  \
  bool exports_witgate_policy_filter_keep(witgate::Request *request, WITGATE_ARGUMENTS, policy_list_u32_t *kept,       \
                                          policy_string_t *problem) {                                                  \
    const witgate::Arguments arguments{request, candidates, signals, facts};                                           \
    return witgate::answer(witgate::Kept(witgate::policy<Policy>->keep(arguments.decision())), kept, problem);         \
  }
#else
#define WITGATE_EXPORT_FILTER(Policy)
#endif

#ifdef WITGATE_SCORER
#define WITGATE_EXPORT_SCORER(Policy)                                                                                  \
  bool exports_witgate_policy_scorer_score(witgate::Request *request, WITGATE_ARGUMENTS, policy_list_f64_t *scores,    \
                                           policy_string_t *problem) {                                                 \
    const witgate::Arguments arguments{request, candidates, signals, facts};                                           \
    return witgate::answer(witgate::Scores(witgate::policy<Policy>->score(arguments.decision())), scores, problem);    \
  }
#else
#define WITGATE_EXPORT_SCORER(Policy)
#endif

#ifdef WITGATE_OBSERVER
#define WITGATE_EXPORT_OBSERVER(Policy)                                                                                \
  bool exports_witgate_policy_observer_observe(uint32_t rows, policy_list_f64_t *columns, policy_string_t *problem) {  \
    const witgate::Learned learned = witgate::policy<Policy>->observe(witgate::Outcomes(rows, columns->ptr));          \
    policy_list_f64_free(columns);                                                                                     \
    if (learned) *problem = witgate::copy(learned->text);                                                              \
    return !learned;                                                                                                   \
  }
#else
#define WITGATE_EXPORT_OBSERVER(Policy)
#endif

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
  WITGATE_EXPORT_ROUTER(Policy)                                                                                        \
  WITGATE_EXPORT_FALLBACK(Policy)                                                                                      \
  WITGATE_EXPORT_FILTER(Policy)                                                                                        \
  WITGATE_EXPORT_SCORER(Policy)                                                                                        \
  WITGATE_EXPORT_OBSERVER(Policy)                                                                                      \
  }

#endif
