use super::*;

const PORT: u16 = 12345;

fn container(id: &str, addresses: &[(&str, &str)], bindings: &[&str]) -> Container {
    let attachment = |&(network, ip): &(&str, &str)| {
        let (ipv4, ipv6) = ip.split_once(' ').unwrap_or((ip, ""));
        Attachment {
            network: network.to_owned(),
            ipv4: ipv4.parse().ok(),
            ipv6: ipv6.parse().ok(),
        }
    };
    Container {
        id: id.to_owned(),
        running: true,
        bindings: bindings.iter().map(|text| binding(text)).collect(),
        attachments: addresses.iter().map(attachment).collect(),
        ..Container::default()
    }
}

#[test]
fn the_table_of_routes() {
    use Bridge::{LastResort, Never, Preferred};
    use RouteKind::{Host, Loopback, Published};
    const BRIDGE: RouteKind = RouteKind::Bridge;
    let failed = |ip: &str| LastResort(ip.parse().unwrap());
    let own = container("a", &[("n1", "10.0.1.1"), ("n2", "10.0.2.1 fd00:2::1")], &[]);
    let published = &["0.0.0.0:5"][..];
    let on_host = Container {
        host_network: true,
        ..container("b", &[], &[])
    };
    let stopped = Container {
        running: false,
        ..container("b", &[("n1", "10.0.1.2")], published)
    };
    let one = container("b", &[("n1", "10.0.1.2")], published);
    let two = container("b", &[("n1", "10.0.1.2"), ("n2", "10.0.2.2")], published);
    let other = container("b", &[("n3", "10.0.1.2")], published);
    let hidden = container("b", &[("n1", "10.0.1.2")], &[]);
    let hidden2 = container("b", &[("n1", "10.0.1.2"), ("n2", "10.0.2.2 fd00:2::2")], &[]);
    let nowhere = container("b", &[], published);
    let v4 = "192.0.2.1";
    let v6 = "2001:db8::1";
    let yes = Some(&own);
    type Row<'a> = (
        &'a Container,
        Option<&'a Container>,
        &'a str,
        Bridge,
        Result<(RouteKind, &'a str), Error>,
    );
    let table: &[Row] = &[
        // whoever does not run is not there, and who it is decides before how it is connected
        (&stopped, yes, v4, Preferred, Err(Error::NotRunning)),
        (&own, yes, v4, Preferred, Ok((Loopback, "127.0.0.1:12345"))),
        (&own, yes, v6, Preferred, Ok((Loopback, "[::1]:12345"))),
        (&own, yes, v4, Never, Ok((Loopback, "127.0.0.1:12345"))),
        (&own, None, v4, Preferred, Err(Error::NotPublished)),
        // the host's network
        (&on_host, yes, v4, Preferred, Ok((Host, "192.0.2.1:12345"))),
        (&on_host, None, v6, Never, Ok((Host, "[2001:db8::1]:12345"))),
        // a bridge
        (&one, yes, v4, Preferred, Ok((BRIDGE, "10.0.1.2:12345"))),
        (&two, yes, v4, Preferred, Ok((BRIDGE, "10.0.1.2:12345"))),
        (&hidden, yes, v4, Preferred, Ok((BRIDGE, "10.0.1.2:12345"))),
        (&hidden2, yes, v6, failed("10.0.1.2"), Ok((BRIDGE, "[fd00:2::2]:12345"))),
        (&one, yes, v6, Preferred, Ok((BRIDGE, "10.0.1.2:12345"))),
        // no bridge: another engine, another network, none at all
        (&one, None, v4, Preferred, Ok((Published, "192.0.2.1:5"))),
        (&other, yes, v4, Preferred, Ok((Published, "192.0.2.1:5"))),
        (&nowhere, yes, v4, Preferred, Ok((Published, "192.0.2.1:5"))),
        (&hidden, None, v4, Preferred, Err(Error::NotPublished)),
        // none that is wanted
        (&one, yes, v4, Never, Ok((Published, "192.0.2.1:5"))),
        (&hidden, yes, v4, Never, Err(Error::NotPublished)),
        // none that works
        (&one, yes, v4, failed("10.0.1.2"), Ok((Published, "192.0.2.1:5"))),
        (&two, yes, v4, failed("10.0.1.2"), Ok((Published, "192.0.2.1:5"))),
        (&hidden, yes, v4, failed("10.0.1.2"), Ok((BRIDGE, "10.0.1.2:12345"))),
        (&hidden, yes, v4, failed("10.0.1.9"), Ok((BRIDGE, "10.0.1.2:12345"))),
        (&hidden2, yes, v4, failed("10.0.1.2"), Ok((BRIDGE, "10.0.2.2:12345"))),
    ];
    for odd in [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        let odd = container("b", &[("n1", odd)], published);
        let found = route(&odd, yes, PORT, v4.parse().unwrap(), Preferred).unwrap();
        assert_eq!(found.kind, Published);
    }
    for (number, (target, own, host, bridge, expected)) in table.iter().enumerate() {
        let found = route(target, *own, PORT, host.parse().unwrap(), *bridge);
        let found = found.map(|route| (route.kind, route.to.to_string()));
        let expected = expected.clone().map(|(kind, to)| (kind, to.to_owned()));
        assert_eq!(found, expected, "row {number}");
    }
}

/// `"192.0.2.1:5"`, with `*` for no address.
fn binding(text: &str) -> Binding {
    let (ip, port) = text.rsplit_once(':').unwrap();
    Binding {
        host_ip: (ip != "*").then(|| ip.parse().unwrap()),
        host_port: port.parse().unwrap(),
        container_port: PORT,
        tcp: true,
    }
}

fn permutations(items: &[Binding]) -> Vec<Vec<Binding>> {
    if items.is_empty() {
        return vec![vec![]];
    }
    let mut all = vec![];
    for (i, first) in items.iter().enumerate() {
        let rest = [&items[..i], &items[i + 1..]].concat();
        all.extend(
            permutations(&rest)
                .into_iter()
                .map(|tail| [vec![first.clone()], tail].concat()),
        );
    }
    all
}

#[test]
fn the_table() {
    use Error::{NotPublished, PublishedElsewhere, PublishedOnLoopback};
    let table: &[(&[&str], &str, Result<u16, Error>)] = &[
        // one binding
        (&[], "192.0.2.1", Err(NotPublished)),
        (&["192.0.2.1:5"], "192.0.2.1", Ok(5)),
        (&["0.0.0.0:5"], "192.0.2.1", Ok(5)),
        (&["*:5"], "192.0.2.1", Ok(5)),
        (&["*:5"], "2001:db8::1", Ok(5)),
        (&["2001:db8::1:5"], "2001:db8::1", Ok(5)),
        (&[":::5"], "2001:db8::1", Ok(5)),
        (&[":::5"], "192.0.2.1", Err(PublishedElsewhere)),
        (&["0.0.0.0:5"], "2001:db8::1", Err(PublishedElsewhere)),
        (&["192.0.2.2:5"], "192.0.2.1", Err(PublishedElsewhere)),
        // loopback
        (&["127.0.0.1:5"], "192.0.2.1", Err(PublishedOnLoopback)),
        (&["::1:5"], "192.0.2.1", Err(PublishedOnLoopback)),
        (&["127.0.0.1:5", "::1:6"], "192.0.2.1", Err(PublishedOnLoopback)),
        (&["127.0.0.1:5", "192.0.2.2:6"], "192.0.2.1", Err(PublishedElsewhere)),
        (&["127.0.0.1:5", ":::6"], "192.0.2.1", Err(PublishedElsewhere)),
        (&["127.0.0.1:5"], "127.0.0.1", Ok(5)),
        (&["127.0.0.1:5"], "127.0.0.2", Err(PublishedOnLoopback)),
        (&["127.0.0.1:5", "0.0.0.0:6"], "127.0.0.2", Ok(6)),
        (&["::1:5"], "::1", Ok(5)),
        // several
        (&["0.0.0.0:5", ":::6"], "192.0.2.1", Ok(5)),
        (&["0.0.0.0:5", ":::6"], "2001:db8::1", Ok(6)),
        (&["0.0.0.0:5", "192.0.2.1:6"], "192.0.2.1", Ok(6)),
        (&["0.0.0.0:5", "192.0.2.1:6", "*:4", "127.0.0.1:3"], "192.0.2.1", Ok(6)),
        (&["*:4", "0.0.0.0:5", "127.0.0.1:3"], "192.0.2.1", Ok(5)),
        (&["192.0.2.1:6", "192.0.2.1:5"], "192.0.2.1", Ok(5)),
        // IPv4 in IPv6's notation
        (&["192.0.2.1:5", ":::6"], "::ffff:192.0.2.1", Ok(5)),
        (&["0.0.0.0:5", ":::6"], "::ffff:192.0.2.1", Ok(5)),
        (&["127.0.0.1:5"], "::ffff:192.0.2.1", Err(PublishedOnLoopback)),
    ];
    for (bindings, host, expected) in table {
        let host: IpAddr = host.parse().unwrap();
        let expected = expected.clone().map(|port| SocketAddr::new(host, port));
        let bindings: Vec<Binding> = bindings.iter().map(|text| binding(text)).collect();
        for order in permutations(&bindings) {
            assert_eq!(published(&order, PORT, host), expected, "{order:?} for {host}");
        }
    }
}

#[test]
fn other_ports_and_protocols_do_not_count() {
    let host = "192.0.2.1".parse().unwrap();
    let udp = Binding {
        tcp: false,
        ..binding("192.0.2.1:5")
    };
    let other = Binding {
        container_port: 80,
        ..binding("192.0.2.1:6")
    };
    let ours = binding("0.0.0.0:7");
    assert_eq!(
        published(&[udp.clone(), other.clone()], PORT, host),
        Err(Error::NotPublished)
    );
    assert_eq!(published(&[udp, other, ours], PORT, host).map(|to| to.port()), Ok(7));
}
