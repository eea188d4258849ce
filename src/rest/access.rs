//! Who somebody is, what he wants, and how long an answer to either is believed.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use sha2::{Digest, Sha256};

use super::problem::{Challenge, Kind, Problem};
use crate::api::v1alpha1::GROUP;

/// What stands for a token in memory: its hash.
pub type TokenKey = [u8; 32];

/// What the API server says of a token.
#[derive(Clone, Debug, PartialEq)]
pub enum Identity {
    /// It is this user's.
    Known(UserInfo),
    /// It is not one that it accepts.
    Refused,
}

impl Identity {
    /// How long it is believed. A token that was refused may have been made a moment ago.
    pub const fn believed_for(&self) -> Duration {
        match self {
            Self::Known(_) => Duration::from_secs(30),
            Self::Refused => Duration::from_secs(5),
        }
    }
}

/// How long it is believed that somebody may do something, or may not: somebody who was refused asks for the right, gets
/// it, and tries again.
pub const fn believed_for(allowed: bool) -> Duration {
    if allowed {
        Duration::from_secs(10)
    } else {
        Duration::from_secs(3)
    }
}

/// The bearer token in the value of the header `Authorization`.
pub fn bearer(header: Option<&[u8]>) -> Result<&str, Problem> {
    let header = header.ok_or_else(|| {
        unauthenticated(
            "the header Authorization is missing; it has to be `Bearer` and a token, such as `kubectl create token` gives",
            Challenge::NoToken,
        )
    })?;
    let words = std::str::from_utf8(header).ok();
    let token = words.and_then(|words| {
        let (scheme, token) = words.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
    });
    token.ok_or_else(|| {
        unauthenticated(
            "the header Authorization has to be `Bearer` and a token",
            Challenge::NotBearer,
        )
    })
}

/// The problem of a token that was refused.
pub fn refused() -> Problem {
    unauthenticated(
        "the API server does not accept this token: it is not valid, not meant for it, or has expired",
        Challenge::InvalidToken,
    )
}

fn unauthenticated(detail: &str, challenge: Challenge) -> Problem {
    let mut problem = Problem::new(Kind::Unauthenticated, detail);
    problem.challenge = Some(challenge);
    problem
}

/// What stands for a token.
pub fn token_key(token: &str) -> TokenKey {
    Sha256::digest(token.as_bytes()).into()
}

/// What the API server's answer says.
pub fn identity(status: Option<TokenReviewStatus>) -> Identity {
    let status = status.unwrap_or_default();
    match status.user {
        Some(user) if status.authenticated == Some(true) && user.username.is_some() => {
            Identity::Known(user)
        }
        Some(_) | None => Identity::Refused,
    }
}

/// Something that somebody wants to do to an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Act {
    /// As in a Role: get, create, patch, delete.
    pub verb: &'static str,
    /// The plural of the kind, in our group.
    pub resource: &'static str,
    /// None for what is cluster-wide, and for all namespaces.
    pub namespace: Option<String>,
    /// None for all of them.
    pub name: Option<String>,
}

impl Act {
    /// On all objects of a kind in all namespaces, such as `get` on `cephpools`.
    pub const fn on_all(verb: &'static str, resource: &'static str) -> Self {
        Self {
            verb,
            resource,
            namespace: None,
            name: None,
        }
    }

    /// In a namespace only.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// On one object only.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// The question whether a user may.
    pub fn review(&self, user: &UserInfo) -> SubjectAccessReview {
        SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username.clone(),
                groups: user.groups.clone(),
                uid: user.uid.clone(),
                extra: user.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(self.verb.to_owned()),
                    group: Some(GROUP.to_owned()),
                    resource: Some(self.resource.to_owned()),
                    namespace: self.namespace.clone(),
                    name: self.name.clone(),
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SubjectAccessReview::default()
        }
    }

    /// The problem of somebody who may not.
    pub fn refused(&self, user: &str) -> Problem {
        Problem::new(Kind::Forbidden, format!("{user} may not {self}"))
    }
}

impl fmt::Display for Act {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}.{GROUP}", self.verb, self.resource)?;
        if let Some(name) = &self.name {
            write!(formatter, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(formatter, " in the namespace {namespace}"),
            None if self.resource == "clusterconnections" => Ok(()),
            None => write!(formatter, " in all namespaces"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token is read as RFC 6750 says; everything else is a 401 that says how.
    #[test]
    fn tokens() {
        assert_eq!(bearer(Some(b"Bearer abc")), Ok("abc"));
        assert_eq!(bearer(Some(b"bearer  abc ")), Ok("abc"));
        for header in [
            None,
            Some(b"Bearer ".as_slice()),
            Some(b"Basic YTpi"),
            Some(b"\xff a"),
        ] {
            let problem = bearer(header).expect_err("no token");
            assert_eq!(problem.status, 401);
            let challenge = problem.challenge.map(Challenge::header);
            assert!(challenge.is_some_and(|says| says.starts_with("Bearer ")));
        }
        assert_ne!(token_key("a"), token_key("b"));
    }

    /// Only a user with a name who is authenticated is known.
    #[test]
    fn identities() {
        let user = UserInfo {
            username: Some("anna".to_owned()),
            ..UserInfo::default()
        };
        let status = |authenticated, user: Option<&UserInfo>| {
            Some(TokenReviewStatus {
                authenticated,
                user: user.cloned(),
                ..TokenReviewStatus::default()
            })
        };
        assert_eq!(
            identity(status(Some(true), Some(&user))),
            Identity::Known(user.clone())
        );
        let nameless = UserInfo::default();
        for wrong in [
            None,
            status(Some(true), None),
            status(Some(true), Some(&nameless)),
            status(Some(false), Some(&user)),
            status(None, Some(&user)),
        ] {
            assert_eq!(identity(wrong), Identity::Refused);
        }
    }

    /// What was refused is asked again sooner.
    #[test]
    fn beliefs() {
        let known = Identity::Known(UserInfo::default());
        assert!(Identity::Refused.believed_for() < known.believed_for());
        assert!(believed_for(false) < believed_for(true));
    }

    /// A refusal names verb, resource, name and namespace, and the question carries all of the user.
    #[test]
    fn acts() {
        let act = Act::on_all("patch", "cephpools")
            .within("team-a")
            .named("foo");
        assert_eq!(
            act.refused("anna").detail,
            "anna may not patch cephpools.poolwright.dev foo in the namespace team-a"
        );
        assert_eq!(
            Act::on_all("get", "cephrequests").to_string(),
            "get cephrequests.poolwright.dev in all namespaces"
        );
        assert_eq!(
            Act::on_all("get", "clusterconnections")
                .named("main")
                .to_string(),
            "get clusterconnections.poolwright.dev main"
        );
        let user = UserInfo {
            username: Some("anna".to_owned()),
            groups: Some(vec!["storage".to_owned()]),
            uid: Some("1".to_owned()),
            extra: Some([("a".to_owned(), vec!["b".to_owned()])].into()),
        };
        let spec = act.review(&user).spec;
        assert_eq!(
            (spec.user, spec.groups, spec.uid, spec.extra),
            (user.username, user.groups, user.uid, user.extra)
        );
        let asked = spec.resource_attributes.expect("an object");
        assert_eq!(asked.namespace.as_deref(), Some("team-a"));
        assert_eq!(asked.name.as_deref(), Some("foo"));
    }
}
