//! Pages in browsers that may ask.

use super::values::items;
use crate::config::findings::Findings;
use crate::config::model::Cors;
use crate::config::problem::KeyPath;
use crate::config::raw::server::RawCors;

pub(super) fn cors(raw: RawCors, path: &KeyPath, findings: &mut Findings<'_>) -> Option<Cors> {
    let path = path.key("origins");
    let named = items(raw.origins?, &path);
    let mut origins: Vec<Box<str>> = Vec::new();
    match &named[..] {
        [] => findings.error(&path, "no origin is named", "name at least one, or leave `cors` out"),
        [(_, only)] if only == ANY => return Some(Cors::Any),
        _ => {}
    }
    for (at, origin) in named {
        if origin == ANY {
            findings.error(&at, "`*` stands for all origins, and others are named too", "keep one of the two");
        } else if !is_origin(&origin) {
            findings.error(
                &at,
                format!("{origin:?} is no origin as browsers write it"),
                "write for example `https://app.example` or `http://localhost:3000`: in lower case, without a path, \
                 and without the usual port",
            );
        } else if origins.iter().any(|known| **known == *origin) {
            findings.error(&at, format!("`{origin}` is listed twice"), "remove one of the two");
        } else {
            origins.push(origin.into());
        }
    }
    (!origins.is_empty()).then_some(Cors::Origins(origins))
}

/// Whether a browser could send this as `Origin`: scheme and host, and the port if it is not the scheme's own.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    let own_port = match scheme {
        "http" => uri.port_u16() == Some(80),
        "https" => uri.port_u16() == Some(443),
        // Extensions and app shells have schemes of their own, without ports.
        _ => uri.port_u16().is_some(),
    };
    let whole = uri.authority().is_some_and(|parsed| parsed.as_str() == authority);
    whole && !own_port && !authority.contains('@') && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

const ANY: &str = "*";
