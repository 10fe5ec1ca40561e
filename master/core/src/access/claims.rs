//! What the token of a service account claims.
//!
//! ```text
//! {"aud": [...], "exp": 1, "iat": 1, "iss": "https://...", "jti": "uid", "nbf": 1,
//!  "sub": "system:serviceaccount:<namespace>:<name>",
//!  "kubernetes.io": {"namespace": "...", "serviceaccount": {"name", "uid"},
//!                    "pod" | "secret": {"name", "uid"}, "node": {"name", "uid"}, "warnafter": 1}}
//! ```
//! That a token is not used before its time (`nbf`) is not checked: who signed it was the master, so
//! that time was there, and boards begin in 1970.

use serde_json::{Map, Value, json};

use super::user::User;

/// Seconds that the token of a pod's own volume is asked for; such a token lives for longer, as
/// upstream, since programs of old read it only once.
pub const POD_EXPIRATION_S: i64 = 3_607;
/// Seconds that such a token lives.
pub const POD_EXPIRATION_EXTENDED_S: i64 = 365 * 86_400;
/// Fewest seconds that a token may be asked for.
pub const EXPIRATION_MIN_S: i64 = 600;
/// Most seconds that a token may be asked for.
pub const EXPIRATION_MAX_S: i64 = 1 << 32;
/// Seconds that a token lives if nobody says how long.
pub const EXPIRATION_DEFAULT_S: i64 = 3_600;

/// Where the claims of Kubernetes are.
const OWN: &str = "kubernetes.io";

/// An object by name and uid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
}

/// What a token claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// For whom it is.
    pub audiences: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub issued_s: i64,
    /// When it ends, in seconds since 1970.
    pub expires_s: i64,
    /// From when on its holder should have another one.
    pub warn_after_s: Option<i64>,
    /// The token's own id.
    pub id: String,
    /// Namespace of the account, and of pod and secret.
    pub namespace: String,
    /// The account.
    pub account: Reference,
    /// The pod that it ends with.
    pub pod: Option<Reference>,
    /// The secret that it ends with.
    pub secret: Option<Reference>,
    /// The pod's node; the node that it ends with if there is no pod.
    pub node: Option<Reference>,
}

/// Why a token does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// It is no token of a service account.
    #[error("the token's claims are not those of a service account")]
    Malformed,
    /// Somebody else's.
    #[error("the token is of another issuer")]
    Issuer,
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// It is for somebody else.
    #[error("token audiences {found:?} is invalid for the target audiences {wanted:?}")]
    Audience {
        /// Audiences of the token.
        found: Vec<String>,
        /// Audiences that it should be for.
        wanted: Vec<String>,
    },
}

impl Claims {
    /// Writes the claims.
    #[must_use]
    pub fn to_json(&self, issuer: &str) -> Value {
        let reference = |it: &Reference| json!({ "name": it.name, "uid": it.uid });
        let mut own = Map::new();
        own.insert("namespace".to_owned(), self.namespace.as_str().into());
        for (key, value) in [("node", &self.node), ("pod", &self.pod), ("secret", &self.secret)] {
            own.extend(value.iter().map(|it| (key.to_owned(), reference(it))));
        }
        own.insert("serviceaccount".to_owned(), reference(&self.account));
        own.extend(self.warn_after_s.map(|at| ("warnafter".to_owned(), at.into())));
        json!({
            "aud": self.audiences,
            "exp": self.expires_s,
            "iat": self.issued_s,
            "iss": issuer,
            "jti": self.id,
            OWN: own,
            "nbf": self.issued_s,
            "sub": self.subject(),
        })
    }

    /// Reads claims.
    ///
    /// # Errors
    ///
    /// When they are of another issuer, or not those of a service account.
    pub fn from_json(claims: &Value, issuer: &str) -> Result<Self, ClaimsError> {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
            return Err(ClaimsError::Issuer);
        }
        let own = claims.get(OWN).ok_or(ClaimsError::Malformed)?;
        let reference = |field: &str| {
            let found = own.get(field)?;
            Some(Reference { name: text(found.get("name"))?, uid: text(found.get("uid"))? })
        };
        let audiences = match claims.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(several)) => several.iter().filter_map(|it| text(Some(it))).collect(),
            _ => Vec::new(),
        };
        let read = Self {
            audiences,
            issued_s: claims.get("iat").and_then(Value::as_i64).ok_or(ClaimsError::Malformed)?,
            expires_s: claims.get("exp").and_then(Value::as_i64).ok_or(ClaimsError::Malformed)?,
            warn_after_s: own.get("warnafter").and_then(Value::as_i64),
            id: text(claims.get("jti")).unwrap_or_default(),
            namespace: text(own.get("namespace")).ok_or(ClaimsError::Malformed)?,
            account: reference("serviceaccount").ok_or(ClaimsError::Malformed)?,
            pod: reference("pod"),
            secret: reference("secret"),
            node: reference("node"),
        };
        let subject = claims.get("sub").and_then(Value::as_str);
        if subject != Some(&read.subject()) {
            return Err(ClaimsError::Malformed);
        }
        Ok(read)
    }

    /// Checks time and audience; returns those of the wanted audiences that the token is for.
    ///
    /// # Errors
    ///
    /// When the token is over, or for nobody of those.
    pub fn check(&self, now_s: i64, wanted: &[String]) -> Result<Vec<String>, ClaimsError> {
        if now_s >= self.expires_s {
            return Err(ClaimsError::Expired);
        }
        let both: Vec<String> =
            wanted.iter().filter(|wanted| self.audiences.contains(wanted)).cloned().collect();
        if both.is_empty() {
            let (found, wanted) = (self.audiences.clone(), wanted.to_vec());
            return Err(ClaimsError::Audience { found, wanted });
        }
        Ok(both)
    }

    /// The user whose token it is.
    #[must_use]
    pub fn user(&self) -> User {
        const EXTRA: &str = "authentication.kubernetes.io";
        let mut user = User::account(&self.namespace, &self.account.name).authenticated();
        user.uid.clone_from(&self.account.uid);
        let mut add = |key: &str, value: &str| {
            user.extra.insert(format!("{EXTRA}/{key}"), vec![value.to_owned()]);
        };
        if !self.id.is_empty() {
            add("credential-id", &format!("JTI={}", self.id));
        }
        for (key, value) in [("pod", &self.pod), ("node", &self.node)] {
            if let Some(Reference { name, uid }) = value {
                add(&format!("{key}-name"), name);
                add(&format!("{key}-uid"), uid);
            }
        }
        user
    }

    fn subject(&self) -> String {
        User::account(&self.namespace, &self.account.name).name
    }
}

/// How long a token lives, and from when on its holder should have another one, in seconds from
/// now: `asked_s` is what was asked for, `of_pod` whether it is for the API and ends with a pod.
#[must_use]
pub const fn lifetime(asked_s: i64, of_pod: bool) -> (i64, Option<i64>) {
    if of_pod && asked_s == POD_EXPIRATION_S {
        (POD_EXPIRATION_EXTENDED_S, Some(asked_s))
    } else {
        (asked_s, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://issuer";

    fn claims() -> Claims {
        let reference =
            |name: &str| Reference { name: name.to_owned(), uid: format!("{name}-uid") };
        Claims {
            audiences: vec!["a".to_owned(), "b".to_owned()],
            issued_s: 1_000,
            expires_s: 2_000,
            warn_after_s: Some(1_500),
            id: "id".to_owned(),
            namespace: "shop".to_owned(),
            account: reference("seller"),
            pod: Some(reference("web-1")),
            secret: None,
            node: Some(reference("pi-1")),
        }
    }

    #[test]
    fn claims_survive_a_round_trip() {
        let written = claims().to_json(ISSUER);
        assert_eq!(written["sub"], json!("system:serviceaccount:shop:seller"));
        assert_eq!(written["kubernetes.io"]["pod"], json!({"name": "web-1", "uid": "web-1-uid"}));
        assert_eq!(Claims::from_json(&written, ISSUER), Ok(claims()));
    }

    #[test]
    fn foreign_and_mixed_claims_are_refused() {
        let check = |change: &dyn Fn(&mut Value), expected: ClaimsError| {
            let mut written = claims().to_json(ISSUER);
            change(&mut written);
            assert_eq!(Claims::from_json(&written, ISSUER), Err(expected));
        };
        check(&|it| it["iss"] = json!("https://other"), ClaimsError::Issuer);
        check(&|it| it["sub"] = json!("system:serviceaccount:shop:admin"), ClaimsError::Malformed);
        check(&|it| it["kubernetes.io"]["namespace"] = json!("other"), ClaimsError::Malformed);
        check(&|it| it["exp"] = json!("never"), ClaimsError::Malformed);
        check(&|it| *it = json!({"iss": ISSUER}), ClaimsError::Malformed);
    }

    #[test]
    fn token_counts_for_its_audience_until_it_ends() {
        let wanted =
            |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
        assert_eq!(claims().check(1_999, &wanted(&["c", "b"])), Ok(wanted(&["b"])));
        assert_eq!(claims().check(2_000, &wanted(&["b"])), Err(ClaimsError::Expired));
        assert!(matches!(claims().check(0, &wanted(&["c"])), Err(ClaimsError::Audience { .. })));
        assert!(matches!(claims().check(0, &[]), Err(ClaimsError::Audience { .. })));
    }

    #[test]
    fn user_is_the_account_with_what_the_token_is_bound_to() {
        let user = claims().user();
        assert_eq!(user.name, "system:serviceaccount:shop:seller");
        assert_eq!(user.uid, "seller-uid");
        assert_eq!(
            user.groups,
            ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]
        );
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["web-1"]);
        assert_eq!(user.extra["authentication.kubernetes.io/credential-id"], ["JTI=id"]);
    }

    #[test]
    fn only_the_token_of_a_pods_own_volume_lives_for_longer() {
        assert_eq!(lifetime(3_607, true), (365 * 86_400, Some(3_607)));
        assert_eq!(lifetime(3_607, false), (3_607, None));
        assert_eq!(lifetime(3_600, true), (3_600, None));
    }
}
