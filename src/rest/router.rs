//! Where the calls are.

use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::input::LARGEST_BODY;
use super::openapi::{Beginning, complete};
use super::shim::Shim;
use super::{about, admit, cancel, change, clusters, create, pools, remove, requests};

/// The calls whose caller has to be known. A call that changes something is added here, with `routes!`.
fn known() -> OpenApiRouter<Shim> {
    OpenApiRouter::new()
        .routes(routes!(clusters::list))
        .routes(routes!(clusters::get))
        .routes(routes!(clusters::crush_rules))
        .routes(routes!(pools::list, create::create))
        .routes(routes!(pools::get, change::patch, remove::delete))
        .routes(routes!(requests::list))
        .routes(routes!(requests::list_of_cluster))
        .routes(routes!(requests::get))
        .routes(routes!(cancel::cancel))
}

/// The calls that anybody may make.
fn open() -> OpenApiRouter<Shim> {
    OpenApiRouter::new()
        .routes(routes!(about::info))
        .routes(routes!(about::openapi))
}

/// The document, without a server.
pub fn document() -> Document {
    let all = OpenApiRouter::with_openapi(Beginning::openapi())
        .merge(known())
        .merge(open());
    complete(all.into_openapi())
}

/// Everything that is served.
pub fn router(shim: &Shim) -> Router {
    around(shim, Router::from(known()))
}

/// Calls whose caller has to be known, with what is around every call.
pub(super) fn around(shim: &Shim, known: Router<Shim>) -> Router {
    let text = serde_json::to_vec(&document()).unwrap_or_default();
    let known = known.route_layer(from_fn_with_state(shim.clone(), admit::admit));
    Router::from(open())
        .merge(known)
        .layer(Extension(about::Document(text.into())))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn_with_state(shim.clone(), admit::attend))
        .with_state(shim.clone())
}
