//! Formats nodes as a table for a person.

use std::net::SocketAddr;

use eid_docker::sanitize;
use time::OffsetDateTime;

use super::node::Node;

const HEAD: [&str; 7] = ["NODE", "NAME", "STATE", "IMAGE", "PORT", "CLUSTER", "SINCE"];

/// The maximum number of characters in a cell. A label may have thousands.
const MAX_CELL: usize = 160;

/// Shown for a missing property.
const NONE: &str = "-";

/// Returns the lines of a table, head first. Each column is as wide as its widest cell.
pub fn lines(nodes: &[Node], now: OffsetDateTime) -> Vec<String> {
    let head = HEAD.map(str::to_owned);
    let rows = nodes.iter().map(|node| cells(node, node.age(now)));
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; HEAD.len()] = std::array::from_fn(width);
    let line = |row: &[String; HEAD.len()]| {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Returns a single line about one node, without padding.
pub fn line(node: &Node) -> String {
    cells(node, node.since.clone()).join("  ")
}

fn cells(node: &Node, since: Option<String>) -> [String; HEAD.len()] {
    let port = match (node.route, node.address, node.port) {
        (Some("published"), Some(ip), Some(port)) => SocketAddr::new(ip, port).to_string(),
        (Some(route), ..) => route.to_owned(),
        (None, ..) => node
            .error
            .filter(|&why| why != "not_running")
            .unwrap_or(NONE)
            .to_owned(),
    };
    let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = [
        node.node.clone(),
        node.name.clone(),
        node.state.clone(),
        or_none(&node.image),
        port,
        or_none(&node.cluster),
        or_none(&since),
    ];
    // The user who starts a container chooses these texts.
    cells.map(|cell| match sanitize(&cell) {
        empty if empty.is_empty() => NONE.to_owned(),
        long if long.chars().count() > MAX_CELL => long.chars().take(MAX_CELL - 1).chain(['…']).collect(),
        text => text,
    })
}
