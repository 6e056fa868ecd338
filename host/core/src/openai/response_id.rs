//! The id of a response, which a client may ask for again.

use super::json::{Kind, Scanner, SyntaxError};

/// The `id` of a response, or of the one that an event holds. The text may be cut anywhere after it.
pub fn response_id(text: &[u8]) -> Option<Box<str>> {
    let text = match str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
    };
    let mut id = None;
    // What was read before the text was cut counts.
    let _ = read(&mut Scanner::new(text), true, &mut id);
    id
}

fn read(scanner: &mut Scanner<'_>, top: bool, id: &mut Option<Box<str>>) -> Result<(), SyntaxError> {
    scanner.object(|inner, key| match (key.raw, inner.kind()?) {
        ("id", Kind::String) if id.is_none() => {
            *id = Some(inner.string()?.decode().into());
            Ok(())
        }
        ("response", Kind::Object) if top => read(inner, false, id),
        _ => inner.skip(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Box<str>> {
        response_id(text.as_bytes())
    }

    #[test]
    fn a_response_s_id_is_found_wherever_it_stands() {
        assert_eq!(of(r#"{"id":"resp_1","object":"response"}"#).as_deref(), Some("resp_1"));
        assert_eq!(of(r#"{"created_at":1,"id":"resp_1","output":[{"id":"msg_1"#).as_deref(), Some("resp_1"));
        let event = r#"{"type":"response.created","response":{"x":{"id":"no"},"id":"resp_1"}}"#;
        assert_eq!(of(event).as_deref(), Some("resp_1"));
        for none in ["", "[]", r#"{"output":[{"id":"msg_1"}]}"#, r#"{"id":7}"#, r#"{"x":{"response":{"id":"no"}}}"#] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(response_id(b"{\"id\":\"resp_1\",\"a\":\"\xff").as_deref(), Some("resp_1"));
    }
}
