//! The route receipt: what the gateway did with a request, in the answer's headers.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::execute::By;

/// What the headers say.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    /// Which deployment answered, or was tried last.
    pub deployment: Option<Arc<str>>,
    /// Who decided.
    pub by: Option<By>,
    /// Attempts made.
    pub attempts: usize,
    /// Where a path was passed through to, without any decision.
    pub provider: Option<Arc<str>>,
    /// What the answer has cost, in USD; `None` while it is not known.
    pub usd: Option<f64>,
}

impl Receipt {
    /// Adds the headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        if let Some(deployment) = &self.deployment {
            headers.insert(DEPLOYMENT, value(deployment));
        }
        if let Some(provider) = &self.provider {
            headers.insert(PROVIDER, value(provider));
        }
        if let Some(usd) = self.usd {
            headers.insert(COST, value(&decimal(usd)));
        }
        let Some(By { policy, revision, reason }) = &self.by else { return };
        headers
            .insert(POLICY, if revision.is_empty() { value(policy) } else { value(&format!("{policy}/{revision}")) });
        headers.insert(ATTEMPTS, HeaderValue::from(self.attempts));
        if let Some(reason) = reason {
            headers.insert(REASON, value(reason));
        }
    }
}

/// To a thousandth of a millionth, without an exponent: less than a token of anything costs.
fn decimal(usd: f64) -> String {
    let text = format!("{usd:.9}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Header values are visible ASCII; anything else becomes `?`, and the length stays modest.
pub(super) fn value(text: &str) -> HeaderValue {
    if let Ok(value) = HeaderValue::from_str(text)
        && text.len() <= LONGEST
        && text.is_ascii()
    {
        return value;
    }
    let plain: String =
        text.chars().take(LONGEST).map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    HeaderValue::from_str(&plain).unwrap_or(HeaderValue::from_static("?"))
}

const DEPLOYMENT: HeaderName = HeaderName::from_static("x-witgate-deployment");
const PROVIDER: HeaderName = HeaderName::from_static("x-witgate-provider");
const COST: HeaderName = HeaderName::from_static("x-witgate-cost-usd");
const POLICY: HeaderName = HeaderName::from_static("x-witgate-policy");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-witgate-attempts");
const REASON: HeaderName = HeaderName::from_static("x-witgate-reason");
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(receipt: &Receipt) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        receipt.write(&mut headers);
        let text = |value: &HeaderValue| value.to_str().expect("visible ASCII").to_owned();
        let mut all: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        all.sort();
        all
    }

    #[test]
    fn a_receipt_says_who_decided_what_and_why() {
        let by = By { policy: "fast".into(), revision: "0a1b".into(), reason: Some("least loaded".into()) };
        let receipt =
            Receipt { deployment: Some("m@p".into()), by: Some(by), attempts: 2, provider: None, usd: Some(0.000_125) };
        let told = [
            ("x-witgate-attempts", "2"),
            ("x-witgate-cost-usd", "0.000125"),
            ("x-witgate-deployment", "m@p"),
            ("x-witgate-policy", "fast/0a1b"),
            ("x-witgate-reason", "least loaded"),
        ];
        assert_eq!(written(&receipt), told.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(written(&Receipt::default()), []);
    }

    #[test]
    fn an_amount_has_no_exponent_and_no_noise() {
        for (usd, text) in
            [(0.0, "0"), (0.1 + 0.2, "0.3"), (1e-9, "0.000000001"), (1e-12, "0"), (12.5, "12.5"), (3.0, "3")]
        {
            assert_eq!(decimal(usd), text);
        }
    }

    #[test]
    fn what_a_header_cannot_hold_is_replaced() {
        assert_eq!(value("naïve\nline"), "na?ve?line");
        assert_eq!(value(&"x".repeat(300)).len(), LONGEST);
    }
}
