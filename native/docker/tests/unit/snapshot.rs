use super::*;
use crate::container::Binding;

fn binding(host_port: u16) -> Binding {
    Binding {
        host_ip: None,
        host_port,
        container_port: 12345,
        tcp: true,
    }
}

fn id(start: &str) -> String {
    start.to_owned() + &"0".repeat(64 - start.len())
}

fn container(start: &str, name: &str) -> Container {
    Container {
        id: id(start),
        name: name.to_owned(),
        running: true,
        bindings: vec![binding(1)],
        ..Container::default()
    }
}

fn find(snapshot: &Snapshot, text: &str) -> Option<String> {
    snapshot.find(text).map(|container| container.id.clone())
}

fn listed(containers: Vec<Container>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.replace(Mark::default(), containers);
    snapshot
}

#[test]
fn by_id_by_name_and_by_prefix() {
    let snapshot = listed(vec![
        container("aaaaaaaaaaaa1", "db"),
        container("aaaaaaaaaaaa2", "web"),
        container("bbbbbbbbbbbb", "aaaaaaaaaaaa1"),
    ]);
    let a1 = id("aaaaaaaaaaaa1");
    assert_eq!(find(&snapshot, &a1), Some(a1.clone()));
    assert_eq!(find(&snapshot, "db"), Some(a1.clone()));
    assert_eq!(find(&snapshot, &a1[..20]), Some(a1));
    // a name comes before a prefix
    assert_eq!(find(&snapshot, "aaaaaaaaaaaa1"), Some(id("bbbbbbbbbbbb")));
    assert_eq!(find(&snapshot, "bbbbbbbbbbbb"), Some(id("bbbbbbbbbbbb")));
    for unclear in ["aaaaaaaaaaaa", "bbbbbbbbbbb", "cccccccccccc", "d", "DB"] {
        assert_eq!(find(&snapshot, unclear), None, "{unclear}");
    }
}

#[test]
fn an_event_invalidates_until_an_answer_that_was_asked_for_later() {
    let mut snapshot = listed(vec![container("aaaaaaaaaaaa", "db")]);
    let a = id("aaaaaaaaaaaa");
    let before = snapshot.mark();
    snapshot.invalidate(&a);
    assert_eq!((find(&snapshot, &a), find(&snapshot, "db")), (None, None));
    assert_eq!((snapshot.len(), snapshot.all()), (1, None));
    let answer = || Some(container("aaaaaaaaaaaa", "store"));
    snapshot.refresh(&a, before, answer());
    assert_eq!(find(&snapshot, "store"), None);
    assert!(snapshot
        .replace(before, vec![container("aaaaaaaaaaaa", "db")])
        .unexplained
        .is_empty());
    assert_eq!(find(&snapshot, "db"), None);
    snapshot.refresh(&a, snapshot.mark(), answer());
    assert_eq!((find(&snapshot, "store"), find(&snapshot, "db")), (Some(a), None));
    assert_eq!(snapshot.names.len(), 1);
}

#[test]
fn while_the_engine_is_asked_what_was_before_matches() {
    let all = Filter::Name("*".to_owned());
    let names =
        |snapshot: &Snapshot| -> Vec<String> { snapshot.matching(&all).iter().map(|it| it.name.clone()).collect() };
    let a = id("aaaaaaaaaaaa");
    let mut snapshot = listed(vec![container("aaaaaaaaaaaa", "db")]);
    let mark = snapshot.mark();
    let before = snapshot.listed();
    // one that changes, one that is new, and an answer from before
    snapshot.invalidate(&a);
    snapshot.invalidate(&a);
    snapshot.invalidate(&id("bbbbbbbbbbbb"));
    snapshot.refresh(&a, mark, None);
    assert_eq!(names(&snapshot), ["db"]);
    // the same, reached in another way
    let moved = Container {
        bindings: vec![binding(2)],
        ..container("aaaaaaaaaaaa", "db")
    };
    snapshot.refresh(&a, snapshot.mark(), Some(moved));
    assert_eq!((names(&snapshot), snapshot.listed()), (vec!["db".to_owned()], before));
    snapshot.refresh(
        &id("bbbbbbbbbbbb"),
        snapshot.mark(),
        Some(container("bbbbbbbbbbbb", "web")),
    );
    assert_eq!((names(&snapshot).len(), snapshot.listed()), (2, before + 1));
    // a list from before that knows the new one does not bring back its former name
    snapshot.invalidate(&a);
    snapshot.refresh(&a, snapshot.mark(), Some(container("aaaaaaaaaaaa", "store")));
    snapshot.replace(mark, vec![container("aaaaaaaaaaaa", "db")]);
    assert_eq!(names(&snapshot), ["store", "web"]);
    // gone, and back again
    snapshot.invalidate(&a);
    snapshot.refresh(&a, snapshot.mark(), None);
    assert_eq!(names(&snapshot), ["web"]);
    snapshot.invalidate(&a);
    assert_eq!(names(&snapshot), ["web"]);
    snapshot.clear();
    assert!(names(&snapshot).is_empty());
}

#[test]
fn labels_are_no_surprise() {
    let labelled = Container {
        labels: [("eid.node", "db@h")].into_iter().collect(),
        ..container("aaaaaaaaaaaa", "db")
    };
    let mut snapshot = listed(vec![labelled]);
    let again = snapshot.replace(snapshot.mark(), vec![container("aaaaaaaaaaaa", "db")]);
    assert_eq!(again, ToAsk::default());
    assert_eq!(
        snapshot.matching(&Filter::Name("db".to_owned()))[0].node(),
        Some("db@h")
    );
}

#[test]
fn containers_come_and_go() {
    let mut snapshot = Snapshot::default();
    let a = id("aaaaaaaaaaaa");
    // one that starts
    snapshot.invalidate(&a);
    snapshot.refresh(&a, snapshot.mark(), Some(container("aaaaaaaaaaaa", "db")));
    assert_eq!(find(&snapshot, "db"), Some(a.clone()));
    // and ends
    snapshot.invalidate(&a);
    let ended = Container {
        running: false,
        ..container("aaaaaaaaaaaa", "db")
    };
    snapshot.refresh(&a, snapshot.mark(), Some(ended));
    assert_eq!((snapshot.len(), snapshot.names.len()), (0, 0));
    // is gone when it is asked about
    snapshot.invalidate(&a);
    snapshot.refresh(&a, snapshot.mark(), None);
    assert_eq!(snapshot.len(), 0);
    // another one answers
    snapshot.invalidate(&a);
    snapshot.refresh(&a, snapshot.mark(), Some(container("bbbbbbbbbbbb", &a)));
    assert_eq!((snapshot.len(), snapshot.all()), (0, Some(vec![])));
    // what is gone leaves nothing, once there is a list
    assert!(snapshot.replace(snapshot.mark(), vec![]).unexplained.is_empty());
    assert!(snapshot.containers.is_empty() && snapshot.names.is_empty());
}

#[test]
fn a_name_that_goes_from_one_container_to_another() {
    let (blue, green) = (container("aaaaaaaaaaaa", "blue"), container("bbbbbbbbbbbb", "green"));
    let named = |container: &Container, name: &str| {
        let name = name.to_owned();
        Some(Container {
            name,
            ..container.clone()
        })
    };
    let after = [named(&blue, "green"), named(&green, "blue")];
    // The engine is asked about both, and answers in any order.
    for order in [[0, 1], [1, 0]] {
        let mut snapshot = listed(vec![blue.clone(), green.clone()]);
        snapshot.invalidate(&blue.id);
        snapshot.invalidate(&green.id);
        for (answered, which) in order.into_iter().enumerate() {
            assert_eq!(
                (find(&snapshot, "blue"), find(&snapshot, "green")),
                (None, None),
                "{answered}"
            );
            let answer = after[which].clone();
            let id = answer.as_ref().map(|container| container.id.clone()).unwrap();
            snapshot.refresh(&id, snapshot.mark(), answer);
        }
        assert_eq!(find(&snapshot, "blue"), Some(green.id.clone()));
        assert_eq!(find(&snapshot, "green"), Some(blue.id.clone()));
        // One is replaced, and the new one is known before the old one is known to be gone.
        let new = container("cccccccccccc", "blue");
        snapshot.invalidate(&green.id);
        snapshot.invalidate(&new.id);
        snapshot.refresh(&new.id, snapshot.mark(), Some(new.clone()));
        assert_eq!(
            (find(&snapshot, "blue"), find(&snapshot, &new.id)),
            (None, Some(new.id.clone()))
        );
        snapshot.refresh(&green.id, snapshot.mark(), None);
        assert_eq!(find(&snapshot, "blue"), Some(new.id));
        assert_eq!(snapshot.names.len(), 2);
    }
}

#[test]
fn a_list_does_not_overrule_what_came_after_it_was_asked_for() {
    let a = container("aaaaaaaaaaaa", "db");
    let mut snapshot = listed(vec![a.clone()]);
    let mark = snapshot.mark();
    snapshot.invalidate(&id("cccccccccccc"));
    snapshot.invalidate(&a.id);
    snapshot.refresh(&a.id, snapshot.mark(), None);
    assert!(snapshot.replace(mark, vec![a.clone()]).unexplained.is_empty());
    assert_eq!((snapshot.len(), find(&snapshot, "db")), (1, None));
}

#[test]
fn a_list_that_surprises() {
    let (a, b) = (container("aaaaaaaaaaaa", "db"), container("bbbbbbbbbbbb", "web"));
    let mut snapshot = listed(vec![a.clone(), b.clone()]);
    let replace = |snapshot: &mut Snapshot, list| !snapshot.replace(snapshot.mark(), list).unexplained.is_empty();
    assert!(!replace(&mut snapshot, vec![b.clone(), a.clone()]));
    // missing, new, changed
    assert!(replace(&mut snapshot, vec![a.clone()]));
    assert_eq!((find(&snapshot, "web"), snapshot.len()), (None, 1));
    assert!(replace(&mut snapshot, vec![a.clone(), b]));
    assert!(replace(
        &mut snapshot,
        vec![a.clone(), container("bbbbbbbbbbbb", "shop")]
    ));
    // what an event has told is none
    snapshot.invalidate(&id("bbbbbbbbbbbb"));
    assert!(!replace(&mut snapshot, vec![a.clone()]));
}

fn replaced(unexplained: &[&Container], unclear: &[&Container]) -> ToAsk {
    let ids = |containers: &[&Container]| containers.iter().map(|it| it.id.clone()).collect();
    ToAsk {
        ids: ids(unclear),
        unexplained: ids(unexplained),
    }
}

#[test]
fn a_list_that_does_not_tell_the_network_mode() {
    let a = Container {
        bindings: vec![],
        ..container("aaaaaaaaaaaa", "db")
    };
    let on_host = Container {
        host_network: true,
        ..a.clone()
    };
    let mut snapshot = Snapshot::default();
    let replace = |snapshot: &mut Snapshot, list| snapshot.replace(snapshot.mark(), list);
    assert_eq!(replace(&mut snapshot, vec![a.clone()]), replaced(&[&a], &[&a]));
    snapshot.invalidate(&a.id);
    snapshot.refresh(&a.id, snapshot.mark(), Some(on_host));
    assert_eq!(replace(&mut snapshot, vec![a.clone()]), replaced(&[], &[]));
    assert!(snapshot.get(&a.id).unwrap().host_network);
    // but one that has lost what it had
    snapshot.invalidate(&a.id);
    snapshot.refresh(&a.id, snapshot.mark(), Some(container("aaaaaaaaaaaa", "db")));
    assert_eq!(replace(&mut snapshot, vec![a.clone()]), replaced(&[&a], &[&a]));
}

#[test]
fn what_an_engine_should_not_say() {
    let other_port = Container {
        bindings: vec![binding(2)],
        ..container("aaaaaaaaaaaa", "db")
    };
    let mut snapshot = listed(vec![
        container("aaaaaaaaaaaa", "db"),
        other_port,
        container("bbbbbbbbbbbb", "web"),
        container("cccccccccccc", "web"),
        container("dddddddddddd", "web"),
        container("eeeeeeeeeeee", ""),
        Container {
            id: "../x".to_owned(),
            ..container("f", "odd")
        },
        Container {
            running: false,
            ..container("aabbaabbaabb", "still")
        },
    ]);
    for unclear in [&id("aaaaaaaaaaaa"), "db", "web", "odd", "still"] {
        assert_eq!(find(&snapshot, unclear), None, "{unclear}");
    }
    assert_eq!(find(&snapshot, "cccccccccccc"), Some(id("cccccccccccc")));
    assert_eq!(snapshot.len(), 5);
    snapshot.replace(snapshot.mark(), vec![]);
    assert!(snapshot.containers.is_empty() && snapshot.names.is_empty());
}

#[test]
fn what_is_told_twice_is_no_surprise_the_next_time() {
    let twice = || vec![container("aaaaaaaaaaaa", "db"), container("aaaaaaaaaaaa", "store")];
    let mut snapshot = listed(twice());
    assert_eq!((snapshot.len(), find(&snapshot, "aaaaaaaaaaaa")), (1, None));
    assert_eq!(snapshot.replace(snapshot.mark(), twice()), ToAsk::default());
    assert!(snapshot.names.is_empty());
}

#[test]
fn names_that_no_container_can_have_are_not_found() {
    let snapshot = listed(vec![
        container("aaaaaaaaaaaa", "my.service.name"),
        container("bbbbbbbbbbbb", "a b"),
    ]);
    assert_eq!(find(&snapshot, "my.service.name"), Some(id("aaaaaaaaaaaa")));
    assert_eq!(find(&snapshot, "a b"), None);
    assert_eq!(find(&snapshot, "bbbbbbbbbbbb"), Some(id("bbbbbbbbbbbb")));
}

#[test]
fn the_bounds() {
    let many = |n: usize| {
        (0..n)
            .map(|i| container(&format!("{i:012x}"), &format!("c{i}")))
            .collect()
    };
    let mut snapshot = listed(many(MAX_CONTAINERS + 10));
    assert_eq!(snapshot.len(), MAX_CONTAINERS);
    // Those beyond are no news the next time, in whatever order they come.
    let mut list: Vec<Container> = many(MAX_CONTAINERS + 10);
    list.reverse();
    assert_eq!(snapshot.replace(snapshot.mark(), list), ToAsk::default());
    assert_eq!(snapshot.len(), MAX_CONTAINERS);
    snapshot.invalidate(&id("ffffffffffff"));
    assert_eq!(snapshot.len(), MAX_CONTAINERS);
    let large = Container {
        name: "x".repeat(MAX_CONTAINER_SIZE),
        ..container("aaaaaaaaaaaa", "")
    };
    let snapshot = listed(vec![large]);
    assert_eq!((snapshot.len(), find(&snapshot, "aaaaaaaaaaaa")), (1, None));
    let all = Filter::Name("*".to_owned());
    assert!(snapshot.matching(&all).is_empty());
    // Which container it is fits more often than how it is reached.
    let published = Container {
        bindings: (1..1000).map(binding).collect(),
        ..container("aaaaaaaaaaaa", "db")
    };
    let snapshot = listed(vec![published]);
    assert_eq!((snapshot.len(), find(&snapshot, "aaaaaaaaaaaa")), (1, None));
    assert!(snapshot.matching(&all)[0].size() < 500);
}
