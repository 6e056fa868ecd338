// Rates every candidate by several signals at once, each with a weight of the operator's, and tries the best ones in turn.
//
// A signal counts from 0 (the worst of the candidates) to 1 (none better): it is compared with the largest value among
// them, so milliseconds and dollars can be added up. A time that is not known yet counts as the mean of the known ones.
#include <numeric>

#include "witgate.hpp"

namespace {

enum Signal { Latency, Samples, InFlight, Price, Errors };

class WeightedScore {
public:
  static constexpr witgate::About about{
      .name = "weighted-score",
      .version = "1.0.0",
      .summary = "Rates candidates by latency, load, price and errors, weighted.",
      .settings_schema = R"({
        "type": "object", "additionalProperties": false,
        "properties": {
          "latency": {"description": "Weight of the time to first token.", "type": "number", "minimum": 0, "default": 1},
          "load": {"description": "Weight of the requests in flight.", "type": "number", "minimum": 0, "default": 1},
          "price": {"description": "Weight of the price of output tokens.", "type": "number", "minimum": 0, "default": 1},
          "errors": {"description": "Weight of the share of failures.", "type": "number", "minimum": 0, "default": 2}
        }
      })"};

  explicit WeightedScore(witgate::Setup &setup)
      : latency(setup.number("latency", 1)), load(setup.number("load", 1)), price(setup.number("price", 1)),
        errors(setup.number("errors", 2)) {
    setup.signals = {"ttft-ewma-ms", "samples", "in-flight", "usd-per-mtok-out", "error-rate"};
    setup.reasons = {"best weighted score"};
    if (latency + load + price + errors <= 0) setup.refusal = "settings: all weights are 0, so nothing could be rated";
  }

  witgate::Answer route(const witgate::Decision &decision) const {
    std::vector<double> scores(decision.candidates.size());
    const auto rate = [&](double weight, const auto &values) {
      const double largest = *std::max_element(values.begin(), values.end());
      if (largest <= 0) return; // all alike
      for (size_t row = 0; row < scores.size(); row++) scores[row] += weight * (1 - values[row] / largest);
    };
    rate(latency, known_times(decision));
    rate(load, decision.column(InFlight));
    rate(price, decision.column(Price));
    rate(errors, decision.column(Errors));

    std::vector<size_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    const size_t tries = std::min<size_t>(order.size(), 3);
    std::partial_sort(order.begin(), order.begin() + tries, order.end(), [&](size_t a, size_t b) {
      return std::pair(-scores[a], a) < std::pair(-scores[b], b); // of equals, the first
    });
    std::vector<witgate::Attempt> attempts;
    for (size_t i = 0; i < tries; i++) {
      const uint32_t target = decision.candidates[order[i]];
      attempts.push_back(i ? witgate::on_failure(target) : witgate::at_once(target));
    }
    return witgate::follow(attempts);
  }

private:
  static std::vector<double> known_times(const witgate::Decision &decision) {
    const auto times = decision.column(Latency), samples = decision.column(Samples);
    double sum = 0, count = 0;
    for (size_t row = 0; row < times.size(); row++)
      if (samples[row] > 0) sum += times[row], count++;
    std::vector<double> known(times.begin(), times.end());
    for (size_t row = 0; row < known.size(); row++)
      if (samples[row] == 0) known[row] = count > 0 ? sum / count : 0;
    return known;
  }

  double latency, load, price, errors;
};

} // namespace

WITGATE_REGISTER(WeightedScore)
