//! `poolwright version`: which build this is, and which librados it finds.

use std::io;

use clap::Args;

use super::{COMMIT, OK, Streams, print};
use crate::ceph::client::ClientError;
use crate::ceph::rados;

/// Print the version, the commit, and the librados that is found
#[derive(Clone, Copy, Debug, Args)]
pub struct Arguments {}

/// Prints it. A missing librados is said and is no failure: `plan --osd-map` and `crds` need none.
pub fn execute(_: Arguments, streams: &mut Streams<'_>) -> io::Result<u8> {
    let librados = match rados::library() {
        Ok(library) => {
            let (major, minor, extra) = library.version();
            format!(
                "{} (interface {major}.{minor}.{extra})",
                library.path().display()
            )
        }
        Err(ClientError::LibraryMissing(reason)) => format!("not found: {reason}"),
        Err(error) => error.to_string(),
    };
    let text = format!(
        "poolwright {}\ncommit     {COMMIT}\nlibrados   {librados}\n",
        env!("CARGO_PKG_VERSION")
    );
    print(streams.out, &text)?;
    Ok(OK)
}
