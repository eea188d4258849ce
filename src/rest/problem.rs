//! What is wrong with a call, as RFC 9457 has it: `application/problem+json`.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

/// The media type of a [`Problem`].
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Kinds of problems: each has one status and one title.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The call cannot be understood, or asks for something that cannot be.
    Invalid,
    /// It is not known who calls.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// The body came too slowly.
    RequestTimeout,
    /// It contradicts what is there.
    Conflict,
    /// The field is somebody else's.
    FieldOwned,
    /// What was read before has changed since.
    PreconditionFailed,
    /// The body is too large.
    TooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// The key of the caller stands for another change.
    KeyReused,
    /// The caller has too many calls under way.
    TooManyRequests,
    /// A fault of this program.
    Internal,
    /// It cannot be done at this moment.
    Unavailable,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::FieldOwned,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::KeyReused,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
    ];

    /// Its HTTP status.
    pub const fn status(self) -> u16 {
        self.row().0
    }

    /// It in a few words.
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Invalid => (400, "invalid", "The call is not valid"),
            Self::Unauthenticated => (401, "unauthenticated", "Who are you?"),
            Self::Forbidden => (403, "forbidden", "Not allowed"),
            Self::NotFound => (404, "not-found", "Not found"),
            Self::MethodNotAllowed => (405, "method-not-allowed", "No such method here"),
            Self::RequestTimeout => (408, "request-timeout", "The body came too slowly"),
            Self::Conflict => (409, "conflict", "It contradicts what is there"),
            Self::FieldOwned => (409, "field-owned", "The field is somebody else's"),
            Self::PreconditionFailed => (412, "precondition-failed", "It has changed since"),
            Self::TooLarge => (413, "too-large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (415, "unsupported-media-type", "The body has to be JSON")
            }
            Self::KeyReused => (422, "key-reused", "The key stands for something else"),
            Self::TooManyRequests => (429, "too-many-requests", "Too many calls at once"),
            Self::Internal => (500, "internal", "A fault of the server"),
            Self::Unavailable => (503, "unavailable", "Not possible at this moment"),
        }
    }

    /// The kind that an error without a body of its own is.
    pub fn of_status(status: u16) -> Self {
        let exact = Self::ALL.into_iter().find(|kind| kind.status() == status);
        exact.unwrap_or(if status < 500 {
            Self::Invalid
        } else {
            Self::Internal
        })
    }
}

/// What is wrong with one field of a body or one parameter of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// The field, such as `pg_num`.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
}

/// How many faults are told at once.
const MOST_FAULTS: usize = 20;
/// How many characters of a name are told that a caller made up.
const LONGEST_NAME: usize = 64;
/// How many characters are told about one fault.
const LONGEST_DETAIL: usize = 1024;

impl FieldProblem {
    /// Cuts what a caller made as long as he liked: the name, also where it is told again, and the whole.
    fn cut(&mut self) {
        let name = cut(&self.field, LONGEST_NAME);
        if let Some(name) = name {
            self.detail = self.detail.replace(&self.field, &name);
            self.field = name;
        }
        if let Some(detail) = cut(&self.detail, LONGEST_DETAIL) {
            self.detail = detail;
        }
    }
}

/// The beginning of a text that is longer than that.
fn cut(text: &str, longest: usize) -> Option<String> {
    let (end, _) = text.char_indices().nth(longest)?;
    text.get(..end).map(|beginning| format!("{beginning}…"))
}

/// What is wrong with a call (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which kind of problem it is.
    pub kind: Kind,
    /// The HTTP status: that of the kind, but for errors that have no kind of their own.
    pub status: u16,
    /// What is wrong, and what helps: for people.
    pub detail: String,
    /// The field that is wrong, when it is one.
    pub field: Option<String>,
    /// All fields that are wrong, when there are several.
    pub errors: Vec<FieldProblem>,
    /// Who manages the field, when it is somebody else's.
    pub manager: Option<String>,
    /// After how many seconds to try again: the header `Retry-After`.
    pub retry_after: Option<u32>,
    /// How to say who calls: the header `WWW-Authenticate`.
    pub challenge: Option<Challenge>,
    /// Whether what was asked for may have been done all the same: the API server did not say.
    pub may_be_done: bool,
}

/// Why it is not known who calls, in the words of RFC 6750.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// No token came.
    NoToken,
    /// What came is no bearer token.
    NotBearer,
    /// The token is not accepted.
    InvalidToken,
}

impl Challenge {
    /// The value of the header `WWW-Authenticate`.
    pub const fn header(self) -> &'static str {
        match self {
            Self::NoToken => "Bearer realm=\"poolwright\"",
            Self::NotBearer => "Bearer realm=\"poolwright\", error=\"invalid_request\"",
            Self::InvalidToken => "Bearer realm=\"poolwright\", error=\"invalid_token\"",
        }
    }
}

/// What is wrong with a call (RFC 9457)
#[derive(Serialize, ToSchema)]
struct Body<'a> {
    /// Which kind of problem it is: for programs.
    #[serde(rename = "type")]
    #[schema(example = "urn:poolwright:problem:invalid")]
    kind: String,
    /// The kind in a few words.
    title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, and what helps: for people.
    detail: &'a str,
    /// The field that is wrong; of several the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<&'a str>,
    /// All fields that are wrong, when there are several.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldProblem],
    /// Who manages the field, when it is somebody else's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    manager: Option<&'a str>,
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (_, slug, title) = self.kind.row();
        let body = Body {
            kind: format!("urn:poolwright:problem:{slug}"),
            title,
            status: self.status,
            detail: &self.detail,
            field: self.field.as_deref(),
            errors: &self.errors,
            manager: self.manager.as_deref(),
        };
        body.serialize(serializer)
    }
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Body::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Problem")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Body::schemas(schemas);
    }
}

impl Problem {
    /// A problem of a kind, in words for the caller.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            status: kind.status(),
            detail: detail.into(),
            field: None,
            errors: Vec::new(),
            manager: None,
            retry_after: None,
            challenge: None,
            may_be_done: false,
        }
    }

    /// A call that is not valid.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    /// A field or parameter that is not valid.
    pub fn invalid_field(field: &str, detail: impl Into<String>) -> Self {
        Self::invalid(detail).at(field)
    }

    /// Several fields that are not valid; the first also stands alone, for those who look at one. Of many only the first
    /// are told, and of long names and words the beginning: an answer must not be many times as long as its call.
    pub fn invalid_fields(mut errors: Vec<FieldProblem>) -> Self {
        let untold = errors.len().saturating_sub(MOST_FAULTS);
        errors.truncate(MOST_FAULTS);
        errors.iter_mut().for_each(FieldProblem::cut);
        let mut told: Vec<String> = errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.detail))
            .collect();
        if untold > 0 {
            told.push(format!("and {untold} more"));
        }
        let mut problem = Self::invalid(told.join("; "));
        problem.field = errors.first().map(|error| error.field.clone());
        if errors.len() > 1 {
            problem.errors = errors;
        }
        problem
    }

    /// Something that is not there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, detail)
    }

    /// Something that contradicts what is there.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, detail)
    }

    /// Something that may be possible in so many seconds.
    pub fn unavailable(detail: impl Into<String>, retry_after: u32) -> Self {
        let mut problem = Self::new(Kind::Unavailable, detail);
        problem.retry_after = Some(retry_after);
        problem
    }

    /// The same, about a field.
    #[must_use]
    pub fn at(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// The same, about something that somebody else manages.
    #[must_use]
    pub fn managed_by(mut self, manager: &str) -> Self {
        self.manager = Some(manager.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each kind has a type of its own, and an error status that leads back to it or to one that shares it.
    #[test]
    fn kinds() {
        let types: BTreeSet<String> = Kind::ALL
            .iter()
            .map(|kind| kind.row().1.to_owned())
            .collect();
        assert_eq!(types.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert!((400..600).contains(&kind.status()), "{kind:?}");
            assert_eq!(Kind::of_status(kind.status()).status(), kind.status());
        }
        assert_eq!(Kind::of_status(417), Kind::Invalid);
        assert_eq!(Kind::of_status(501), Kind::Internal);
    }

    /// What is not known is not there, and headers are not in the body.
    #[test]
    fn renders() {
        let problem = Problem::unavailable("the cluster is away", 5);
        let json = serde_json::to_value(&problem).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:poolwright:problem:unavailable", "title": "Not possible at this moment",
                "status": 503, "detail": "the cluster is away",
            })
        );
    }

    /// One wrong field stands alone; of several all are listed.
    #[test]
    fn fields() {
        let wrong = |field: &str| FieldProblem {
            field: field.to_owned(),
            detail: "is no number".to_owned(),
        };
        let one = Problem::invalid_fields(vec![wrong("size")]);
        assert_eq!(one.field.as_deref(), Some("size"));
        assert!(one.errors.is_empty());
        let two = Problem::invalid_fields(vec![wrong("size"), wrong("pg_num")]);
        assert_eq!(two.errors.len(), 2);
        assert_eq!(two.detail, "size: is no number; pg_num: is no number");
    }

    /// However many fields somebody makes up, and however long their names are, the answer is short.
    #[test]
    fn many_fields() {
        let wrong = |number: usize| {
            let field = format!("{number:03}{}", "ä".repeat(10_000));
            FieldProblem {
                detail: format!("there is no attribute {field}"),
                field,
            }
        };
        let problem = Problem::invalid_fields((0..100).map(wrong).collect());
        assert_eq!(problem.errors.len(), 20);
        let name = format!("000{}…", "ä".repeat(61));
        assert_eq!(problem.field.as_deref(), Some(name.as_str()));
        assert!(problem.detail.ends_with("; and 80 more"));
        let first = problem.errors.first().expect("a fault");
        assert_eq!(first.detail, format!("there is no attribute {name}"));
        let said = FieldProblem {
            field: "name".to_owned(),
            detail: "x".repeat(5000),
        };
        let problem = Problem::invalid_fields(vec![said]);
        assert_eq!(problem.detail.chars().count(), "name: ".len() + 1024 + 1);
    }
}
