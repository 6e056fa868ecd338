use super::*;
use crate::ability::Abilities;
use crate::deployment::Deployment;
use crate::live::Learnt;
use crate::openai::peek;

fn fleet(deployments: impl IntoIterator<Item = Deployment>) -> Fleet {
    Fleet::new(deployments.into_iter().map(Arc::new).collect(), Vec::new(), None)
}

fn lacks(ability: Ability) -> Deployment {
    Deployment { abilities: Abilities::default().with(ability, false), ..Deployment::default() }
}

fn window(tokens: u32) -> Deployment {
    Deployment { context_tokens: Some(tokens), ..Deployment::default() }
}

fn narrowed(fleet: &Fleet, endpoint: Endpoint, body: &str) -> Result<Vec<u32>, Box<Refusal>> {
    let peek = peek(body.as_bytes(), endpoint).unwrap();
    let candidates: Arc<[u32]> = (0..u32::try_from(fleet.deployments().len()).unwrap()).collect();
    Needs::of(&peek).narrow(fleet, &candidates, &peek, body.as_bytes()).map(|able| able.to_vec())
}

fn chat(more: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"one two three"}}]{more}}}"#)
}

/// Status and whole body of the answer where the only deployment lacks this.
fn told(ability: Ability, endpoint: Endpoint, body: &str) -> (u16, String) {
    let refusal = narrowed(&fleet([lacks(ability)]), endpoint, body).unwrap_err();
    assert_eq!(refusal.kind, FailureKind::Unsupported);
    (refusal.status, String::from_utf8(refusal.body.to_json().to_vec()).unwrap())
}

fn error(message: &str, param: Option<&str>, code: Option<&str>) -> String {
    serde_json::json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}})
        .to_string()
}

use crate::vocabulary::FailureKind;

const IMAGE: &str = r#"{"model":"m","messages":[{"role":"system","content":"x"},{"role":"user","content":[
    {"type":"text","text":"what is it"},{"type":"image_url","image_url":{"url":"data:,"}}]}]}"#;
const TOOLS: &str = r#","tools":[{"type":"function","function":{"name":"f"}}]"#;

#[test]
fn only_those_that_are_known_to_lack_a_need_are_left_out() {
    let fleet = fleet([lacks(Ability::Tools), Deployment::default(), lacks(Ability::Vision)]);
    assert_eq!(narrowed(&fleet, Endpoint::Chat, &chat("")), Ok(vec![0, 1, 2]));
    assert_eq!(narrowed(&fleet, Endpoint::Chat, &chat(TOOLS)), Ok(vec![1, 2]));
    assert_eq!(narrowed(&fleet, Endpoint::Chat, IMAGE), Ok(vec![0, 1]));
}

#[test]
fn what_a_server_tells_counts_too() {
    let fleet = fleet([Deployment::default()]);
    let abilities = Abilities::default().with(Ability::Vision, false);
    fleet.deployments()[0].live.learn(Learnt { abilities, context_tokens: Some(2) });
    assert_eq!(narrowed(&fleet, Endpoint::Chat, IMAGE).unwrap_err().status, 400);
    let too_long = narrowed(&fleet, Endpoint::Chat, &chat("")).unwrap_err();
    assert_eq!(too_long.kind, FailureKind::ContextLength);
}

#[test]
fn a_request_that_asks_for_its_own_window_is_left_to_the_provider() {
    let body = |options: &str| chat(&format!(r#","options":{options}"#));
    assert_eq!(narrowed(&fleet([window(2)]), Endpoint::OllamaChat, &body(r#"{"num_ctx":8192}"#)), Ok(vec![0]));
    let refused = narrowed(&fleet([window(2)]), Endpoint::OllamaChat, &body(r#"{"num_predict":1}"#)).unwrap_err();
    assert_eq!((refused.status, refused.kind), (400, FailureKind::ContextLength));
}

#[test]
fn an_image_to_a_text_model_is_told_as_openai_does() {
    let message = "Invalid content type. image_url is only supported by certain models.";
    let expected = error(message, Some("messages.[1].content.[1].type"), None);
    assert_eq!(told(Ability::Vision, Endpoint::Chat, IMAGE), (400, expected));
}

#[test]
fn responses_are_told_in_their_words() {
    let image = r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":"data:,"}]}]}"#;
    let message = "Invalid content type. input_image is only supported by certain models.";
    let expected = error(message, Some("input[0].content[0].type"), None);
    assert_eq!(told(Ability::Vision, Endpoint::Responses, image), (400, expected));
    let message = "Your input exceeds the context window of this model. Please adjust your input and try again.";
    let long = r#"{"model":"m","input":"one two three"}"#;
    assert_eq!(too_long(window(3), Endpoint::Responses, long), Ok(vec![0]));
    assert_eq!(too_long(window(2), Endpoint::Responses, long), Err(error(message, Some("input"), CODE)));
}

#[test]
fn audio_is_told_by_the_part_or_by_the_modality() {
    let part = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}]}"#;
    let message = "Invalid content type. input_audio is only supported by certain models.";
    let expected = error(message, Some("messages.[0].content.[0].type"), None);
    assert_eq!(told(Ability::Audio, Endpoint::Chat, part), (400, expected));
    let message = "Unsupported value: 'modalities' does not support 'audio' with this model.";
    let expected = error(message, Some("modalities"), Some("unsupported_value"));
    assert_eq!(told(Ability::Audio, Endpoint::Chat, &chat(r#","modalities":["text","audio"]"#)), (400, expected));
}

#[test]
fn parameters_that_a_model_does_not_have_are_told_by_name() {
    for (ability, endpoint, more, field) in [
        (Ability::Reasoning, Endpoint::Chat, r#","reasoning_effort":"low""#, "reasoning_effort"),
        (Ability::Reasoning, Endpoint::Responses, r#","input":"x","reasoning":{"effort":"low"}"#, "reasoning.effort"),
        (Ability::Reasoning, Endpoint::Messages, r#","max_tokens":9,"thinking":{"type":"enabled"}"#, "thinking"),
    ] {
        let message = format!("Unsupported parameter: '{field}' is not supported with this model.");
        let expected = error(&message, Some(field), Some("unsupported_parameter"));
        assert_eq!(told(ability, endpoint, &chat(more)), (400, expected), "{more}");
    }
    for (field, more) in [("tools", TOOLS), ("functions", r#","functions":[{"name":"f"}]"#)] {
        let message = format!(
            "{field} is not supported in this model. For a list of supported models, refer to \
             https://platform.openai.com/docs/guides/function-calling#models-supporting-function-calling."
        );
        assert_eq!(told(Ability::Tools, Endpoint::Chat, &chat(more)), (400, error(&message, None, None)), "{more}");
    }
    // what asks for nothing needs nothing
    let fleet = fleet([lacks(Ability::Reasoning)]);
    assert_eq!(narrowed(&fleet, Endpoint::Chat, &chat(r#","reasoning_effort":"none""#)), Ok(vec![0]));
    let none = chat(r#","input":"x","reasoning":{"effort":"none","summary":"auto"}"#);
    assert_eq!(narrowed(&fleet, Endpoint::Responses, &none), Ok(vec![0]));
    let disabled = chat(r#","max_tokens":9,"thinking":{"type":"disabled"}"#);
    assert_eq!(narrowed(&fleet, Endpoint::Messages, &disabled), Ok(vec![0]));
}

#[test]
fn a_json_schema_to_a_model_without_is_told_as_openai_does() {
    let message = "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model. Learn \
                   more about supported models at the Structured Outputs guide: \
                   https://platform.openai.com/docs/guides/structured-outputs";
    let body = chat(r#","response_format":{"type":"json_schema"}"#);
    assert_eq!(told(Ability::JsonSchema, Endpoint::Chat, &body), (400, error(message, None, None)));
    let body = r#"{"model":"m","input":"x","text":{"format":{"type":"json_schema"}}}"#;
    let message = message.replace("response_format", "text.format");
    assert_eq!(told(Ability::JsonSchema, Endpoint::Responses, body), (400, error(&message, None, None)));
}

#[test]
fn a_model_at_the_wrong_endpoint_is_told_as_openai_does() {
    let message = "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean \
                   to use v1/completions?";
    assert_eq!(told(Ability::Chat, Endpoint::Chat, &chat("")), (404, error(message, Some("model"), None)));
    let message = "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use \
                   v1/chat/completions?";
    let prompt = r#"{"model":"m","prompt":"x"}"#;
    let expected = error(message, Some("model"), None);
    assert_eq!(told(Ability::Completions, Endpoint::Completions, prompt), (404, expected));
    let message = "You are not allowed to generate embeddings from this model";
    let input = r#"{"model":"m","input":"x"}"#;
    assert_eq!(told(Ability::Embeddings, Endpoint::Embeddings, input), (403, error(message, None, None)));
}

/// The answer where the only window is this.
fn too_long(deployment: Deployment, endpoint: Endpoint, body: &str) -> Result<Vec<u32>, String> {
    narrowed(&fleet([deployment]), endpoint, body).map_err(|refusal| {
        assert_eq!((refusal.status, refusal.kind), (400, FailureKind::ContextLength));
        String::from_utf8(refusal.body.to_json().to_vec()).unwrap()
    })
}

const CODE: Option<&str> = Some("context_length_exceeded");

#[test]
fn a_prompt_that_may_fit_is_sent_and_one_that_cannot_is_not() {
    assert_eq!(too_long(window(3), Endpoint::Chat, &chat("")), Ok(vec![0]));
    let message = "This model's maximum context length is 2 tokens. However, your messages resulted in at least 3 \
                   tokens. Please reduce the length of the messages.";
    assert_eq!(too_long(window(2), Endpoint::Chat, &chat("")), Err(error(message, Some("messages"), CODE)));
    let embedding = r#"{"model":"m","input":["one two","three four five"]}"#;
    assert_eq!(too_long(window(3), Endpoint::Embeddings, embedding), Ok(vec![0]));
    let message = "This model's maximum context length is 2 tokens, however you requested at least 3 tokens (3 in your \
                   prompt; 0 for the completion). Please reduce your prompt; or completion length.";
    assert_eq!(too_long(window(2), Endpoint::Embeddings, embedding), Err(error(message, None, CODE)));
    let message = "prompt is too long: at least 3 tokens > 2 maximum";
    let body = chat(r#","max_tokens":9"#);
    assert_eq!(too_long(window(2), Endpoint::Messages, &body), Err(error(message, None, CODE)));
}

#[test]
fn the_answer_counts_where_the_provider_counts_it() {
    let counts = |tokens| Deployment { answer_in_window: true, ..window(tokens) };
    let body = chat(r#","max_tokens":100"#);
    assert_eq!(too_long(counts(103), Endpoint::Chat, &body), Ok(vec![0]));
    let message = "This model's maximum context length is 102 tokens. However, you requested at least 103 tokens (3 in \
                   the messages, 100 in the completion). Please reduce the length of the messages or completion.";
    assert_eq!(too_long(counts(102), Endpoint::Chat, &body), Err(error(message, Some("messages"), CODE)));
    assert_eq!(too_long(window(102), Endpoint::Chat, &body), Ok(vec![0]));
}

#[test]
fn a_longer_window_that_the_client_asks_for_is_the_upstream_s_to_judge() {
    let (fleet, body) = (fleet([window(2)]), chat(""));
    let peek = peek(body.as_bytes(), Endpoint::Chat).unwrap();
    let candidates: Arc<[u32]> = Arc::new([0]);
    let narrow = |longer| {
        let mut needs = Needs::of(&peek).with_longer_window(longer);
        needs.narrow(&fleet, &candidates, &peek, body.as_bytes()).is_ok()
    };
    assert_eq!((narrow(true), narrow(false)), (true, false));
}

#[test]
fn of_several_the_longest_window_is_told_and_else_what_the_first_lacks() {
    let fleets = [
        (vec![lacks(Ability::Tools), window(1), window(2)], "maximum context length is 2 tokens"),
        (vec![lacks(Ability::Tools), lacks(Ability::Chat)], "tools is not supported"),
    ];
    for (deployments, words) in fleets {
        let refusal = narrowed(&fleet(deployments), Endpoint::Chat, &chat(TOOLS)).unwrap_err();
        assert!(refusal.body.message.contains(words), "{}", refusal.body.message);
    }
}

#[test]
fn a_failed_request_may_go_only_where_it_could_have_gone_first() {
    let peek = peek(IMAGE.as_bytes(), Endpoint::Chat).unwrap();
    let fleet = fleet([lacks(Ability::Vision), window(10)]);
    let needs = Needs::of(&peek);
    let may: Vec<bool> = fleet.deployments().iter().map(|entry| needs.may_go_to(entry)).collect();
    assert_eq!(may, [false, true]);
}
