//! Both doors, open and shut, and shut in the middle.

use std::sync::atomic::{AtomicUsize, Ordering};

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::api::v1alpha1::ClusterConnection;
use crate::ceph::types::PoolName;

const DEADLINE: Duration = Duration::from_secs(1);

/// Answers everything, and counts.
#[derive(Debug)]
struct Monitors(Fsid, AtomicUsize);

#[async_trait]
impl MonClient for Monitors {
    fn fsid(&self) -> &Fsid {
        &self.0
    }

    async fn send(&self, _: &MonCommand, _: Duration) -> Result<Reply, ClientError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Ok(Reply {
            code: 0,
            text: String::new(),
            body: Vec::new(),
        })
    }

    async fn send_alone(&self, command: &MonCommand, _: Duration) -> Result<Reply, ClientError> {
        self.send(command, DEADLINE).await
    }

    async fn contents(&self, _: &Pool, _: &OsdMap, _: Duration) -> Contents {
        Contents::Unknown("nobody looked".to_owned())
    }
}

/// Reads pass, changes only from the one that leads, whichever way they go.
#[tokio::test]
async fn monitors() {
    let remove = MonCommand::PoolRemove {
        pool: PoolName::new("p"),
    };
    for (leadership, leads) in [
        (Leadership::candidate(), false),
        (Leadership::alone(), true),
    ] {
        let inner = Arc::new(Monitors(Fsid::new("f"), AtomicUsize::new(0)));
        let client = FencedClient {
            inner: inner.clone(),
            leadership,
        };
        let read = MonCommand::OsdStat;
        assert!(client.send(&read, DEADLINE).await.is_ok());
        assert!(client.read_after_changes(&read, DEADLINE).await.is_ok());
        assert_eq!(inner.1.load(Ordering::Relaxed), 2);
        let refused = Err(ClientError::NotLeading {
            command: "osd pool rm",
        });
        for answer in [
            client.send(&remove, DEADLINE).await,
            client.send_alone(&remove, DEADLINE).await,
            client.read_after_changes(&remove, DEADLINE).await,
        ] {
            assert!(
                if leads {
                    answer.is_ok()
                } else {
                    answer == refused
                },
                "{answer:?}"
            );
        }
        let reached = if leads { 5 } else { 2 };
        assert_eq!(inner.1.load(Ordering::Relaxed), reached);
    }
}

/// What is not a read does not even try to reach the API server, from one that does not lead.
#[tokio::test]
async fn api_server() {
    // Nobody listens there.
    let config = Config::new("http://127.0.0.1:9".parse().expect("an address"));
    for (leadership, leads) in [
        (Leadership::candidate(), false),
        (Leadership::alone(), true),
    ] {
        let client = client(config.clone(), &leadership).expect("a client");
        let api: Api<ClusterConnection> = Api::all(client);
        let refused = |error: kube::Error| {
            super::super::chain(&error).contains("another replica of the controller leads")
        };
        let patch = Patch::Merge(serde_json::json!({}));
        let parameters = PatchParams::default();
        let read = api.get("main").await.expect_err("nobody answers");
        let patched = api.patch("main", &parameters, &patch).await;
        let deleted = api.delete("main", &DeleteParams::default()).await;
        assert!(!refused(read));
        assert_eq!(refused(patched.expect_err("nobody answers")), !leads);
        assert_eq!(refused(deleted.expect_err("nobody answers")), !leads);
    }
}

/// An API server that is busy: it asks everybody to come again after a second. Counts the requests.
async fn busy() -> (Config, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                count.fetch_add(1, Ordering::SeqCst);
            }
            let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(busy.as_bytes()).await;
        }
    });
    let uri = format!("http://{address}").parse().expect("an address");
    (Config::new(uri), asked)
}

/// The client tries again by itself what a busy server did not do: a write no more when the lease was lost meanwhile.
#[tokio::test]
async fn a_write_is_not_tried_again_without_the_lease() {
    for keeps in [true, false] {
        let (config, asked) = busy().await;
        let leadership = Leadership::candidate();
        leadership.set(true);
        let client = client(config, &leadership).expect("a client");
        let writing = tokio::spawn(async move {
            let api: Api<ClusterConnection> = Api::all(client);
            let patch = Patch::Merge(serde_json::json!({}));
            api.patch("main", &PatchParams::default(), &patch).await
        });
        let reached = async |times| {
            while asked.load(Ordering::SeqCst) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached(1))
            .await
            .expect("the first try");
        leadership.set(keeps);
        if keeps {
            tokio::time::timeout(Duration::from_secs(20), reached(2))
                .await
                .expect("the second try");
            writing.abort();
            continue;
        }
        let ended = tokio::time::timeout(Duration::from_secs(20), writing).await;
        let error = ended.expect("in time").expect("no panic");
        let error = super::super::chain(&error.expect_err("not written"));
        assert!(error.contains("not known to be written"), "{error}");
        assert_eq!(asked.load(Ordering::SeqCst), 1, "one try");
    }
}
