//! Who calls, and what he may do: asked of the API server, and believed for some seconds.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use futures::StreamExt;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::api::PostParams;
use kube::{Api, Client};
use moka::Expiry;
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::access::{self, Act, Identity, TokenKey};
use super::problem::Problem;
use super::shim::AWAY;
use crate::controller::chain;

/// How many answers are kept: those of a flood of wrong tokens push each other out.
const ANSWERS: u64 = 10_000;
/// How long the API server may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How many questions are asked at once: callers whose tokens are wrong must not flood the API server.
const QUESTIONS: usize = 64;
/// How many rights are asked for at once for one list.
const AT_ONCE: usize = 16;

/// What the API server says about tokens and rights. Clones share it.
#[derive(Clone)]
pub struct Access(Arc<Known>);

struct Known {
    client: Client,
    identities: Cache<TokenKey, Identity>,
    rights: Cache<(Arc<str>, Act), bool>,
    questions: Semaphore,
}

/// How long answers are believed.
struct Belief;

impl Expiry<TokenKey, Identity> for Belief {
    fn expire_after_create(&self, _: &TokenKey, value: &Identity, _: Instant) -> Option<Duration> {
        Some(value.believed_for())
    }
}

impl Expiry<(Arc<str>, Act), bool> for Belief {
    fn expire_after_create(
        &self,
        _: &(Arc<str>, Act),
        allowed: &bool,
        _: Instant,
    ) -> Option<Duration> {
        Some(access::believed_for(*allowed))
    }
}

impl Access {
    /// Knows nothing yet.
    pub fn new(client: Client) -> Self {
        Self(Arc::new(Known {
            client,
            identities: Cache::builder()
                .max_capacity(ANSWERS)
                .expire_after(Belief)
                .build(),
            rights: Cache::builder()
                .max_capacity(ANSWERS)
                .expire_after(Belief)
                .build(),
            questions: Semaphore::new(QUESTIONS),
        }))
    }

    /// Whose token it is. Callers that ask at once for the same share one question; an answer that did not come is not
    /// kept.
    ///
    /// # Errors
    ///
    /// 401 when it is nobody's, 503 when the API server does not answer.
    pub async fn identify(&self, token: &str) -> Result<UserInfo, Problem> {
        let asked = self
            .0
            .identities
            .try_get_with(access::token_key(token), self.review_token(token))
            .await;
        match asked {
            Ok(Identity::Known(user)) => Ok(user),
            Ok(Identity::Refused) => Err(access::refused()),
            Err(problem) => Err(problem.as_ref().clone()),
        }
    }

    async fn review_token(&self, token: &str) -> Result<Identity, Problem> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.to_owned(),
                ..TokenReviewSpec::default()
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.0.client.clone());
        let parameters = PostParams::default();
        let question = api.create(&parameters, &review);
        let answer = self.ask("whose the token is", question).await?;
        Ok(access::identity(answer.status))
    }

    async fn review_act(&self, user: &UserInfo, act: &Act) -> Result<bool, Problem> {
        let api: Api<SubjectAccessReview> = Api::all(self.0.client.clone());
        let (parameters, review) = (PostParams::default(), act.review(user));
        let question = api.create(&parameters, &review);
        let answer = self.ask("what the caller may do", question).await?;
        let status = answer.status;
        Ok(status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }

    /// Asks the API server, with a limit.
    async fn ask<T>(
        &self,
        what: &str,
        question: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Problem> {
        let asking = async {
            // It is never closed.
            let _place = self.0.questions.acquire().await;
            question.await
        };
        let why = match tokio::time::timeout(ANSWER, asking).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => chain(&error),
            Err(_) => format!("no answer within {} s", ANSWER.as_secs()),
        };
        tracing::warn!(error = why, "asking the API server {what}");
        Err(Problem::unavailable(
            format!("the API server could not be asked {what}"),
            AWAY,
        ))
    }
}

/// Who calls.
#[derive(Clone)]
pub struct Caller {
    user: Arc<UserInfo>,
    /// Everything that the answers depend on.
    key: Arc<str>,
    access: Access,
}

impl fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Caller").field(&self.name()).finish()
    }
}

impl Caller {
    pub(super) fn new(user: UserInfo, access: Access) -> Self {
        let key = serde_json::to_string(&user).unwrap_or_default().into();
        Self {
            user: Arc::new(user),
            key,
            access,
        }
    }

    /// His name, as the API server has it.
    pub fn name(&self) -> &str {
        self.user.username.as_deref().unwrap_or_default()
    }

    /// Whether he may do something.
    ///
    /// # Errors
    ///
    /// 503 when the API server does not answer.
    pub async fn may(&self, act: &Act) -> Result<bool, Problem> {
        let key = (Arc::clone(&self.key), act.clone());
        let question = self.access.review_act(&self.user, act);
        let asked = self.access.0.rights.try_get_with(key, question).await;
        asked.map_err(|problem| problem.as_ref().clone())
    }

    /// The same, where he has to.
    ///
    /// # Errors
    ///
    /// 403 when he may not, 503 when the API server does not answer.
    pub async fn must(&self, act: &Act) -> Result<(), Problem> {
        if self.may(act).await? {
            Ok(())
        } else {
            Err(act.refused(self.name()))
        }
    }

    /// In which of these namespaces he may do something: asked once for all of them first.
    ///
    /// # Errors
    ///
    /// 503 when the API server does not answer.
    pub async fn where_may(
        &self,
        act: &Act,
        namespaces: impl IntoIterator<Item = String>,
    ) -> Result<Vec<String>, Problem> {
        if self.may(act).await? {
            return Ok(namespaces.into_iter().collect());
        }
        let answers = futures::stream::iter(namespaces)
            .map(async |namespace| {
                let may = self.may(&act.clone().within(&namespace)).await?;
                Ok::<_, Problem>(may.then_some(namespace))
            })
            .buffer_unordered(AT_ONCE);
        let mut answers = std::pin::pin!(answers);
        let mut found = Vec::new();
        while let Some(answer) = answers.next().await {
            found.extend(answer?);
        }
        Ok(found)
    }
}

/// The caller of a call that was let in.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or_else(access::refused)
    }
}
