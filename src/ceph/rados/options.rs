//! How to reach a cluster, and as whom.

use std::collections::BTreeMap;
use std::ffi::{CString, NulError};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::exit;
use super::ffi::{Cluster, Library};
use crate::ceph::client::ClientError;
use crate::ceph::types::Fsid;

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub enum ConnectOptions {
    /// As the `ceph` command does: from a ceph.conf and the keyring it names.
    ConfFile {
        /// The ceph.conf.
        path: PathBuf,
        /// `admin`, of `client.admin`.
        user: String,
    },
    /// By what is said here alone: librados reads no file.
    Explicit {
        /// Addresses of monitors, as ceph.conf's `mon_host` takes them.
        mon_host: String,
        /// `poolwright`, of `client.poolwright`.
        user: String,
        /// The user's key.
        key: Key,
        /// Further options of librados. Those that this program sets itself win.
        options: BTreeMap<String, String>,
    },
}

impl ConnectOptions {
    /// `client.NAME`.
    pub fn entity(&self) -> String {
        match self {
            Self::ConfFile { user, .. } | Self::Explicit { user, .. } => format!("client.{user}"),
        }
    }
}

/// A cephx key: base64 text. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

/// The kind of key that librados before Ceph 20 cannot use.
const AES256: u8 = 2;

/// A text that holds no key for a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A keyring without the user's section, or a section without a key.
    #[error("the keyring has no key for {0}")]
    NotInKeyring(String),
    /// Neither a keyring nor base64. The text itself is not repeated: it may be nearly a key.
    #[error("the key is not base64 text of a cephx key")]
    Garbled,
}

impl Key {
    /// Reads the key of `client.USER` from a secret: a bare key, or the text of a keyring.
    pub fn parse(text: &str, user: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if !text.contains('[') {
            return Self::bare(text);
        }
        let section = format!("[client.{user}]");
        let mut inside = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                inside = line == section;
            } else if let Some((name, value)) = line.split_once('=')
                && inside
                && name.trim() == "key"
            {
                return Self::bare(value.trim().trim_matches('"'));
            }
        }
        Err(KeyError::NotInKeyring(format!("client.{user}")))
    }

    /// Checks the form, since librados puts a key it cannot read into its log.
    ///
    /// Its kind (1 is AES, 2 is AES-256 of Ceph 20), when it was made (8 bytes), the secret's length, the secret; numbers
    /// have two bytes, the lower one first.
    fn bare(text: &str) -> Result<Self, KeyError> {
        let bytes = STANDARD.decode(text).map_err(|_| KeyError::Garbled)?;
        let (head, secret) = bytes.split_first_chunk::<12>().ok_or(KeyError::Garbled)?;
        let [kind, 0, _, _, _, _, _, _, _, _, length, 0] = *head else {
            return Err(KeyError::Garbled);
        };
        let sound =
            usize::from(length) == secret.len() && matches!((kind, length), (1, 16) | (AES256, 32));
        sound
            .then(|| Self(text.to_owned()))
            .ok_or(KeyError::Garbled)
    }

    /// Whether it is of the kind that a new cluster makes from Ceph 20 on.
    fn is_aes256(&self) -> bool {
        let bytes = STANDARD.decode(&self.0).unwrap_or_default();
        bytes.first() == Some(&AES256)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(…)")
    }
}

/// How much at once, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Commands that change something, in flight on one session.
    pub max_commands_in_flight: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long librados itself keeps a command, in whole seconds, before it gives up. A longer
    /// deadline ends with it; after a shorter one librados may send the command again until then.
    pub command_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_commands_in_flight: 512,
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(30),
        }
    }
}

/// What librados must not do inside another program: write to its stderr, to files, or open
/// a socket. Applied last, so that neither a ceph.conf nor an option undoes it.
const QUIET: [(&str, &str); 6] = [
    ("log_to_stderr", "false"),
    ("err_to_stderr", "false"),
    ("log_to_file", "false"),
    ("log_to_syslog", "false"),
    ("log_file", ""),
    ("admin_socket", ""),
];

/// Opens a session with the monitors; `further` options win over all others. Blocks for up to
/// `connect_timeout`, and a second more where that is not whole: librados counts in seconds.
pub(super) fn connect(
    library: &'static Library,
    options: &ConnectOptions,
    limits: &Limits,
    further: &[(&str, String)],
) -> Result<(Arc<Cluster>, Fsid), ClientError> {
    let entity = options.entity();
    let mut cluster = Cluster::create(library, &text(&entity)?)
        .map_err(|code| refused(&format!("user {entity}"), code))?;
    exit::prepare();
    match options {
        ConnectOptions::ConfFile { path, .. } => {
            let name = CString::new(path.as_os_str().as_bytes()).map_err(nul)?;
            cluster
                .read_file(&name)
                .map_err(|code| refused(&path.display().to_string(), code))?;
        }
        ConnectOptions::Explicit {
            mon_host,
            key,
            options,
            ..
        } => {
            if mon_host.trim().is_empty() {
                return Err(ClientError::InvalidConfiguration(
                    "no address of a monitor is given".into(),
                ));
            }
            for (option, value) in options {
                set(&mut cluster, option, value)?;
            }
            set(&mut cluster, "mon_host", mon_host)?;
            // With a key, and no keyring to find, librados reads no file.
            set(&mut cluster, "keyring", "")?;
            set(&mut cluster, "keyfile", "")?;
            set(&mut cluster, "key", &key.0)?;
        }
    }
    for (option, value) in QUIET {
        set(&mut cluster, option, value)?;
    }
    set(
        &mut cluster,
        "client_mount_timeout",
        &seconds(limits.connect_timeout),
    )?;
    set(
        &mut cluster,
        "rados_mon_op_timeout",
        &seconds(limits.command_timeout),
    )?;
    for (option, value) in further {
        set(&mut cluster, option, value)?;
    }
    cluster
        .connect()
        .map_err(|code| not_connected(code, options, limits))?;
    let fsid = cluster
        .fsid()
        .map_err(|code| refused("the cluster's fsid", code))?;
    let cluster = Arc::new(cluster);
    exit::register(&cluster);
    Ok((cluster, Fsid::new(&fsid)))
}

/// Sets an option; the error names it and never its value.
fn set(cluster: &mut Cluster, option: &str, value: &str) -> Result<(), ClientError> {
    cluster
        .set(&text(option)?, &text(value)?)
        .map_err(|code| refused(&format!("option {option}"), code))
}

/// Whole seconds, rounded up: librados takes nothing finer, and 0 would be for ever.
pub(super) fn seconds(duration: Duration) -> String {
    let up = u64::from(duration.subsec_nanos() > 0);
    (duration.as_secs() + up).max(1).to_string()
}

fn text(text: &str) -> Result<CString, ClientError> {
    CString::new(text).map_err(nul)
}

fn nul(_: NulError) -> ClientError {
    ClientError::InvalidConfiguration("a setting contains a zero byte".into())
}

fn refused(what: &str, code: i32) -> ClientError {
    ClientError::InvalidConfiguration(format!("{what}: {}", reason(code)))
}

/// The system's words for a negative errno.
pub(super) fn reason(code: i32) -> std::io::Error {
    std::io::Error::from_raw_os_error(code.saturating_neg())
}

/// What the codes of `rados_connect` mean, measured on 16, 18 and 20.
fn not_connected(code: i32, options: &ConnectOptions, limits: &Limits) -> ClientError {
    const ENOENT: i32 = -2;
    const EIO: i32 = -5;
    const EACCES: i32 = -13;
    const EINVAL: i32 = -22;
    const ETIMEDOUT: i32 = -110;
    match code {
        EACCES => ClientError::AuthenticationFailed {
            user: options.entity(),
        },
        ETIMEDOUT => ClientError::Unreachable(limits.connect_timeout),
        // A key that is given is looked at before; one of a conf file is not.
        EINVAL => ClientError::InvalidConfiguration(match (too_new(options), options) {
            (key, ConnectOptions::Explicit { mon_host, .. }) => {
                let key = key.map_or_else(String::new, |key| format!(", or {key}"));
                format!("an address of a monitor does not resolve ({mon_host}){key}")
            }
            _ => "an address of a monitor does not resolve, or the key is garbled".to_owned(),
        }),
        ENOENT => ClientError::InvalidConfiguration(format!(
            "no address of a monitor (mon_host), or no keyring for {}",
            options.entity()
        )),
        EIO => ClientError::InvalidConfiguration(too_new(options).unwrap_or_else(|| {
            format!(
                "librados cannot use the key of {}; one made by Ceph 20 (aes256k) needs librados of Ceph 20 or later",
                options.entity()
            )
        })),
        other => ClientError::InvalidConfiguration(format!("connecting: {}", reason(other))),
    }
}

/// What 16 (EINVAL) and 18 (EIO) may mean: a key that came with a later release. That of a conf file is not read here.
fn too_new(options: &ConnectOptions) -> Option<String> {
    match options {
        ConnectOptions::Explicit { key, .. } if key.is_aes256() => Some(format!(
            "the key of {} is of the kind aes256k, which came with Ceph 20 and takes librados of Ceph 20 or later",
            options.entity()
        )),
        ConnectOptions::Explicit { .. } | ConnectOptions::ConfFile { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AQDvxRhnAAAAABAAnN5Ejt1oyuvbCNVvyPS9ug==";
    const OTHER: &str = "AQDvxRhnAAAAABAAnN5Ejt1oyuvbCNVvyPS9uA==";

    /// A secret holds a bare key, or a keyring in which the user's own key is found.
    #[test]
    fn keys_are_found() {
        let key = |text: &str| Key::parse(text, "poolwright").map(|key| key.0);
        let keyring = format!(
            "[client.poolwright-old]\n\tkey = {OTHER}\n[client.poolwright]\n\tcaps mon = \"allow r\"\n\tkey = {KEY}\n"
        );
        for text in [KEY.to_owned(), format!("  {KEY}\n"), keyring] {
            assert_eq!(key(&text).as_deref(), Ok(KEY));
        }
        let elsewhere = format!("[client.admin]\nkey = {KEY}\n");
        let not_there = Err(KeyError::NotInKeyring("client.poolwright".into()));
        assert_eq!(key(&elsewhere), not_there);
        assert_eq!(key("[client.poolwright]\n"), not_there);
        for garbled in [
            "",
            "secret",
            "AQDv",
            &KEY.replace('=', "!"),
            &format!("{KEY}{KEY}"),
            // Base64, and not a key inside.
            &"QUJD".repeat(12),
        ] {
            assert_eq!(key(garbled), Err(KeyError::Garbled), "{garbled}");
        }
    }

    /// Both kinds of keys are told apart.
    #[test]
    fn keys_are_of_two_kinds() {
        let kind = |text| Key::parse(text, "poolwright").map(|key| key.is_aes256());
        assert_eq!(kind(KEY), Ok(false));
        let of_20 = "AgAAAAAAAAAAACAABwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        assert_eq!(kind(of_20), Ok(true));
    }

    /// A key is in nothing that is printed for debugging.
    #[test]
    fn keys_are_not_shown() {
        let options = ConnectOptions::Explicit {
            mon_host: "192.0.2.1".into(),
            user: "poolwright".into(),
            key: Key::parse(KEY, "poolwright").expect("a key"),
            options: BTreeMap::new(),
        };
        let shown = format!("{options:?} {options:#?}");
        assert!(!shown.contains("AQDv"), "{shown}");
        assert_eq!(options.entity(), "client.poolwright");
    }

    /// librados counts in whole seconds, and takes 0 for never.
    #[test]
    fn times_are_rounded_up() {
        assert_eq!(seconds(Duration::ZERO), "1");
        assert_eq!(seconds(Duration::from_millis(1500)), "2");
        assert_eq!(seconds(Duration::from_secs(30)), "30");
    }
}
