//! Tokens: a person's word for one dangerous step, on one pool, once.
//!
//! A step that could cost data is refused, and the refusal names a token. Writing it into the annotation
//! `poolwright.dev/confirm` lets exactly that step pass, for one request. The token is a hash of all that
//! the person looked at: the object, the pool, the step, its target, and the generation that first asked.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::ceph::types::PoolIdentity;

/// How many bytes of the hash a token shows.
const SHOWN: usize = 4;
/// How many used tokens are remembered, the newest ones.
const USED_KEPT: usize = 64;

/// A step that needs a person's word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Danger {
    /// What is done, such as `size` or `delete`.
    pub step: &'static str,
    /// To what it leads: another value, name or mark needs another token.
    pub target: String,
}

impl Danger {
    /// A step and what it leads to.
    pub fn new(step: &'static str, target: impl Into<String>) -> Self {
        Self {
            step,
            target: target.into(),
        }
    }
}

/// A token that a refusal names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedToken {
    /// The token.
    pub token: String,
    /// The step that it lets pass.
    pub step: String,
    /// What that leads to.
    pub target: String,
    /// The generation of the object that first asked for the step.
    pub generation: i64,
}

/// A token that let its step pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedToken {
    /// The token.
    pub token: String,
    /// The request that it was used for.
    pub request: String,
}

/// A step was let pass by this token, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was confirmed.
    Confirmed(String),
    /// It was not: this token would.
    Needed(AskedToken),
}

/// What people have confirmed, and what they were asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmations {
    /// The object's uid.
    pub uid: String,
    /// The tokens in the annotation.
    pub given: BTreeSet<String>,
    /// What was asked for so far, so that a later generation does not change the token of a step that is asked for still.
    pub asked: Vec<AskedToken>,
    /// The requests that have not ended: what was confirmed for one of them stays so until it ends.
    pub open: BTreeSet<String>,
}

impl Confirmations {
    /// Whether a person has confirmed this step on this pool.
    pub fn answer(
        &self,
        used: &[UsedToken],
        danger: &Danger,
        pool: Option<&PoolIdentity>,
        generation: i64,
    ) -> Answer {
        let first = self
            .asked
            .iter()
            .find(|asked| asked.step == danger.step && asked.target == danger.target)
            .map_or(generation, |asked| asked.generation);
        let mut turn = 0_u32;
        loop {
            let token = self.token(danger, pool, first, turn);
            let spent = used.iter().find(|used| used.token == token);
            if spent.is_some_and(|used| self.open.contains(&used.request)) {
                return Answer::Confirmed(token);
            }
            if spent.is_none() {
                return if self.given.contains(&token) {
                    Answer::Confirmed(token)
                } else {
                    Answer::Needed(AskedToken {
                        token,
                        step: danger.step.to_owned(),
                        target: danger.target.clone(),
                        generation: first,
                    })
                };
            }
            // The same generation asks for the same step again: that is another time, and another token.
            turn += 1;
        }
    }

    /// What the annotation has to say for one more token: those that it names already and that still count stay in it,
    /// or a second word would take the first one back.
    pub fn with(&self, used: &[UsedToken], token: &str) -> String {
        let counts = |asked: &&AskedToken| {
            let spent = used.iter().any(|used| used.token == asked.token);
            self.given.contains(&asked.token) && !spent
        };
        // Whatever else stands there was not asked for.
        let asked = self.asked.iter().filter(counts);
        let mut tokens: BTreeSet<&str> = asked.map(|asked| asked.token.as_str()).collect();
        tokens.insert(token);
        tokens.into_iter().collect::<Vec<_>>().join(",")
    }

    fn token(
        &self,
        danger: &Danger,
        pool: Option<&PoolIdentity>,
        generation: i64,
        turn: u32,
    ) -> String {
        let pool = pool.map_or_else(String::new, ToString::to_string);
        // Lengths first, so that no two lists of parts are one text.
        let mut text = String::new();
        let (generation, turn) = (generation.to_string(), turn.to_string());
        for part in [
            &self.uid,
            &pool,
            danger.step,
            &danger.target,
            &generation,
            &turn,
        ] {
            let _ = write!(text, "{}:{part}", part.len());
        }
        let digest = Sha256::digest(text);
        digest
            .iter()
            .take(SHOWN)
            .fold(String::new(), |mut token, byte| {
                let _ = write!(token, "{byte:02x}");
                token
            })
    }
}

/// Remembers that a token is used for a request; the oldest are forgotten.
pub fn spend(used: &mut Vec<UsedToken>, token: &str, request: &str) {
    if !used.iter().any(|known| known.token == token) {
        used.push(UsedToken {
            token: token.to_owned(),
            request: request.to_owned(),
        });
    }
    let surplus = used.len().saturating_sub(USED_KEPT);
    used.drain(..surplus);
}

/// Reads the value of the annotation: tokens between commas.
pub fn parse(annotation: &str) -> BTreeSet<String> {
    annotation
        .split(',')
        .map(str::trim)
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ceph::types::{CreateTime, Fsid, PoolId};

    fn pool(id: i64) -> PoolIdentity {
        PoolIdentity {
            fsid: Fsid::new("f"),
            id: PoolId(id),
            create_time: CreateTime(1),
        }
    }

    fn needed(answer: Answer) -> AskedToken {
        match answer {
            Answer::Needed(asked) => asked,
            Answer::Confirmed(token) => panic!("{token} passed"),
        }
    }

    /// Every part of what the person looked at is in the token.
    #[test]
    fn every_part_counts() {
        let own = Confirmations {
            uid: "u".into(),
            ..Confirmations::default()
        };
        let other = Confirmations {
            uid: "v".into(),
            ..Confirmations::default()
        };
        let size = Danger::new("size", "1");
        let tokens = [
            needed(own.answer(&[], &size, Some(&pool(7)), 3)),
            needed(other.answer(&[], &size, Some(&pool(7)), 3)),
            needed(own.answer(&[], &size, Some(&pool(8)), 3)),
            needed(own.answer(&[], &size, None, 3)),
            needed(own.answer(&[], &size, Some(&pool(7)), 4)),
            needed(own.answer(&[], &Danger::new("size", "2"), Some(&pool(7)), 3)),
            needed(own.answer(&[], &Danger::new("minSize", "1"), Some(&pool(7)), 3)),
        ];
        let different: BTreeSet<&String> = tokens.iter().map(|asked| &asked.token).collect();
        assert_eq!(different.len(), tokens.len(), "{tokens:?}");
        assert_eq!(tokens[0], needed(own.answer(&[], &size, Some(&pool(7)), 3)));
    }

    /// A later generation that still asks the same keeps the token; one that asks anew does not.
    #[test]
    fn the_generation_that_first_asked() {
        let mut own = Confirmations::default();
        let size = Danger::new("size", "1");
        let first = needed(own.answer(&[], &size, None, 3));
        own.asked = vec![first.clone()];
        assert_eq!(needed(own.answer(&[], &size, None, 9)), first);
        own.asked.clear();
        assert_ne!(needed(own.answer(&[], &size, None, 9)), first);
    }

    /// The annotation that a second question asks for does not take back the answer to the first.
    #[test]
    fn with_what_is_given() {
        let mut own = Confirmations::default();
        let again = needed(own.answer(&[], &Danger::new("makeAgain", "foo"), Some(&pool(7)), 3));
        let size = needed(own.answer(&[], &Danger::new("size", "1"), None, 3));
        assert_eq!(own.with(&[], &size.token), size.token);
        own.asked = vec![again.clone()];
        own.given = parse(&format!("whatever, {}", again.token));
        let both = parse(&own.with(&[], &size.token));
        assert_eq!(
            both,
            BTreeSet::from([again.token.clone(), size.token.clone()])
        );
        let mut used = Vec::new();
        spend(&mut used, &again.token, "request");
        assert_eq!(own.with(&used, &size.token), size.token);
    }

    /// A token works for one request, as often as that one needs it, and never again.
    #[test]
    fn once() {
        let mut own = Confirmations::default();
        let mut used = Vec::new();
        let size = Danger::new("size", "1");
        let first = needed(own.answer(&used, &size, None, 3));
        own.given = parse(&format!("other, {}", first.token));
        let confirmed = Answer::Confirmed(first.token.clone());
        assert_eq!(own.answer(&used, &size, None, 3), confirmed);
        spend(&mut used, &first.token, "request");
        own.open.insert("request".into());
        assert_eq!(own.answer(&used, &size, None, 3), confirmed);
        own.open.clear();
        let second = needed(own.answer(&used, &size, None, 3));
        assert_ne!(second.token, first.token);
        own.given.insert(second.token.clone());
        let confirmed = Answer::Confirmed(second.token);
        assert_eq!(own.answer(&used, &size, None, 3), confirmed);
    }
}
