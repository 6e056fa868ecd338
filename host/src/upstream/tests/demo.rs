//! The built-in provider.

use serde_json::json;
use witgate_core::config::Demo;

use super::*;

fn demo(settings: Demo) -> Upstreams {
    let mut configured = provider("127.0.0.1:1".parse().unwrap());
    configured.dialect = Dialect::Demo;
    configured.demo = Some(settings);
    upstreams(&configured)
}

fn quick() -> Demo {
    Demo {
        first_token_delay: Duration::ZERO,
        token_delay: Duration::ZERO,
        failure_rate: 0.0,
        reply: Some("one two three".to_owned()),
    }
}

async fn answer(request: &Ask, upstreams: &Upstreams) -> Value {
    serde_json::from_str(&text(request.whole(upstreams).await.body)).unwrap()
}

fn chunks(text: &str) -> Vec<Value> {
    let data = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer() {
    let upstreams = demo(Demo { reply: None, ..quick() });
    let request = ask(r#"{"model":"m","messages":[{"role":"user","content":"Hi\nthere"}]}"#);
    let first = answer(&request, &upstreams).await;
    let content = &first["choices"][0]["message"]["content"];
    assert_eq!(content, "This is theirs, a demo model that is part of Witgate. You said: there");
    assert_eq!(first["model"], "theirs");
    assert_eq!(first["choices"][0]["finish_reason"], "stop");
    let second = answer(&request, &upstreams).await;
    assert_eq!((&first["id"], &first["choices"]), (&second["id"], &second["choices"]));
}

#[tokio::test]
async fn max_tokens_and_n_are_obeyed() {
    let request = ask(r#"{"model":"m","messages":[],"max_tokens":2,"n":2}"#);
    let answer = answer(&request, &demo(quick())).await;
    let choice = |index| {
        json!({
            "index": index, "message": {"role": "assistant", "content": "one two ", "refusal": null},
            "logprobs": null, "finish_reason": "length",
        })
    };
    assert_eq!(answer["choices"], json!([choice(0), choice(1)]));
    assert_eq!(answer["usage"], json!({"prompt_tokens": 0, "completion_tokens": 4, "total_tokens": 4}));
}

#[tokio::test]
async fn a_stream_has_role_content_finish_usage_and_done() {
    let request = ask(r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#);
    let mut events = request.events(&demo(quick())).await;
    let (text, failure) = drain(&mut events).await;
    assert_eq!(failure, None);
    assert!(text.ends_with("data: [DONE]\n\n"));
    let chunks = chunks(&text);
    let deltas: Vec<_> =
        chunks.iter().filter_map(|chunk| chunk["choices"].get(0)).map(|choice| &choice["delta"]).collect();
    let role = json!({"role": "assistant", "content": ""});
    let content = ["one ", "two ", "three"].map(|token| json!({"content": token}));
    assert_eq!(deltas, [&role, &content[0], &content[1], &content[2], &json!({})]);
    let usage = &chunks.last().unwrap()["usage"];
    assert_eq!(usage, &json!({"prompt_tokens": 0, "completion_tokens": 3, "total_tokens": 3}));
    assert_eq!(
        (chunks[0]["usage"].clone(), chunks[4]["choices"][0]["finish_reason"].clone()),
        (Value::Null, "stop".into())
    );
    assert_eq!(events.tally().usage().unwrap().completion_tokens, Some(3));
}

#[tokio::test]
async fn completions_stream_texts() {
    let mut request = ask(r#"{"model":"m","prompt":"x","stream":true}"#);
    request.endpoint = Endpoint::Completions;
    let (text, _) = drain(request.events(&demo(quick())).await).await;
    let texts: Vec<_> = chunks(&text).iter().map(|chunk| chunk["choices"][0]["text"].clone()).collect();
    assert_eq!(texts, ["one ", "two ", "three", ""]);
    assert!(!text.contains("usage"));
}

#[tokio::test]
async fn embeddings_are_unit_vectors_in_either_encoding() {
    let upstreams = demo(quick());
    let embed = async |body: &str| {
        let request = Ask { endpoint: Endpoint::Embeddings, ..ask(body) };
        answer(&request, &upstreams).await
    };
    let floats = embed(r#"{"model":"m","input":["a","b","a"],"dimensions":8}"#).await;
    let vector =
        |index: usize| -> Vec<f32> { serde_json::from_value(floats["data"][index]["embedding"].clone()).unwrap() };
    assert_eq!((vector(0).len(), vector(0) == vector(2), vector(0) == vector(1)), (8, true, false));
    assert!((vector(0).iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);

    let encoded = embed(r#"{"model":"m","input":"a","dimensions":8,"encoding_format":"base64"}"#).await;
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded["data"][0]["embedding"].as_str().unwrap());
    let decoded: Vec<f32> =
        bytes.unwrap().chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(decoded, vector(0));

    let tokens = embed(r#"{"model":"m","input":[1,2,3]}"#).await;
    assert_eq!(tokens["data"].as_array().unwrap().len(), 1);
    assert_eq!(tokens["data"][0]["embedding"].as_array().unwrap().len(), 256);
}

#[tokio::test]
async fn failures_are_spread_evenly() {
    let upstreams = demo(Demo { failure_rate: 0.25, ..quick() });
    let mut failed = Vec::new();
    for number in 0..8 {
        if let Err(failure) = chat().call(&upstreams).await {
            assert_eq!((failure.kind, failure.status), (FailureKind::ServerError, 500));
            failed.push(number);
        }
    }
    assert_eq!(failed, [3, 7]);
}

#[tokio::test(start_paused = true)]
async fn delays_are_kept() {
    let delays =
        Demo { first_token_delay: Duration::from_millis(300), token_delay: Duration::from_millis(20), ..quick() };
    let upstreams = demo(delays);
    let started = tokio::time::Instant::now();
    let mut events = stream().events(&upstreams).await;
    assert_eq!(started.elapsed(), Duration::from_millis(300));
    drain(&mut events).await;
    assert_eq!(started.elapsed(), Duration::from_millis(340));
    chat().whole(&upstreams).await;
    assert_eq!(started.elapsed(), Duration::from_millis(680));
}
