//! The names that the completion of a shell offers.

use crate::cli::NamesAsked;
use crate::commands::target::DaemonTarget;
use crate::config::{self, sites};
use crate::exit::Exit;
use crate::logging;
use crate::service::control::{Answer, Request};

/// Prints names, one on a line. Where there are none, nothing is said: a shell asks.
pub async fn print(asked: NamesAsked) -> Exit {
    let names = match asked {
        NamesAsked::Sites => sites::configured().iter().map(|file| sites::name_of(file)).collect(),
        NamesAsked::Nodes(site) => {
            let Ok(file) = sites::file_of(site.as_deref()) else { return Exit::NoAnswer };
            match DaemonTarget::of(&file).try_ask(&Request::Glance).await {
                Ok(Answer::Status(status)) => status.nodes.into_iter().map(|node| node.name).collect(),
                _ => config::load(&file).map(|read| names_in(&read)).unwrap_or_default(),
            }
        }
    };
    let names: Vec<String> = names;
    if !names.is_empty() {
        logging::print(&names.join("\n"));
    }
    Exit::Done
}

fn names_in(configuration: &config::Configuration) -> Vec<String> {
    configuration.site.nodes.iter().map(|node| node.name().to_owned()).collect()
}
