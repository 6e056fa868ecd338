//! A routing policy in Zig.
const witgate = @import("witgate");

fn route(decision: witgate.Decision) witgate.Error!witgate.Verdict {
    var best: usize = 0;
    for (1..decision.candidates.len) |i| {
        for (0..4) |signal| {
            const column = decision.column(signal);
            if (column[i] == column[best]) continue;
            if (column[i] < column[best]) best = i;
            break;
        }
    }
    return .{ .pick = decision.candidates[best] };
}

comptime {
    witgate.register(.{
        .name = "least-busy-zig",
        .version = "1.0.0",
        .summary = "Fewest in flight; then no pause, fewest errors, cheapest.",
        .signals = &.{ "in-flight", "cooldown-ms", "error-rate", "usd-per-mtok-out" },
        .route = route,
    });
}
