//! What is forwarded: a place to listen at, and a target.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::target::Target;

/// A place to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// `None` is every address of this machine, of both families.
    pub ip: Option<IpAddr>,
    /// Not 0, except where the system is to choose, which `--listen` allows.
    pub port: u16,
}

/// What comes in at the place goes to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub place: Place,
    pub target: Target,
}

impl Place {
    /// Parses `PORT` and `ADDRESS:PORT`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let port = |port: &str| port.parse().map_err(|_| format!("{port} is no port"));
        if text.contains(':') {
            let address: SocketAddr = text.parse().map_err(|_| {
                "it is neither a PORT nor an ADDRESS:PORT with an IP address, one of IPv6 in brackets".to_owned()
            })?;
            let ip = Some(address.ip());
            return Ok(Self {
                ip,
                port: address.port(),
            });
        }
        let port = port(text)?;
        Ok(Self { ip: None, port })
    }

    /// Whether nobody can listen at both: they have a port and an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let covers = |one: &Self, other: &Self| match (one.ip.map(|ip| ip.to_canonical()), other.ip) {
            (None, _) => true,
            // Those of IPv4 come in there too.
            (Some(IpAddr::V6(any)), _) if any.is_unspecified() => true,
            (Some(IpAddr::V4(any)), Some(ip)) if any.is_unspecified() => ip.to_canonical().is_ipv4(),
            (Some(one), Some(other)) => one == other.to_canonical(),
            (Some(_), None) => false,
        };
        self.port == other.port && self.port > 0 && (covers(self, other) || covers(other, self))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, "port {}", self.port),
        }
    }
}

/// The rules in an environment: `NAME_PORT_<n>_TCP=target`, as Docker's links set it, sorted by port. An empty variable counts as
/// unset.
///
/// # Errors
///
/// A sentence that names the variable.
pub fn from_environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<Rule>, String> {
    let mut named: HashMap<u16, String> = HashMap::new();
    let mut rules = Vec::new();
    for (name, value) in variables {
        let Some(number) = name.to_str().and_then(port_in) else {
            continue;
        };
        if value.is_empty() {
            continue;
        }
        let name = name.to_string_lossy().into_owned();
        let wrong = |why: &str| format!("the variable {name} is wrong: {why}");
        let port = number.parse().ok().filter(|&port: &u16| port > 0);
        let port = port.ok_or_else(|| wrong("the number in its name is no port"))?;
        let value = value.to_str().ok_or_else(|| wrong("it is no text"))?;
        let target = Target::parse(value).map_err(|why| wrong(&why))?;
        if let Some(other) = named.insert(port, name.clone()) {
            let mut both = [other, name];
            both.sort();
            let [one, two] = both;
            return Err(format!(
                "the variables {one} and {two} are for the same port; unset one of them"
            ));
        }
        let place = Place { ip: None, port };
        rules.push(Rule { place, target });
    }
    rules.sort_by_key(|rule| rule.place.port);
    Ok(rules)
}

/// The number in `NAME_PORT_<number>_TCP`.
fn port_in(name: &str) -> Option<&str> {
    let (alias, number) = name.strip_suffix("_TCP")?.rsplit_once("_PORT_")?;
    (!alias.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(number)
}
