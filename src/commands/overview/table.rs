//! The overview as a table, the worst first.

use inosync_actors::path::Escaped;
use inosync_actors::status::{NodeState, NodeStatus, Status, Verdict};

use super::{SiteAnswer, SiteStatus};
use crate::commands::status::exit_of;
use crate::exit::Exit;
use crate::service::status_log::lag;

const HEAD: [&str; COLUMNS] = ["SITE", "SOURCE", "NODE", "STATE", "LAG", "PENDING", "LAST ERROR"];
const COLUMNS: usize = 7;
/// The text of a cell about which there is nothing to say.
const NOTHING: &str = "-";

/// One line of the table.
struct Row {
    exit: Exit,
    /// The lag in seconds.
    lag: f64,
    cells: [String; COLUMNS],
}

/// The table of these sites.
pub(super) fn of(sites: &[SiteStatus]) -> String {
    let mut rows: Vec<Row> = sites.iter().flat_map(rows_of).collect();
    rows.sort_by(|one, other| {
        let grave = super::gravity(&other.exit).cmp(&super::gravity(&one.exit));
        grave.then(other.lag.total_cmp(&one.lag)).then_with(|| one.cells.cmp(&other.cells))
    });
    let lines: Vec<&[String; COLUMNS]> = rows.iter().map(|row| &row.cells).collect();
    let head = HEAD.map(str::to_owned);
    let all = || [&head].into_iter().chain(lines.iter().copied());
    let widths: Vec<usize> =
        (0..COLUMNS).map(|at| all().map(|cells| cells[at].chars().count()).max().unwrap_or_default()).collect();
    let line = |cells: &[String; COLUMNS]| {
        let cells = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    all().map(line).collect()
}

fn rows_of(SiteStatus { site, answer }: &SiteStatus) -> Vec<Row> {
    let unknown = |state: &str, why: &str| {
        let cells = [site.as_str(), NOTHING, NOTHING, state, NOTHING, NOTHING, why].map(str::to_owned);
        vec![Row { exit: answer.exit(), lag: 0.0, cells }]
    };
    match answer {
        SiteAnswer::Running { status } => running(site, status),
        SiteAnswer::NotRunning => unknown("not running", NOTHING),
        SiteAnswer::NotAllowed => unknown("not allowed", "this user may not ask the daemon"),
        SiteAnswer::NoAnswer { why } => unknown("no answer", why),
    }
}

fn running(site: &str, status: &Status) -> Vec<Row> {
    let worst = status.nodes.iter().map(NodeStatus::verdict).max();
    let of_site = (worst < Some(status.verdict())).then(|| {
        let why = status.source.trouble.as_deref().or(status.state_trouble.as_deref());
        let state = if status.verdict() == Verdict::Failing { "failing" } else { "attention" };
        let why = why.map_or_else(|| format!("see inosync -c {site} status"), str::to_owned);
        let cells = [site, &status.wpath, NOTHING, state, NOTHING, NOTHING, &why].map(str::to_owned);
        Row { exit: exit_of(status.verdict()), lag: 0.0, cells }
    });
    of_site.into_iter().chain(status.nodes.iter().map(|node| of_node(site, status, node))).collect()
}

fn of_node(site: &str, status: &Status, node: &NodeStatus) -> Row {
    let why = match &node.state {
        NodeState::Held { why } => Some(why.clone()),
        _ => node.reconcile_held.clone().or_else(|| node.last_error.as_ref().map(|error| error.text.clone())),
    };
    Row {
        exit: exit_of(node.verdict()),
        lag: node.lag.unwrap_or_default(),
        cells: [
            site.to_owned(),
            status.wpath.clone(),
            Escaped(node.name.as_bytes()).to_string(),
            node.state.word().to_owned(),
            node.lag.map_or_else(|| NOTHING.to_owned(), |_| lag(node)),
            node.pending.to_string(),
            why.unwrap_or_else(|| NOTHING.to_owned()),
        ],
    }
}
