//! The certificate: read from files, and again when they change.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::fs;

use super::certificate::{Files, Fingerprint, Step};
use crate::controller::chain;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Where the certificate and its key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, and those that lead to its issuer.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is no PEM of what it has to be.
    #[error("{path} holds no {what} in PEM")]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it has to hold.
        what: &'static str,
        /// Why not.
        source: rustls_pki_types::pem::Error,
    },
    /// The two do not fit together.
    #[error("{chain} and {key} do not fit together")]
    Pair {
        /// The file with the certificate.
        chain: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// A certificate in use.
#[derive(Debug)]
pub struct Keeper {
    certificate: Certificate,
    files: Files,
    config: RustlsConfig,
}

impl Keeper {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When they cannot be used.
    pub async fn new(certificate: Certificate) -> Result<Self, Error> {
        let (contents, chain, key) = read(&certificate).await?;
        let config = config(&certificate, &chain, &key)?;
        Ok(Self {
            files: Files::using(contents),
            config: RustlsConfig::from_config(Arc::new(config)),
            certificate,
        })
    }

    /// What the server uses; it changes with the files.
    pub fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Looks at the files for ever. What cannot be used is said, and the last that could stays.
    pub async fn keep(mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = chain(&error),
                    "the certificate of the REST API has changed and cannot be used: the last one stays"
                );
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let (contents, chain, key) = read(&self.certificate).await?;
        if self.files.seen(contents) == Step::Keep {
            return Ok(());
        }
        let config = config(&self.certificate, &chain, &key)?;
        self.config.reload_from_config(Arc::new(config));
        self.files.used();
        tracing::info!("the REST API has a new certificate");
        Ok(())
    }
}

async fn read(certificate: &Certificate) -> Result<(Fingerprint, Vec<u8>, Vec<u8>), Error> {
    let file = async |path: &PathBuf| {
        fs::read(path).await.map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })
    };
    let (chain, key) = (
        file(&certificate.chain).await?,
        file(&certificate.key).await?,
    );
    Ok((Fingerprint::of(&chain, &key), chain, key))
}

fn config(files: &Certificate, chain: &[u8], key: &[u8]) -> Result<ServerConfig, Error> {
    let pem = |path: &PathBuf, what, source| Error::Pem {
        path: path.clone(),
        what,
        source,
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|source| pem(&files.chain, "certificate", source))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|source| pem(&files.key, "private key", source))?;
    let pair = |source| Error::Pair {
        chain: files.chain.clone(),
        key: files.key.clone(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
