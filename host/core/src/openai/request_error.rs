//! Why a request cannot be routed, in OpenAI's words.

use super::json::{Kind, SyntaxError};
use super::{ErrorBody, FormError};

/// What is wrong with a request. All are answered with status 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not UTF-8.
    #[error("We could not parse the JSON body of your request: it is not UTF-8 at line {line}, column {column}.")]
    NotUtf8 {
        /// From 1.
        line: usize,
        /// Byte, from 1.
        column: usize,
    },
    /// Not JSON.
    #[error("We could not parse the JSON body of your request: {0}.")]
    Syntax(#[from] SyntaxError),
    /// Not a form.
    #[error("Could not parse multipart form: {0}.")]
    Form(#[from] FormError),
    /// JSON, but not an object.
    #[error("The JSON body of your request must be an object, but it is {}.", .got.article())]
    NotAnObject {
        /// What it is.
        got: Kind,
    },
    /// A field that must be there is not, or is null.
    #[error("Missing required parameter: '{field}'.")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// The model's name is the empty string.
    #[error("Invalid 'model': the name is empty. Ask GET /v1/models for the names that you may use.")]
    EmptyModel,
    /// A field of the wrong type.
    #[error("Invalid type for '{field}': expected {expected}, but got {} instead.", .got.article())]
    WrongType {
        /// Which.
        field: &'static str,
        /// With its article.
        expected: &'static str,
        /// What it is.
        got: Kind,
    },
    /// A number that must be whole is not, or is out of range.
    #[error("Invalid '{field}': expected an integer of at least {minimum}, but got {got} instead.")]
    NotInRange {
        /// Which.
        field: &'static str,
        /// The smallest that is taken.
        minimum: i64,
        /// As it is written.
        got: String,
    },
    /// An image is given as base64 that is none.
    #[error("{}", if *.anthropic { "messages: image.source.base64: invalid base64 data" } else { "Invalid base64 image_url." })]
    WrongBase64 {
        /// Whether Anthropic's words are to be used.
        anthropic: bool,
    },
    /// A field that routing depends on is there twice. Servers differ in which one they take, so the gateway might
    /// route by one and the upstream obey the other.
    #[error("Duplicate parameter: '{field}' is given more than once. Keep one of them.")]
    Duplicate {
        /// Which.
        field: &'static str,
    },
    /// `Model` or the like. Some servers would take it for `model`, which the gateway has not seen then.
    #[error("Unknown parameter: '{got}'. Write 'model' in lower case.")]
    ModelInOtherCase {
        /// As it is written.
        got: String,
    },
}

impl RequestError {
    /// The field that is wrong, if it is one.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::NotUtf8 { .. }
            | Self::Syntax(_)
            | Self::Form(_)
            | Self::NotAnObject { .. }
            | Self::WrongBase64 { .. } => None,
            Self::EmptyModel => Some("model"),
            Self::Missing { field }
            | Self::WrongType { field, .. }
            | Self::NotInRange { field, .. }
            | Self::Duplicate { field } => Some(field),
            Self::ModelInOtherCase { got } => Some(got),
        }
    }

    /// OpenAI's code for it, where there is one.
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::NotUtf8 { .. } | Self::Syntax(_) | Self::Form(_) | Self::NotAnObject { .. } => None,
            Self::WrongBase64 { .. } => Some("invalid_base64"),
            Self::Missing { .. } => Some("missing_required_parameter"),
            Self::EmptyModel => Some("empty_string"),
            Self::WrongType { .. } => Some("invalid_type"),
            Self::NotInRange { .. } => Some("invalid_value"),
            Self::Duplicate { .. } => Some("duplicate_parameter"),
            Self::ModelInOtherCase { .. } => Some("unknown_parameter"),
        }
    }

    /// What the client is told.
    pub fn body(&self) -> ErrorBody {
        let body = ErrorBody::invalid(self.to_string());
        let body = match self.param() {
            Some(param) => body.with_param(param.to_owned()),
            None => body,
        };
        match self.code() {
            Some(code) => body.with_code(code),
            None => body,
        }
    }
}
