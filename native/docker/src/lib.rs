//! Finds the host port on which a container's distribution port is published, by asking the Docker Engine on the container's
//! host.
//!
//! A [`NodeName`] names a container and its host. An [`Engine`] is that host's API. A [`Directory`] keeps the engine's
//! containers in memory and up to date, and a [`Registry`] has a directory for each engine. [`route()`] decides how to dial a
//! container:
//!
//! ```no_run
//! # async fn example() -> Result<(), eid_docker::Error> {
//! use eid_docker::{own_container, Bridge, Limits, Location, NodeName, Registry, Wanted};
//!
//! let registry = Registry::new(own_container);
//! let name = NodeName::parse("db@192.0.2.1")?;
//! let ip = "192.0.2.1".parse().unwrap();
//! let location = Location { template: "tcp://{host}:4243", host: name.host(), ip, certificates: None, token_file: None };
//! let directory = registry.get(&location, Limits::default())?;
//! let wanted = Wanted { host: ip, erlang_port: 12345, bridge: Bridge::Preferred };
//! let route = match directory.known_route(name.container().as_str(), &wanted) {
//!     Some(route) => route,
//!     None => directory.route(name.container(), &wanted).await?,
//! };
//! # drop(route);
//! # Ok(())
//! # }
//! ```
//!
//! This crate knows no Erlang terms. Its async functions run on a tokio runtime with I/O and time enabled. Each module uses
//! only modules further down in this list: `naming`, `directory`, `follower`, `api`, `route`, `container`, `node_name`,
//! `error`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod api;
mod container;
mod directory;
mod error;
mod follower;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
#[path = "../tests/unit/invariants.rs"]
pub mod invariants;
#[cfg(test)]
#[path = "../tests/unit/mutations.rs"]
mod mutations;
mod naming;
mod node_name;
mod route;

pub use api::credentials::{server_config, Credentials, Token};
pub use api::description::Description;
pub use api::endpoint::Endpoint;
pub use api::events::{is_noise, ContainerEvent, EventStream};
pub use api::http::{ConnectError, Limits};
pub use api::{Engine, ListScope, ServerInfo};
pub use container::{Attachment, Binding, Container, Labels, OWN_LABELS};
pub use directory::listing::{Filter, Listing};
pub use directory::registry::{Location, Registry};
pub use directory::snapshot::{MAX_CONTAINERS, MAX_CONTAINER_SIZE};
pub use directory::stats::Latency;
pub use directory::{Directory, Info, State, Wanted};
pub use error::{sanitize, Error, Subject};
pub use follower::{Asking, Backoff, Follower, Lost, NextStep, Retry, Sink, ToAsk, LIST_INTERVAL, SECOND_LIST};
pub use naming::gateway::default_gateway;
pub use naming::own_container::own_container;
pub use naming::rancher::{Rancher, Service};
pub use naming::{Advertised, NameError, Naming, OwnName, Question};
pub use node_name::{is_full_id, is_host, ContainerRef, NodeName};
pub use route::{published, route, Bridge, Route, RouteKind};
