//! What a Witgate policy in Zig needs: one description to register, decisions with columns, and the words of a verdict.
//!
//! The functions that the gateway calls are written out here, in the component model's canonical ABI: lists and strings
//! arrive as address and length, and an answer is the address of its record. What one call allocates is given back after
//! it; what `configure` allocates with `Setup.keep` stays. There is no C library and no WASI underneath.
const std = @import("std");

/// Fails a call with a text that the gateway logs under the policy's name: `return witgate.fail("why", .{})`.
pub const Error = error{ Declared, OutOfMemory };

pub const Request = struct { decision: u32, attempt: u32, seed: u32, now_ms: f64 };

/// What a policy decides on. Valid during the call.
pub const Decision = struct {
    request: Request,
    /// Numbers of the deployments that may be used; never empty.
    candidates: []const u32,
    signals: []const f64,
    /// In the order of the subscription.
    facts: []const f64,

    /// One value for each candidate, of the subscribed signal at this place.
    pub fn column(self: Decision, place: usize) []const f64 {
        return self.signals[place * self.candidates.len ..][0..self.candidates.len];
    }
};

pub const Start = enum(u8) { at_once, on_failure, hedge };

pub const Attempt = struct {
    target: u32,
    start: Start = .at_once,
    delay_ms: f64 = 0,
    timeout_ms: f64 = 0,
    /// A place in `Policy.overlays`.
    overlay: ?u32 = null,
};

pub const Verdict = union(enum) {
    /// This deployment, at once.
    pick: u32,
    follow: struct { attempts: []const Attempt, reason: u32 = 0, tag: u32 = 0 },
    reject: struct { status: u32, retry_after_ms: f64 = 0, reason: u32 = 0 },
    /// No opinion: the next policy of the chain decides.
    abstain,
};

pub const Deployment = extern struct {
    id: String,
    provider: String,
    model: String,
    region: String,
    capabilities: List(String),
    labels: List(extern struct { key: String, value: String }),

    /// The value of the operator's label.
    pub fn label(self: Deployment, key: []const u8) ?[]const u8 {
        for (self.labels.items()) |entry| if (std.mem.eql(u8, entry.key.items(), key)) return entry.value.items();
        return null;
    }
};

/// What a policy is told once, and what lasts as long as its instance.
pub const Setup = struct {
    deployments: []const Deployment,
    routes: []const String,
    /// A JSON object that fits the policy's schema.
    settings: []const u8,
    keep: std.mem.Allocator,

    /// The settings as a value of a type. Its defaults stand for what is not set.
    pub fn read(self: Setup, comptime T: type) Error!T {
        return std.json.parseFromSliceLeaky(T, self.keep, self.settings, .{ .allocate = .alloc_always }) catch |problem|
            return fail("settings: {s}", .{@errorName(problem)});
    }
};

/// What a policy is. Everything that is left out is empty.
pub const Policy = struct {
    name: []const u8,
    version: []const u8,
    summary: []const u8,
    settings_schema: []const u8 = "{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}",
    signals: []const []const u8 = &.{},
    facts: []const []const u8 = &.{},
    reasons: []const []const u8 = &.{},
    overlays: []const []const u8 = &.{},
    /// Called once in each instance, before any decision; an error refuses the configuration.
    configure: ?*const fn (Setup) Error!void = null,
    route: *const fn (Decision) Error!Verdict,
};

/// For what lasts until the answer is read.
pub fn allocator() std.mem.Allocator {
    return call.allocator();
}

/// Declares an error with its text.
pub fn fail(comptime format: []const u8, arguments: anytype) Error {
    declared = std.fmt.allocPrint(call.allocator(), format, arguments) catch "out of memory";
    return error.Declared;
}

/// Makes the policy of this file the component's. Once, at the top level, under `comptime`.
pub fn register(comptime policy: Policy) void {
    const contract = "witgate:policy/";
    const version = "@0.1.0#";
    const functions = Exports(policy);
    inline for (.{
        .{ &functions.describe, "lifecycle", "describe" },
        .{ &functions.configure, "lifecycle", "configure" },
        .{ &functions.route, "router", "route" },
    }) |entry| {
        const name = contract ++ entry[1] ++ version ++ entry[2];
        @export(entry[0], .{ .name = name });
        @export(&done, .{ .name = "cabi_post_" ++ name });
    }
    @export(&realloc, .{ .name = "cabi_realloc" });
}

/// A list as it crosses.
pub fn List(comptime T: type) type {
    return extern struct {
        at: u32 = 0,
        len: u32 = 0,

        pub fn items(self: @This()) []const T {
            return if (self.len == 0) &.{} else @as([*]const T, @ptrFromInt(self.at))[0..self.len];
        }

        fn of(given: []const T) @This() {
            // The address of an empty slice may be anything, and the gateway checks it.
            return if (given.len == 0) .{} else .{ .at = @intFromPtr(given.ptr), .len = @intCast(given.len) };
        }
    };
}

pub const String = List(u8);

/// Given back after each call.
var call = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);
/// As long as the instance.
var kept = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);
var declared: []const u8 = "";

fn realloc(old: ?[*]u8, old_size: usize, alignment: usize, size: usize) callconv(.c) [*]u8 {
    if (size == 0) return @ptrFromInt(alignment);
    // 8 is the largest alignment in the contract.
    const new = call.allocator().alignedAlloc(u8, .@"8", size) catch @trap();
    if (old) |bytes| @memcpy(new[0..@min(old_size, size)], bytes[0..@min(old_size, size)]);
    return new.ptr;
}

fn done(_: u32) callconv(.c) void {
    _ = call.reset(.retain_capacity);
}

fn strings(given: []const []const u8) Error!List(String) {
    const copies = try call.allocator().alloc(String, given.len);
    for (copies, given) |*copy, string| copy.* = .of(string);
    return .of(copies);
}

const Info = extern struct { name: String, version: String, summary: String, schema: String };
const Subscribed = extern struct {
    tag: u8 = 0,
    body: extern union {
        wanted: extern struct { signals: List(String), facts: List(String), outcomes: List(String) = .{}, reasons: List(String), overlays: List(String) },
        refusal: String,
    },
};
const RawAttempt = extern struct { target: u32, start: u8, delay_ms: f64, timeout_ms: f64, overlaid: u8, overlay: u32 };
const Decided = extern struct {
    tag: u8 = 0,
    body: extern union {
        verdict: extern struct {
            tag: u8,
            body: extern union {
                target: u32,
                plan: extern struct { attempts: List(RawAttempt), reason: u32, tag: u32 },
                rejection: extern struct { status: u32, retry_after_ms: f64, reason: u32 },
            },
        },
        problem: String,
    },
};

fn Exports(comptime policy: Policy) type {
    return struct {
        var info: Info = undefined;
        var subscribed: Subscribed = undefined;
        var decided: Decided = undefined;

        fn describe() callconv(.c) *const Info {
            info = .{
                .name = .of(policy.name),
                .version = .of(policy.version),
                .summary = .of(policy.summary),
                .schema = .of(policy.settings_schema),
            };
            return &info;
        }

        /// Each list is an address and a length: deployments, routes, signals, facts, failures, outcomes, endings, settings.
        fn configure(a: u32, a_len: u32, b: u32, b_len: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, h: u32, h_len: u32) callconv(.c) *const Subscribed {
            const setup: Setup = .{
                .deployments = (List(Deployment){ .at = a, .len = a_len }).items(),
                .routes = (List(String){ .at = b, .len = b_len }).items(),
                .settings = (String{ .at = h, .len = h_len }).items(),
                .keep = kept.allocator(),
            };
            subscribed = subscribe(setup) catch |problem| .{ .tag = 1, .body = .{ .refusal = text(problem) } };
            return &subscribed;
        }

        fn subscribe(setup: Setup) Error!Subscribed {
            if (policy.configure) |prepare| try prepare(setup);
            return .{ .body = .{ .wanted = .{
                .signals = try strings(policy.signals),
                .facts = try strings(policy.facts),
                .reasons = try strings(policy.reasons),
                .overlays = try strings(policy.overlays),
            } } };
        }

        fn route(decision: u32, attempt: u32, seed: u32, now_ms: f64, a: u32, a_len: u32, b: u32, b_len: u32, c: u32, c_len: u32) callconv(.c) *const Decided {
            decided = decide(.{
                .request = .{ .decision = decision, .attempt = attempt, .seed = seed, .now_ms = now_ms },
                .candidates = (List(u32){ .at = a, .len = a_len }).items(),
                .signals = (List(f64){ .at = b, .len = b_len }).items(),
                .facts = (List(f64){ .at = c, .len = c_len }).items(),
            }) catch |problem| .{ .tag = 1, .body = .{ .problem = text(problem) } };
            return &decided;
        }

        fn decide(decision: Decision) Error!Decided {
            return .{ .body = .{ .verdict = switch (try policy.route(decision)) {
                .pick => |target| .{ .tag = 0, .body = .{ .target = target } },
                .follow => |plan| .{ .tag = 1, .body = .{ .plan = .{
                    .attempts = try attempts(plan.attempts),
                    .reason = plan.reason,
                    .tag = plan.tag,
                } } },
                .reject => |rejection| .{ .tag = 2, .body = .{ .rejection = .{
                    .status = rejection.status,
                    .retry_after_ms = rejection.retry_after_ms,
                    .reason = rejection.reason,
                } } },
                .abstain => .{ .tag = 3, .body = .{ .target = 0 } },
            } } };
        }
    };
}

fn attempts(given: []const Attempt) Error!List(RawAttempt) {
    const copies = try call.allocator().alloc(RawAttempt, given.len);
    for (copies, given) |*copy, attempt| copy.* = .{
        .target = attempt.target,
        .start = @intFromEnum(attempt.start),
        .delay_ms = attempt.delay_ms,
        .timeout_ms = attempt.timeout_ms,
        .overlaid = @intFromBool(attempt.overlay != null),
        .overlay = attempt.overlay orelse 0,
    };
    return .of(copies);
}

fn text(problem: Error) String {
    return .of(switch (problem) {
        error.Declared => declared,
        error.OutOfMemory => "out of memory",
    });
}
