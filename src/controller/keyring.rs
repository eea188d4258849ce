//! The key of a Ceph user out of what a Secret holds. Pure.
//!
//! Never repeats the content of the Secret in a message: what cannot be read may be nearly a key.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;

use super::connection_status::Problem;
use crate::api::conditions::Reason;
use crate::api::v1alpha1::SecretKeyRef;
use crate::ceph::rados::{Key, KeyError};

/// The key of `client.USER` in the entry that a connection refers to: a bare key, or the text of
/// a keyring file. `data` is `None` where there is no such Secret.
pub fn key_of(
    data: Option<&BTreeMap<String, ByteString>>,
    reference: &SecretKeyRef,
    user: &str,
) -> Result<Key, Problem> {
    let secret = format!("Secret {}/{}", reference.namespace, reference.name);
    let wanted = &reference.key;
    let data = data.ok_or_else(|| {
        not_found(format!(
            "there is no {secret}; create it with the key of client.{user} in its entry {wanted:?}, \
             or correct spec.keySecretRef"
        ))
    })?;
    let entry = data.get(wanted).ok_or_else(|| {
        let there: Vec<&str> = data.keys().map(String::as_str).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        not_found(format!(
            "{secret} has no entry {wanted:?} (entries: {there}); add it, or correct spec.keySecretRef.key"
        ))
    })?;
    let how = format!(
        "put the output of `ceph auth get-key client.{user}` or of `ceph auth get client.{user}` there"
    );
    let unusable = |what: String| {
        let joint = if what.ends_with(", or") { " " } else { "; " };
        Problem::new(Reason::InvalidConfiguration, format!("{what}{joint}{how}"))
    };
    let text = std::str::from_utf8(&entry.0)
        .map_err(|_| unusable(format!("entry {wanted:?} of {secret} is not text")))?;
    if text.trim().is_empty() {
        return Err(unusable(format!("entry {wanted:?} of {secret} is empty")));
    }
    Key::parse(text, user).map_err(|error| match error {
        KeyError::NotInKeyring(_) => match users_in(text, user).as_slice() {
            [] => unusable(format!(
                "the keyring in entry {wanted:?} of {secret} has no key for client.{user}"
            )),
            others => unusable(format!(
                "the keyring in entry {wanted:?} of {secret} has {}, and no key for client.{user}; correct spec.user, or",
                others.join(", ")
            )),
        },
        KeyError::Garbled => unusable(format!(
            "entry {wanted:?} of {secret} is neither the key of a Ceph user nor the text of a keyring"
        )),
    })
}

/// The other users whose sections a keyring has.
fn users_in(keyring: &str, user: &str) -> Vec<String> {
    let sections = keyring
        .lines()
        .filter_map(|line| line.trim().strip_prefix('[')?.strip_suffix(']'));
    sections
        .filter(|name| {
            name.strip_prefix("client.")
                .is_some_and(|name| name != user)
        })
        .map(str::to_owned)
        .collect()
}

fn not_found(message: String) -> Problem {
    Problem::new(Reason::SecretNotFound, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AQBnsHxpAAAAABAAq0lHDd0vXGmZ8qTzBxpQpw==";
    const OTHER: &str = "AQDDDHxpAAAAABAAq0lHDd0vXGmZ8qTzBxpQpw==";

    fn read(content: Option<&[u8]>) -> Result<Key, Problem> {
        let data = BTreeMap::from([
            (
                "key".to_owned(),
                ByteString(content.unwrap_or(b"x").to_vec()),
            ),
            ("a".to_owned(), ByteString::default()),
        ]);
        let reference = SecretKeyRef {
            namespace: "ns".into(),
            name: "ceph".into(),
            key: if content.is_some() { "key" } else { "absent" }.into(),
        };
        key_of(Some(&data), &reference, "poolwright")
    }

    /// A bare key, and the user's own section of a keyring as `ceph auth get` and people write it.
    #[test]
    fn reads_bare_keys_and_keyrings() {
        let bare = Key::parse(KEY, "poolwright").expect("a key");
        let keyring = format!("[client.poolwright]\n\tkey = {KEY}\n\tcaps mon = \"allow r\"\n");
        let among_others = format!(
            "# ours\n[client.admin]\nkey={OTHER}\n\n  [client.poolwright]\r\n  key={KEY}\r\n[mon.]\nkey = {OTHER}\n"
        );
        for text in [KEY.to_owned(), format!("  {KEY}\n"), keyring, among_others] {
            assert_eq!(read(Some(text.as_bytes())), Ok(bare.clone()), "{text}");
        }
    }

    /// Each thing that is wrong has a sentence of its own, with what to do.
    #[test]
    fn says_what_is_wrong() {
        let how = "put the output of `ceph auth get-key client.poolwright` or of `ceph auth get client.poolwright` there";
        let keyring = format!("[client.poolwright]\n[mon.]\nkey = {KEY}\n");
        let table: [(&[u8], &str); 5] = [
            (b"", "entry \"key\" of Secret ns/ceph is empty"),
            (b" \n\t", "entry \"key\" of Secret ns/ceph is empty"),
            (b"\xff\xfe", "entry \"key\" of Secret ns/ceph is not text"),
            (
                b"hunter2",
                "entry \"key\" of Secret ns/ceph is neither the key of a Ceph user nor the text of a keyring",
            ),
            (
                keyring.as_bytes(),
                "the keyring in entry \"key\" of Secret ns/ceph has no key for client.poolwright",
            ),
        ];
        for (content, what) in table {
            let problem = Problem::new(Reason::InvalidConfiguration, format!("{what}; {how}"));
            assert_eq!(read(Some(content)), Err(problem));
        }
    }

    /// A keyring of somebody else says whose it is: often it is spec.user that is wrong.
    #[test]
    fn names_whose_keyring_it_is() {
        let keyring = format!("[client.admin]\n\tkey = {OTHER}\n");
        let problem = Problem::new(
            Reason::InvalidConfiguration,
            "the keyring in entry \"key\" of Secret ns/ceph has client.admin, and no key for client.poolwright; correct \
             spec.user, or put the output of `ceph auth get-key client.poolwright` or of `ceph auth get \
             client.poolwright` there",
        );
        assert_eq!(read(Some(keyring.as_bytes())), Err(problem));
    }

    /// No Secret and no entry are both SecretNotFound, told apart by the sentence.
    #[test]
    fn says_what_is_missing() {
        let problem = Problem::new(
            Reason::SecretNotFound,
            "Secret ns/ceph has no entry \"absent\" (entries: a, key); add it, or correct spec.keySecretRef.key",
        );
        assert_eq!(read(None), Err(problem));
        let reference = SecretKeyRef {
            namespace: "ns".into(),
            name: "ceph".into(),
            key: "key".into(),
        };
        let problem = Problem::new(
            Reason::SecretNotFound,
            "there is no Secret ns/ceph; create it with the key of client.poolwright in its entry \"key\", \
             or correct spec.keySecretRef",
        );
        assert_eq!(key_of(None, &reference, "poolwright"), Err(problem));
    }
}
