//! The REST API over TLS, called with curl as people do.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::real::support::{Case, LIMIT, Own, World, holds, run, token, variable};

/// Makes a certificate that is its own issuer, for localhost, and its key: in place, as a Secret's files change.
async fn certificate(dir: &Path, name: &str) {
    let mut make = Command::new("openssl");
    make.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ])
    .args([
        "-days",
        "2",
        "-subj",
        &format!("/CN={name}"),
        "-addext",
        "subjectAltName=DNS:localhost",
    ])
    .arg("-keyout")
    .arg(dir.join("new.key"))
    .arg("-out")
    .arg(dir.join("new.crt"));
    run(&mut make, None).await.expect("a certificate");
    for kind in ["key", "crt"] {
        std::fs::rename(
            dir.join(format!("new.{kind}")),
            dir.join(format!("tls.{kind}")),
        )
        .expect("in place");
    }
}

/// A certificate from files is used, and so is the next one, without a restart; one that cannot be used is not.
#[tokio::test(flavor = "multi_thread")]
async fn certificates() {
    let dir =
        PathBuf::from(variable("POOLWRIGHT_TEST_DIR")).join(format!("tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    certificate(&dir, "first").await;
    let own = Own {
        rest: vec![
            format!("--rest-tls-cert={}", dir.join("tls.crt").display()),
            format!("--rest-tls-key={}", dir.join("tls.key").display()),
        ],
        ..Own::default()
    };
    let world = World::own(own).await;
    let case = Case::new(world, "resttls").await;
    let port = case.world.running().expect("it runs").rest().port();
    let token = token(&case.client, &case.namespace, "a", &[]).await;
    let curl = async |path: &str| {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--cacert",
        ])
        .arg(dir.join("tls.crt"))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .arg(format!("https://localhost:{port}/api/v2{path}"));
        run(&mut curl, None).await
    };
    let clusters = curl("/cluster").await.expect("the first certificate");
    assert_eq!(clusters, "[]");

    // Without TLS nothing is said that could be taken for an answer.
    let mut plain = Command::new("curl");
    plain
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
        ])
        .arg(format!("http://localhost:{port}/api/v2/info"));
    let said = run(&mut plain, None).await;
    assert!(!said.ok && said.out.is_empty(), "{said:?}");

    let first = std::fs::read(dir.join("tls.crt")).expect("the first");
    certificate(&dir, "second").await;
    case.wait_for("the second certificate is used", LIMIT, async || {
        let said = curl("/info").await;
        holds(said.ok, &said)
    })
    .await;
    // The key of another: the second stays.
    let second = std::fs::read(dir.join("tls.crt")).expect("the second");
    std::fs::write(dir.join("tls.crt"), &first).expect("in place");
    case.wait_for("it is said that the files do not fit", LIMIT, async || {
        let log = case.world.log_tail(200, "do not fit together");
        holds(log.contains("do not fit together"), &log)
    })
    .await;
    std::fs::write(dir.join("kept.crt"), &second).expect("a copy");
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--noproxy",
        "*",
        "--cacert",
    ])
    .arg(dir.join("kept.crt"))
    .arg(format!("https://localhost:{port}/api/v2/info"));
    run(&mut curl, None)
        .await
        .expect("the second certificate stays");
}
