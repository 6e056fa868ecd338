//! A request body that is passed on as it comes, because it is too large to be held: a form with a file in it, or
//! anything that is passed through.
//!
//! What has gone to an upstream is gone: from then on no other attempt can be made with it. Until then it can, since an
//! attempt takes nothing of the rest before it has a connection. The last piece goes on only when it is known to be the
//! last and the form to be whole, so an upstream never gets the end of a request that is wrong.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;
use parking_lot::Mutex;
use tokio::time::Sleep;
use witgate_core::openai::form::Form;
use witgate_core::openai::{ErrorBody, RequestError};

/// Why a body cannot be passed on, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is above the limit.
    #[error("The request body is larger than {limit} bytes, the limit of this gateway (`server.upload_limit`).")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// The field that says where it goes does not come.
    #[error(
        "The field `model` did not come within the first {limit} bytes of the form, which is what this gateway holds \
         (`server.body_limit`). Send it before the file."
    )]
    ModelTooLate {
        /// Bytes.
        limit: usize,
    },
    /// All bodies together are too large.
    #[error("The gateway is busy: the requests in flight take all the memory for bodies (`server.body_memory`).")]
    NoMemory,
    /// A piece of it did not come in time.
    #[error("The request body did not arrive in time.")]
    Slow,
    /// The connection broke.
    #[error("The request body broke off.")]
    Broken,
    /// It is no form, or a wrong one.
    #[error(transparent)]
    Form(#[from] RequestError),
}

impl Fault {
    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoMemory => StatusCode::SERVICE_UNAVAILABLE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::ModelTooLate { .. } | Self::Broken | Self::Form(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// For logs and metrics: a closed set.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::NoMemory => "body-memory",
            Self::Slow => "slow-body",
            Self::Broken => "broken-body",
            Self::ModelTooLate { .. } | Self::Form(_) => "bad-request",
        }
    }

    /// What the client is told.
    pub fn body(&self) -> ErrorBody {
        let code = match self {
            Self::Form(error) => return error.body(),
            Self::NoMemory => return ErrorBody::server(self.to_string()).with_code("overloaded"),
            Self::ModelTooLate { .. } => {
                return ErrorBody::invalid(self.to_string()).with_param("model").with_code("model_too_late");
            }
            Self::TooLarge { .. } => "request_too_large",
            Self::Slow => "body_timeout",
            Self::Broken => "body_incomplete",
        };
        ErrorBody::invalid(self.to_string()).with_code(code)
    }
}

/// Bounds of a body that is passed on.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of all of it.
    pub limit: u64,
    /// For each piece.
    pub patience: Duration,
}

impl Bounds {
    /// Whether a body of this announced length may come.
    ///
    /// # Errors
    /// When not.
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let announced = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: u64| length > self.limit) {
            return Err(Fault::TooLarge { limit: self.limit });
        }
        Ok(())
    }
}

/// A form: what has been read of it is beside it, in memory.
pub struct FormBody {
    /// As far as it was read.
    pub form: Form,
    /// The client's, with the boundary.
    pub content_type: HeaderValue,
    /// What has not been read; `None` when all of it is in memory.
    pub rest: Option<Upload>,
}

/// The rest of a body, of which every attempt takes what is left.
#[derive(Clone)]
pub struct Upload(Arc<Shared>);

struct Shared {
    source: Mutex<Source>,
    begun: AtomicBool,
    length: Option<u64>,
}

struct Source {
    body: Body,
    bounds: Bounds,
    /// Looks at what comes, if it is a form.
    form: Option<Form>,
    /// All that has come, the part that was read before included.
    came: u64,
    /// Comes next, unless it is the end of something wrong.
    held: Option<Bytes>,
    ended: bool,
    fault: Option<Fault>,
    /// When something came last.
    moved: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Upload {
    /// The rest of a body of which so many bytes were read before.
    pub fn new(body: Body, read: usize, form: Option<Form>, bounds: Bounds) -> Self {
        let length = body.size_hint().exact();
        let source = Source {
            ended: body.is_end_stream(),
            body,
            bounds,
            form,
            came: read as u64,
            held: None,
            fault: None,
            moved: Instant::now(),
            timer: None,
        };
        Self(Arc::new(Shared { source: Mutex::new(source), begun: AtomicBool::new(false), length }))
    }

    /// Whether a part of it has gone to an upstream.
    pub fn has_begun(&self) -> bool {
        self.0.begun.load(Relaxed)
    }

    /// Why it ended before its end.
    pub fn fault(&self) -> Option<Fault> {
        self.0.source.lock().fault.clone()
    }

    /// Its length, if the client has announced that.
    pub fn length(&self) -> Option<u64> {
        self.0.length
    }

    /// When something of it came last.
    pub fn moved(&self) -> Instant {
        self.0.source.lock().moved
    }

    /// The next piece for an upstream, never empty.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let mut source = self.0.source.lock();
        let piece = ready!(source.poll_next(cx));
        match &piece {
            Some(Ok(_)) => self.0.begun.store(true, Relaxed),
            Some(Err(fault)) => source.fault = Some(fault.clone()),
            None => {}
        }
        Poll::Ready(piece)
    }
}

impl Source {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            if let Some(fault) = &self.fault {
                return Poll::Ready(Some(Err(fault.clone())));
            }
            if self.ended {
                return Poll::Ready(self.held.take().map(Ok));
            }
            match ready!(poll_piece(&mut self.body, &mut self.timer, self.bounds.patience, cx)) {
                Some(Ok(piece)) => {
                    self.came += piece.len() as u64;
                    self.moved = Instant::now();
                    if self.came > self.bounds.limit {
                        return Poll::Ready(Some(Err(Fault::TooLarge { limit: self.bounds.limit })));
                    }
                    if let Some(form) = &mut self.form
                        && let Err(error) = form.push(&piece)
                    {
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    if let Some(before) = self.held.replace(piece) {
                        return Poll::Ready(Some(Ok(before)));
                    }
                }
                Some(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                None => {
                    if let Some(Err(error)) = self.form.as_ref().map(Form::end) {
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    self.ended = true;
                }
            }
        }
    }
}

/// What has been read of a form, and the rest if there is one.
pub struct Begun {
    /// All of it, or its beginning.
    pub read: Bytes,
    /// As far as it was read.
    pub form: Form,
    /// What has not been read.
    pub rest: Option<Upload>,
}

/// Reads a form until its model is known. A short one is read to its end, so that it can be sent more than once, and
/// nothing is asked if something is wrong with it. `take` counts the bytes that are held, and says whether they may be.
///
/// # Errors
/// When it is no form, or the model does not come within `hold` bytes.
pub async fn begin(
    mut body: Body,
    mut form: Form,
    hold: usize,
    bounds: Bounds,
    mut take: impl FnMut(usize) -> bool,
) -> Result<Begun, Fault> {
    let mut read = BytesMut::new();
    let mut timer = None;
    loop {
        let piece = std::future::poll_fn(|cx| poll_piece(&mut body, &mut timer, bounds.patience, cx));
        let Some(piece) = piece.await.transpose()? else {
            form.end()?;
            return Ok(Begun { read: read.freeze(), form, rest: None });
        };
        if !take(piece.len()) {
            return Err(Fault::NoMemory);
        }
        if (read.len() + piece.len()) as u64 > bounds.limit {
            return Err(Fault::TooLarge { limit: bounds.limit });
        }
        form.push(&piece)?;
        read.extend_from_slice(&piece);
        if body.is_end_stream() {
            form.end()?;
            return Ok(Begun { read: read.freeze(), form, rest: None });
        }
        let only_the_end_is_left = form.has_ended() && read.len() <= hold;
        if form.has_model() && read.len() >= KEPT.min(hold) && !only_the_end_is_left {
            let rest = Upload::new(body, read.len(), Some(form.clone()), bounds);
            return Ok(Begun { read: read.freeze(), form, rest: Some(rest) });
        }
        if read.len() > hold {
            return Err(Fault::ModelTooLate { limit: hold });
        }
    }
}

/// The next piece of a client's body, never empty.
fn poll_piece(
    body: &mut Body,
    timer: &mut Option<Pin<Box<Sleep>>>,
    patience: Duration,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, Fault>>> {
    loop {
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
            // Made when a piece has to be waited for: an upstream that takes its time is not the client's fault.
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
            ready!(timer.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Fault::Slow)));
        };
        *timer = None;
        match frame {
            None => return Poll::Ready(None),
            Some(Err(_)) => return Poll::Ready(Some(Err(Fault::Broken))),
            // Trailers mean nothing here.
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data()
                    && !piece.is_empty()
                {
                    return Poll::Ready(Some(Ok(piece)));
                }
            }
        }
    }
}

/// A form of this size is read to its end: recordings of a minute, and most images.
const KEPT: usize = 1 << 20;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use futures_util::stream;

    use super::*;

    const BOUNDS: Bounds = Bounds { limit: 8 << 20, patience: Duration::from_secs(30) };

    fn body(pieces: Vec<Vec<u8>>) -> Body {
        Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)))
    }

    fn part(name: &str, value: &[u8]) -> Vec<u8> {
        [format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(), value, b"\r\n"].concat()
    }

    async fn begun(pieces: Vec<Vec<u8>>, hold: usize) -> Result<Begun, Fault> {
        begin(body(pieces), Form::new(b"B"), hold, BOUNDS, |_| true).await
    }

    async fn rest_of(upload: &Upload) -> Result<usize, Fault> {
        let mut bytes = 0;
        while let Some(piece) = std::future::poll_fn(|cx| upload.poll_next(cx)).await.transpose()? {
            bytes += piece.len();
        }
        Ok(bytes)
    }

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn a_form_of_a_mebibyte_is_read_to_its_end_and_a_larger_one_is_not() {
        let model = part("model", b"m");
        let end = b"--B--\r\n".to_vec();
        let file = |length| part("file", &vec![b'x'; length]);
        let (around, tail) = (file(0).len() + model.len(), end.len());
        let small = begun(vec![model.clone(), file(MIB - around - 1), end.clone()], 4 * MIB).await.unwrap();
        assert!(small.rest.is_none() && small.read.len() == MIB - 1 + tail);
        let large = begun(vec![model, file(MIB - around), end], 4 * MIB).await.unwrap();
        let rest = large.rest.unwrap();
        assert!(large.read.len() == MIB && !rest.has_begun());
        assert_eq!(rest_of(&rest).await, Ok(tail));
        assert!(rest.has_begun() && rest.fault().is_none());
    }

    #[tokio::test]
    async fn a_model_may_come_after_as_much_as_is_held_and_no_later() {
        let (model, end) = (part("model", b"m"), b"--B--\r\n".to_vec());
        let pieces = |length: usize| vec![vec![], part("file", &vec![b'x'; length - part("file", b"").len()])];
        let with = |length| [pieces(length), vec![[&model[..], &end].concat()]].concat();
        let begun_at = begun(with(2 * MIB), 2 * MIB).await.unwrap();
        assert!(begun_at.form.has_model() && begun_at.rest.is_some());
        assert_eq!(begun(with(2 * MIB + 1), 2 * MIB).await.err(), Some(Fault::ModelTooLate { limit: 2 * MIB }));
    }

    #[tokio::test]
    async fn the_end_of_something_wrong_is_not_passed_on() {
        let start = [part("model", b"m"), part("file", &vec![b'x'; MIB])].concat();
        let second = [part("model", b"n"), b"--B--\r\n".to_vec()].concat();
        let two = begun(vec![start.clone(), second], MIB).await.unwrap().rest.unwrap();
        assert_eq!(rest_of(&two).await, Err(Fault::Form(RequestError::Duplicate { field: "model" })));
        assert!(!two.has_begun());
        let part_of = b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n".to_vec();
        let cut = begun(vec![start, part_of, vec![b'z'; 10]], MIB).await.unwrap().rest.unwrap();
        let mut passed = 0;
        let fault = loop {
            match std::future::poll_fn(|cx| cut.poll_next(cx)).await {
                Some(Ok(piece)) => passed += piece.len(),
                other => break other.unwrap().unwrap_err(),
            }
        };
        assert_eq!(fault.to_string(), "Could not parse multipart form: it ends before its last boundary.");
        assert_eq!(passed, 49, "all but the last piece");
        assert_eq!(cut.fault(), Some(fault));
    }

    #[tokio::test]
    async fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
        let upload = |limit| {
            let bounds = Bounds { limit, ..BOUNDS };
            Upload::new(body(vec![vec![1; 3], vec![2; 3]]), 2, None, bounds)
        };
        assert_eq!(rest_of(&upload(8)).await, Ok(6));
        assert_eq!(rest_of(&upload(7)).await, Err(Fault::TooLarge { limit: 7 }));
        let announced = |length: &'static str| {
            let headers = [(http::header::CONTENT_LENGTH, HeaderValue::from_static(length))].into_iter().collect();
            Bounds { limit: 8, ..BOUNDS }.admit(&headers)
        };
        assert_eq!((announced("8"), announced("9")), (Ok(()), Err(Fault::TooLarge { limit: 8 })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_given_up_and_one_that_sends_slowly_is_not() {
        let slow = |seconds: &'static [u64]| {
            Body::from_stream(stream::unfold(seconds.iter(), |mut left| async move {
                tokio::time::sleep(Duration::from_secs(*left.next()?)).await;
                Some((Ok::<_, std::io::Error>(vec![1]), left))
            }))
        };
        let upload = |seconds| Upload::new(slow(seconds), 0, None, BOUNDS);
        assert_eq!(rest_of(&upload(&[29, 29, 29])).await, Ok(3));
        assert_eq!(rest_of(&upload(&[29, 31])).await, Err(Fault::Slow));
    }
}
