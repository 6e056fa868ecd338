//! Undoes what `Content-Encoding` announces: gzip or zstd, never beyond the body limit.
//!
//! A small body can stand for gigabytes, so no more than the limit is ever unpacked, and off the worker threads: the
//! requests beside it shall not notice.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::api::error::ApiError;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878, one frame or several.
    Zstd,
}

/// The encodings that are taken, for people and for `Accept-Encoding`.
pub const TAKEN: &str = "gzip, zstd";

impl Encoding {
    /// What the headers announce; `None` for a body as it is.
    ///
    /// # Errors
    /// When it is another encoding, or several on top of each other.
    pub fn announced(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let mut sent = headers.get_all(CONTENT_ENCODING).iter();
        let Some(first) = sent.next() else { return Ok(None) };
        let unknown = |value: &HeaderValue| ApiError::ContentEncoding {
            sent: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        if let Some(second) = sent.next() {
            return Err(unknown(second));
        }
        match first.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
            b"identity" | b"" => Ok(None),
            b"gzip" | b"x-gzip" => Ok(Some(Self::Gzip)),
            b"zstd" => Ok(Some(Self::Zstd)),
            _ => Err(unknown(first)),
        }
    }

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The body as it was before it was packed.
    ///
    /// # Errors
    /// When it is not packed so, or above the limit.
    pub async fn undo(self, packed: Bytes, limit: usize) -> Result<Bytes, ApiError> {
        let unpacked = tokio::task::spawn_blocking(move || self.unpack(&packed, limit));
        match unpacked.await {
            Ok(Ok(body)) if body.len() > limit => Err(ApiError::TooLarge { limit }),
            Ok(Ok(body)) => Ok(body.into()),
            Ok(Err(problem)) => Err(ApiError::NotEncodedSo { encoding: self.name(), problem: problem.to_string() }),
            Err(error) => {
                tracing::error!(%error, "unpacking a body panicked");
                Err(ApiError::Internal)
            }
        }
    }

    /// At most one byte more than the limit.
    fn unpack(self, mut packed: &[u8], limit: usize) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        // One for all frames: each would claim a window of its own.
        let mut frames = FrameDecoder::new();
        frames.set_max_window_size(LARGEST_WINDOW);
        for _ in 0..MOST_PARTS {
            let room = (limit + 1).saturating_sub(body.len()) as u64;
            packed = match self {
                Self::Gzip => member(packed, room, &mut body)?,
                Self::Zstd => frame(packed, room, &mut body, &mut frames)?,
            };
            if packed.is_empty() || body.len() > limit {
                return Ok(body);
            }
        }
        Err(io::Error::other(format!("it has more than {MOST_PARTS} parts")))
    }
}

/// Unpacks a member of a gzip text; gives what follows it.
fn member<'a>(packed: &'a [u8], room: u64, body: &mut Vec<u8>) -> io::Result<&'a [u8]> {
    // It would pass for a member without content.
    if packed.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut member = GzDecoder::new(packed);
    member.by_ref().take(room).read_to_end(body)?;
    Ok(member.into_inner())
}

/// Unpacks a frame of a zstd text, or skips one that is to be skipped; gives what follows it.
fn frame<'a>(mut packed: &'a [u8], room: u64, body: &mut Vec<u8>, decoder: &mut FrameDecoder) -> io::Result<&'a [u8]> {
    match StreamingDecoder::new_with_decoder(&mut packed, &mut *decoder) {
        Ok(frame) => {
            if frame.take(room).read_to_end(body)? as u64 == room {
                // Beyond the limit: the rest of the frame, and its checksum, do not matter any more.
                return Ok(packed);
            }
        }
        Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            return packed.get(length..).ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
        }
        Err(error) => return Err(io::Error::other(error)),
    }
    let told = decoder.get_checksum_from_data();
    if told.is_some_and(|told| decoder.get_calculated_checksum() != Some(told)) {
        return Err(io::Error::other("the checksum is wrong"));
    }
    Ok(packed)
}

/// Members of a gzip text, frames of a zstd text. Packers make one, or one for each file or thread; each costs a
/// little time however little it holds.
const MOST_PARTS: usize = 1024;
/// As RFC 9659 asks for; a window is memory that one request can claim.
const LARGEST_WINDOW: u64 = 8 << 20;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn pack(encoding: Encoding, body: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Gzip => gzip(body),
            Encoding::Zstd => compress_to_vec(body, CompressionLevel::Fastest),
        }
    }

    async fn unpacked(encoding: Encoding, packed: Vec<u8>, limit: usize) -> Result<Bytes, String> {
        encoding.undo(packed.into(), limit).await.map_err(|error| error.body().message.into_owned())
    }

    fn announced(values: &[&'static str]) -> Result<Option<Encoding>, String> {
        let headers = values.iter().map(|value| (CONTENT_ENCODING, HeaderValue::from_static(value)));
        Encoding::announced(&headers.collect()).map_err(|error| error.body().message.into_owned())
    }

    const BOTH: [Encoding; 2] = [Encoding::Gzip, Encoding::Zstd];

    #[test]
    fn gzip_zstd_and_nothing_are_taken() {
        for none in [&[][..], &["identity"], &["Identity"], &[""]] {
            assert_eq!(announced(none), Ok(None));
        }
        for gzip in ["gzip", "GZIP", " x-gzip "] {
            assert_eq!(announced(&[gzip]), Ok(Some(Encoding::Gzip)));
        }
        assert_eq!(announced(&["zstd"]), Ok(Some(Encoding::Zstd)));
        for (sent, told) in [(&["br"][..], "br"), (&["gzip, gzip"], "gzip, gzip"), (&["gzip", "deflate"], "deflate")] {
            let message = format!(
                "Unsupported content encoding: '{told}'. Send the body as it is, or packed in one of these ways: \
                 gzip, zstd."
            );
            assert_eq!(announced(sent), Err(message));
        }
    }

    #[tokio::test]
    async fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
        let body = b"x".repeat(1_000_000);
        let told =
            Err("The request body is larger than 999999 bytes, the limit of this gateway (`server.body_limit`)."
                .to_owned());
        for encoding in BOTH {
            let packed = pack(encoding, &body);
            assert!(packed.len() < 10_000, "{encoding:?}: {}", packed.len());
            assert_eq!(unpacked(encoding, packed.clone(), 1_000_000).await, Ok(body.clone().into()), "{encoding:?}");
            assert_eq!(unpacked(encoding, packed, 999_999).await, told, "{encoding:?}");
        }
    }

    #[tokio::test]
    async fn a_body_may_come_in_several_parts() {
        for encoding in BOTH {
            let parts = [pack(encoding, b"one "), pack(encoding, b""), pack(encoding, b"two")].concat();
            assert_eq!(unpacked(encoding, parts.clone(), 7).await, Ok(Bytes::from_static(b"one two")), "{encoding:?}");
            assert!(unpacked(encoding, parts, 6).await.is_err(), "{encoding:?}");
        }
        let skippable = [&b"\x50\x2a\x4d\x18\x03\0\0\0abc"[..], &pack(Encoding::Zstd, b"one")].concat();
        assert_eq!(unpacked(Encoding::Zstd, skippable, 3).await, Ok(Bytes::from_static(b"one")));
    }

    #[tokio::test]
    async fn a_body_may_come_in_1024_parts_and_no_more() {
        for encoding in BOTH {
            let parts = |count| pack(encoding, b"").repeat(count);
            assert_eq!(unpacked(encoding, parts(1024), 9).await, Ok(Bytes::new()), "{encoding:?}");
            let told = format!(
                "The request body is announced as {}, but it is not: it has more than 1024 parts.",
                encoding.name()
            );
            assert_eq!(unpacked(encoding, parts(1025), 9).await, Err(told));
        }
    }

    #[tokio::test]
    async fn what_is_not_packed_as_announced_is_told() {
        let told =
            |encoding, problem| Err(format!("The request body is announced as {encoding}, but it is not: {problem}."));
        assert_eq!(unpacked(Encoding::Gzip, b"{\"model\":1}".to_vec(), 99).await, told("gzip", "invalid gzip header"));
        for encoding in BOTH {
            let whole = pack(encoding, b"a body that is long enough to be cut");
            for length in 0..whole.len() {
                assert!(unpacked(encoding, whole[..length].to_vec(), 99).await.is_err(), "{encoding:?} of {length}");
            }
        }
    }

    #[tokio::test]
    async fn a_window_is_at_most_eight_mebibytes() {
        let frame = |descriptor: u8| [0x28, 0xb5, 0x2f, 0xfd, 0x00, descriptor, 0x01, 0x00, 0x00];
        // 2^23, and 2^23 with an eighth more
        assert_eq!(unpacked(Encoding::Zstd, frame(13 << 3).to_vec(), 9).await, Ok(Bytes::new()));
        let refused = unpacked(Encoding::Zstd, frame(13 << 3 | 1).to_vec(), 9).await.unwrap_err();
        assert!(refused.contains("window_size is too big"), "{refused}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..100_usize) {
            for encoding in BOTH {
                let _ = encoding.unpack(&bytes, 1000);
                let mut changed = pack(encoding, &bytes);
                let place = cut % changed.len();
                changed[place] ^= 0x55;
                prop_assert!(encoding.unpack(&changed, 1000).map_or(0, |body| body.len()) <= 1001);
            }
        }
    }
}
