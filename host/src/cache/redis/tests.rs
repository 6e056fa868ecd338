//! The shared tier against a real server.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use witgate_core::config::{self, Secret};

use super::*;
use crate::cache::tests::{ANSWER, World, scope};
use crate::cache::{Scope, Tier};

/// A Redis of this test's own; killed when dropped.
struct Server {
    port: u16,
    process: Child,
}

impl Server {
    fn start() -> Self {
        // Bound, read and let go: nobody else takes the port in between.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        Self { port, process: run(port) }
    }

    fn config(&self, timeout: Duration) -> Option<config::Redis> {
        let url = Secret::new(format!("redis://127.0.0.1:{}", self.port));
        Some(config::Redis { url, timeout, prefix: "test:".to_owned() })
    }

    /// As `kill -9`.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.process = run(self.port);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// One command to the server, besides the cache.
    fn tell<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let client = Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let mut all = redis::cmd(command[0]);
        all.arg(&command[1..]);
        all.query(&mut client.get_connection().unwrap()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(port: u16) -> Child {
    let process = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server cannot be started; install it (Debian: `apt install redis-server`, macOS: `brew install redis`)");
    let start = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "redis-server does not listen on port {port}");
        std::thread::sleep(Duration::from_millis(10));
    }
    process
}

/// Waits until the world's link to Redis is up.
async fn connected(world: &World) {
    let redis = world.cache.0.redis.as_ref().unwrap();
    let start = Instant::now();
    while redis.connection().is_none() {
        assert!(start.elapsed() < Duration::from_secs(10), "no connection to Redis");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn gateway(server: &Server) -> World {
    let world = World::new(server.config(Duration::from_secs(2)));
    connected(&world).await;
    world
}

/// A world has kept an answer, and it is in Redis.
async fn kept_by_another(server: &Server, scope: &Scope) {
    let other = gateway(server).await;
    other.keep(scope, &[ANSWER]).await;
    other.cache.stop().await;
    assert_eq!(server.tell::<u64>(&["DBSIZE"]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_one_gateway_serves_the_other() {
    let (server, scope) = (Server::start(), scope("60s"));
    kept_by_another(&server, &scope).await;
    let world = gateway(&server).await;
    let answer = |tier| Some((Bytes::from_static(ANSWER), tier));
    assert_eq!(world.found(&scope).await, answer(Tier::Redis));
    assert_eq!(world.found(&scope).await, answer(Tier::Memory));
    assert_eq!(world.count(r#"witgate_cache_lookups_total{result="hit",tier="redis"}"#), 1);
    // The name shows nothing of the question.
    let names: Vec<String> = server.tell(&["KEYS", "*"]);
    let digest = names[0].strip_prefix("test:cache:").unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_in_redis_moves_into_memory_for_the_time_that_is_left() {
    let (server, scope) = (Server::start(), scope("2s"));
    kept_by_another(&server, &scope).await;
    let kept = Instant::now();
    let left: i64 = server.tell(&["PTTL", &server.tell::<Vec<String>>(&["KEYS", "*"])[0]]);
    assert!((1..=2000).contains(&left), "{left} ms left");
    let world = gateway(&server).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.found(&scope).await.map(|(_, tier)| tier), Some(Tier::Redis));
    while let Some((_, tier)) = world.found(&scope).await {
        assert_eq!(tier, Tier::Memory);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Kept for its whole time anew, it would be there for three seconds.
    assert!(kept.elapsed() < Duration::from_millis(2900), "there for {:?}", kept.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_changed_is_a_miss() {
    let (server, scope) = (Server::start(), scope("60s"));
    kept_by_another(&server, &scope).await;
    let world = gateway(&server).await;
    let name = &server.tell::<Vec<String>>(&["KEYS", "*"])[0];
    server.tell::<u64>(&["APPEND", name, "x"]);
    assert_eq!(world.found(&scope).await, None);
    assert_eq!(world.count(r#"witgate_cache_errors_total{kind="corrupt"}"#), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_costs_hits_and_comes_back() {
    let (mut server, scope) = (Server::start(), scope("60s"));
    kept_by_another(&server, &scope).await;
    let world = gateway(&server).await;
    server.kill();
    let start = Instant::now();
    for _ in 0..50 {
        assert_eq!(world.found(&scope).await, None);
    }
    assert!(start.elapsed() < Duration::from_secs(1), "50 questions took {:?}", start.elapsed());
    assert_eq!(world.count(r#"witgate_cache_lookups_total{result="unavailable",tier="redis"}"#), 50);

    server.restart();
    connected(&world).await;
    world.keep(&scope, &[ANSWER]).await;
    world.cache.stop().await;
    assert_eq!(server.tell::<u64>(&["DBSIZE"]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_one_timeout() {
    let (server, scope) = (Server::start(), scope("60s"));
    let world = World::new(server.config(Duration::from_millis(50)));
    connected(&world).await;
    server.signal(Signal::STOP);
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(world.found(&scope).await, None);
    }
    let took = start.elapsed();
    server.signal(Signal::CONT);
    // The first question waited; the others knew.
    assert!((50..2000).contains(&took.as_millis()), "100 questions took {took:?}");
    assert_eq!(world.count(r#"witgate_cache_errors_total{kind="redis"}"#), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_never_there_delays_nothing() {
    let mut server = Server::start();
    server.kill();
    let start = Instant::now();
    let (world, scope) = (World::new(server.config(Duration::from_secs(2))), scope("60s"));
    world.keep(&scope, &[ANSWER]).await;
    assert_eq!(world.found(&scope).await.map(|(_, tier)| tier), Some(Tier::Memory));
    world.cache.stop().await;
    assert!(start.elapsed() < Duration::from_secs(1), "it took {:?}", start.elapsed());
    assert_eq!(world.count(r#"witgate_cache_stores_total{result="not-shared"}"#), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_command_does_not_cut_the_link() {
    let (server, scope) = (Server::start(), scope("60s"));
    let world = gateway(&server).await;
    let () = server.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    world.keep(&scope, &[ANSWER]).await;
    let redis = world.cache.0.redis.as_ref().unwrap();
    while world.count(r#"witgate_cache_errors_total{kind="redis"}"#) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(redis.connection().is_some());
    assert_eq!(world.count(r#"witgate_cache_stores_total{result="not-shared"}"#), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_is_bounded() {
    let server = Server::start();
    let world = World::new(server.config(Duration::from_secs(2)));
    connected(&world).await;
    let redis = world.cache.0.redis.clone().unwrap();
    let entry = |length| {
        Arc::new(Entry::new(
            &http::HeaderMap::new(),
            Bytes::from(vec![b'x'; length]),
            "m@p",
            Duration::from_secs(60),
            0,
        ))
    };
    let overhead = entry(0).weight();
    redis.put(Key([1; 32]), entry(ON_THEIR_WAY + 1 - overhead));
    assert_eq!(world.count(r#"witgate_cache_stores_total{result="not-shared"}"#), 1);
    redis.put(Key([2; 32]), entry(ON_THEIR_WAY - overhead));
    assert_eq!(redis.0.room.available_permits(), 0);
    redis.put(Key([3; 32]), entry(1));
    assert_eq!(world.count(r#"witgate_cache_stores_total{result="not-shared"}"#), 2);
    redis.stop().await;
    assert_eq!(redis.0.room.available_permits(), ON_THEIR_WAY / PERMIT);
    assert_eq!(server.tell::<Vec<String>>(&["KEYS", "*"]), [format!("test:cache:{}", Key([2; 32]))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_no_tls_is_down_for_a_url_that_asks_for_it() {
    let server = Server::start();
    let url = Secret::new(format!("rediss://127.0.0.1:{}", server.port));
    let world = World::new(Some(config::Redis { url, ..server.config(Duration::from_secs(2)).unwrap() }));
    let redis = world.cache.0.redis.clone().unwrap();
    let start = Instant::now();
    // While it is being connected, even a later moment is told to skip.
    while matches!(redis.0.link.lock().step(Instant::now() + Duration::from_secs(60)), Step::Skip) {
        assert!(
            start.elapsed() < CONNECT_TIMEOUT + Duration::from_secs(5),
            "the connection is neither made nor given up"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.found(&scope("60s")).await, None);
}
