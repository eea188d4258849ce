//! `poolwright crds`: the CustomResourceDefinitions.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Args;

use super::{OK, Streams, print};
use crate::api::{crd, yaml};

/// Print the CustomResourceDefinitions, for `kubectl apply -f -`
///
/// All of them as one YAML text, or a file for each with --dir.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write a file for each definition into DIR instead, such as cephpools.yaml
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Why the definitions are not there.
#[derive(Debug, thiserror::Error)]
pub enum CrdsError {
    /// A definition has no YAML.
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    /// A file or folder cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nothing can be printed.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

/// Prints or writes the definitions.
pub fn execute(arguments: &Arguments, streams: &mut Streams<'_>) -> Result<u8, CrdsError> {
    let mut said = String::new();
    for definition in crd::crds() {
        let text = crd::to_yaml(&definition)?;
        match &arguments.dir {
            None => {
                said.push_str("---\n");
                said.push_str(&text);
            }
            Some(folder) => {
                let path = folder.join(crd::file_name(&definition));
                fs::create_dir_all(folder)
                    .and_then(|()| fs::write(&path, text))
                    .map_err(|source| CrdsError::Write {
                        path: path.clone(),
                        source,
                    })?;
                said.push_str(&path.display().to_string());
                said.push('\n');
            }
        }
    }
    print(streams.out, &said)?;
    Ok(OK)
}
