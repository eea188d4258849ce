//! The tests, in one binary: `pure` needs nothing but Rust, `real` needs the clusters that
//! `tests/env/with-env.sh` starts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::too_many_lines,
    clippy::similar_names,
    clippy::format_push_string,
    clippy::needless_raw_string_hashes,
    missing_docs,
    unreachable_pub,
    reason = "a test that fails says where, and what it prints is read by a person"
)]

/// Planning, validation, texts and flows against a simulated cluster.
mod pure {
    mod adoption;
    mod architecture;
    mod calamari;
    mod cli;
    mod convergence;
    mod docs;
    mod flows;
    mod manifests;
    mod ownership;
    mod plans;
    mod removal;
    mod schema;
    mod support;
    mod yaml;
}

/// Real monitors and a real API server.
mod real {
    mod adoption;
    mod asked;
    mod calamari;
    mod cancel;
    mod chart;
    mod claims;
    mod connections;
    mod contents;
    mod crash;
    mod create;
    mod differential;
    mod drift;
    mod erasure;
    mod export;
    mod failpoints;
    mod kubectl;
    mod leader;
    mod left;
    mod lifecycle;
    mod maps;
    mod matrix;
    mod monitor;
    mod noop;
    mod ownership;
    mod permissions;
    mod placement;
    mod planes;
    mod rados;
    mod refusals;
    mod removal;
    mod renames;
    mod rest;
    mod safety;
    mod steps;
    mod stretch;
    mod support;
    mod timings;
    mod tokens;
    mod told;
}
