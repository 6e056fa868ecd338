//! A routing policy in Zig.
const witgate = @import("witgate");

fn route(decision: witgate.Decision) witgate.Error!witgate.Verdict {
    const in_flight, const usd, var best: usize = .{ decision.column(0), decision.column(1), 0 };
    for (in_flight, usd, 0..) |load, price, i|
        if (load < in_flight[best] or (load == in_flight[best] and price < usd[best])) {
            best = i;
        };
    return .{ .pick = decision.candidates[best] };
}

comptime {
    witgate.register(.{
        .name = "least-busy-zig",
        .version = "1.0.0",
        .summary = "Fewest requests in flight; of equals, the cheapest.",
        .signals = &.{ "in-flight", "usd-per-mtok-out" },
        .route = route,
    });
}
