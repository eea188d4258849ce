//! A caller of the REST API.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use super::apply;

/// Longer than any answer is held.
const ANSWER: Duration = Duration::from_secs(90);

/// The REST API of a controller, and who calls.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    port: u16,
    token: Option<String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Answer {
    /// The body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of an answer with this status.
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }

    /// What is wrong, of a problem with this status.
    pub(crate) fn problem(self, status: u16) -> String {
        assert_eq!(
            self.headers.get("content-type").map(String::as_str),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.expect(status);
        assert_eq!(problem["status"], status);
        problem["detail"].as_str().expect("words").to_owned()
    }
}

impl Rest {
    /// Nobody, at a port of this machine.
    pub(crate) fn at(port: u16) -> Self {
        Self { port, token: None }
    }

    /// The same caller at another controller.
    pub(crate) fn like(who: &Self, there: &Self) -> Self {
        Self {
            port: there.port,
            token: who.token.clone(),
        }
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The same for whoever has this token.
    pub(crate) fn with(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// GET of a path below `/api/v2`.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "").await
    }

    /// A call with a JSON body.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("Content-Type", "application/json")];
        self.call(method, path, &headers, &body.to_string()).await
    }

    /// Any call of a path below `/api/v2`.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut head = format!(
            "{method} /api/v2{path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.port,
            body.len()
        );
        if let Some(token) = &self.token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.raw(&format!("{head}\r\n{body}")).await
    }

    /// What is answered to these very bytes.
    pub(crate) async fn raw(&self, bytes: &str) -> Answer {
        let exchange = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            // The server may answer and close before it has read all.
            let _ = stream.write_all(bytes.as_bytes()).await;
            let mut answer = Vec::new();
            let read = stream.read_to_end(&mut answer).await;
            if answer.is_empty() {
                read?;
            }
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = timeout(ANSWER, exchange).await;
        let answer = answer.expect("an answer in time").expect("an answer");
        let (head, text) = answer.split_once("\r\n\r\n").expect("a header");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        Answer {
            status: status.and_then(|code| code.parse().ok()).expect("a status"),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            text: text.to_owned(),
        }
    }
}

/// A token of a ServiceAccount, which is made where it is not there, for the API server or for other audiences.
pub(crate) async fn token(
    client: &Client,
    namespace: &str,
    account: &str,
    audiences: &[&str],
) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let object =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}});
    apply(&accounts, account, &object)
        .await
        .expect("the ServiceAccount is accepted");
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(audiences.iter().map(|name| (*name).to_owned()).collect()),
            expiration_seconds: Some(3600),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .expect("a token");
    answer.status.expect("an answer").token.expect("the token")
}
