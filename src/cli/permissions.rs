//! `poolwright permissions`: the Ceph user that manifests need.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use clap::Args;
use kube::ResourceExt;

use super::plan::manifests::Manifests;
use super::plan::render::on_one_line;
use super::{FAILED, OK, Streams, complain, print};
use crate::api::v1alpha1::Management;
use crate::ceph::command::permissions::{Permission, mon_capabilities, osd_capabilities};
use crate::ceph::command::shell_word;
use crate::request::needs;

/// The user where no ClusterConnection says another.
const USER: &str = "poolwright";

/// Print the smallest ceph auth get-or-create line for the user that manifests need
///
/// Without manifests, it is the line for everything that Poolwright can do. With them, it is for what these CephPools
/// take from their creation on, and for what the grants of these ClusterConnections allow: no removal without
/// deletionPolicy: Delete or such a grant, no quotas, erasure-code profiles or CRUSH rules where none is asked for. With
/// manifests of several connections there is a line for each. Where the user exists already, run it with ceph auth caps
/// instead of ceph auth get-or-create, which replaces all capabilities that it has.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A manifest, a folder of manifests (*.yaml, *.yml, *.json), or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE")]
    filename: Vec<PathBuf>,

    /// The Ceph user; without it that of the ClusterConnection, or poolwright
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub enum PermissionsError {
    /// There is nothing that needs anything.
    #[error("there is neither a CephPool nor a ClusterConnection in what -f names")]
    Nothing,
    /// Nothing can be printed.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

/// What a connection needs.
#[derive(Default)]
struct Needs {
    user: Option<String>,
    observes: bool,
    permissions: BTreeSet<Permission>,
}

/// Prints a line for each connection.
pub fn execute(arguments: &Arguments, streams: &mut Streams<'_>) -> Result<u8, PermissionsError> {
    let asked = arguments.user.as_deref();
    if arguments.filename.is_empty() {
        let all = Permission::ALL.into();
        print(streams.out, &(line(asked.unwrap_or(USER), &all) + "\n"))?;
        return Ok(OK);
    }
    let given = Manifests::read(&arguments.filename, streams.input);
    for note in &given.notes {
        complain(streams.err, note);
    }
    if !given.problems.is_empty() {
        for problem in &given.problems {
            complain(streams.err, &on_one_line(problem));
        }
        return Ok(FAILED);
    }
    let connections = by_connection(&given);
    if connections.is_empty() {
        return Err(PermissionsError::Nothing);
    }
    let several = connections.len() > 1;
    let mut text = String::new();
    for (name, needs) in &connections {
        if several {
            // A line of its own that a shell leaves out.
            let _ = writeln!(text, "# ClusterConnection {name}");
        }
        let user = asked.or(needs.user.as_deref()).unwrap_or(USER);
        let _ = writeln!(text, "{}", line(user, &needs.permissions));
    }
    print(streams.out, &text)?;
    Ok(OK)
}

/// What the manifests of each connection need together.
fn by_connection(given: &Manifests) -> BTreeMap<String, Needs> {
    let mut found: BTreeMap<String, Needs> = BTreeMap::new();
    for connection in &given.connections {
        let needs = found.entry(connection.name_any()).or_default();
        needs.user = Some(connection.spec.user.clone());
        needs.observes = connection.spec.management == Management::Observe;
        needs
            .permissions
            .extend(needs::of_connection(&connection.spec));
    }
    for pool in &given.pools {
        let spec = &pool.object.spec;
        let needs = found.entry(spec.connection_ref.name.clone()).or_default();
        // Such a connection changes nothing, whatever its pools want.
        if !needs.observes {
            needs.permissions.extend(needs::of_pool(spec));
        }
    }
    found
}

/// The line as it is typed.
fn line(user: &str, permissions: &BTreeSet<Permission>) -> String {
    let entity = format!("client.{}", user.strip_prefix("client.").unwrap_or(user));
    let mut line = format!(
        "ceph auth get-or-create {} mon {}",
        shell_word(&entity),
        shell_word(&mon_capabilities(permissions))
    );
    if let Some(osd) = osd_capabilities(permissions) {
        let _ = write!(line, " osd {}", shell_word(osd));
    }
    line
}
