//! The document: what is the same for every call.

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa::{OpenApi, ToSchema};

use super::problem::{FieldProblem, Kind, MEDIA_TYPE, Problem};

/// What the document begins with.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Poolwright",
        description = "Calamari's API for Ceph pools, on Kubernetes objects. A change is answered with 202 and a request \
                       ID; the request is complete when the OSD map shows the change."
    ),
    components(schemas(Problem, FieldProblem)),
    security(("token" = [])),
    tags(
        (name = "cluster", description = "The Ceph clusters"),
        (name = "pool", description = "Their pools"),
        (name = "request", description = "What was asked for, and how far it is"),
        (name = "about", description = "What anybody may know"),
    )
)]
pub struct Beginning;

/// What every call can be answered with whose caller has to be known.
const KNOWN: [Kind; 4] = [
    Kind::Invalid,
    Kind::Unauthenticated,
    Kind::TooManyRequests,
    Kind::Unavailable,
];
/// What every call can be answered with that is about something.
const ABOUT: [Kind; 2] = [Kind::Forbidden, Kind::NotFound];
/// What every call with a body can be answered with.
const WITH_BODY: [Kind; 3] = [
    Kind::RequestTimeout,
    Kind::TooLarge,
    Kind::UnsupportedMediaType,
];

/// Adds to a document what is the same for all calls: problems, and how to say who calls.
pub fn complete(mut document: Document) -> Document {
    for (path, item) in &mut document.paths.paths {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
            &mut item.put,
        ];
        for operation in operations.into_iter().flatten() {
            let open = operation.security.is_some();
            let mut kinds = vec![Kind::Internal];
            if !open {
                kinds.extend(KNOWN);
            }
            if path.contains('{') {
                kinds.extend(ABOUT);
            }
            if operation.request_body.is_some() {
                kinds.extend(WITH_BODY);
            }
            for kind in kinds {
                may_end(operation, kind);
            }
        }
    }
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A token of the Kubernetes API server, as `kubectl create token` gives",
        ))
        .build();
    if let Some(components) = &mut document.components {
        components.add_security_scheme("token", SecurityScheme::Http(token));
    }
    document
}

/// Adds a problem to what a call can be answered with, unless it says so itself.
fn may_end(operation: &mut Operation, kind: Kind) {
    let content = ContentBuilder::new()
        .schema(Some(RefOr::Ref(Ref::from_schema_name(Problem::name()))))
        .build();
    let response = ResponseBuilder::new()
        .description(kind.title())
        .content(MEDIA_TYPE, content)
        .build();
    let responses = &mut operation.responses.responses;
    responses
        .entry(kind.status().to_string())
        .or_insert(RefOr::T(response));
}
