// A routing policy in C++.
#include "witgate.hpp"

struct LeastBusy {
  static constexpr witgate::About about{
      .name = "least-busy-cpp", .version = "1.0.0", .summary = "Fewest requests in flight; of equals, the cheapest."};

  explicit LeastBusy(witgate::Setup &setup) { setup.signals = {"in-flight", "usd-per-mtok-out"}; }

  witgate::Answer route(const witgate::Decision &decision) const {
    const auto in_flight = decision.column(0), usd = decision.column(1);
    return witgate::pick(decision.lowest([&](size_t row) { return std::pair(in_flight[row], usd[row]); }));
  }
};

WITGATE_REGISTER(LeastBusy)
