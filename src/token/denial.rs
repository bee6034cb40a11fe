//! Why a token was refused: a closed list, one word each.
//!
//! [`Denial::reason`] is for the log and the metric. What the caller sees is [`Denial::code`]: until
//! a signature has been found good, all ways to fail look the same from outside, so that nobody can
//! learn from us which keys, algorithms or formats are in use.

/// One reason to refuse. Variants from [`Denial::Expired`] on can only be met by the holder of a
/// good signature, and may therefore be told apart by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// No accepted scheme found its token in the request.
    Missing,
    /// The same token field came more than once, where a later one could win.
    Duplicate,
    /// Several tokens that do not agree.
    Ambiguous,
    /// Longer than the scheme's limit.
    TooLarge,
    /// Not of the scheme's form.
    Malformed,
    /// Names a key that is not in the key set.
    UnknownKey,
    /// Names an algorithm that is not the key's.
    WrongAlgorithm,
    /// Signed, but not by the named key over these bytes.
    BadSignature,
    /// Not one of those that were given out here, or taken back.
    NotIssued,
    /// Uses a feature that must be understood and is not (`crit`, `zip`, `b64`, unknown claims).
    Unsupported,
    /// At or after its end.
    Expired,
    /// Before its start.
    NotYetValid,
    /// Carries no expiry although one is required.
    NoExpiry,
    /// Lives longer than the config allows.
    Lifetime,
    /// From another issuer than required.
    Issuer,
    /// For another audience, or for another kind of resource.
    Audience,
    /// A required claim is missing or has the wrong type.
    Claim,
    /// For other paths or resources than the one asked for.
    Path,
    /// For another host.
    Host,
    /// For other client addresses.
    Address,
    /// For other countries, or the country is not known.
    Country,
    /// For other methods.
    Method,
    /// For other referring pages.
    Referrer,
    /// For other user agents.
    UserAgent,
    /// For other request headers than these.
    Header,
    /// For another TLS or HTTP protocol.
    Protocol,
    /// Does not allow what the path asks for (a download, an original file).
    Entitlement,
    /// Parameters stand beside the token that must stand inside it.
    Parameters,
    /// Withdrawn.
    Revoked,
    /// Used before, and good for one use.
    Replayed,
}

impl Denial {
    /// Every denial, so that metric series exist before the first refusal.
    pub const ALL: [Self; 30] = [
        Self::Missing,
        Self::Duplicate,
        Self::Ambiguous,
        Self::TooLarge,
        Self::Malformed,
        Self::UnknownKey,
        Self::WrongAlgorithm,
        Self::BadSignature,
        Self::NotIssued,
        Self::Unsupported,
        Self::Expired,
        Self::NotYetValid,
        Self::NoExpiry,
        Self::Lifetime,
        Self::Issuer,
        Self::Audience,
        Self::Claim,
        Self::Path,
        Self::Host,
        Self::Address,
        Self::Country,
        Self::Method,
        Self::Referrer,
        Self::UserAgent,
        Self::Header,
        Self::Protocol,
        Self::Entitlement,
        Self::Parameters,
        Self::Revoked,
        Self::Replayed,
    ];

    /// The true reason, for log and metric.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Duplicate => "duplicate",
            Self::Ambiguous => "ambiguous",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::BadSignature => "bad_signature",
            Self::NotIssued => "not_issued",
            Self::Unsupported => "unsupported",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::NoExpiry => "no_expiry",
            Self::Lifetime => "lifetime",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claim => "claim",
            Self::Path => "path",
            Self::Host => "host",
            Self::Address => "address",
            Self::Country => "country",
            Self::Method => "method",
            Self::Referrer => "referrer",
            Self::UserAgent => "user_agent",
            Self::Header => "header",
            Self::Protocol => "protocol",
            Self::Entitlement => "entitlement",
            Self::Parameters => "parameters",
            Self::Revoked => "revoked",
            Self::Replayed => "replayed",
        }
    }

    /// The stable code that the caller sees.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Duplicate => "token_duplicate",
            Self::Ambiguous => "token_ambiguous",
            Self::TooLarge
            | Self::Malformed
            | Self::UnknownKey
            | Self::WrongAlgorithm
            | Self::BadSignature
            | Self::NotIssued
            | Self::Unsupported => "token_invalid",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::NoExpiry => "token_no_expiry",
            Self::Lifetime => "token_lifetime",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::Claim => "token_claim",
            Self::Path => "token_path",
            Self::Host => "token_host",
            Self::Address => "token_address",
            Self::Country => "token_country",
            Self::Method => "token_method",
            Self::Referrer => "token_referrer",
            Self::UserAgent => "token_user_agent",
            Self::Header => "token_header",
            Self::Protocol => "token_protocol",
            Self::Entitlement => "token_entitlement",
            Self::Parameters => "token_parameters",
            Self::Revoked => "token_revoked",
            Self::Replayed => "token_replayed",
        }
    }

    /// Whether only the holder of a good signature can meet this denial.
    #[must_use]
    pub const fn is_after_signature(self) -> bool {
        !matches!(
            self,
            Self::Missing
                | Self::Duplicate
                | Self::Ambiguous
                | Self::TooLarge
                | Self::Malformed
                | Self::UnknownKey
                | Self::WrongAlgorithm
                | Self::BadSignature
                | Self::NotIssued
                | Self::Unsupported
        )
    }
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn before_the_signature_only_four_codes_exist() {
        let codes: HashSet<_> = Denial::ALL.iter().filter(|d| !d.is_after_signature()).map(|d| d.code()).collect();
        assert_eq!(codes, HashSet::from(["token_missing", "token_duplicate", "token_ambiguous", "token_invalid"]));
    }

    #[test]
    fn after_it_every_reason_has_its_own() {
        let after: Vec<_> = Denial::ALL.iter().filter(|d| d.is_after_signature()).collect();
        let codes: HashSet<_> = after.iter().map(|d| d.code()).collect();
        assert_eq!(codes.len(), after.len());
    }

    #[test]
    fn reasons_are_distinct() {
        let reasons: HashSet<_> = Denial::ALL.iter().map(|d| d.reason()).collect();
        assert_eq!(reasons.len(), Denial::ALL.len());
    }
}
