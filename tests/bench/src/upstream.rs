//! A model server that answers at once: the same chat completion, or the same stream of 50 chunks.
//!
//! As cheap as it can be on one thread, so that it takes little of the core that it shares with the load. Each chunk
//! of a stream is a write of its own, as a model's tokens are. Below [`FAIL`] every answer is a 503.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::wire::{Framing, Head, bad, header};

/// Events of a stream, the closing `[DONE]` not counted.
pub(crate) const CHUNKS: usize = 50;
/// Bytes of an answer's body.
const ANSWER: usize = 636;

/// The path below which everything fails, at once.
pub(crate) const FAIL: &str = "/fail";

/// How long the mock takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Before the first byte.
    pub(crate) first: Duration,
    /// Between the chunks of a stream.
    pub(crate) chunk: Duration,
}

/// Listens on all addresses until the process ends.
///
/// # Errors
/// When an address is taken.
pub(crate) async fn serve(addresses: &[SocketAddr], pace: Pace) -> io::Result<()> {
    let texts: &'static Texts = Box::leak(Box::new(Texts::new()));
    let mut listeners = JoinSet::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await?;
        listeners.spawn(accept(listener, texts, pace));
    }
    while let Some(ended) = listeners.join_next().await {
        ended??;
    }
    Ok(())
}

async fn accept(listener: TcpListener, texts: &'static Texts, pace: Pace) -> io::Result<()> {
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        // A client that goes away in the middle is no error here.
        tokio::spawn(converse(socket, texts, pace));
    }
}

async fn converse(mut socket: TcpStream, texts: &'static Texts, pace: Pace) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        let Some(request) = read_request(&mut socket, &mut buffer).await? else { return Ok(()) };
        let (head, body) = buffer[..request.end].split_at(request.head);
        let streams = memchr::memmem::find(body, b"\"stream\":true").is_some();
        let last = header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        wait(pace.first).await;
        if is_below(head, FAIL) {
            socket.write_all(texts.failure.as_bytes()).await?;
        } else if streams {
            socket.write_all(texts.stream_head.as_bytes()).await?;
            for (number, event) in texts.events.iter().enumerate() {
                if number > 0 {
                    wait(pace.chunk).await;
                }
                socket.write_all(event.as_bytes()).await?;
                // Other streams go on in between; otherwise a proxy would find the whole stream in one read.
                tokio::task::yield_now().await;
            }
        } else {
            socket.write_all(texts.answer.as_bytes()).await?;
        }
        if last {
            return socket.shutdown().await;
        }
        buffer.drain(..request.end);
    }
}

/// Whether the request's path begins like this.
fn is_below(head: &[u8], folder: &str) -> bool {
    let path = head.splitn(3, |byte| *byte == b' ').nth(1).unwrap_or_default();
    path.strip_prefix(folder.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
}

/// Where a request in the buffer ends.
struct Request {
    head: usize,
    end: usize,
}

/// Reads until a request is complete; `None` when the client is done.
async fn read_request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some(head) = Head::parse(buffer)? {
            let Framing::Length(body) = head.body else { return Err(bad("the mock takes no chunked requests")) };
            let end = head.length + body;
            if buffer.len() >= end {
                return Ok(Some(Request { head: head.length, end }));
            }
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Everything that the mock says, ready to be written.
struct Texts {
    answer: String,
    failure: String,
    stream_head: String,
    events: Vec<String>,
}

impl Texts {
    fn new() -> Self {
        let body = answer_body();
        let length = body.len();
        let events = (0..CHUNKS).map(event).chain(["data: [DONE]\n\n".to_owned()]);
        let mut events: Vec<String> = events.map(|text| format!("{:x}\r\n{text}\r\n", text.len())).collect();
        if let Some(last) = events.last_mut() {
            last.push_str("0\r\n\r\n");
        }
        Self {
            answer: format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            ),
            failure: format!(
                "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BUSY}",
                BUSY.len()
            ),
            stream_head: "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
                          transfer-encoding: chunked\r\n\r\n"
                .to_owned(),
            events,
        }
    }
}

const BUSY: &str = r#"{"error":{"message":"busy","type":"server_error","param":null,"code":null}}"#;

/// A chat completion of exactly [`ANSWER`] bytes.
fn answer_body() -> String {
    let with = |content: &str| {
        format!(
            r#"{{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"bench","choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":42,"completion_tokens":64,"total_tokens":106,"prompt_tokens_details":{{"cached_tokens":0}}}},"system_fingerprint":"fp_bench"}}"#
        )
    };
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(10);
    let room = ANSWER.saturating_sub(with("").len()).min(text.len());
    with(&text[..room])
}

fn event(number: usize) -> String {
    let finish = if number + 1 == CHUNKS { "\"stop\"" } else { "null" };
    format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
         \"model\":\"bench\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{number:02}\"}},\
         \"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn the_answer_has_its_size_and_is_json() {
        let body = answer_body();
        assert_eq!(body.len(), ANSWER);
        let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(parsed["choices"][0]["finish_reason"], "stop");
    }

    #[test]
    fn what_is_below_a_folder_is_told_from_what_begins_alike() {
        assert!(is_below(b"POST /fail/chat/completions HTTP/1.1\r\n", FAIL));
        assert!(!is_below(b"POST /failure/chat HTTP/1.1\r\n", FAIL));
        assert!(!is_below(b"POST /v1/fail/chat HTTP/1.1\r\n", FAIL));
    }

    #[test]
    fn events_are_json_and_the_last_one_says_stop() {
        for number in 0..CHUNKS {
            let text = event(number);
            let json = text.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
            let parsed: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!(parsed["choices"][0]["finish_reason"] == "stop", number == CHUNKS - 1);
        }
    }
}
