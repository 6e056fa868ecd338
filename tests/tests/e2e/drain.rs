//! The end of a gateway and the beginning of the next, with real processes and real signals.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use witgate_tests::redis::free_address;
use witgate_tests::{CHAT, Request, chat_events, eventually, gateway, in_time, upstream};

use crate::program::{Serving, run, run_with_sockets};

const ASK: &str = r#"{"model":"fast","messages":[]}"#;
const ASK_STREAM: &str = r#"{"model":"fast","messages":[],"stream":true}"#;

#[tokio::test]
async fn readiness_turns_false_while_requests_are_still_taken() {
    let a = upstream().start().await;
    let mut gateway =
        Serving::start(&gateway().model("fast", [&a]).config(json!({"server": {"drain_delay": "2s"}})).write()).await;
    let mut kept = TcpStream::connect(gateway.address).await.unwrap();
    let before = exchange(&mut kept).await;
    assert!(before.starts_with("HTTP/1.1 200 OK\r\n") && !before.contains("connection: close"), "{before}");
    let asked = Instant::now();
    gateway.signal("TERM");
    eventually("it is not ready", async || {
        gateway.request("GET", "/health/ready").send().await.json() == json!({"status": "draining"})
    })
    .await;
    let answer = gateway.request("POST", CHAT).json(ASK).send().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    // and who had a connection is told to make another one
    let after = exchange(&mut kept).await;
    assert!(after.starts_with("HTTP/1.1 200 OK\r\n") && after.contains("\r\nconnection: close\r\n"), "{after}");
    assert_eq!(in_time(kept.read(&mut [0])).await.unwrap(), 0);
    eventually("no more connections are accepted", async || TcpStream::connect(gateway.address).await.is_err()).await;
    assert!(asked.elapsed() >= Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!(gateway.end().await, Some(0), "{}", gateway.log());
}

#[tokio::test]
async fn what_outlasts_the_grace_time_is_told_in_its_own_way() {
    let a = upstream().chat("one two three").by_permit().start().await;
    let b = upstream().silent().start().await;
    let grace = json!({"server": {"shutdown_grace": "500ms"}});
    let mut gateway = Serving::start(&gateway().model("fast", [&a]).model("slow", [&b]).config(grace).write()).await;
    a.let_go(1);
    let mut stream = gateway.request("POST", CHAT).json(ASK_STREAM).stream().await;
    assert_eq!(stream.event().await, chat_events("one two three")[0]);
    let waiting = gateway.request("POST", CHAT).json(ASK.replace("fast", "slow")).begin().await;
    eventually("the upstream is asked", async || b.hits() == 1).await;
    let asked = Instant::now();
    gateway.signal("TERM");
    let error = json!({"error": {
        "message": "This gateway is shutting down; send the request again.",
        "type": "server_error", "param": null, "code": "shutting_down",
    }});
    // no `[DONE]`: it must not look complete
    assert_eq!(stream.rest().await, [format!("data: {error}\n\n")]);
    assert!(asked.elapsed() >= Duration::from_millis(500), "{:?}", asked.elapsed());
    let answer = waiting.answer().await;
    assert_eq!((answer.status, answer.json()), (503, error));
    assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), (Some("1"), Some("true")));
    assert_eq!(gateway.end().await, Some(0), "{}", gateway.log());
    eventually("the upstreams are let go", async || a.open_connections() + b.open_connections() == 0).await;
    let log = gateway.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut ends: Vec<_> = lines
        .filter(|line| line["outcome"] == "shutting-down")
        .map(|line| (line["status"].clone(), line["tokens_out"].clone()))
        .collect();
    ends.sort_by_key(|(status, _)| status.as_u64());
    // what the client has been given is counted
    assert_eq!(ends, [(json!(200), json!(1)), (json!(503), json!(null))], "{log}");
}

#[tokio::test]
async fn streams_of_http2_are_told_too() {
    let a = upstream().chat("one two three").by_permit().start().await;
    let grace = json!({"server": {"shutdown_grace": "500ms"}});
    let mut gateway = Serving::start(&gateway().model("fast", [&a]).config(grace).write()).await;
    a.let_go(1);
    let url = format!("http://{}{CHAT}", gateway.address);
    let curl = std::process::Command::new("curl")
        .args(["-sN", "--http2-prior-knowledge", "--max-time", "20", "-H", "content-type: application/json"])
        .args(["-d", ASK_STREAM, &url])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("curl runs");
    eventually("the upstream is asked", async || a.hits() == 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    gateway.signal("TERM");
    assert_eq!(gateway.end().await, Some(0), "{}", gateway.log());
    let output = curl.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(&chat_events("one two three")[0]), "{text}");
    assert!(text.ends_with("\"code\":\"shutting_down\"}}\n\n"), "{text}");
    assert!(output.status.success(), "{:?}", output.status);
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let a = upstream().silent().start().await;
    let mut gateway = Serving::start(&gateway().model("fast", [&a]).write()).await;
    let _waiting = gateway.request("POST", CHAT).json(ASK).begin().await;
    eventually("the upstream is asked", async || a.hits() == 1).await;
    gateway.signal("TERM");
    eventually("it drains", async || gateway.log().contains("waiting for requests")).await;
    let second = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.end().await, Some(1), "{}", gateway.log());
    assert!(second.elapsed() < Duration::from_secs(10), "{:?}", second.elapsed());
}

#[tokio::test]
async fn nobody_at_a_terminal_waits_for_load_balancers() {
    let a = upstream().start().await;
    let delay = json!({"server": {"drain_delay": "1h"}});
    let mut gateway = Serving::start(&gateway().model("fast", [&a]).config(delay).write()).await;
    gateway.signal("INT");
    assert_eq!(gateway.end().await, Some(0), "{}", gateway.log());
}

#[tokio::test]
async fn a_port_is_handed_over_without_a_refused_connection() {
    let a = upstream().start().await;
    let address = free_address();
    let server = json!({"server": {"listen": address.to_string(), "reuse_port": true}});
    let folder = gateway().model("fast", [&a]).config(server).write();
    let mut old = Serving::start(&folder).await;
    let load = Load::start(address);
    eventually("the load runs", async || load.answers() > 20).await;
    for _ in 0..3 {
        let new = Serving::start(&folder).await;
        old.signal("TERM");
        assert_eq!(old.end().await, Some(0), "{}", old.log());
        let before = load.answers();
        eventually("the new one serves", async || load.answers() > before + 20).await;
        old = new;
    }
    assert_eq!(load.stop().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_socket_is_handed_over_without_a_refused_connection() {
    let a = upstream().start().await;
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let handed = || OwnedFd::from(socket.try_clone().unwrap());
    // the configured address does not count
    let folder = gateway().model("fast", [&a]).config(json!({"server": {"listen": "127.0.0.1:1"}})).write();
    let mut old = Serving::start_with_socket(&folder, handed()).await;
    assert_eq!(old.address, address);
    let load = Load::start(address);
    eventually("the load runs", async || load.answers() > 20).await;
    for _ in 0..2 {
        // nobody accepts between the two: the socket itself keeps what comes
        old.signal("TERM");
        assert_eq!(old.end().await, Some(0), "{}", old.log());
        old = Serving::start_with_socket(&folder, handed()).await;
        let before = load.answers();
        eventually("the new one serves", async || load.answers() > before + 20).await;
    }
    assert_eq!(load.stop().await, Vec::<String>::new());
}

#[test]
fn what_cannot_be_taken_over_is_told() {
    let folder = gateway_folder(&json!({}));
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let told = run_with_sockets(folder.path(), udp.into(), 1);
    assert_eq!(
        (told.code, told.err.lines().last().unwrap_or_default()),
        (
            1,
            "error: the socket that was handed over (LISTEN_FDS) cannot be used: fd 3 is not a valid tcp socket; it must \
             be a listening TCP socket"
        )
    );
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let told = run_with_sockets(folder.path(), tcp.into(), 2);
    assert_eq!(
        (told.code, told.err.lines().last().unwrap_or_default()),
        (
            1,
            "error: 2 sockets were handed over (LISTEN_FDS), and the gateway takes one: keep one `ListenStream=` in its \
             socket unit"
        )
    );
}

#[test]
fn a_port_is_shared_only_by_those_who_both_say_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = gateway_folder(&json!({"listen": address.to_string(), "reuse_port": true}));
    let told = run(folder.path(), &["serve", "--config", "witgate.yaml"]);
    let expected = format!(
        "error: cannot listen on {address}: Address already in use (os error 98); the process that listens there does \
         not share the port: `server.reuse_port` must be set for both, and both must belong to the same user"
    );
    assert_eq!((told.code, told.err.lines().last().unwrap_or_default()), (1, &*expected));
}

#[tokio::test]
async fn a_supervisor_is_told_of_start_reload_and_end() {
    let a = upstream().start().await;
    let folder = gateway().model("fast", [&a]).write();
    let path = folder.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let told = || {
        let mut room = [0; 256];
        let length = supervisor.recv(&mut room).expect("the supervisor is told");
        String::from_utf8(room[..length].to_vec()).unwrap()
    };
    let mut gateway = Serving::start_supervised(&folder, &path).await;
    assert_eq!(told(), "READY=1\n");
    gateway.signal("HUP");
    let reloading = told();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| rest.strip_suffix('\n'));
    assert!(micros.is_some_and(|micros| micros.parse::<u64>().is_ok()), "{reloading}");
    assert_eq!(told(), "READY=1\n");
    gateway.signal("TERM");
    assert_eq!(told(), "STOPPING=1\n");
    assert_eq!(gateway.end().await, Some(0), "{}", gateway.log());
}

/// Clients that make a new connection for each request, and remember what went wrong.
struct Load {
    ends: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: std::net::SocketAddr) -> Self {
        let (ends, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = || {
            let (ends, answers) = (Arc::clone(&ends), Arc::clone(&answers));
            async move {
                let mut wrong = Vec::new();
                while !ends.load(Relaxed) {
                    match Request::new(address, "POST", CHAT).header("connection", "close").json(ASK).try_send().await {
                        Ok(answer) if answer.status == 200 => _ = answers.fetch_add(1, Relaxed),
                        Ok(answer) => wrong.push(format!("{} {}", answer.status, answer.body_text())),
                        Err(error) => wrong.push(error.to_string()),
                    }
                }
                wrong
            }
        };
        let clients = (0..4).map(|_| tokio::spawn(client())).collect();
        Self { ends, answers, clients }
    }

    fn answers(&self) -> usize {
        self.answers.load(Relaxed)
    }

    /// Everything that went wrong.
    async fn stop(self) -> Vec<String> {
        self.ends.store(true, Relaxed);
        let mut wrong = Vec::new();
        for client in self.clients {
            wrong.extend(in_time(client).await.expect("the client ends"));
        }
        wrong
    }
}

/// One request on a connection that is kept, and the head of its answer.
async fn exchange(kept: &mut TcpStream) -> String {
    kept.write_all(b"GET /health/live HTTP/1.1\r\nhost: gateway\r\n\r\n").await.unwrap();
    let mut room = [0; 1024];
    let length = in_time(kept.read(&mut room)).await.unwrap();
    String::from_utf8(room[..length].to_vec()).unwrap()
}

fn gateway_folder(server: &Value) -> witgate_tests::Folder {
    gateway().model_at("fast", &[free_address()]).config(json!({"server": server})).write()
}
