//! `poolwright plan`: what would be sent, and why, without Kubernetes. Sends nothing that changes anything.

pub(super) mod manifests;
mod planned;
pub(super) mod render;

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use self::manifests::Manifests;
use self::planned::Planned;
use super::source::{Source, SourceError};
use super::{CHANGES, FAILED, OK, Streams, complain, print};
use crate::api::yaml;

/// Whose marks these are when nobody says.
const INSTANCE: &str = "cli";

/// Show the rounds of ceph commands that manifests would take, with the reason for each
///
/// Nothing is changed. All manifests are checked first, as the API server would, and every problem is printed. The exit
/// code is 0 when every pool is in sync, 2 when there is something to do, and 1 when something is wrong or refused.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A manifest, a folder of manifests (*.yaml, *.yml, *.json), or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE", required = true)]
    filename: Vec<PathBuf>,

    #[command(flatten)]
    source: Source,

    /// The CRUSH map beside it: the output of ceph osd crush dump --format json
    #[arg(
        long,
        value_name = "DUMP",
        requires = "osd_map",
        conflicts_with = "conf"
    )]
    crush_map: Option<PathBuf>,

    /// Only the CephPools of this ClusterConnection; needed when the manifests name several
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,

    /// Whose marks on pools count as our own: the controller's --instance-id, or the uid of its namespace kube-system
    #[arg(long, value_name = "ID", default_value = INSTANCE, value_parser = super::run::instance_id)]
    instance_id: String,

    /// How the plan is printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The commands as a person would type them.
    #[default]
    Text,
    /// The commands as they go to the monitors.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The cluster's state cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There is nothing to plan.
    #[error("there is no CephPool{} in what -f names", of(.0.as_deref()))]
    NoPools(Option<String>),
    /// One cluster is given, and the manifests are for several.
    #[error(
        "the CephPools refer to several connections ({}), and a plan is made for one cluster; choose one with --connection",
        .0.join(", ")
    )]
    Connections(Vec<String>),
    /// The plan has no YAML or JSON.
    #[error("the plan cannot be written as YAML")]
    Yaml(#[from] yaml::Error),
    /// The plan has no JSON.
    #[error("the plan cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// Nothing can be printed.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

/// Plans, prints, and says by the exit code what was found.
pub fn execute(arguments: &Arguments, streams: &mut Streams<'_>) -> Result<u8, PlanError> {
    let mut given = Manifests::read(&arguments.filename, streams.input);
    for note in &given.notes {
        complain(streams.err, note);
    }
    if !given.problems.is_empty() {
        for problem in &given.problems {
            complain(streams.err, &render::on_one_line(problem));
        }
        return Ok(FAILED);
    }
    given.choose(arguments.connection.as_deref());
    let connections = given.connections();
    if connections.is_empty() {
        return Err(PlanError::NoPools(arguments.connection.clone()));
    }
    if connections.len() > 1 {
        return Err(PlanError::Connections(connections));
    }
    let view = arguments.source.view(arguments.crush_map.as_deref())?;
    let plans = planned::all(&given.pools, &arguments.instance_id, &view);
    let text = match arguments.output {
        Format::Text => render::text(&plans, &view, &arguments.instance_id),
        Format::Json => serde_json::to_string_pretty(&render::report(&plans))? + "\n",
        Format::Yaml => yaml::write(&render::report(&plans))?,
    };
    print(streams.out, &text)?;
    Ok(exit_code(&plans))
}

fn exit_code(plans: &[Planned]) -> u8 {
    if plans.iter().any(|planned| !planned.refusals.is_empty()) {
        FAILED
    } else if plans.iter().all(Planned::in_sync) {
        OK
    } else {
        CHANGES
    }
}

fn of(connection: Option<&str>) -> String {
    connection.map_or_else(String::new, |name| format!(" of connection {name}"))
}
