//! Picks what is cheapest at this hour: some providers sell at another price by night.
//!
//! The configured prices are those of the day. The label `tariff` of a deployment names its windows in the settings, in
//! which they are multiplied by a factor. Of deployments at the same price, the one with fewer requests in flight is used.
const std = @import("std");
const witgate = @import("witgate");

const minutes_a_day = 24 * 60;

const Settings = struct {
    windows: []const struct { tariff: []const u8, from: []const u8, to: []const u8, factor: f64 },
    output_tokens: f64 = 500,
};

/// From the minute `from` up to the minute `to`; over midnight when that is earlier.
const Window = struct {
    from: u32,
    to: u32,
    factor: f64,

    fn holds(self: Window, minute: u32) bool {
        if (self.from <= self.to) return self.from <= minute and minute < self.to;
        return minute >= self.from or minute < self.to;
    }
};

/// The windows of each deployment, by its number.
var windows: []const []const Window = &.{};
var output_tokens: f64 = 0;

fn configure(setup: witgate.Setup) witgate.Error!void {
    const settings = try setup.read(Settings);
    output_tokens = settings.output_tokens;
    const found = try setup.keep.alloc([]const Window, setup.deployments.len);
    for (found, setup.deployments) |*own, deployment| {
        var list: std.ArrayList(Window) = .empty;
        const tariff = deployment.label("tariff") orelse "";
        for (settings.windows) |window| if (std.mem.eql(u8, window.tariff, tariff))
            try list.append(setup.keep, .{ .from = minute_of(window.from), .to = minute_of(window.to), .factor = window.factor });
        own.* = list.items;
    }
    for (settings.windows) |window| {
        for (setup.deployments) |deployment| {
            if (std.mem.eql(u8, deployment.label("tariff") orelse "", window.tariff)) break;
        } else return witgate.fail("settings: no deployment has the label `tariff: {s}`", .{window.tariff});
    }
    windows = found;
}

fn route(decision: witgate.Decision) witgate.Error!witgate.Verdict {
    const in_flight, const usd_in, const usd_out = .{ decision.column(0), decision.column(1), decision.column(2) };
    const prompt, const limit = .{ decision.facts[0], decision.facts[1] };
    const answer = if (limit > 0) @min(limit, output_tokens) else output_tokens;
    const minute: u32 = @trunc(@mod(decision.request.now_ms / 60_000, minutes_a_day));

    var best: usize = 0;
    var least = std.math.inf(f64);
    var reduced = false;
    for (decision.candidates, 0..) |target, row| {
        const factor = factor_at(windows[target], minute);
        const usd = factor * (prompt * usd_in[row] + answer * usd_out[row]);
        if (usd < least or (usd == least and in_flight[row] < in_flight[best])) {
            best, least, reduced = .{ row, usd, factor < 1 };
        }
    }
    const attempts = try witgate.allocator().dupe(witgate.Attempt, &.{.{ .target = decision.candidates[best] }});
    return .{ .follow = .{ .attempts = attempts, .reason = @intFromBool(reduced) } };
}

fn factor_at(own: []const Window, minute: u32) f64 {
    for (own) |window| if (window.holds(minute)) return window.factor;
    return 1;
}

/// Of `HH:MM`; the schema has checked it.
fn minute_of(text: []const u8) u32 {
    const digit = struct {
        fn at(of: []const u8, place: usize) u32 {
            return of[place] - '0';
        }
    }.at;
    return (digit(text, 0) * 10 + digit(text, 1)) * 60 + digit(text, 3) * 10 + digit(text, 4);
}

comptime {
    witgate.register(.{
        .name = "time-of-day",
        .version = "1.0.0",
        .summary = "Picks what is cheapest at this hour.",
        .settings_schema = @embedFile("settings.schema.json"),
        .signals = &.{ "in-flight", "usd-per-mtok-in", "usd-per-mtok-out" },
        .facts = &.{ "prompt-tokens", "max-output-tokens" },
        .reasons = &.{ "cheapest", "cheapest, at a reduced price" },
        .configure = configure,
        .route = route,
    });
}
