//! An answer that is not streamed. A short one is read to its end before anything is passed on, so that one that
//! breaks off can still be replaced.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use witgate_core::failure::diagnose_inside;
use witgate_core::openai::usage::{self, UsageScan};
use witgate_core::openai::{Renamed, UpstreamError, Usage, ranking};
use witgate_core::vocabulary::FailureKind;

use super::failure::AttemptFailure;
use super::flow::Flow;
use super::vectors::Vectors;

/// The body of an answer.
pub enum AnswerBody {
    /// All of it.
    Whole(Bytes),
    /// Too long to be held back: the beginning, and more to come.
    Long(Box<Long>),
}

/// A long answer, in the upstream's own bytes. After an error nothing more comes.
pub struct Long {
    flow: Flow,
    first: Option<Bytes>,
    scan: UsageScan,
    /// Changes what is passed on.
    vectors: Option<Vectors>,
    /// Gives the model the name that the client knows.
    renamed: Option<Renamed>,
    ended: bool,
}

impl AnswerBody {
    /// Reads up to [`HELD`] bytes, the end of which is known to be there if there are fewer.
    pub(super) async fn begin(mut flow: Flow) -> Result<Self, AttemptFailure> {
        let Some(first) = flow.next().await else {
            return Err(flow.failure(FailureKind::Malformed, "the answer is empty".to_owned()));
        };
        let mut held = Held::One(first?);
        while held.bytes().len() <= HELD {
            match flow.next().await {
                Some(chunk) => held.push(&chunk?),
                None => {
                    let body = held.into_bytes();
                    return check(&body, true, &flow).map(|()| Self::Whole(body));
                }
            }
        }
        let first = held.into_bytes();
        check(&first, false, &flow)?;
        let mut scan = UsageScan::default();
        scan.push(&first);
        Ok(Self::Long(Box::new(Long { flow, first: Some(first), scan, vectors: None, renamed: None, ended: false })))
    }

    /// All of an answer, to be told apart.
    pub(super) async fn whole(mut flow: Flow) -> Result<BytesMut, AttemptFailure> {
        Self::read(&mut flow).await
    }

    async fn read(flow: &mut Flow) -> Result<BytesMut, AttemptFailure> {
        let body = Self::read_unchecked(flow).await?;
        check(&body, true, flow)?;
        Ok(body)
    }

    async fn read_unchecked(flow: &mut Flow) -> Result<BytesMut, AttemptFailure> {
        let mut body = BytesMut::new();
        while let Some(chunk) = flow.next().await {
            let chunk = chunk?;
            if body.len() + chunk.len() > LARGEST_TRANSLATED {
                let message = format!("the answer is larger than {LARGEST_TRANSLATED} bytes, and must be translated");
                return Err(flow.failure(FailureKind::Malformed, message));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Sound, or text, or events that only their client understands: nothing is held back, and the first bytes are
    /// enough to know that there is an answer. It may be empty.
    pub(super) async fn as_it_comes(mut flow: Flow) -> Result<Self, AttemptFailure> {
        let Some(first) = flow.next().await.transpose()? else { return Ok(Self::Whole(Bytes::new())) };
        let mut scan = UsageScan::default();
        scan.push(&first);
        Ok(Self::Long(Box::new(Long { flow, first: Some(first), scan, vectors: None, renamed: None, ended: false })))
    }

    /// All of it, or as much as has come.
    pub(super) fn beginning(&self) -> &[u8] {
        match self {
            Self::Whole(body) => body,
            Self::Long(long) => long.first.as_deref().unwrap_or_default(),
        }
    }

    /// The same answer with another name for the model.
    pub(super) fn named(self, name: &str) -> Self {
        let mut renamed = Renamed::to(name);
        match self {
            Self::Whole(body) => Self::Whole(renamed.push(&body).into()),
            Self::Long(long) => Self::Long(Box::new(Long { renamed: Some(renamed), ..*long })),
        }
    }

    /// Reads all of an answer and makes another of it.
    pub(super) async fn translated(
        mut flow: Flow,
        translate: impl FnOnce(&[u8]) -> Result<Bytes, String>,
    ) -> Result<Self, AttemptFailure> {
        let body = Self::read(&mut flow).await?;
        let translated = translate(&body).map_err(|message| flow.failure(FailureKind::Malformed, message))?;
        Ok(Self::Whole(translated))
    }

    /// Reads all of a ranking; one that is a list becomes an object, as all others are.
    pub(super) async fn ranking(mut flow: Flow, model: &str) -> Result<Self, AttemptFailure> {
        let body = Self::read_unchecked(&mut flow).await?;
        if let Some(told) = ranking(&body, model) {
            return Ok(Self::Whole(told.into()));
        }
        check(&body, true, &flow).map(|()| Self::Whole(body.freeze()))
    }

    /// What the upstream says about tokens: of a long answer, as far as it has been passed on.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Whole(body) => usage::of_answer(body),
            Self::Long(long) => long.usage(),
        }
    }
}

impl Long {
    /// The same answer, changed as it is passed on.
    pub(super) fn with(self, vectors: Vectors) -> Self {
        Self { vectors: Some(vectors), ..self }
    }

    /// What the upstream says about tokens, as far as the answer has been passed on.
    pub fn usage(&self) -> Option<Usage> {
        self.scan.usage()
    }
}

impl Stream for Long {
    type Item = Result<Bytes, AttemptFailure>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let long = self.get_mut();
        loop {
            let changed = match long.poll_original(cx) {
                Poll::Ready(Some(Ok(chunk))) => match &mut long.vectors {
                    Some(vectors) => vectors.push(&chunk).into(),
                    None => chunk,
                },
                Poll::Ready(None) => match long.vectors.take().map(|mut vectors| vectors.rest()) {
                    Some(rest) if !rest.is_empty() => rest,
                    Some(_) | None => return Poll::Ready(None),
                },
                other @ (Poll::Ready(Some(Err(_))) | Poll::Pending) => return other,
            };
            let changed = match &mut long.renamed {
                Some(renamed) => renamed.push(&changed).into(),
                None => changed,
            };
            // Within a vector there is nothing to pass on.
            if !changed.is_empty() {
                return Poll::Ready(Some(Ok(changed)));
            }
        }
    }
}

impl Long {
    fn poll_original(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, AttemptFailure>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = self.flow.poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(chunk))) => self.scan.push(chunk),
            Poll::Ready(Some(Err(_)) | None) => self.ended = true,
            Poll::Pending => {}
        }
        polled
    }
}

/// What has been read; the usual single chunk is not copied.
enum Held {
    One(Bytes),
    Many(BytesMut),
}

impl Held {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::One(chunk) => chunk,
            Self::Many(chunks) => chunks,
        }
    }

    fn push(&mut self, chunk: &[u8]) {
        match self {
            Self::One(first) => {
                let mut many = BytesMut::with_capacity((first.len() + chunk.len()) * 2);
                many.extend_from_slice(first);
                many.extend_from_slice(chunk);
                *self = Self::Many(many);
            }
            Self::Many(many) => many.extend_from_slice(chunk),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::One(chunk) => chunk,
            Self::Many(many) => many.freeze(),
        }
    }
}

/// Whether it looks like an answer: a JSON object, and no error inside a 200. Only its ends are looked at, and whether
/// it is text at all.
fn check(body: &[u8], whole: bool, flow: &Flow) -> Result<(), AttemptFailure> {
    // Where there is more to come, a character may lie across the border.
    if str::from_utf8(body).is_err_and(|error| whole || error.error_len().is_some()) {
        return Err(flow.failure(FailureKind::Malformed, "the answer is not UTF-8".to_owned()));
    }
    let body = body.trim_ascii();
    let ends = if whole { body.last() == Some(&b'}') } else { true };
    let Some(members) = body.strip_prefix(b"{").filter(|_| ends) else {
        let shown = UpstreamError::parse(body).message;
        let message = format!("the answer is not a JSON object: {shown}");
        return Err(flow.failure(FailureKind::Malformed, message));
    };
    let first = |name: &[u8]| {
        let value = members.trim_ascii_start().strip_prefix(name)?.trim_ascii_start().strip_prefix(b":")?;
        Some(value.trim_ascii_start())
    };
    let is_error = first(b"\"error\"").is_some_and(|value| !value.starts_with(b"null"));
    // Anthropic's
    let is_named_so = first(b"\"type\"").is_some_and(|value| value.starts_with(b"\"error\""));
    if is_error || is_named_so {
        return Err(flow.diagnosed(diagnose_inside(body)));
    }
    Ok(())
}

/// An answer with a few images in it; what is larger is no answer of a chat.
const LARGEST_TRANSLATED: usize = 32 << 20;
/// Chat answers are a tenth of this; what is longer, embeddings mostly, must not wait in memory.
const HELD: usize = 64 << 10;
