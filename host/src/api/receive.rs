//! Receives a request's body as its endpoint has it: JSON whole, a form until its model is known.

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use witgate_core::config::Server;
use witgate_core::openai::form::{Form, boundary};
use witgate_core::openai::{BodyShape, Endpoint, Peek, peek};

use crate::admission::Held;
use crate::api::body::{check_content_type, collect};
use crate::api::encoding::Encoding;
use crate::api::error::{ApiError, Busy};
use crate::upload::{self, Begun, Bounds, FormBody};

/// A body that is announced as what it should be.
pub(super) struct Announced {
    endpoint: Endpoint,
    encoding: Option<Encoding>,
    form: Option<(Form, HeaderValue)>,
}

/// A body that has been read as far as routing needs it.
pub(super) struct Received {
    /// All of it; of a large form, its beginning.
    pub(super) body: Bytes,
    /// The rest, where it is a form.
    pub(super) form: Option<FormBody>,
    /// What routing needs to know.
    pub(super) peek: Peek,
}

impl Announced {
    /// What the headers announce.
    ///
    /// # Errors
    /// When the endpoint does not take that.
    pub(super) fn of(endpoint: Endpoint, headers: &HeaderMap) -> Result<Self, ApiError> {
        let form = match endpoint.body_shape() {
            BodyShape::Json => {
                check_content_type(headers, endpoint.speech())?;
                None
            }
            // OpenAI takes this one either way.
            BodyShape::Form
                if endpoint == Endpoint::ImageEdits && check_content_type(headers, endpoint.speech()).is_ok() =>
            {
                None
            }
            BodyShape::Form => Some(form(headers)?),
        };
        Ok(Self { endpoint, encoding: Encoding::announced(headers)?, form })
    }

    /// Reads the body.
    ///
    /// # Errors
    /// When it is not what was announced, too large, too slow, or there is no memory for it.
    pub(super) async fn receive(
        self,
        headers: &HeaderMap,
        body: Body,
        server: &Server,
        held: &mut Held,
    ) -> Result<Received, ApiError> {
        let Self { endpoint, encoding, form } = self;
        let Some((mut form, content_type)) = form else {
            let body = whole(headers, body, encoding, server, held).await?;
            let peek = peek(&body, endpoint).map_err(ApiError::Request)?;
            return Ok(Received { body, form: None, peek });
        };
        let Begun { read, form, rest } = if encoding.is_some() {
            // What is packed is not read in pieces.
            let read = whole(headers, body, encoding, server, held).await?;
            form.push(&read).and_then(|()| form.end()).map_err(ApiError::Request)?;
            Begun { read, form, rest: None }
        } else {
            let bounds = Bounds { limit: server.upload_limit, patience: server.read_timeout };
            bounds.admit(headers).map_err(ApiError::Upload)?;
            upload::begin(body, form, server.body_limit, bounds, |bytes| held.take(bytes))
                .await
                .map_err(ApiError::Upload)?
        };
        let peek = form.peek(endpoint).map_err(ApiError::Request)?;
        Ok(Received { body: read, form: Some(FormBody { form, content_type, rest }), peek })
    }
}

/// An empty form with the boundary that is announced.
fn form(headers: &HeaderMap) -> Result<(Form, HeaderValue), ApiError> {
    let Some(sent) = headers.get(CONTENT_TYPE) else { return Err(ApiError::NotAForm { sent: None }) };
    match boundary(sent.as_bytes()) {
        Some(Ok(boundary)) => Ok((Form::new(&boundary), sent.clone())),
        Some(Err(error)) => Err(ApiError::Request(error.into())),
        None => Err(ApiError::NotAForm { sent: Some(String::from_utf8_lossy(sent.as_bytes()).into_owned()) }),
    }
}

/// All of the body, unpacked.
async fn whole(
    headers: &HeaderMap,
    body: Body,
    encoding: Option<Encoding>,
    server: &Server,
    held: &mut Held,
) -> Result<Bytes, ApiError> {
    let body = collect(headers, body, server.body_limit, server.read_timeout, held).await?;
    let Some(encoding) = encoding else { return Ok(body) };
    let body = encoding.undo(body, server.body_limit).await?;
    if held.take(body.len()) { Ok(body) } else { Err(ApiError::Busy(Busy::Memory)) }
}
