//! Poolwright keeps Ceph pools in the state that Kubernetes objects declare.
//!
//! ```text
//!  CephPool ─► validate ─► Wish ─┐
//!                                ├─► PoolRequestFactory::next_round(wish, view) ─► Round ─► guard ─► execute ─► replies
//!  ClusterMonitor ─► View(E) ────┘          pure: no I/O, no clock                                   librados      │
//!       ▲                                                                                                          ▼
//!       └──────────────────────── await a view with epoch ≥ E' ◄──────────────────── E' = epoch read after the round
//!                                         │
//!                                         ├─ plan not empty ─► next round (same run)
//!                                         └─ plan empty ─► run ends; requests whose fields hold complete ─► status
//! ```
//!
//! | module | what it is | may use |
//! |---|---|---|
//! | [`api`] | what users write: the three kinds, their validation and conditions | nothing of ours |
//! | [`ceph`] | what Ceph is, as data, and the one door to it | itself |
//! | [`request`] | from wish to work: planning is pure, the executor talks to Ceph | `api`, `ceph`, `monitor` |
//! | [`monitor`] | keeps a fresh view of each cluster | `ceph` |
//! | [`controller`] | the Kubernetes side | all of the above |
//! | [`rest`] | the REST API: writes objects, reads views and requests | `api`, `ceph`, `monitor`, `controller` |
//! | [`cli`] | the commands of the binary | everything |
//!
//! `lease`, `health`, `metrics` and `telemetry` stand beside the layers. A test reads
//! the `use` lines and fails when a layer reaches where it may not.

pub mod api;
pub mod ceph;
pub mod cli;
pub mod controller;
pub mod failpoint;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod monitor;
pub mod request;
pub mod rest;
pub mod telemetry;
