// A routing policy in C++.
#include "witgate.hpp"

#include <array>

struct LeastBusy {
  static constexpr witgate::About about{
      .name = "least-busy-cpp", .version = "1.0.0", .summary = "Fewest in flight; then no pause, fewest errors, cheapest."};

  explicit LeastBusy(witgate::Setup &setup) { setup.signals = {"in-flight", "cooldown-ms", "error-rate", "usd-per-mtok-out"}; }

  witgate::Answer route(const witgate::Decision &decision) const {
    const std::array columns{decision.column(0), decision.column(1), decision.column(2), decision.column(3)};
    return witgate::pick(decision.lowest([&](size_t row) {
      return std::array{columns[0][row], columns[1][row], columns[2][row], columns[3][row]};
    }));
  }
};

WITGATE_REGISTER(LeastBusy)
