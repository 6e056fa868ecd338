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

/// One attempt of this request that failed.
pub const FailedAttempt = extern struct {
    /// The deployment that was tried.
    target: u32,
    /// A place in the catalogue's list of failures.
    kind: u32,
    /// HTTP status of the upstream; 0 when there was none.
    status: u32,
    retry_after_ms: f64,
    elapsed_ms: f64,
    tokens_sent: u32,
};

/// What became of some attempts, as columns. Valid during the call.
pub const Outcomes = struct {
    /// How many there are; never 0.
    rows: usize,
    columns: []const f64,

    /// One value for each outcome, of the subscribed field at this place.
    pub fn column(self: Outcomes, place: usize) []const f64 {
        return self.columns[place * self.rows ..][0..self.rows];
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
    outcomes: []const []const u8 = &.{},
    reasons: []const []const u8 = &.{},
    overlays: []const []const u8 = &.{},
    /// Called once in each instance, before any decision; an error refuses the configuration.
    configure: ?*const fn (Setup) Error!void = null,
    /// The hooks; those that the policy's world exports.
    route: ?*const fn (Decision) Error!Verdict = null,
    after_failure: ?*const fn (Decision, []const FailedAttempt) Error!Verdict = null,
    /// The candidates to keep.
    keep: ?*const fn (Decision) Error![]const u32 = null,
    /// A number from 0 to 1 for each candidate.
    score: ?*const fn (Decision) Error![]const f64 = null,
    observe: ?*const fn (Outcomes) Error!void = null,
};

/// Numbers that all instances of the policy in this gateway share, and that outlive them; 0 at first.
pub const Table = struct {
    number: u32,

    /// Call it in `configure`: opening the same name again gives the same table.
    pub fn open(name: []const u8, width: usize) Error!Table {
        const process = 0;
        const newest = 2;
        var answer: extern struct { tag: u8, body: extern union { number: u32, problem: String } } = undefined;
        imports.open(name.ptr, name.len, width, process, newest, &answer);
        if (answer.tag != 0) return fail("{s}", .{answer.body.problem.items()});
        return .{ .number = answer.body.number };
    }

    pub fn load(self: Table, index: u32) f64 {
        return imports.load(self.number, index);
    }

    pub fn store(self: Table, index: u32, value: f64) void {
        imports.store(self.number, index, value);
    }

    /// Adds and gives the new value, in one step.
    pub fn add(self: Table, index: u32, delta: f64) f64 {
        return imports.add(self.number, index, delta);
    }
};

/// The request header's first value. The world must import `headers`, and the configuration grant it.
pub fn header(name: []const u8) ?[]const u8 {
    var answer: extern struct { tag: u8, value: String } = undefined;
    imports.value(name.ptr, name.len, &answer);
    return if (answer.tag == 0) null else answer.value.items();
}

/// The prompt's text from its byte `start` on. The world must import `prompt`, and the configuration grant it.
pub fn prompt(start: u32, max_bytes: u32) []const u8 {
    var answer: String = undefined;
    imports.text(start, max_bytes, &answer);
    return answer.items();
}

/// What is used of it becomes an import of the module.
const imports = struct {
    extern "witgate:policy/cells@0.1.0" fn open(name: [*]const u8, len: usize, width: usize, scope: u32, merge: u32, answer: *anyopaque) void;
    extern "witgate:policy/cells@0.1.0" fn load(table: u32, index: u32) f64;
    extern "witgate:policy/cells@0.1.0" fn store(table: u32, index: u32, value: f64) void;
    extern "witgate:policy/cells@0.1.0" fn add(table: u32, index: u32, delta: f64) f64;
    extern "witgate:policy/headers@0.1.0" fn value(name: [*]const u8, len: usize, answer: *anyopaque) void;
    extern "witgate:policy/prompt@0.1.0" fn text(start: u32, max_bytes: u32, answer: *anyopaque) void;
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
    const functions = Exports(policy);
    publish(&functions.describe, "lifecycle", "describe");
    publish(&functions.configure, "lifecycle", "configure");
    if (policy.route != null) publish(&functions.route, "router", "route");
    if (policy.after_failure != null) publish(&functions.afterFailure, "fallback", "after-failure");
    if (policy.keep != null) publish(&functions.keep, "filter", "keep");
    if (policy.score != null) publish(&functions.score, "scorer", "score");
    if (policy.observe != null) publish(&functions.observe, "observer", "observe");
    @export(&realloc, .{ .name = "cabi_realloc" });
}

fn publish(comptime function: anytype, comptime interface: []const u8, comptime method: []const u8) void {
    const name = "witgate:policy/" ++ interface ++ "@0.1.0#" ++ method;
    @export(function, .{ .name = name });
    @export(&done, .{ .name = "cabi_post_" ++ name });
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
        wanted: extern struct { signals: List(String), facts: List(String), outcomes: List(String), reasons: List(String), overlays: List(String) },
        refusal: String,
    },
};
/// A `result` whose content is a list, or nothing.
const Listed = extern struct {
    tag: u8 = 0,
    body: extern union { list: extern struct { at: u32 = 0, len: u32 = 0 }, problem: String } = .{ .list = .{} },
};
const RawAttempt = extern struct { target: u32, start: u8, delay_ms: f64, timeout_ms: f64, overlaid: u8, overlay: u32 };
const RawVerdict = extern struct {
    tag: u8,
    body: extern union {
        target: u32,
        plan: extern struct { attempts: List(RawAttempt), reason: u32, tag: u32 },
        rejection: extern struct { status: u32, retry_after_ms: f64, reason: u32 },
    },
};
const Decided = extern struct {
    tag: u8 = 0,
    body: extern union { verdict: RawVerdict, problem: String },
};

fn Exports(comptime policy: Policy) type {
    return struct {
        var info: Info = undefined;
        var subscribed: Subscribed = undefined;
        var decided: Decided = undefined;
        var listed: Listed = undefined;

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
                .outcomes = try strings(policy.outcomes),
                .reasons = try strings(policy.reasons),
                .overlays = try strings(policy.overlays),
            } } };
        }

        fn route(decision: u32, attempt: u32, seed: u32, now_ms: f64, a: u32, a_len: u32, b: u32, b_len: u32, c: u32, c_len: u32) callconv(.c) *const Decided {
            const asked = question(decision, attempt, seed, now_ms, a, a_len, b, b_len, c, c_len);
            decided = verdictOf(policy.route.?(asked));
            return &decided;
        }

        fn afterFailure(decision: u32, attempt: u32, seed: u32, now_ms: f64, failed: u32, failed_len: u32, a: u32, a_len: u32, b: u32, b_len: u32, c: u32, c_len: u32) callconv(.c) *const Decided {
            const asked = question(decision, attempt, seed, now_ms, a, a_len, b, b_len, c, c_len);
            const failures = (List(FailedAttempt){ .at = failed, .len = failed_len }).items();
            decided = verdictOf(policy.after_failure.?(asked, failures));
            return &decided;
        }

        fn keep(decision: u32, attempt: u32, seed: u32, now_ms: f64, a: u32, a_len: u32, b: u32, b_len: u32, c: u32, c_len: u32) callconv(.c) *const Listed {
            listed = listOf(u32, policy.keep.?(question(decision, attempt, seed, now_ms, a, a_len, b, b_len, c, c_len)));
            return &listed;
        }

        fn score(decision: u32, attempt: u32, seed: u32, now_ms: f64, a: u32, a_len: u32, b: u32, b_len: u32, c: u32, c_len: u32) callconv(.c) *const Listed {
            listed = listOf(f64, policy.score.?(question(decision, attempt, seed, now_ms, a, a_len, b, b_len, c, c_len)));
            return &listed;
        }

        fn observe(rows: u32, a: u32, a_len: u32) callconv(.c) *const Listed {
            const outcomes: Outcomes = .{ .rows = rows, .columns = (List(f64){ .at = a, .len = a_len }).items() };
            listed = if (policy.observe.?(outcomes)) .{} else |problem| .{ .tag = 1, .body = .{ .problem = text(problem) } };
            return &listed;
        }
    };
}

fn question(decision: u32, attempt: u32, seed: u32, now_ms: f64, a: u32, a_len: u32, b: u32, b_len: u32, c: u32, c_len: u32) Decision {
    return .{
        .request = .{ .decision = decision, .attempt = attempt, .seed = seed, .now_ms = now_ms },
        .candidates = (List(u32){ .at = a, .len = a_len }).items(),
        .signals = (List(f64){ .at = b, .len = b_len }).items(),
        .facts = (List(f64){ .at = c, .len = c_len }).items(),
    };
}

fn verdictOf(answer: Error!Verdict) Decided {
    const verdict = lower(answer) catch |problem| return .{ .tag = 1, .body = .{ .problem = text(problem) } };
    return .{ .body = .{ .verdict = verdict } };
}

fn lower(answer: Error!Verdict) Error!RawVerdict {
    return switch (try answer) {
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
    };
}

fn listOf(comptime T: type, answer: Error![]const T) Listed {
    const items = answer catch |problem| return .{ .tag = 1, .body = .{ .problem = text(problem) } };
    const list: List(T) = .of(items);
    return .{ .body = .{ .list = .{ .at = list.at, .len = list.len } } };
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
