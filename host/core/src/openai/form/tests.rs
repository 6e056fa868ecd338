use proptest::prelude::*;

use super::*;

const HEAD: &str = "--B\r\nContent-Disposition: form-data; name=";

/// A form with these parts: name (with more parameters) and value.
fn form(parts: &[(&str, &str)]) -> String {
    let parts: String = parts.iter().map(|(name, value)| format!("{HEAD}{name}\r\n\r\n{value}\r\n")).collect();
    format!("{parts}--B--\r\n")
}

fn read(body: &[u8], piece: usize) -> Result<Form, RequestError> {
    let mut form = Form::new(b"B");
    body.chunks(piece).try_for_each(|piece| form.push(piece))?;
    form.end()?;
    Ok(form)
}

fn peeked(body: &str) -> Result<Peek, RequestError> {
    read(body.as_bytes(), body.len().max(1))?.peek(Endpoint::Transcriptions)
}

fn refused(body: &str) -> String {
    peeked(body).unwrap_err().to_string()
}

#[test]
fn the_model_is_found_wherever_it_is_and_however_the_body_is_cut() {
    let file = "\r\n--\r\n--A--B\r\n-\r";
    let parts: [&[(&str, &str)]; 3] = [
        &[("\"model\"", "whisper-1"), ("\"file\"; filename=\"a.mp3\"", file), ("user", "ann")],
        &[("\"file\"; filename=\"a \\\"model\\\".mp3\"", file), ("user", "ann"), ("\"model\"", "whisper-1")],
        &[("\"user\"", "ann"), ("\"x\"", ""), ("model", "whisper-1"), ("\"file\"; filename*=UTF-8''a", file)],
    ];
    for parts in parts {
        let body = form(parts);
        for piece in 1..body.len() {
            let form = read(body.as_bytes(), piece).unwrap();
            let peek = form.peek(Endpoint::Transcriptions).unwrap();
            assert_eq!(&body[peek.model_span.clone()], "whisper-1", "in pieces of {piece}");
            assert_eq!((&*peek.model, peek.session.as_deref(), peek.audio), ("whisper-1", Some("ann"), 1));
        }
    }
}

#[test]
fn what_is_around_the_form_does_not_count() {
    let body = format!("to be passed over\r\n{}--B\r\nneither this", form(&[("\"model\"", "m")]));
    assert_eq!(&body[peeked(&body).unwrap().model_span], "m");
    let blanks = body.replace("--B\r\nContent", "--B \t\r\ncontent");
    assert_eq!(&blanks[peeked(&blanks).unwrap().model_span], "m");
}

#[test]
fn only_the_model_is_replaced() {
    let body = Bytes::from(form(&[("\"file\"; filename=\"a\"", "sound"), ("\"model\"", "m")]));
    let form_read = read(&body, 9).unwrap();
    let peek = form_read.peek(Endpoint::Transcriptions).unwrap();
    let renamed = form_read.with_model(&body, &peek, "whisper-1");
    let wanted = form(&[("\"file\"; filename=\"a\"", "sound"), ("\"model\"", "whisper-1")]);
    assert_eq!(renamed.pieces().concat(), wanted.as_bytes());
    assert_eq!(form_read.with_model(&body, &peek, "m").pieces(), [body]);
}

#[test]
fn a_form_that_names_no_model_gets_the_part_where_openai_has_a_default() {
    for before in ["", "preamble\r\n"] {
        let body = Bytes::from(format!("{before}{}", form(&[("\"image\"; filename=\"a\"", "png")])));
        let form_read = read(&body, 4).unwrap();
        let peek = form_read.peek(Endpoint::ImageVariations).unwrap();
        assert_eq!((&*peek.model, peek.images), ("dall-e-2", 1));
        let named = form_read.with_model(&body, &peek, "painter").pieces().concat();
        let wanted = form(&[("\"model\"", "painter"), ("\"image\"; filename=\"a\"", "png")]);
        assert_eq!(String::from_utf8(named).unwrap(), format!("{before}{wanted}"));
    }
    let none = form(&[("\"file\"; filename=\"a\"", "x")]);
    assert_eq!(refused(&none), "Missing required parameter: 'model'.");
}

#[test]
fn each_mistake_is_told() {
    let told = |problem: &str| format!("Could not parse multipart form: {problem}.");
    for (body, problem) in [
        ("", "it does not begin with its boundary"),
        ("{\"model\":\"m\"}", "it does not begin with its boundary"),
        ("--B\r\n", "it ends before its last boundary"),
        ("--Bx\r\n", "a boundary is followed by something else than a line end"),
        ("--B\n\n", "a boundary is followed by something else than a line end"),
        (
            "--B\r\nContent-Type: text/plain\r\n\r\nx\r\n--B--",
            "a part does not have exactly one name in its header `Content-Disposition`",
        ),
        (
            "--B\r\nContent-Disposition: form-data; name=\"model\"; name=\"x\"\r\n\r\nx\r\n--B--",
            "a part does not have exactly one name in its header `Content-Disposition`",
        ),
    ] {
        assert_eq!(refused(body), told(problem), "{body:?}");
    }
    let whole = form(&[("\"model\"", "m")]);
    for length in 4..whole.len() - "--\r\n".len() {
        assert_eq!(refused(&whole[..length]), told("it ends before its last boundary"), "{length}");
    }
    let file = form(&[("\"model\"; filename=\"m\"", "m")]);
    assert_eq!(refused(&file), told("`model` is sent as a file; send it as a plain field"));
    let twice = form(&[("\"model\"", "m"), ("\"model\"", "n")]);
    assert_eq!(refused(&twice), "Duplicate parameter: 'model' is given more than once. Keep one of them.");
    let other = form(&[("\"Model\"", "m")]);
    assert_eq!(refused(&other), "Unknown parameter: 'Model'. Write 'model' in lower case.");
    let empty = form(&[("\"model\"", "")]);
    let message = "Invalid 'model': the name is empty. Ask GET /v1/models for the names that you may use.";
    assert_eq!(refused(&empty), message);
}

#[test]
fn a_name_may_have_1024_bytes_and_the_headers_of_a_part_8192() {
    let named = |length| form(&[("\"model\"", &"m".repeat(length))]);
    assert_eq!(peeked(&named(1024)).unwrap().model.len(), 1024);
    let told = "Could not parse multipart form: the value of `model` is not a text of at most 1024 bytes.";
    assert_eq!(refused(&named(1025)), told);
    let head = "Content-Disposition: form-data; name=\"model\"\r\nX: ";
    let with = |length: usize| format!("--B\r\n{head}{}\r\n\r\nm\r\n--B--", "x".repeat(length - head.len() - 4));
    assert_eq!(&*peeked(&with(8192)).unwrap().model, "m");
    let told = "Could not parse multipart form: the headers of a part are longer than 8192 bytes.";
    assert_eq!(refused(&with(8193)), told);
}

#[test]
fn a_boundary_is_named_by_the_content_type() {
    let named = |value: &str| boundary(value.as_bytes());
    assert_eq!(named("multipart/form-data; boundary=abc"), Some(Ok(b"abc".to_vec())));
    assert_eq!(named("Multipart/Form-Data; charset=x ;Boundary=\"a b\""), Some(Ok(b"a b".to_vec())));
    assert_eq!(named(&format!("multipart/form-data; boundary={}", "x".repeat(70))), Some(Ok(b"x".repeat(70))));
    for bad in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; x=boundary=1"] {
        assert_eq!(named(bad), Some(Err(FormError::NoBoundary)), "{bad}");
    }
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    assert_eq!(named(&long), Some(Err(FormError::NoBoundary)));
    assert_eq!(named("application/json; boundary=abc"), None);
}

proptest! {
    #[test]
    fn a_file_of_any_bytes_hides_nothing(
        file in prop::collection::vec(prop::sample::select(b"\r\n-B\"m".to_vec()), 0..80),
        piece in 1..40_usize,
        model_first in any::<bool>(),
    ) {
        prop_assume!(memmem::find(&[b"\r\n", &file[..], b"\r\n--B"].concat(), b"\r\n--B") == Some(file.len() + 2));
        let model = format!("{HEAD}\"model\"\r\n\r\nm\r\n").into_bytes();
        let file = [format!("{HEAD}\"file\"; filename=\"f\"\r\n\r\n").as_bytes(), &file, b"\r\n"].concat();
        let parts = if model_first { [model, file] } else { [file, model] };
        let body = [&parts.concat()[..], b"--B--\r\n"].concat();
        let form = read(&body, piece).unwrap();
        let peek = form.peek(Endpoint::Transcriptions).unwrap();
        prop_assert_eq!(&body[peek.model_span], b"m");
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop::sample::select(b"\r\n-B: ;=\"mode".to_vec()), 0..200), piece in 1..50_usize) {
        let _ = read(&bytes, piece).map(|form| form.peek(Endpoint::ImageEdits));
        let _ = read(&[&b"--B\r\n"[..], &bytes].concat(), piece);
    }
}
