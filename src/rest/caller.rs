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
use tokio::sync::{Semaphore, SemaphorePermit};

use super::access::{self, Act, Identity, TokenKey};
use super::problem::Problem;
use super::shim::AWAY;
use crate::controller::chain;

/// How many answers are kept: those of a flood of wrong tokens push each other out.
const ANSWERS: u64 = 10_000;
/// How long the API server may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How many questions are asked at once for callers who are known.
const QUESTIONS: usize = 64;
/// How many tokens are asked about at once that were not good lately: callers whose tokens are wrong must not flood the
/// API server.
const STRANGERS: usize = 16;
/// How many more of them wait for that: whoever comes then is told to come again.
const WAITING: usize = 64;
/// How long a token that was good does not wait with those of strangers.
const PROVEN: Duration = Duration::from_secs(600);
/// How many rights are asked for at once for one list.
const AT_ONCE: usize = 16;

/// What the API server says about tokens and rights. Clones share it.
#[derive(Clone)]
pub struct Access(Arc<Known>);

struct Known {
    client: Client,
    identities: Cache<TokenKey, Identity>,
    rights: Cache<(Arc<str>, Act), bool>,
    /// Tokens that were good lately: only good ones get here, so that wrong ones do not push them out.
    proven: Cache<TokenKey, ()>,
    strangers: Queue,
    tokens: Queue,
    acts: Queue,
}

/// A queue for questions: so many are asked at once, so many wait.
struct Queue {
    places: Semaphore,
    waiting: Semaphore,
}

impl Queue {
    fn of(places: usize, waiting: usize) -> Self {
        Self {
            places: Semaphore::new(places),
            waiting: Semaphore::new(waiting),
        }
    }

    /// Waits for a place; none where too many wait.
    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        let _waits = self.waiting.try_acquire().ok()?;
        self.places.acquire().await.ok()
    }
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
            proven: Cache::builder()
                .max_capacity(ANSWERS)
                .time_to_live(PROVEN)
                .build(),
            strangers: Queue::of(STRANGERS, WAITING),
            tokens: Queue::of(QUESTIONS, Semaphore::MAX_PERMITS),
            acts: Queue::of(QUESTIONS, Semaphore::MAX_PERMITS),
        }))
    }

    /// Whose token it is. Callers that ask at once for the same share one question; an answer that did not come is not
    /// kept.
    ///
    /// # Errors
    ///
    /// 401 when it is nobody's, 503 when the API server does not answer.
    pub async fn identify(&self, token: &str) -> Result<UserInfo, Problem> {
        let key = access::token_key(token);
        let question = self.review_token(token, key);
        let asked = self.0.identities.try_get_with(key, question).await;
        match asked {
            Ok(Identity::Known(user)) => Ok(user),
            Ok(Identity::Refused) => Err(access::refused()),
            Err(problem) => Err(problem.as_ref().clone()),
        }
    }

    async fn review_token(&self, token: &str, key: TokenKey) -> Result<Identity, Problem> {
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
        let queue = if self.0.proven.contains_key(&key) {
            &self.0.tokens
        } else {
            &self.0.strangers
        };
        let answer = ask(queue, "whose the token is", question).await?;
        let identity = access::identity(answer.status);
        match identity {
            Identity::Known(_) => self.0.proven.insert(key, ()).await,
            Identity::Refused => self.0.proven.invalidate(&key).await,
        }
        Ok(identity)
    }

    async fn review_act(&self, user: &UserInfo, act: &Act) -> Result<bool, Problem> {
        let api: Api<SubjectAccessReview> = Api::all(self.0.client.clone());
        let (parameters, review) = (PostParams::default(), act.review(user));
        let question = api.create(&parameters, &review);
        let answer = ask(&self.0.acts, "what the caller may do", question).await?;
        let status = answer.status;
        Ok(status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }
}

/// Asks the API server, with a limit.
async fn ask<T>(
    queue: &Queue,
    what: &str,
    question: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Problem> {
    let asking = async {
        match queue.place().await {
            Some(_place) => Some(question.await),
            None => None,
        }
    };
    let why = match tokio::time::timeout(ANSWER, asking).await {
        Ok(Some(Ok(answer))) => return Ok(answer),
        Ok(Some(Err(error))) => chain(&error),
        // No line in the log for each: whoever likes can have any number.
        Ok(None) => {
            let detail = "too many callers come at once who are not known yet";
            return Err(Problem::unavailable(detail, 1));
        }
        Err(_) => format!("no answer within {} s", ANSWER.as_secs()),
    };
    tracing::warn!(error = why, "asking the API server {what}");
    Err(Problem::unavailable(
        format!("the API server could not be asked {what}"),
        AWAY,
    ))
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::{Body, to_bytes};
    use axum::http::{Request, Response};
    use kube::client::Body as KubeBody;
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::*;

    /// An API server that says nothing about tokens but anna's, and counts those it is asked about.
    fn api_server(strangers: &Arc<AtomicUsize>) -> Client {
        let strangers = Arc::clone(strangers);
        let service = service_fn(move |request: Request<KubeBody>| {
            let strangers = Arc::clone(&strangers);
            async move {
                let body = to_bytes(Body::new(request.into_body()), usize::MAX).await?;
                let mut review: Value = serde_json::from_slice(&body)?;
                let token = review["spec"]["token"].clone();
                if token.is_string() && token != "anna" {
                    strangers.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                }
                review["status"] =
                    json!({"authenticated": true, "user": {"username": "anna"}, "allowed": true});
                Ok::<_, tower::BoxError>(Response::new(Body::from(review.to_string())))
            }
        });
        Client::new(service, "default")
    }

    /// However many wrong tokens come, those who are known are asked about, and so is what they may do.
    #[tokio::test(start_paused = true)]
    async fn strangers_wait_by_themselves() {
        let strangers = Arc::default();
        let access = Access::new(api_server(&strangers));
        access.identify("anna").await.expect("she is known");
        let crowd = (0..200).map(|number| {
            let access = access.clone();
            tokio::spawn(async move { access.identify(&format!("wrong {number}")).await })
        });
        let crowd: Vec<_> = crowd.collect();
        let before = tokio::time::Instant::now();
        while strangers.load(Ordering::SeqCst) < STRANGERS {
            tokio::task::yield_now().await;
        }
        let key = access::token_key("anna");
        access.0.identities.invalidate(&key).await;
        let anna = access.identify("anna").await.expect("she is known still");
        let act = Act::on_all("get", "cephpools");
        assert_eq!(Caller::new(anna, access.clone()).may(&act).await, Ok(true));
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert_eq!(strangers.load(Ordering::SeqCst), STRANGERS);
        let mut sent_away = 0;
        for one in crowd {
            let problem = one.await.expect("no panic").expect_err("no answer");
            assert_eq!(problem.status, 503);
            sent_away += usize::from(problem.retry_after == Some(1));
        }
        assert_eq!(sent_away, 200 - STRANGERS - WAITING);
    }
}
