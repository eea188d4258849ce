//! The controller as a process.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::rest::Rest;

/// How it is started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) port: u16,
    pub(crate) log: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// How the REST API is served, if not without TLS.
    pub(crate) rest: Vec<String>,
}

/// A running controller; dead when dropped, and when this process is.
#[derive(Debug)]
pub(crate) struct Controller {
    pid: u32,
    port: u16,
    ended: Arc<Mutex<Option<String>>>,
    over: Mutex<mpsc::Receiver<()>>,
}

impl Controller {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(start: &Start) -> Self {
        let controller = Self::spawn(start);
        let began = Instant::now();
        loop {
            let answer = controller.get("/readyz").await;
            if matches!(&answer, Ok((200, _))) {
                return controller;
            }
            let ended = controller.ended.lock().expect("no panic").clone();
            assert!(
                ended.is_none() && began.elapsed() < super::LIMIT,
                "the controller is not ready: {answer:?}, {ended:?}; its log:\n{}",
                tail(&start.log, 60, "")
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn spawn(start: &Start) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&start.log)
            .expect("the controller's log");
        let insecure = vec!["--rest-insecure-loopback".to_owned()];
        // It gets a SIGKILL when the thread that started it ends: the test program does not drop its statics.
        let mut command = Command::new("setpriv");
        command
            .args([
                "--pdeathsig",
                "KILL",
                "--",
                env!("CARGO_BIN_EXE_poolwright"),
                "run",
                "--http-addr",
            ])
            .arg(format!("127.0.0.1:{}", start.port))
            .arg(format!("--rest-addr=127.0.0.1:{}", rest_port(start.port)))
            .args(if start.rest.is_empty() {
                &insecure
            } else {
                &start.rest
            })
            .args(&start.args)
            .env("KUBECONFIG", &start.kubeconfig)
            .env("RUST_LOG", "info,poolwright=debug")
            .envs(start.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        let ended = Arc::new(Mutex::new(None));
        let (started, pid) = mpsc::channel();
        let (told, over) = mpsc::channel();
        let end = Arc::clone(&ended);
        // So this thread lives as long as the child does.
        thread::spawn(move || {
            let mut child: Child = command
                .spawn()
                .expect("setpriv (of util-linux) starts the controller");
            let _ = started.send(child.id());
            let status = child.wait();
            *end.lock().expect("no panic") = Some(format!("{status:?}"));
            let _ = told.send(());
        });
        Self {
            pid: pid.recv().expect("the controller was started"),
            port: start.port,
            ended,
            over: Mutex::new(over),
        }
    }

    /// Ends it with SIGKILL, and returns when it is gone.
    pub(crate) fn kill(&self) {
        // Not collected before `over` is told, so the number is still its own, or nobody's.
        if self.ended.lock().expect("no panic").is_none() {
            let _ = Command::new("kill")
                .args(["-KILL", &self.pid.to_string()])
                .status();
            let _ = self
                .over
                .lock()
                .expect("no panic")
                .recv_timeout(Duration::from_secs(20));
        }
    }

    /// Sends it a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        assert_eq!(self.ended(), None, "it has ended already");
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid.to_string()])
            .status();
        assert!(sent.expect("kill").success(), "SIG{name} was sent");
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&self) -> Option<String> {
        self.ended.lock().expect("no panic").clone()
    }

    /// Its metrics: each line's name with its labels, and its value.
    pub(crate) async fn metrics(&self) -> Result<BTreeMap<String, f64>, String> {
        let (status, text) = self.get("/metrics").await?;
        assert_eq!(status, 200, "{text}");
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
        Ok(lines.collect())
    }

    /// Its REST API.
    pub(crate) fn rest(&self) -> Rest {
        Rest::at(rest_port(self.port))
    }

    /// A request to its HTTP server: status and body.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String), String> {
        let exchange = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = timeout(Duration::from_secs(10), exchange)
            .await
            .map_err(|_| "no answer within 10 s".to_owned())?
            .map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no header")?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or("no status")?;
        Ok((status, body.to_owned()))
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The port of its REST API.
fn rest_port(port: u16) -> u16 {
    port + 100
}

/// The last lines of a log, and of those before them the ones that name something.
pub(crate) fn tail(log: &Path, lines: usize, name: &str) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    let rest = all.len().saturating_sub(lines);
    let named: Vec<&str> = all[..rest]
        .iter()
        .copied()
        .filter(|line| !name.is_empty() && line.contains(name))
        .collect();
    let newest = named.len().saturating_sub(lines * 2);
    let mut shown: Vec<&str> = named[newest..].to_vec();
    shown.push("…");
    shown.extend(&all[rest..]);
    shown.join("\n")
}
