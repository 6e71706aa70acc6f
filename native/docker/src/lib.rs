//! Finds out where a container's port is published, by asking the Docker Engine on the container's host.
//!
//! A [`NodeName`] says which container on which host. An [`Engine`] is that host's API, and a [`Directory`] what is known of
//! its containers, kept in memory by the engine's events. [`Engines`] has a directory for each engine; [`route()`] decides how
//! a container is dialled:
//!
//! ```no_run
//! # async fn example() -> Result<(), eid_docker::Error> {
//! use eid_docker::{Bridge, Engines, Limits, Location, NodeName, Wanted};
//!
//! let engines = Engines::default();
//! let name = NodeName::parse("db@192.0.2.1")?;
//! let ip = "192.0.2.1".parse().unwrap();
//! let location = Location { template: "tcp://{host}:4243", host: name.host(), ip, certificates: None, token_file: None };
//! let directory = engines.get(&location, Limits::default())?;
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
//! Nothing in here knows Erlang terms; everything async runs on a tokio runtime with I/O and time enabled.

#![forbid(unsafe_code)]

mod api_version;
mod backoff;
mod certificates;
mod client_first;
mod connector;
mod container;
mod credentials;
mod description;
mod directory;
mod endpoint;
mod engine;
mod engines;
mod error;
mod events;
mod filter;
mod follower;
mod gateway;
mod here;
mod http;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod invariants;
mod labels;
mod listing;
#[cfg(test)]
mod mutations;
mod node_name;
mod own_name;
mod rancher;
mod route;
mod single_flight;
mod snapshot;
mod stats;
mod tls;
mod token;
mod watcher;

pub use backoff::Backoff;
pub use certificates::server_config;
pub use container::{Attachment, Binding, Container};
pub use credentials::Credentials;
pub use description::{Description, Which};
pub use directory::{Directory, Info, State, Wanted};
pub use endpoint::Endpoint;
pub use engine::{Engine, Greeting};
pub use engines::{Engines, Location};
pub use error::{sanitize, Error};
pub use events::{is_noise, ContainerEvent, EventStream, Events};
pub use filter::Filter;
pub use follower::{Asking, Follower, Lost, NextStep, Retry, Sink, ToAsk, LIST_INTERVAL, SECOND_LIST};
pub use gateway::default_gateway;
pub use here::own_container;
pub use http::{Limits, Unconnected};
pub use labels::{Labels, OWN_LABELS};
pub use listing::Listing;
pub use node_name::{is_full_id, is_host, ContainerRef, NodeName};
pub use own_name::{Advertised, NameError, Naming, OwnName, Question};
pub use rancher::{Rancher, Service};
pub use route::{published, route, Bridge, Route, RouteKind};
pub use snapshot::{MAX_CONTAINERS, MAX_CONTAINER_SIZE};
pub use stats::Latency;
pub use token::Token;
