//! The options of the REST API.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::rest::tls::Certificate;

#[derive(Debug, Args)]
#[expect(
    clippy::struct_field_names,
    reason = "they are the names of the options"
)]
#[group(id = "rest")]
#[command(next_help_heading = "REST API")]
pub(super) struct Options {
    /// Serve the REST API on this address, such as 0.0.0.0:8443, on every replica [default: not served]
    #[arg(long, value_name = "ADDR")]
    rest_addr: Option<SocketAddr>,

    /// Certificate of the REST API and those that lead to its issuer, in PEM; read again when it changes
    #[arg(
        long,
        value_name = "FILE",
        requires = "rest_tls_key",
        requires = "rest_addr"
    )]
    rest_tls_cert: Option<PathBuf>,

    /// Key of the certificate, in PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "rest_tls_cert")]
    rest_tls_key: Option<PathBuf>,

    /// Serve the REST API without TLS: only on a loopback address, such as 127.0.0.1:8080
    ///
    /// Tokens pass over it as they are; it is for a proxy in the same pod, and for tests.
    #[arg(long, conflicts_with = "rest_tls_cert", requires = "rest_addr")]
    rest_insecure_loopback: bool,

    /// Namespace of the CephPools that calls make without naming one [default: calls have to name one]
    #[arg(long, value_name = "NAMESPACE", requires = "rest_addr")]
    rest_namespace: Option<String>,

    /// Application of the pools that calls make without naming one
    #[arg(long, value_name = "NAME", default_value = "rbd")]
    rest_application: String,

    /// How many calls one caller may have under way at once; more are answered with 429
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    rest_calls_per_caller: u32,
}

/// What the options say, when the API is to be served.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) address: SocketAddr,
    pub(super) certificate: Option<Certificate>,
    pub(super) namespace: Option<String>,
    pub(super) application: String,
    pub(super) calls_per_caller: usize,
}

impl Options {
    /// What the options say; nothing when the API is off.
    pub(super) fn read(self) -> Result<Option<Rest>, String> {
        let Some(address) = self.rest_addr else {
            return Ok(None);
        };
        let certificate = match (self.rest_tls_cert, self.rest_tls_key) {
            (Some(chain), Some(key)) => Some(Certificate { chain, key }),
            _ if !self.rest_insecure_loopback => {
                return Err("--rest-addr needs --rest-tls-cert and --rest-tls-key".to_owned());
            }
            _ if !address.ip().is_loopback() => {
                return Err(format!(
                    "--rest-insecure-loopback serves on a loopback address only, which {} is not",
                    address.ip()
                ));
            }
            _ => None,
        };
        Ok(Some(Rest {
            address,
            certificate,
            namespace: self.rest_namespace,
            application: self.rest_application,
            calls_per_caller: usize::try_from(self.rest_calls_per_caller).unwrap_or(usize::MAX),
        }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Run {
        #[command(flatten)]
        rest: Options,
    }

    fn read(arguments: &str) -> Result<Option<Rest>, String> {
        let words = std::iter::once("run").chain(arguments.split_whitespace());
        let run = Run::try_parse_from(words).map_err(|error| error.to_string())?;
        run.rest.read()
    }

    /// Off unless asked for, and nobody's token goes over a network that others hear.
    #[test]
    fn options() {
        assert_eq!(read(""), Ok(None));
        let tls = "--rest-addr 0.0.0.0:8443 --rest-tls-cert c --rest-tls-key k";
        let rest = read(tls).expect("options").expect("on");
        assert!(rest.certificate.is_some());
        assert_eq!(
            (rest.application.as_str(), rest.calls_per_caller),
            ("rbd", 256)
        );
        for good in ["127.0.0.1:80", "127.1.2.3:80", "[::1]:80"] {
            let rest = read(&format!("--rest-addr {good} --rest-insecure-loopback"));
            assert!(rest.expect("options").expect("on").certificate.is_none());
        }
        for (arguments, expected) in [
            (
                "--rest-addr 127.0.0.1:80",
                "needs --rest-tls-cert and --rest-tls-key",
            ),
            (
                "--rest-addr 0.0.0.0:80 --rest-insecure-loopback",
                "a loopback address only",
            ),
            (
                "--rest-addr [::]:80 --rest-insecure-loopback",
                "a loopback address only",
            ),
            (
                "--rest-addr 192.0.2.1:80 --rest-insecure-loopback",
                "a loopback address only",
            ),
            ("--rest-addr 0.0.0.0:80 --rest-tls-cert c", "--rest-tls-key"),
            ("--rest-insecure-loopback", "--rest-addr"),
            ("--rest-namespace a", "--rest-addr"),
            (
                &format!("{tls} --rest-insecure-loopback"),
                "cannot be used with",
            ),
            (
                &format!("{tls} --rest-calls-per-caller 0"),
                "0 is not in 1..",
            ),
        ] {
            let said = read(arguments).expect_err(arguments);
            assert!(said.contains(expected), "{arguments}: {said}");
        }
    }
}
