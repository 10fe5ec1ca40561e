//! Asks the master for tokens of the service accounts of this node's pods, over the node link.
//!
//! Knows what is under way, but keeps no token; how long one is used is the core's.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bramble_agent_core::volume::WantedToken;
use bramble_shared::link::{Pod, ToMaster, TokenAnswer, TokenReply, TokenRequest};
use tokio::sync::oneshot;

use crate::outbox::Outbox;

/// Longest wait for an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Way to the master's tokens.
#[derive(Debug, Default)]
pub(crate) struct TokenLink {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    outbox: Option<Outbox>,
    /// Number of the last request.
    number: u64,
    waiting: BTreeMap<u64, oneshot::Sender<TokenAnswer>>,
}

impl TokenLink {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins.
    pub(crate) fn connected(&self, outbox: Outbox) {
        let mut state = self.state();
        state.outbox = Some(outbox);
        state.waiting.clear();
    }

    /// The session has ended: nobody will answer.
    pub(crate) fn disconnected(&self) {
        let mut state = self.state();
        state.outbox = None;
        state.waiting.clear();
    }

    /// The master has answered.
    pub(crate) fn answered(&self, reply: TokenReply) {
        if let Some(waiting) = self.state().waiting.remove(&reply.number) {
            let _ = waiting.send(reply.answer);
        }
    }

    /// Asks for a token; returns it with its life in seconds.
    ///
    /// # Errors
    ///
    /// Why there is none, for the pod's events.
    pub(crate) async fn ask(
        &self,
        pod: &Pod,
        wanted: &WantedToken,
    ) -> Result<(String, u64), String> {
        let (reply, answer) = oneshot::channel();
        let number = {
            let mut state = self.state();
            let outbox = state.outbox.clone().ok_or("there is no link to the master")?;
            state.number += 1;
            let number = state.number;
            let request = TokenRequest {
                number,
                namespace: pod.namespace.clone(),
                pod: pod.name.clone(),
                uid: pod.uid.clone(),
                audience: wanted.audience.clone(),
                expires_in_s: wanted.expiration_s,
            };
            if !outbox.send(ToMaster::Token(request)) {
                return Err("the link to the master is overrun".to_owned());
            }
            state.waiting.insert(number, reply);
            number
        };
        match tokio::time::timeout(ANSWER_TIME_MAX, answer).await {
            Ok(Ok(TokenAnswer::Token { token, expires_in_s })) => Ok((token, expires_in_s)),
            Ok(Ok(TokenAnswer::Refused { message })) => Err(message),
            Ok(Err(_)) => Err("the link to the master broke".to_owned()),
            Err(_) => {
                self.state().waiting.remove(&number);
                Err("the master did not answer in time".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bramble_agent_core::pod_worker::example::pod;

    use super::*;

    fn wanted() -> WantedToken {
        WantedToken { audience: "vault".to_owned(), expiration_s: 600 }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_find_who_asked_and_a_broken_link_is_told() {
        let link = Arc::new(TokenLink::default());
        assert!(link.ask(&pod(), &wanted()).await.is_err(), "nobody to ask");
        let (outbox, mut outgoing) = Outbox::new(8);
        link.connected(outbox);
        let ask = |link: &Arc<TokenLink>| {
            let link = Arc::clone(link);
            tokio::spawn(async move { link.ask(&pod(), &wanted()).await })
        };
        let (first, second, third) = (ask(&link), ask(&link), ask(&link));
        let mut numbers = Vec::new();
        for _ in 0..3 {
            let Some(ToMaster::Token(request)) = outgoing.recv().await else {
                panic!("no request")
            };
            assert_eq!((request.uid.as_str(), request.audience.as_str()), ("u1", "vault"));
            numbers.push(request.number);
        }
        let token = |text: &str| TokenAnswer::Token { token: text.to_owned(), expires_in_s: 600 };
        link.answered(TokenReply { number: numbers[1], answer: token("b") });
        let refused = TokenAnswer::Refused { message: "no such account".to_owned() };
        link.answered(TokenReply { number: numbers[0], answer: refused });
        link.answered(TokenReply { number: 99, answer: token("stranger") });
        assert_eq!(second.await.unwrap(), Ok(("b".to_owned(), 600)));
        assert_eq!(first.await.unwrap(), Err("no such account".to_owned()));
        link.disconnected();
        assert_eq!(third.await.unwrap(), Err("the link to the master broke".to_owned()));
    }
}
