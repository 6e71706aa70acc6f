use super::*;

const HEAD: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

fn ipv4(ip: [u8; 4]) -> String {
    format!("{:08X}", u32::from_ne_bytes(ip))
}

fn line(destination: [u8; 4], gateway: [u8; 4], flags: &str, metric: u32, mask: [u8; 4]) -> String {
    let [destination, gateway, mask] = [destination, gateway, mask].map(ipv4);
    format!("eth0\t{destination}\t{gateway}\t{flags}\t0\t0\t{metric}\t{mask}\t0\t0\t0   \n")
}

fn found(ipv4: &str, ipv6: &str) -> Option<String> {
    gateway(ipv4, || ipv6.to_owned()).map(|ip| ip.to_string())
}

#[test]
fn the_default_route() {
    let ours = line([172, 17, 0, 0], [0; 4], "0001", 0, [255, 255, 0, 0]);
    let default = line([0; 4], [172, 17, 0, 1], "0003", 0, [0; 4]);
    let other = line([0; 4], [10, 0, 0, 1], "0003", 100, [0; 4]);
    for table in [
        format!("{HEAD}{default}{ours}"),
        format!("{HEAD}{ours}{default}"),
        format!("{HEAD}{other}{default}"),
        format!("{default}{other}{default}"),
        default.clone(),
    ] {
        assert_eq!(found(&table, "").as_deref(), Some("172.17.0.1"), "{table}");
    }
    assert_eq!(found(&format!("{HEAD}{other}{ours}"), "").as_deref(), Some("10.0.0.1"));
}

#[test]
fn tables_without_one() {
    for table in [
        String::new(),
        HEAD.to_owned(),
        "garbage\n\n0 0 0 0 0 0 0 0\n".to_owned(),
        // a network, half of the Internet, a device without a gateway, a route that is down or refuses
        line([172, 17, 0, 0], [172, 17, 0, 1], "0003", 0, [255, 255, 0, 0]),
        line([0; 4], [172, 17, 0, 1], "0003", 0, [128, 0, 0, 0]),
        line([0; 4], [0; 4], "0001", 0, [0; 4]),
        line([0; 4], [0; 4], "0003", 0, [0; 4]),
        line([0; 4], [172, 17, 0, 1], "0002", 0, [0; 4]),
        line([0; 4], [172, 17, 0, 1], "0203", 0, [0; 4]),
        // no numbers
        line([0; 4], [172, 17, 0, 1], "000G", 0, [0; 4]),
        "eth0 00000000 0100000000 0003 0 0 0 00000000 0 0 0".to_owned(),
        "eth0 00000000 010011AC 0003 0 0 x 00000000 0 0 0".to_owned(),
    ] {
        assert_eq!(found(&table, ""), None, "{table}");
    }
}

#[test]
fn where_there_is_no_ipv4() {
    let zero = "0".repeat(32);
    let line = |gateway: &str, metric: &str, flags: &str| {
        format!("{zero} 00 {zero} 00 {gateway} {metric} 00000001 00000000 {flags}     eth0\n")
    };
    let (one, two) = ("fd000e1d000000000000000000000001", "fd000e1d000000000000000000000002");
    let table =
        line(&zero, "ffffffff", "00200200") + &line(two, "00000400", "00000003") + &line(one, "00000100", "00000003");
    assert_eq!(found(HEAD, &table).as_deref(), Some("fd00:e1d::1"));
    for none in [
        line("fe800000000000000000000000000001", "00000400", "00000003"),
        line(&zero, "00000400", "00000003"),
        line(one, "00000400", "00000001"),
        line(one, "00000400", "00000203"),
        line(one, "00000400", "00000003").replacen("00 ", "40 ", 1),
        line(one, "00000400", "00000003").replace("eth0", ""),
    ] {
        assert_eq!(found(HEAD, &none), None, "{none}");
    }
    let ipv4 = super::tests::line([0; 4], [172, 17, 0, 1], "0003", 0, [0; 4]);
    assert_eq!(found(&ipv4, &table).as_deref(), Some("172.17.0.1"));
}
