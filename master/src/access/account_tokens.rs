//! Tokens of service accounts: issues them, and says whose they are.
//!
//! A token counts as long as its account, and the pod, secret or node that it is bound to, exist with
//! the uids that it names. Nothing of a token is kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bramble_api::{Resource, Status, timestamp};
use bramble_master_core::access::claims::{self, Claims, ClaimsError, Reference};
use bramble_master_core::access::user::User;
use bramble_process::panics;
use ring::digest::{SHA256, digest};
use serde::Deserialize;

use crate::objects::Objects;
use crate::pki::{AccountKey, SignError};
use crate::{clock, random};

/// Who signs tokens, as they say, and for whom those are that the API takes.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Tokens whose signature need not be checked again; each takes less than 1 KB.
const KNOWN_MAX: usize = 256;
/// Seconds for which tokens count on after the end of what they are bound to, as upstream: what is
/// being deleted has to say good-bye.
const LEEWAY_S: i64 = 60;

/// Issues and checks tokens.
#[derive(Debug)]
pub(crate) struct AccountTokens {
    key: AccountKey,
    objects: Objects,
    /// By the hash of the token.
    known: Mutex<BTreeMap<[u8; 32], Arc<Claims>>>,
}

/// A token that is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Namespace of the account.
    pub(crate) namespace: String,
    /// Name of the account.
    pub(crate) account: String,
    /// For whom it is; empty for the API.
    pub(crate) audiences: Vec<String>,
    /// Seconds that it is to live.
    pub(crate) expires_in_s: i64,
    /// What it ends with.
    pub(crate) bound: Option<Bound>,
}

/// What a token ends with.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// What it is.
    pub(crate) kind: BoundKind,
    /// Its name.
    pub(crate) name: String,
    /// Its uid; empty for that of the present one.
    pub(crate) uid: String,
}

/// What a token may end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BoundKind {
    /// A pod of that account.
    Pod,
    /// A secret.
    Secret,
    /// A node.
    Node,
}

/// A token.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    /// The token itself.
    pub(crate) token: String,
    /// Seconds after which its holder should have another one.
    pub(crate) expires_in_s: i64,
    /// That moment, in seconds since 1970.
    pub(crate) expires_s: i64,
}

/// Why a token does not count.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    /// Nobody here has signed it.
    #[error("invalid bearer token")]
    Signature,
    /// What it says.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// What it is bound to is gone.
    #[error("{0} has been deleted or is another one")]
    Gone(String),
}

/// What of an object decides whether a token counts.
#[derive(Debug, Deserialize)]
struct Head {
    metadata: HeadMetadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMetadata {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    deletion_timestamp: Option<String>,
}

impl AccountTokens {
    /// Tokens that this key signs, for what is in the store.
    pub(crate) fn new(key: AccountKey, objects: Objects) -> Self {
        Self { key, objects, known: Mutex::default() }
    }

    /// The public half of the key, for whoever checks tokens himself.
    pub(crate) fn jwk(&self) -> serde_json::Value {
        self.key.jwk()
    }

    /// Issues a token.
    ///
    /// # Errors
    ///
    /// 404 when the account or what it is bound to does not exist, 409 when that is another one of
    /// the same name, 400 when a pod runs with another account.
    pub(crate) async fn issue(&self, asked: &Asked) -> Result<Issued, Status> {
        let account = self.account(&asked.namespace, &asked.account).await?;
        let mut claims = Claims {
            audiences: asked.audiences.clone(),
            issued_s: clock::time_of_day_s(),
            id: random::uid(),
            namespace: asked.namespace.clone(),
            account,
            ..Claims::default()
        };
        if let Some(bound) = &asked.bound {
            self.bind(&mut claims, bound).await?;
        }
        if claims.audiences.is_empty() {
            claims.audiences = vec![ISSUER.to_owned()];
        }
        let of_pod = claims.pod.is_some() && claims.audiences == [ISSUER];
        let (lives_s, warn_after_s) = claims::lifetime(asked.expires_in_s, of_pod);
        claims.expires_s = claims.issued_s.saturating_add(lives_s);
        claims.warn_after_s = warn_after_s.map(|after| claims.issued_s.saturating_add(after));
        let failed = |error: SignError| Status::internal(format!("could not sign: {error}"));
        let token = self.key.sign(&claims.to_json(ISSUER)).map_err(failed)?;
        let expires_s = claims.issued_s.saturating_add(asked.expires_in_s);
        Ok(Issued { token, expires_in_s: asked.expires_in_s, expires_s })
    }

    /// Issues a token to a node for a pod that is bound to it.
    ///
    /// # Errors
    ///
    /// 403 when it is not bound to it, and as [`Self::issue`].
    pub(crate) async fn issue_to_node(
        &self,
        node: &str,
        (namespace, pod, uid): (&str, &str, &str),
        audience: &str,
        expires_in_s: u64,
    ) -> Result<Issued, Status> {
        let pods = Objects::resource("", "pods");
        let present = self.objects.get(pods, namespace, pod).await?;
        let text =
            |pointer: &str| present.pointer(pointer).and_then(|it| it.as_str()).unwrap_or("");
        if text("/spec/nodeName") != node || text("/metadata/uid") != uid {
            return Err(Status::forbidden(pods, pod, "it is not bound to this node"));
        }
        let expires_in_s = i64::try_from(expires_in_s).unwrap_or(claims::EXPIRATION_MAX_S);
        let audiences = Some(audience).filter(|it| !it.is_empty()).map(str::to_owned);
        let asked = Asked {
            namespace: namespace.to_owned(),
            account: text("/spec/serviceAccountName").to_owned(),
            audiences: audiences.into_iter().collect(),
            expires_in_s: expires_in_s.clamp(claims::EXPIRATION_MIN_S, claims::EXPIRATION_MAX_S),
            bound: Some(Bound { kind: BoundKind::Pod, name: pod.to_owned(), uid: uid.to_owned() }),
        };
        self.issue(&asked).await
    }

    /// Says whose a token is, and for which of the audiences.
    ///
    /// # Errors
    ///
    /// When it does not count, or not for any of these.
    pub(crate) async fn verify(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<(User, Vec<String>), VerifyError> {
        let claims = self.claims(token)?;
        let now_s = clock::time_of_day_s();
        let audiences = claims.check(now_s, audiences)?;
        let namespace = claims.namespace.as_str();
        let bound = [
            (Some(&claims.account), "serviceaccounts", namespace),
            (claims.pod.as_ref(), "pods", namespace),
            (claims.secret.as_ref(), "secrets", namespace),
            // A pod's node is told only; it may be gone before its pods.
            (claims.node.as_ref().filter(|_| claims.pod.is_none()), "nodes", ""),
        ];
        for (reference, plural, namespace) in bound {
            let Some(reference) = reference else { continue };
            let resource = Objects::resource("", plural);
            let head = self.head(resource, namespace, &reference.name).await;
            if !head.is_ok_and(|head| head.counts_as(reference, now_s)) {
                let gone = format!("{} {namespace}/{}", resource.singular, reference.name);
                return Err(VerifyError::Gone(gone));
            }
        }
        Ok((claims.user(), audiences))
    }

    /// The claims of a token with a good signature.
    fn claims(&self, token: &str) -> Result<Arc<Claims>, VerifyError> {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(known) = self.lock().get(&hash) {
            return Ok(Arc::clone(known));
        }
        let signed = self.key.verify(token).ok_or(VerifyError::Signature)?;
        let claims = Arc::new(Claims::from_json(&signed, ISSUER)?);
        let mut known = self.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(hash, Arc::clone(&claims));
        Ok(claims)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<[u8; 32], Arc<Claims>>> {
        self.known.lock().unwrap_or_else(|_| panics::torn("the known tokens"))
    }

    async fn account(&self, namespace: &str, name: &str) -> Result<Reference, Status> {
        let accounts = Objects::resource("", "serviceaccounts");
        let head = self.head(accounts, namespace, name).await?;
        Ok(Reference { name: name.to_owned(), uid: head.metadata.uid })
    }

    async fn bind(&self, claims: &mut Claims, bound: &Bound) -> Result<(), Status> {
        let plural = match bound.kind {
            BoundKind::Pod => "pods",
            BoundKind::Secret => "secrets",
            BoundKind::Node => "nodes",
        };
        let resource = Objects::resource("", plural);
        let namespace = if resource.namespaced { claims.namespace.as_str() } else { "" };
        let head = self.head(resource, namespace, &bound.name).await?;
        let uid = head.metadata.uid;
        let node = match bound.kind {
            BoundKind::Pod => self.node_of(claims, resource, &bound.name).await?,
            BoundKind::Secret | BoundKind::Node => None,
        };
        if !bound.uid.is_empty() && bound.uid != uid {
            return Err(Status::conflict(
                resource,
                &bound.name,
                &format!(
                    "the UID in the bound object reference ({}) does not match the UID in record. \
                     The object might have been deleted and then recreated",
                    bound.uid
                ),
            ));
        }
        let reference = Some(Reference { name: bound.name.clone(), uid });
        match bound.kind {
            BoundKind::Pod => (claims.pod, claims.node) = (reference, node),
            BoundKind::Secret => claims.secret = reference,
            BoundKind::Node => claims.node = reference,
        }
        Ok(())
    }

    /// The node of a pod, if it has one; refuses pods of other accounts.
    async fn node_of(
        &self,
        claims: &Claims,
        pods: &Resource,
        pod: &str,
    ) -> Result<Option<Reference>, Status> {
        let pod = self.objects.get(pods, &claims.namespace, pod).await?;
        let text = |pointer: &str| pod.pointer(pointer).and_then(|it| it.as_str()).unwrap_or("");
        if text("/spec/serviceAccountName") != claims.account.name {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with different \
                 serviceaccount name.",
                claims.account.name
            )));
        }
        let node = text("/spec/nodeName");
        if node.is_empty() {
            return Ok(None);
        }
        let head = self.head(Objects::resource("", "nodes"), "", node).await.ok();
        Ok(head.map(|head| Reference { name: node.to_owned(), uid: head.metadata.uid }))
    }

    async fn head(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Head, Status> {
        let entry = self.objects.get_entry(resource, namespace, name).await?;
        serde_json::from_slice(&entry.value)
            .map_err(|error| Status::internal(format!("could not read {name}: {error}")))
    }
}

impl Head {
    fn counts_as(&self, reference: &Reference, now_s: i64) -> bool {
        let deletion = self.metadata.deletion_timestamp.as_deref();
        let over_s = deletion.and_then(timestamp::parse);
        self.metadata.uid == reference.uid
            && over_s.is_none_or(|at| now_s < at.saturating_add(LEEWAY_S))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bramble_shared::link::Ipv4Range;
    use bramble_store::MemoryStore;
    use serde_json::{Value, json};

    use super::*;
    use crate::objects::{DeleteOptions, WriteOptions};
    use crate::pki::{Identity, IdentityError, Origin};

    async fn tokens() -> AccountTokens {
        let folder = tempfile::tempdir().unwrap();
        let identity =
            Identity::create::<IdentityError>(folder.path(), Origin::New, |_, _| Ok(())).unwrap();
        let range = Ipv4Range { network: Ipv4Addr::new(10, 43, 0, 0), prefix_len: 16 };
        let store = Arc::new(MemoryStore::new());
        let objects = Objects::open(store, range, (30_000, 32_767)).await.unwrap();
        let tokens = AccountTokens::new(identity.account_key().unwrap(), objects);
        create(&tokens, "namespaces", "", json!({"metadata": {"name": "shop"}})).await;
        create(&tokens, "serviceaccounts", "shop", json!({"metadata": {"name": "seller"}})).await;
        let node = json!({"metadata": {"name": "pi-1"}, "spec": {}});
        create(&tokens, "nodes", "", node).await;
        tokens
    }

    async fn create(
        tokens: &AccountTokens,
        plural: &str,
        namespace: &str,
        object: Value,
    ) -> String {
        let (resource, options) = (Objects::resource("", plural), WriteOptions::default());
        let made = tokens.objects.create(resource, namespace, object, &options).await.unwrap();
        made["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    async fn pod(tokens: &AccountTokens, name: &str, account: &str) -> String {
        let spec = json!({"serviceAccountName": account, "nodeName": "pi-1",
            "containers": [{"name": "c", "image": "i"}]});
        create(tokens, "pods", "shop", json!({"metadata": {"name": name}, "spec": spec})).await
    }

    async fn delete(tokens: &AccountTokens, plural: &str, name: &str) {
        let resource = Objects::resource("", plural);
        let options = DeleteOptions { grace_period_s: Some(0), ..DeleteOptions::default() };
        tokens.objects.delete(resource, "shop", name, &options).await.unwrap();
    }

    fn asked(bound: Option<(BoundKind, &str, &str)>) -> Asked {
        let bound = bound.map(|(kind, name, uid)| Bound {
            kind,
            name: name.to_owned(),
            uid: uid.to_owned(),
        });
        Asked {
            namespace: "shop".to_owned(),
            account: "seller".to_owned(),
            expires_in_s: 600,
            bound,
            ..Asked::default()
        }
    }

    async fn counts(tokens: &AccountTokens, token: &str) -> bool {
        tokens.verify(token, &[ISSUER.to_owned()]).await.is_ok()
    }

    #[tokio::test]
    async fn token_ends_with_its_pod_and_its_account() {
        let tokens = tokens().await;
        pod(&tokens, "web", "seller").await;
        let of_pod = tokens.issue(&asked(Some((BoundKind::Pod, "web", "")))).await.unwrap();
        let of_account = tokens.issue(&asked(None)).await.unwrap();
        assert!(counts(&tokens, &of_pod.token).await && counts(&tokens, &of_account.token).await);
        delete(&tokens, "pods", "web").await;
        assert!(!counts(&tokens, &of_pod.token).await);
        // Another pod of the same name is another one.
        pod(&tokens, "web", "seller").await;
        assert!(!counts(&tokens, &of_pod.token).await);
        assert!(counts(&tokens, &of_account.token).await);
        delete(&tokens, "serviceaccounts", "seller").await;
        create(&tokens, "serviceaccounts", "shop", json!({"metadata": {"name": "seller"}})).await;
        assert!(!counts(&tokens, &of_account.token).await);
    }

    #[tokio::test]
    async fn token_for_somebody_else_is_none_for_the_api() {
        let tokens = tokens().await;
        let audiences = vec!["vault".to_owned()];
        let asked = Asked { audiences: audiences.clone(), ..asked(None) };
        let token = tokens.issue(&asked).await.unwrap().token;
        assert!(!counts(&tokens, &token).await);
        let (user, found) = tokens.verify(&token, &audiences).await.unwrap();
        assert_eq!((user.name.as_str(), found), ("system:serviceaccount:shop:seller", audiences));
    }

    #[tokio::test]
    async fn token_is_bound_to_what_is_there_only() {
        let tokens = tokens().await;
        let uid = pod(&tokens, "other", "default").await;
        let check = async |bound, code| {
            let status = tokens.issue(&asked(Some(bound))).await.unwrap_err();
            assert_eq!(status.code, code, "{}", status.message);
        };
        check((BoundKind::Pod, "other", uid.as_str()), 400).await;
        check((BoundKind::Pod, "absent", ""), 404).await;
        check((BoundKind::Secret, "absent", ""), 404).await;
        check((BoundKind::Node, "pi-1", "another"), 409).await;
        let unknown = Asked { account: "nobody".to_owned(), ..asked(None) };
        assert_eq!(tokens.issue(&unknown).await.unwrap_err().code, 404);
    }

    #[tokio::test]
    async fn node_gets_tokens_of_its_own_pods_only() {
        let tokens = tokens().await;
        let uid = pod(&tokens, "web", "seller").await;
        let ask = async |node: &str, uid: &str| {
            tokens.issue_to_node(node, ("shop", "web", uid), "", 3_607).await
        };
        let issued = ask("pi-1", &uid).await.unwrap();
        assert_eq!(issued.expires_in_s, 3_607);
        let (user, _) = tokens.verify(&issued.token, &[ISSUER.to_owned()]).await.unwrap();
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["web"]);
        assert_eq!(user.extra["authentication.kubernetes.io/node-name"], ["pi-1"]);
        assert_eq!(ask("pi-2", &uid).await.unwrap_err().code, 403);
        assert_eq!(ask("pi-1", "another").await.unwrap_err().code, 403);
    }
}
