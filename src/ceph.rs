//! What Ceph is, as data, and the one door to it.
//!
//! Everything here but [`rados`] and [`simulated`] is plain data: it does no I/O and
//! reads no clock. [`client::MonClient`] is the door: `rados` opens it on a
//! real cluster, `simulated` on one in memory.

pub mod client;
pub mod command;
pub mod contents;
pub mod crush_map;
pub mod encoding;
pub mod errno;
pub mod osd_map;
pub mod rados;
pub mod settings;
pub mod simulated;
pub mod types;
pub mod view;
