use super::*;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn container(action: &str) -> String {
    format!(
        r#"{{"status":"{action}","id":"{A}","from":"i","Type":"container","Action":"{action}","Actor":{{"ID":"{A}","Attributes":{{"name":"db","x":1}}}},"scope":"local","time":1,"timeNano":1}}"#
    )
}

fn network(action: &str, attributes: &str) -> String {
    format!(r#"{{"Type":"network","Action":"{action}","Actor":{{"ID":"{A}","Attributes":{attributes}}}}}"#)
}

fn read(lines: &mut Lines, text: &str) -> Result<Vec<ContainerEvent>, Error> {
    lines.read(text.as_bytes())
}

fn changed(line: &str) -> Result<Vec<String>, Error> {
    let events = read(&mut Lines::new(10_000), &format!("{line}\n"))?;
    let changed = events.into_iter().map(|event| event.changed(ListScope::Running));
    changed.filter_map(Result::transpose).collect()
}

#[test]
fn what_counts() {
    for action in [
        "start",
        "die",
        "died",
        "stop",
        "restart",
        "rename",
        "pause",
        "update",
        "destroy",
        "something new",
    ] {
        assert_eq!(changed(&container(action)), Ok(vec![A.to_owned()]), "{action}");
    }
    for action in [
        "exec_create: sh -c \\\"x\\\"",
        "exec_die",
        "health_status: healthy",
        "kill",
        "create",
        "top",
    ] {
        assert_eq!(changed(&container(action)), Ok(vec![]), "{action}");
    }
    let created = read(&mut Lines::new(10_000), &(container("create") + "\n"))
        .unwrap()
        .pop();
    assert_eq!(created.unwrap().changed(ListScope::All), Ok(Some(A.to_owned())));
    for action in ["connect", "disconnect"] {
        let attributes = format!(r#"{{"container":"{B}","name":"bridge","type":"bridge"}}"#);
        assert_eq!(changed(&network(action, &attributes)), Ok(vec![B.to_owned()]));
        assert_eq!(changed(&network(action, "{}")), Ok(vec![A.to_owned()]));
        assert_eq!(changed(&network(action, "null")), Ok(vec![A.to_owned()]));
    }
    for other in [
        network("create", "{}"),
        r#"{"Type":"image","Action":"pull"}"#.to_owned(),
        r#"{"Type":"daemon","Action":"reload","Actor":null}"#.to_owned(),
    ] {
        assert_eq!(changed(&other), Ok(vec![]), "{other}");
    }
}

#[test]
fn what_is_no_event() {
    for line in [
        "garbage",
        "{}",
        "[]",
        "null",
        "7",
        r#"{"Type":null,"Action":"start"}"#,
        r#"{"Type":"container"}"#,
        r#"{"Type":"container","Action":"start"}"#,
        r#"{"Type":"container","Action":"start","Actor":{"ID":null}}"#,
        r#"{"Type":"container","Action":"start","Actor":{"ID":"aaaa"}}"#,
        r#"{"Type":"container","Action":"start","Actor":{"ID":"../../../etc/passwd"}}"#,
        r#"{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"x"}}}"#,
        &container("start")[1..],
        &(container("start") + "}"),
        &(container("start") + "x"),
    ] {
        assert!(matches!(changed(line), Err(Error::BadResponse(_))), "{line}");
    }
}

#[test]
fn lines() {
    let (start, stop) = (container("start"), container("stop"));
    let stream = format!("{start}\n\r\n \n{stop}\r\n{start}{stop} {start}\n{start}");
    let push = |lines: &mut Lines, part: &str| read(lines, part).unwrap();
    // at once, and byte by byte
    let mut lines = Lines::new(1000);
    assert_eq!(push(&mut lines, &stream).len(), 5);
    assert_eq!(push(&mut lines, "").len(), 0);
    assert_eq!(push(&mut lines, "\n").len(), 1);
    let mut lines = Lines::new(1000);
    let found: usize = stream.chars().map(|c| push(&mut lines, &c.to_string()).len()).sum();
    assert_eq!(found, 5);
}

#[test]
fn lines_are_bounded() {
    let is_refused = |lines: &mut Lines, text: &str| matches!(read(lines, text), Err(Error::BadResponse(_)));
    let mut lines = Lines::new(100);
    assert!(read(&mut lines, &" ".repeat(100)).unwrap().is_empty());
    assert!(is_refused(&mut lines, " "));
    assert!(is_refused(&mut Lines::new(100), &" ".repeat(10_000_000)));
    assert!(read(&mut Lines::new(100), &" \n".repeat(1000)).unwrap().is_empty());
}
