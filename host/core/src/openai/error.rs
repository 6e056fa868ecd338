//! The error envelope: ours with all four keys, theirs in whatever shape it comes.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// `{"error": {"message", "type", "param", "code"}}`, with all four keys, as clients expect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    /// For people.
    pub message: Cow<'static, str>,
    /// `type`: the class of error.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The request's field that is wrong.
    pub param: Option<Cow<'static, str>>,
    /// For programs.
    pub code: Option<Cow<'static, str>>,
}

impl ErrorBody {
    /// An error of this `type`.
    pub fn new(message: impl Into<String>, kind: &'static str) -> Self {
        Self { message: Cow::Owned(message.into()), kind: kind.into(), param: None, code: None }
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(message, "invalid_request_error")
    }

    /// The request may be right, but cannot be answered.
    pub fn server(message: impl Into<String>) -> Self {
        Self::new(message, "server_error")
    }

    /// With the field that is wrong.
    #[must_use]
    pub fn with_param(self, param: impl Into<Cow<'static, str>>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// With a code for programs.
    #[must_use]
    pub fn with_code(self, code: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    /// As the body of an answer.
    pub fn to_json(&self) -> Bytes {
        struct Envelope<'a>(&'a ErrorBody);
        impl Serialize for Envelope<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map([("error", self.0)])
            }
        }
        // Strings alone cannot fail to serialise; an empty body would still be an answer.
        serde_json::to_vec(&Envelope(self)).unwrap_or_default().into()
    }

    /// As an event of a stream.
    pub fn to_event(&self) -> Bytes {
        [b"data: ", &*self.to_json(), b"\n\n"].concat().into()
    }
}

/// What an upstream says about a failure, as far as it can be made out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamError {
    /// Never empty, unless the body was; cut at 1000 bytes.
    pub message: String,
    /// `type`
    pub kind: Option<String>,
    /// `code`, numbers written out.
    pub code: Option<String>,
    /// `param`
    pub param: Option<String>,
}

/// Bytes of an upstream's message that are kept: enough for a person, too short for a page of HTML.
const LONGEST_MESSAGE: usize = 1000;

impl UpstreamError {
    /// Reads an error in the shape of OpenAI, llama.cpp (numeric code), vLLM before 0.10 (no envelope), FastAPI
    /// (`detail`), Ollama (`error` is a text), or a plain text.
    pub fn parse(body: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Self { message: shorten(String::from_utf8_lossy(body).trim()), ..Self::default() };
        };
        // Google wraps the whole in a list.
        let value = value.get(0).unwrap_or(&value);
        // A response that has failed holds its error.
        let failed = || value.get("response")?.get("error");
        let error = value.get("error").or_else(failed).unwrap_or(value);
        let message = ["message", "detail", "error", "msg"].iter().find_map(|key| error.get(key)).unwrap_or(error);
        Self {
            message: shorten(&text(message).unwrap_or_default()),
            kind: error.get("type").and_then(text),
            // Google's `code` is the HTTP status, its `status` the code.
            code: error.get("code").and_then(text).or_else(|| error.get("status").and_then(text)),
            param: error.get("param").and_then(text),
        }
    }

    /// Whether a body is an error as OpenAI's clients read it: an object `error` with a `message`.
    pub fn is_envelope(body: &[u8]) -> bool {
        serde_json::from_slice::<Value>(body).is_ok_and(|value| value["error"]["message"].is_string())
    }

    /// The same error in OpenAI's shape, of this `type` where it has none.
    pub fn into_body(self, kind: &'static str) -> ErrorBody {
        ErrorBody {
            message: self.message.into(),
            kind: self.kind.map_or(Cow::Borrowed(kind), Cow::Owned),
            param: self.param.map(Cow::Owned),
            code: self.code.map(Cow::Owned),
        }
    }
}

impl From<ErrorBody> for UpstreamError {
    fn from(body: ErrorBody) -> Self {
        Self {
            message: body.message.into_owned(),
            kind: Some(body.kind.into_owned()),
            code: body.code.map(Cow::into_owned),
            param: body.param.map(Cow::into_owned),
        }
    }
}

/// A text as it is, null as nothing, anything else as JSON.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Some(value.to_string()),
    }
}

fn shorten(message: &str) -> String {
    if message.len() <= LONGEST_MESSAGE {
        return message.to_owned();
    }
    format!("{}…", &message[..message.floor_char_boundary(LONGEST_MESSAGE - '…'.len_utf8())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_errors_have_all_four_keys() {
        let error = ErrorBody::server("No \"x\".");
        let json = r#"{"error":{"message":"No \"x\".","type":"server_error","param":null,"code":null}}"#;
        assert_eq!(error.to_json(), json);
        let full = r#"{"error":{"message":"No.","type":"invalid_request_error","param":"n","code":"c"}}"#;
        assert_eq!(ErrorBody::invalid("No.").with_param("n").with_code("c").to_json(), full);
        assert_eq!(error.to_event(), format!("data: {json}\n\n"));
    }

    fn parsed(body: &str) -> (String, Option<String>, Option<String>, Option<String>) {
        let error = UpstreamError::parse(body.as_bytes());
        (error.message, error.kind, error.code, error.param)
    }

    fn expected(
        message: &str,
        kind: Option<&str>,
        code: Option<&str>,
        param: Option<&str>,
    ) -> (String, Option<String>, Option<String>, Option<String>) {
        (message.to_owned(), kind.map(str::to_owned), code.map(str::to_owned), param.map(str::to_owned))
    }

    #[test]
    fn every_server_has_its_own_shape() {
        assert_eq!(
            parsed(r#"{"error":{"message":"No.","type":"t","param":"model","code":"c"}}"#),
            expected("No.", Some("t"), Some("c"), Some("model"))
        );
        // llama.cpp
        assert_eq!(
            parsed(r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#),
            expected("Loading model", Some("unavailable_error"), Some("503"), None)
        );
        // vLLM before 0.10
        assert_eq!(
            parsed(r#"{"object":"error","message":"No.","type":"NotFoundError","param":null,"code":404}"#),
            expected("No.", Some("NotFoundError"), Some("404"), None)
        );
        // FastAPI
        assert_eq!(parsed(r#"{"detail":"Not Found"}"#), expected("Not Found", None, None, None));
        assert_eq!(
            parsed(r#"{"detail":[{"type":"json_invalid"}]}"#),
            expected(r#"[{"type":"json_invalid"}]"#, None, None, None)
        );
        // Ollama
        assert_eq!(parsed(r#"{"error":"model 'x' not found"}"#), expected("model 'x' not found", None, None, None));
        // Responses
        assert_eq!(
            parsed(r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"No."}}}"#),
            expected("No.", None, Some("server_error"), None)
        );
        // Google
        assert_eq!(
            parsed(r#"[{"error":{"code":429,"message":"Slow.","status":"RESOURCE_EXHAUSTED"}}]"#),
            expected("Slow.", None, Some("429"), None)
        );
        assert_eq!(parsed("Internal Server Error\n"), expected("Internal Server Error", None, None, None));
        assert_eq!(parsed(""), expected("", None, None, None));
        assert_eq!(parsed("null"), expected("", None, None, None));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let fits = "x".repeat(LONGEST_MESSAGE);
        assert_eq!(UpstreamError::parse(fits.as_bytes()).message, fits);
        let long = "é".repeat(LONGEST_MESSAGE);
        let cut = UpstreamError::parse(long.as_bytes()).message;
        assert_eq!(cut, format!("{}…", "é".repeat(498)));
        assert!(cut.len() <= LONGEST_MESSAGE);
    }
}
