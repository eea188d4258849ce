//! Annotations whose value does nothing: nobody may wait for what they seem to ask for.

use kube::ResourceExt;

use crate::api::rules::is_request_id;
use crate::api::v1alpha1::{
    ANNOTATION_CANCEL, ANNOTATION_CONFIRM, ANNOTATION_DELETION_REQUEST_ID, ANNOTATION_PAUSED,
    ANNOTATION_REQUEST_ID, CephPool, CephPoolStatus,
};
use crate::request::token;

/// A value that does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The annotation with the value, by which it is told once.
    pub what: (&'static str, String),
    /// For a person: what it would have to be.
    pub note: String,
}

/// What does nothing of an object's annotations, as its status is now.
pub fn ignored(object: &CephPool, status: &CephPoolStatus) -> Vec<Ignored> {
    let annotations = object.annotations();
    let paused = annotations
        .get(ANNOTATION_PAUSED)
        .and_then(|value| not_true(ANNOTATION_PAUSED, value));
    let given = annotations
        .get(ANNOTATION_CONFIRM)
        .map(|text| token::parse(text))
        .unwrap_or_default();
    let asked: Vec<&str> = status
        .asked_tokens
        .iter()
        .map(|asked| asked.token.as_str())
        .collect();
    let unknown = given.into_iter().filter(|given| {
        let used = status.used_tokens.iter();
        !asked.contains(&given.as_str()) && used.clone().all(|used| used.token != *given)
    });
    let confirmed = unknown.map(|given| Ignored {
        note: match asked.as_slice() {
            [] => {
                format!("{ANNOTATION_CONFIRM}: {given} does nothing, since no token is asked for")
            }
            [asked] => {
                format!("{ANNOTATION_CONFIRM}: {given} is not the token asked for ({asked})")
            }
            asked => format!(
                "{ANNOTATION_CONFIRM}: {given} is none of the tokens asked for ({})",
                asked.join(", ")
            ),
        },
        what: (ANNOTATION_CONFIRM, given),
    });
    let ids = [ANNOTATION_REQUEST_ID, ANNOTATION_DELETION_REQUEST_ID];
    let no_ids = ids.into_iter().filter_map(|annotation| {
        let value = annotations.get(annotation)?;
        (!is_request_id(value)).then(|| Ignored {
            what: (annotation, value.clone()),
            note: format!(
                "{annotation} has to be a UUID of version 4 in lower case; {value:?} does nothing"
            ),
        })
    });
    let all = paused.into_iter().chain(confirmed);
    all.chain(no_ids).collect()
}

/// What does nothing of the annotation that cancels a request.
pub fn ignored_cancel(value: &str) -> Option<Ignored> {
    not_true(ANNOTATION_CANCEL, value)
}

/// Only `true` counts; `false` says what is the case.
fn not_true(annotation: &'static str, value: &str) -> Option<Ignored> {
    (!matches!(value, "true" | "false")).then(|| Ignored {
        what: (annotation, value.to_owned()),
        note: format!("{annotation} has to be \"true\"; {value:?} does nothing"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1alpha1::{AskedTokenStatus, UsedTokenStatus};

    fn told(annotation: &str, value: &str, asked: &[&str]) -> Vec<String> {
        let mut object = CephPool::default();
        object
            .annotations_mut()
            .insert(annotation.into(), value.into());
        let status = CephPoolStatus {
            asked_tokens: asked
                .iter()
                .map(|&token| AskedTokenStatus {
                    token: token.into(),
                    step: "size".into(),
                    target: "1".into(),
                    generation: 1,
                })
                .collect(),
            used_tokens: vec![UsedTokenStatus {
                token: "0a0a0a0a".into(),
                request_id: "r".into(),
            }],
            ..CephPoolStatus::default()
        };
        let found = ignored(&object, &status).into_iter();
        found.map(|ignored| ignored.note).collect()
    }

    /// Each value that does nothing has its sentence; each that does, or did, has none.
    #[test]
    fn what_does_nothing_is_told() {
        let paused = |value| told(ANNOTATION_PAUSED, value, &[]);
        assert_eq!(
            paused("yes"),
            ["poolwright.dev/paused has to be \"true\"; \"yes\" does nothing"]
        );
        assert_eq!(paused("true"), Vec::<String>::new());
        assert_eq!(paused("false"), Vec::<String>::new());
        let confirm = |value, asked: &[&str]| told(ANNOTATION_CONFIRM, value, asked);
        assert_eq!(
            confirm("deadbeef", &["8486db5d"]),
            ["poolwright.dev/confirm: deadbeef is not the token asked for (8486db5d)"]
        );
        assert_eq!(
            confirm("8486db5d,deadbeef", &["8486db5d", "11112222"]),
            [
                "poolwright.dev/confirm: deadbeef is none of the tokens asked for (8486db5d, 11112222)"
            ]
        );
        assert_eq!(
            confirm("deadbeef", &[]),
            ["poolwright.dev/confirm: deadbeef does nothing, since no token is asked for"]
        );
        assert_eq!(
            confirm("8486db5d,0a0a0a0a", &["8486db5d"]),
            Vec::<String>::new()
        );
        assert_eq!(
            told(ANNOTATION_REQUEST_ID, "7", &[]),
            [
                "poolwright.dev/request-id has to be a UUID of version 4 in lower case; \"7\" does nothing"
            ]
        );
        let id = "24b1fc3e-19e8-4fab-a6a3-9eebfd030ffd";
        assert_eq!(told(ANNOTATION_REQUEST_ID, id, &[]), Vec::<String>::new());
        assert!(ignored_cancel("yes").is_some() && ignored_cancel("true").is_none());
    }
}
