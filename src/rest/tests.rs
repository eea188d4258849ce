//! What is around every call, with an API server that is none.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use futures::StreamExt;
use futures::future::join_all;
use kube::Client;
use kube::client::Body as KubeBody;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt, service_fn};

use super::access::Act;
use super::answer::accepted;
use super::caller::Caller;
use super::input::{Json, LARGEST_BODY, MaybeJson};
use super::memory::Requests;
use super::problem::{MEDIA_TYPE, Problem};
use super::router;
use super::shim::{Settings, Shim};
use crate::metrics::Metrics;

/// Questions that were asked: whose tokens are, and what may be done.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<(AtomicUsize, AtomicUsize)>);

impl Asked {
    fn counts(&self) -> (usize, usize) {
        let (tokens, rights) = &*self.0;
        (tokens.load(Ordering::SeqCst), rights.load(Ordering::SeqCst))
    }
}

/// An API server that knows every token but `wrong` as a user of that name, lets everybody get pools, and does not
/// answer about `down`.
fn api_server(asked: &Asked) -> Client {
    let asked = asked.clone();
    let service = service_fn(move |request: Request<KubeBody>| {
        let asked = asked.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = to_bytes(Body::new(request.into_body()), usize::MAX).await?;
            let review: Value = serde_json::from_slice(&body)?;
            let status = if path.ends_with("/tokenreviews") {
                asked.0.0.fetch_add(1, Ordering::SeqCst);
                let token = review["spec"]["token"]
                    .as_str()
                    .expect("a token")
                    .to_owned();
                if token == "down" {
                    return Err(tower::BoxError::from("connection refused"));
                }
                json!({"authenticated": token != "wrong", "user": {"username": token}})
            } else {
                asked.0.1.fetch_add(1, Ordering::SeqCst);
                json!({"allowed": review["spec"]["resourceAttributes"]["verb"] == "get"})
            };
            let mut answer = review;
            answer["status"] = status;
            Ok(Response::new(Body::from(answer.to_string())))
        }
    });
    Client::new(service, "default")
}

struct Api {
    router: Router,
    asked: Asked,
    release: Arc<Notify>,
    metrics: Metrics,
}

/// Some calls with everything around them.
fn api() -> Api {
    let asked = Asked::default();
    let client = api_server(&asked);
    let metrics = Metrics::default();
    let (_, memory) = watch::channel(None);
    let settings = Settings {
        namespace: None,
        application: "rbd".to_owned(),
        scheme: "https",
        calls_per_caller: 2,
        metrics: metrics.clone(),
        memory,
    };
    let stop = CancellationToken::new();
    let (requests, _) = Requests::watch(client.clone(), stop.clone());
    let shim = Shim::new(settings, client, requests, stop);
    let release = Arc::new(Notify::new());
    let (held, slow) = (Arc::clone(&release), Arc::clone(&release));
    let waits = async move || {
        held.notified().await;
        StatusCode::NO_CONTENT
    };
    let calls = Router::new()
        .route(
            "/echo",
            post(async |Json(body): Json<Value>| body.to_string()),
        )
        .route(
            "/maybe",
            post(async |MaybeJson(body): MaybeJson<Value>| json!(body).to_string()),
        )
        .route(
            "/panic",
            get(async || -> StatusCode { panic!("on purpose") }),
        )
        .route(
            "/plain",
            get(async || (StatusCode::BAD_GATEWAY, "plain").into_response()),
        )
        .route("/long", get(async || "x".repeat(100_000)))
        .route("/hold", get(waits))
        .route(
            "/never",
            get(async || std::future::pending::<StatusCode>().await),
        )
        .route(
            "/change",
            post(async |caller: Caller| {
                caller.may(&Act::on_all("get", "cephpools")).await?;
                Ok::<_, Problem>(accepted("24b1fc3e", "cephpools a/b".to_owned()))
            }),
        )
        .route(
            "/slow",
            post(async move || {
                slow.notified().await;
                accepted("24b1fc3e", "cephpools a/slow".to_owned())
            }),
        )
        .route(
            "/memory",
            get(async |State(shim): State<Shim>| shim.memory().map(|_| "")),
        )
        .route(
            "/forbidden",
            get(async |caller: Caller| {
                caller
                    .must(&Act::on_all("patch", "cephpools").within("a").named("b"))
                    .await
                    .map(|()| "")
            }),
        );
    Api {
        router: router::around(&shim, calls),
        asked,
        release,
        metrics,
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn problem(&self, status: u16) -> Value {
        assert_eq!(
            (self.status, &self.headers["content-type"]),
            (status, &MEDIA_TYPE.parse().expect("a value")),
            "{}",
            self.text
        );
        let problem: Value = serde_json::from_str(&self.text).expect("JSON");
        assert_eq!(problem["status"], status);
        problem
    }
}

impl Api {
    async fn call(
        &self,
        method: &str,
        path: &str,
        who: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("authorization", format!("Bearer {who}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        let answer = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let (head, body) = answer.into_parts();
        let text = to_bytes(body, usize::MAX).await.expect("a body");
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    async fn get(&self, path: &str, who: &str) -> Answer {
        self.call("GET", path, who, &[], Body::empty()).await
    }

    async fn post(&self, path: &str, media_type: &str, body: impl Into<Body>) -> Answer {
        self.call(
            "POST",
            path,
            "anna",
            &[("content-type", media_type)],
            body.into(),
        )
        .await
    }
}

const JSON: &str = "application/json";

/// Only JSON is read, of at most 64 KiB, whether its length is said or not.
#[tokio::test]
async fn bodies() {
    let api = api();
    for media_type in [
        JSON,
        "application/merge-patch+json",
        "Application/JSON; charset=utf-8",
    ] {
        let answer = api.post("/echo", media_type, "{\"a\": [1]}").await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (200, "{\"a\":[1]}"),
            "{media_type}"
        );
    }
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/yaml",
        "json",
        "",
    ] {
        let problem = api.post("/echo", media_type, "{}").await.problem(415);
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|said| said.contains("application/json"))
        );
    }
    api.call("POST", "/echo", "anna", &[], "{}".into())
        .await
        .problem(415);
    let broken = [&b"{"[..], b"", b"{\"a\":\xff}", b"nonsense", b"{} {}"];
    for body in broken {
        api.post("/echo", JSON, body).await.problem(400);
    }
    let deep = "[".repeat(60_000);
    api.post("/echo", JSON, deep).await.problem(400);

    let largest = format!("\"{}\"", "x".repeat(LARGEST_BODY - 2));
    assert_eq!(api.post("/echo", JSON, largest.clone()).await.status, 200);
    api.post("/echo", JSON, format!("{largest} "))
        .await
        .problem(413);
    let pieces = (0..17).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 4096])));
    let unsaid = Body::from_stream(futures::stream::iter(pieces));
    api.post("/echo", JSON, unsaid).await.problem(413);
    let said = [
        ("content-type", JSON),
        ("content-length", "99999999999999999999"),
    ];
    let huge = api
        .call("POST", "/echo", "anna", &said, Body::empty())
        .await;
    assert_eq!(huge.status, 400, "it is not even a number");

    assert_eq!(api.post("/maybe", "", "").await.text, "null");
    assert_eq!(api.post("/maybe", JSON, "1").await.text, "1");
    api.post("/maybe", "text/plain", "1").await.problem(415);
    let cut = Body::from_stream(futures::stream::iter([Err::<Bytes, _>(
        std::io::Error::other("cut"),
    )]));
    api.post("/echo", JSON, cut).await.problem(400);
}

/// A body that does not arrive, and a call that does not end, are given up.
#[tokio::test(start_paused = true)]
async fn times() {
    let api = api();
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    api.post("/echo", JSON, never).await.problem(408);
    let answer = api.get("/never", "anna").await;
    answer.problem(503);
    assert_eq!(answer.headers["retry-after"], "5");
    // And the turn is over.
    for _ in 0..3 {
        api.get("/never", "anna").await.problem(503);
    }
}

/// Every error is a problem, also those of nobody's making.
#[tokio::test]
async fn errors() {
    let api = api();
    let fault = api.get("/panic", "anna").await.problem(500);
    assert!(!fault.to_string().contains("on purpose"), "{fault}");
    api.get("/plain", "anna").await.problem(502);
    api.get("/nothing", "anna").await.problem(404);
    let wrong = api.call("PUT", "/change", "anna", &[], Body::empty()).await;
    wrong.problem(405);
    assert_eq!(wrong.headers["allow"], "POST");
    let early = api.get("/memory", "anna").await;
    early.problem(503);
    assert_eq!(early.headers["retry-after"], "2");
    let refused = api.get("/forbidden", "anna").await.problem(403);
    assert_eq!(
        refused["detail"],
        "anna may not patch cephpools.poolwright.dev b in the namespace a"
    );
    let text = api.metrics.encode().expect("text");
    for line in [
        "poolwright_rest_calls_total{method=\"GET\",route=\"/panic\",status=\"500\"} 1",
        "poolwright_rest_calls_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "poolwright_rest_calls_total{method=\"other\",route=\"/change\",status=\"405\"} 1",
        "poolwright_rest_call_duration_seconds_count{method=\"GET\",route=\"/panic\"} 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

/// The API server is asked once about what many ask at once, and again where it did not answer.
#[tokio::test]
async fn questions() {
    let api = api();
    let calls = (0..2).map(|_| api.post("/change", JSON, "{}"));
    for answer in join_all(calls).await {
        assert_eq!(answer.status, 202);
    }
    assert_eq!(api.asked.counts(), (1, 1));
    api.get("/memory", "wrong").await.problem(401);
    api.get("/memory", "wrong").await.problem(401);
    assert_eq!(api.asked.counts(), (2, 1));
    for _ in 0..2 {
        let away = api.get("/memory", "down").await;
        away.problem(503);
        assert_eq!(away.headers["retry-after"], "5");
    }
    assert!(api.asked.counts().0 >= 4, "{:?}", api.asked.counts());
}

/// Nobody has more than so many calls under way, and nobody is held up by another.
#[tokio::test]
async fn turns() {
    let api = api();
    let held = [api.get("/hold", "anna"), api.get("/hold", "anna")];
    let others = async {
        // Until both are held.
        let refused = loop {
            let answer = api.get("/memory", "anna").await;
            if answer.status == 429 {
                break answer;
            }
            tokio::task::yield_now().await;
        };
        refused.problem(429);
        assert_eq!(refused.headers["retry-after"], "1");
        assert_eq!(api.get("/memory", "berta").await.status, 503);
        api.release.notify_waiters();
    };
    let (held, ()) = tokio::join!(join_all(held), others);
    assert!(held.iter().all(|answer| answer.status == 204));
    assert_eq!(
        api.get("/memory", "anna").await.status,
        503,
        "it is her turn again"
    );
}

/// A call is under way until its answer has been taken, and says before how long it is.
#[tokio::test]
async fn answers_that_nobody_reads() {
    let api = api();
    let long = async || {
        let request = Request::builder()
            .uri("/long")
            .header("authorization", "Bearer anna")
            .body(Body::empty())
            .expect("a request");
        let answer = api.router.clone().oneshot(request).await;
        answer.expect("an answer")
    };
    let (first, second) = (long().await, long().await);
    assert_eq!(first.headers()["content-length"], "100000");
    api.get("/memory", "anna").await.problem(429);
    let text = to_bytes(first.into_body(), usize::MAX).await;
    assert_eq!(text.expect("a body").len(), 100_000);
    api.get("/memory", "anna").await.problem(503);
    let mut pieces = second.into_body().into_data_stream();
    for _ in 0..6 {
        let piece = pieces.next().await.expect("a piece").expect("bytes");
        assert_eq!(piece.len(), 16 * 1024);
    }
    let _third = long().await;
    api.get("/memory", "anna").await.problem(429);
    drop(pieces);
    api.get("/memory", "anna").await.problem(503);
}

/// What was written, as a log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text")
    }

    fn audited(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .filter(|line: &Value| line["target"] == "poolwright::audit")
            .map(|line| line["fields"].clone())
            .collect()
    }
}

/// A change goes on when its caller hangs up, or is told that it took too long: it stays his until its end, and then it is
/// in the log with what it did.
#[tokio::test(start_paused = true)]
async fn changes_go_on() {
    let api = api();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(move || writer.clone())
        .finish();
    api.post("/change", JSON, "{}").await;
    let guard = tracing::subscriber::set_default(subscriber);
    tracing::callsite::rebuild_interest_cache();
    let hung_up = tokio::time::timeout(
        std::time::Duration::from_secs(1),
        api.post("/slow", JSON, "{}"),
    );
    assert!(hung_up.await.is_err());
    api.post("/slow", JSON, "{}").await.problem(503);
    api.get("/memory", "anna").await.problem(429);
    assert_eq!(log.audited(), [] as [Value; 0]);
    api.release.notify_waiters();
    while log.audited().len() < 2 {
        tokio::task::yield_now().await;
    }
    let line = json!({
        "message": "call", "user": "anna", "verb": "POST", "path": "/slow", "object": "cephpools a/slow",
        "request_id": "24b1fc3e", "status": 202,
    });
    assert_eq!(log.audited(), [line.clone(), line]);
    drop(guard);
    api.get("/memory", "anna").await.problem(503);
    let text = api.metrics.encode().expect("text");
    for status in ["499", "503"] {
        let line = format!(
            "poolwright_rest_calls_total{{method=\"POST\",route=\"/slow\",status=\"{status}\"}} 1"
        );
        assert!(text.contains(&line), "{line} in {text}");
    }
}

/// Each call that would change something is in the log with its caller and its request, also one that was refused; and
/// no token is.
#[tokio::test]
async fn audit() {
    let api = api();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(move || writer.clone())
        .finish();
    // Other tests come by the same lines without a subscriber: whether anybody listens is found out when a line is first
    // passed, and again when told to.
    api.post("/change", JSON, "{}").await;
    let guard = tracing::subscriber::set_default(subscriber);
    tracing::callsite::rebuild_interest_cache();
    let accepted = api.post("/change", JSON, "{}").await;
    assert_eq!(accepted.status, 202);
    assert_eq!(accepted.headers["location"], "/api/v2/request/24b1fc3e");
    assert_eq!(accepted.text, "{\"request_id\":\"24b1fc3e\"}");
    api.call("POST", "/change", "wrong", &[], Body::empty())
        .await
        .problem(401);
    api.get("/memory", "anna").await.problem(503);
    drop(guard);
    let text = log.text();
    assert_eq!(
        log.audited(),
        [
            json!({
                "message": "call", "user": "anna", "verb": "POST", "path": "/change", "object": "cephpools a/b",
                "request_id": "24b1fc3e", "status": 202,
            }),
            json!({
                "message": "call", "user": "", "verb": "POST", "path": "/change", "object": "", "request_id": "",
                "status": 401,
            }),
        ]
    );
    assert!(!text.contains("wrong"), "{text}");
}

/// The document is what this is: a change of it is a change of the API.
#[test]
fn document() {
    let document = serde_json::to_value(router::document()).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    insta::assert_json_snapshot!("openapi", document);
    // Generated clients name their functions after these.
    let calls = document["paths"].as_object().expect("paths").values();
    let calls = calls.flat_map(|calls| calls.as_object().expect("calls").values());
    let names: Vec<&Value> = calls.map(|call| &call["operationId"]).collect();
    for name in &names {
        assert_eq!(
            names.iter().filter(|other| other == &name).count(),
            1,
            "{name}"
        );
    }
    // Whatever a reference names is there.
    let text = document.to_string();
    let mut references: Vec<&str> = text.split("\"#/components/schemas/").skip(1).collect();
    for reference in &mut references {
        *reference = reference.split('"').next().unwrap_or_default();
        assert!(
            !document["components"]["schemas"][*reference].is_null(),
            "{reference}"
        );
    }
    assert!(references.len() > 20);
}

/// A stranger's body is not read.
#[tokio::test]
async fn no_body_is_read_of_a_call_that_is_refused() {
    let api = api();
    let read = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&read);
    let pieces = futures::stream::repeat_with(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from_static(b" "))
    });
    let body = Body::from_stream(pieces.take(1000));
    let answer = api
        .call("POST", "/echo", "wrong", &[("content-type", JSON)], body)
        .await;
    answer.problem(401);
    assert_eq!(read.load(Ordering::SeqCst), 0);
}
