//! Answers of the node's resolvers, kept for a while.

use std::collections::BTreeMap;

use embassy_time::{Duration, Instant};

use crate::answer::Answer;
use crate::question::Question;

/// Most bytes of answers: a board's pods ask for a few hundred names.
const BYTES_MAX: usize = 256 * 1024;
/// Longest time that an answer is kept, in seconds: as CoreDNS is set up by kubeadm.
const LASTS_S_MAX: u32 = 30;
/// What an entry takes beside its answer and its name, in bytes.
const ENTRY_LEN: usize = 160;

/// Answers by question; the oldest goes when there is no room.
#[derive(Debug, Default)]
pub struct Cache {
    entries: BTreeMap<Question, Entry>,
    /// Questions in the order in which they were answered.
    order: BTreeMap<u64, Question>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    answer: Vec<u8>,
    since: Instant,
    until: Instant,
}

impl Cache {
    /// The answer to a question, if it is still good.
    #[must_use]
    pub fn get(&self, question: &Question, now: Instant) -> Option<Vec<u8>> {
        let entry = self.entries.get(question).filter(|entry| now < entry.until)?;
        let age_s = now.saturating_duration_since(entry.since).as_secs();
        Some(Answer(&entry.answer).aged(u32::try_from(age_s).unwrap_or(u32::MAX)))
    }

    /// Keeps an answer, if it may be kept.
    pub fn put(&mut self, question: Question, answer: &[u8], now: Instant) {
        let lasts_s = Answer(answer).lasts_s().unwrap_or(0).min(LASTS_S_MAX);
        if lasts_s == 0 {
            return;
        }
        self.remove(&question);
        let number = self.next;
        self.next += 1;
        self.bytes += answer.len() + ENTRY_LEN;
        self.order.insert(number, question.clone());
        let until = now + Duration::from_secs(u64::from(lasts_s));
        let answer = answer.to_vec();
        self.entries.insert(question, Entry { number, answer, since: now, until });
        while self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.order.first_key_value() else { return };
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, question: &Question) {
        if let Some(entry) = self.entries.remove(question) {
            self.order.remove(&entry.number);
            self.bytes = self.bytes.saturating_sub(entry.answer.len() + ENTRY_LEN);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::message::tests::ask;
    use crate::message::{Code, Data, Query, Record, Reply, kind};

    fn answered(name: &str, ttl_s: u32) -> (Question, Vec<u8>) {
        let query = Query::parse(&ask(name, kind::A, None)).unwrap();
        let data = Data::A(Ipv4Addr::new(192, 0, 2, 1));
        let answers = vec![Record { name: query.name.clone(), ttl_s, data }];
        let reply = Reply { answers, ..Reply::of(Code::NoError) };
        (Question::of(&query), query.answer(&reply, false))
    }

    #[test]
    fn answers_age_and_end() {
        let mut cache = Cache::default();
        let (question, answer) = answered("a.b", 10);
        cache.put(question.clone(), &answer, Instant::from_secs(100));
        let found = cache.get(&question, Instant::from_secs(104)).unwrap();
        assert_eq!(Answer(&found).lasts_s(), Some(6));
        assert_eq!(cache.get(&question, Instant::from_secs(110)), None);
        let (question, answer) = answered("long.b", 86_400);
        cache.put(question.clone(), &answer, Instant::from_secs(0));
        assert_eq!(cache.get(&question, Instant::from_secs(31)), None, "kept for half a minute");
        let (question, answer) = answered("zero.b", 0);
        cache.put(question.clone(), &answer, Instant::from_secs(0));
        assert_eq!(cache.get(&question, Instant::from_secs(0)), None);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut cache = Cache::default();
        let now = Instant::from_secs(0);
        let questions: Vec<Question> = (0..3000)
            .map(|number| {
                let (question, answer) = answered(&format!("n{number}.b"), 10);
                cache.put(question.clone(), &answer, now);
                question
            })
            .collect();
        assert!(cache.bytes <= BYTES_MAX);
        assert_eq!(cache.entries.len(), cache.order.len());
        assert_eq!(cache.get(&questions[0], now), None);
        assert!(cache.get(&questions[2999], now).is_some());
        let (question, answer) = answered("n2999.b", 10);
        let before = cache.bytes;
        cache.put(question, &answer, now);
        assert_eq!(cache.bytes, before, "the same question takes the same room");
    }
}
