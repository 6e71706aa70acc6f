use super::*;

fn inspected(json: &str) -> Container {
    serde_json::from_str::<Inspected>(json).unwrap().into()
}

fn ports(json: &str) -> Vec<Binding> {
    inspected(&format!(r#"{{"Id":"a","NetworkSettings":{{"Ports":{json}}}}}"#)).bindings
}

fn binding(host_ip: Option<&str>, host_port: u16, container_port: u16, tcp: bool) -> Binding {
    Binding {
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port,
        container_port,
        tcp,
    }
}

fn attachment(network: &str, ipv4: &str, ipv6: Option<&str>) -> Attachment {
    Attachment {
        network: network.to_owned(),
        ipv4: ipv4.parse().ok(),
        ipv6: ipv6.map(|ip| ip.parse().unwrap()),
    }
}

#[test]
fn an_inspected_container() {
    let container = inspected(
        r#"{"Id":"0123","Name":"/db","State":{"Running":true,"Restarting":false,"Pid":7},"NetworkSettings":{
            "Ports":{"12345/tcp":[{"HostIp":"192.0.2.1","HostPort":"49153"}]},"IPAddress":"","Networks":{
            "shop":{"NetworkID":"77","IPAddress":"172.18.0.2","GlobalIPv6Address":"fd00::2","Gateway":"172.18.0.1"},
            "bridge":{"NetworkID":"12","IPAddress":"172.17.0.2","GlobalIPv6Address":""}}},
            "HostConfig":{"NetworkMode":"default"},"Mounts":[],"Config":{"Labels":{"eid.node":"db@h","n":7,"a":"1"}}}"#,
    );
    assert_eq!(
        container,
        Container {
            id: "0123".to_owned(),
            name: "db".to_owned(),
            running: true,
            host_network: false,
            bindings: vec![binding(Some("192.0.2.1"), 49153, 12345, true)],
            attachments: vec![
                attachment("12", "172.17.0.2", None),
                attachment("77", "172.18.0.2", Some("fd00::2"))
            ],
            labels: [("a", "1"), ("eid.node", "db@h")].into_iter().collect(),
        }
    );
}

#[test]
fn networks() {
    let of = |json: &str| {
        let container = inspected(&format!(
            r#"{{"Id":"a","HostConfig":{{"NetworkMode":"host"}},"NetworkSettings":{{"Networks":{json}}}}}"#
        ));
        assert!(container.host_network);
        container.attachments
    };
    assert_eq!(of("null"), []);
    // an engine that gives no ID, and what a stopped container, the host's network and no engine at all have
    assert_eq!(
        of(
            r#"{"podman":{"IPAddress":"10.88.0.2"},"none":{"NetworkID":"5","IPAddress":""},"x":null,
               "y":{"IPAddress":7,"GlobalIPv6Address":"fd00::/64"}}"#
        ),
        [attachment("podman", "10.88.0.2", None)]
    );
}

#[test]
fn what_may_be_left_out() {
    for json in [
        r#"{"Id":"a"}"#,
        r#"{"Id":"a","Name":null,"State":null,"NetworkSettings":null}"#,
        r#"{"Id":"a","State":{"Running":null},"NetworkSettings":{"Ports":null}}"#,
        r#"{"Id":"a","State":{},"NetworkSettings":{"Ports":{"1/tcp":null,"2/tcp":[]}}}"#,
        r#"{"Id":"a","Config":null}"#,
        r#"{"Id":"a","Config":{"Labels":null}}"#,
        r#"{"Id":"a","Config":{"Labels":["eid.node"]}}"#,
    ] {
        let container = inspected(json);
        assert!(!container.running && container.bindings.is_empty(), "{json}");
        assert!(container.labels.size() == 0, "{json}");
    }
}

#[test]
fn what_may_not() {
    for json in [
        "null",
        "[]",
        "{}",
        r#"{"Id":null}"#,
        r#"{"Id":1}"#,
        r#"{"Id":"a","NetworkSettings":[1]}"#,
        r#"{"Id":"a","NetworkSettings":"x"}"#,
        r#"{"Id":"a","NetworkSettings":{"Ports":[1]}}"#,
        r#"{"Id":"a","NetworkSettings":{"Ports":{"1/tcp":"x"}}}"#,
    ] {
        assert!(serde_json::from_str::<Inspected>(json).is_err(), "{json}");
    }
}

#[test]
fn running() {
    let running = |state: &str| inspected(&format!(r#"{{"Id":"a","State":{state}}}"#)).running;
    assert!(running(r#"{"Running":true}"#));
    assert!(!running(r#"{"Running":false}"#));
    assert!(!running(r#"{"Running":true,"Restarting":true}"#));
}

#[test]
fn odd_bindings_are_skipped() {
    let good = vec![binding(Some("0.0.0.0"), 5, 1, true)];
    for odd in [
        r#"{"HostIp":"0.0.0.0","HostPort":""}"#,
        r#"{"HostIp":"0.0.0.0","HostPort":"0"}"#,
        r#"{"HostIp":"0.0.0.0","HostPort":"65536"}"#,
        r#"{"HostIp":"0.0.0.0","HostPort":"x"}"#,
        r#"{"HostIp":"0.0.0.0","HostPort":null}"#,
        r#"{"HostIp":"0.0.0.0"}"#,
        r#"{"HostIp":"localhost","HostPort":"6"}"#,
        r#"{"HostIp":7,"HostPort":"6"}"#,
    ] {
        let json = format!(r#"{{"1/tcp":[{odd},{{"HostIp":"0.0.0.0","HostPort":"5"}}],"x/tcp":[{odd}]}}"#);
        assert_eq!(ports(&json), good, "{odd}");
    }
}

#[test]
fn addresses_and_protocols() {
    let some = |json| ports(json).pop();
    assert_eq!(
        some(r#"{"1/tcp":[{"HostIp":"::","HostPort":"5"}]}"#),
        Some(binding(Some("::"), 5, 1, true))
    );
    assert_eq!(
        some(r#"{"1/tcp":[{"HostIp":"","HostPort":"5"}]}"#),
        Some(binding(None, 5, 1, true))
    );
    assert_eq!(
        some(r#"{"1/udp":[{"HostPort":"5"}]}"#),
        Some(binding(None, 5, 1, false))
    );
    assert_eq!(some(r#"{"1":[{"HostPort":"5"}]}"#), Some(binding(None, 5, 1, true)));
}

#[test]
fn a_list() {
    let id = "0123456789abcdef".repeat(4);
    let json = format!(
        r#"[{{"Id":"{id}","Names":["/web/db","/db"],"State":"running","Labels":{{"eid.node":"db@h"}},"HostConfig":{{"NetworkMode":"bridge"}},"Ports":[
               {{"IP":"0.0.0.0","PrivatePort":12345,"PublicPort":49153,"Type":"tcp"}},
               {{"IP":"","PrivatePort":53,"PublicPort":53,"Type":"udp"}},
               {{"PrivatePort":80,"Type":"tcp"}},
               {{"PrivatePort":81,"PublicPort":0,"Type":"tcp"}},
               {{"PrivatePort":82,"PublicPort":"49154","Type":"tcp"}},
               {{"PrivatePort":83,"PublicPort":65536,"Type":"tcp"}}],
             "NetworkSettings":{{"Networks":{{"bridge":{{"NetworkID":"12","IPAddress":"172.17.0.2"}}}}}}}},
            {{"Id":"x","Names":null,"Ports":null,"State":"restarting","HostConfig":{{"NetworkMode":"host"}}}},
            {{"Id":""}}]"#
    );
    let list: Vec<Listed> = serde_json::from_str(&json).unwrap();
    let list: Vec<Container> = list.into_iter().map(Container::from).collect();
    assert_eq!(
        list[0],
        Container {
            id: id.clone(),
            name: "db".to_owned(),
            running: true,
            host_network: false,
            bindings: vec![
                binding(None, 53, 53, false),
                binding(Some("0.0.0.0"), 49153, 12345, true)
            ],
            attachments: vec![attachment("12", "172.17.0.2", None)],
            labels: [("eid.node", "db@h")].into_iter().collect(),
        }
    );
    assert_eq!((list[0].node(), list[1].node()), (Some("db@h"), None));
    assert_eq!(list[0].short_id(), Some("0123456789ab"));
    assert!(!list[1].running && list[1].host_network && list[1].name.is_empty());
    assert_eq!((list[1].short_id(), list[2].short_id()), (None, None));
}

#[test]
fn whom_a_text_means() {
    let id = "dead0123beef".to_owned() + &"0".repeat(52);
    let container = inspected(&format!(r#"{{"Id":"{id}","Name":"/db"}}"#));
    let means = |text: &str| {
        let name = crate::node_name::NodeName::parse(format!("{text}@h")).unwrap();
        container.is_meant_by(name.container())
    };
    assert!(means("db") && means(&id) && means(&id[..12]) && means(&id[..40]));
    assert!(!means("dead") && !means("d") && !means("dbx") && !means("dead0123bee") && !means("dead0123beee"));
}
