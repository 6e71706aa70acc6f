//! Sends an event stream to one subscriber, with or without misbehaviour.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{json, Value};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::answer::invalid_utf8;
use super::event::Event;
use super::http::Wire;
use super::misbehaviour::Misbehaviour;
use super::model::Item;
use super::reply::{chunk, closed, LAST_CHUNK};

/// Events within this time count as events of the same moment.
const SAME_TIME: Duration = Duration::from_millis(20);

const BURST: usize = 10_000;
const HUGE_LINE: usize = 10_000_000;

/// Characters of one, two, three and four bytes.
const CHARACTERS: &str = "Grüße, 世界 🦀";

const GARBAGE: [&str; 9] = [
    "garbage",
    "{",
    "}",
    "[]",
    "null",
    "42",
    "\"text\"",
    "{}",
    "<html></html>",
];

pub struct EventStream {
    wire: Wire,
    items: UnboundedReceiver<Item>,
    misbehaviour: Option<Misbehaviour>,
    /// Number of events since the current misbehaviour began.
    count: usize,
}

/// The state of a stream after a write.
enum Flow {
    On,
    /// The stream ends properly.
    End,
    /// The connection is closed, in the middle of the stream or by the client.
    Cut,
    Reset,
}

impl EventStream {
    pub fn new(wire: Wire, items: UnboundedReceiver<Item>, misbehaviour: Option<Misbehaviour>) -> Self {
        Self {
            wire,
            items,
            misbehaviour,
            count: 0,
        }
    }

    /// Sends the head at once, and then events until the client, the engine or a misbehaviour ends the stream.
    pub async fn run(mut self, head: Vec<u8>) {
        let mut flow = match self.write(&head).await {
            Flow::On => self.begin().await,
            other => other,
        };
        while let Flow::On = flow {
            let item = tokio::select! {
                () = closed(&mut self.wire) => return,
                item = self.items.recv() => item,
            };
            flow = match item {
                Some(Item::Event(event)) => self.event(event).await,
                Some(Item::Become(misbehaviour)) => {
                    self.misbehaviour = misbehaviour;
                    self.begin().await
                }
                None => Flow::End,
            };
        }
        match flow {
            Flow::End => {
                self.write(LAST_CHUNK).await;
            }
            Flow::Reset => self.wire.reset(),
            Flow::On | Flow::Cut => {}
        }
    }

    /// Carries out the part of a misbehaviour that comes before any event.
    async fn begin(&mut self) -> Flow {
        self.count = 0;
        match self.misbehaviour {
            Some(Misbehaviour::EndsAtOnce) => Flow::End,
            Some(Misbehaviour::Close) => Flow::Cut,
            Some(Misbehaviour::Reset) => Flow::Reset,
            Some(Misbehaviour::EndlessLine) => {
                let more = chunk(&[b'x'; 64 * 1024]);
                while let Flow::On = self.write(&more).await {}
                Flow::Cut
            }
            _ => Flow::On,
        }
    }

    async fn event(&mut self, event: Arc<Event>) -> Flow {
        use Misbehaviour as M;
        let number = self.count;
        self.count += 1;
        let line = &event.line;
        match self.misbehaviour {
            Some(M::EndsAfterEvents) => match self.line(line).await {
                Flow::On if number == 2 => Flow::End,
                flow => flow,
            },
            Some(M::CutInLine) => {
                self.chunk(&line.as_bytes()[..line.len() / 2]).await;
                Flow::Cut
            }
            Some(M::Lags) if number % 10 != 9 => Flow::On,
            Some(M::Repeats) => self.chunk(format!("{line}\n").repeat(3).as_bytes()).await,
            Some(M::OutOfOrder) => {
                let events = self.same_time(event).await;
                let lines: Vec<_> = events.iter().rev().map(|event| event.line.clone()).collect();
                self.lines(lines).await
            }
            Some(M::OneLine) => {
                let events = self.same_time(event).await;
                let line: String = events.iter().map(|event| event.line.as_str()).collect();
                self.line(&line).await
            }
            Some(M::GarbageLines) => {
                self.chunk(b"\xff\x00\xfe\n").await;
                let garbage = GARBAGE[number % GARBAGE.len()];
                self.lines([garbage, line].map(str::to_owned)).await
            }
            Some(M::BlankLines) => self.chunk(format!("\n \n{line}\n\n").as_bytes()).await,
            Some(M::HugeLine) if number == 0 => self.huge_line(&event.value).await,
            Some(M::Silent) => Flow::On,
            Some(M::NullFields) => self.line(&null_field(number, &event.value)).await,
            Some(M::OddFields) => self.line(&odd_field(number, &event.value)).await,
            Some(M::WithoutActor) => {
                let mut value = event.value.clone();
                value.as_object_mut().and_then(|fields| fields.remove("Actor"));
                self.line(&value.to_string()).await
            }
            Some(M::Burst) if event.is_of_a_container() && number < BURST => {
                self.count = BURST;
                let two = ["die", "start"].map(|action| {
                    let mut value = event.value.clone();
                    value["Action"] = action.into();
                    value["status"] = action.into();
                    value.to_string()
                });
                self.lines(two.into_iter().cycle().take(BURST)).await
            }
            Some(M::ByteByByte) => {
                for byte in format!("{line}\n").into_bytes() {
                    match self.chunk(&[byte]).await {
                        Flow::On => yield_now().await,
                        flow => return flow,
                    }
                }
                Flow::On
            }
            Some(M::Crlf) => self.chunk(format!("{line}\r\n").as_bytes()).await,
            Some(M::SplitCharacters) => {
                let mut value = event.value.clone();
                value["Actor"]["Attributes"]["greeting"] = CHARACTERS.into();
                self.split_characters(&format!("{value}\n")).await
            }
            Some(M::InvalidUtf8) => {
                let mut value = event.value.clone();
                value["Actor"]["Attributes"]["name"] = "invalid-utf8".into();
                self.chunk(&[&invalid_utf8(&value)[..], b"\n"].concat()).await
            }
            Some(M::UnknownEvents) => {
                let kind = json!({"Type": "moon", "Action": "rise", "Actor": {"ID": "luna"}, "time": 1});
                let action = json!({"Type": "container", "Action": "exec_create: sh -c 'true'",
                                    "Actor": {"ID": "f".repeat(64), "Attributes": {}}, "new": {"field": [1]}});
                self.lines([kind.to_string(), action.to_string(), line.clone()]).await
            }
            _ => self.line(line).await,
        }
    }

    /// Collects this event and the other events of the same moment.
    async fn same_time(&mut self, event: Arc<Event>) -> Vec<Arc<Event>> {
        sleep(SAME_TIME).await;
        let mut events = vec![event];
        while let Ok(item) = self.items.try_recv() {
            match item {
                Item::Event(event) => events.push(event),
                Item::Become(misbehaviour) => {
                    self.misbehaviour = misbehaviour;
                    break;
                }
            }
        }
        events
    }

    /// Sends the line in pieces. In a debug build, making the whole line first would take seconds during which nothing
    /// is sent.
    async fn huge_line(&mut self, value: &Value) -> Flow {
        let mut value = value.clone();
        value["Actor"]["Attributes"]["more"] = "HUGE".into();
        let line = format!("{value}\n");
        let (head, tail) = line.split_once("HUGE").expect("it is in there");
        let more = chunk(&[b'x'; 64 * 1024]);
        let mut flow = self.chunk(head.as_bytes()).await;
        for _ in 0..HUGE_LINE / (64 * 1024) {
            match flow {
                Flow::On => flow = self.write(&more).await,
                other => return other,
            }
        }
        match flow {
            Flow::On => self.chunk(tail.as_bytes()).await,
            other => other,
        }
    }

    async fn split_characters(&mut self, text: &str) -> Flow {
        let mut from = 0;
        for to in 1..=text.len() {
            let is_within = !text.is_char_boundary(to);
            if is_within || to == text.len() {
                match self.chunk(&text.as_bytes()[from..to]).await {
                    Flow::On => yield_now().await,
                    flow => return flow,
                }
                from = to;
            }
        }
        Flow::On
    }

    async fn lines(&mut self, lines: impl IntoIterator<Item = String>) -> Flow {
        for line in lines {
            match self.line(&line).await {
                Flow::On => {}
                flow => return flow,
            }
        }
        Flow::On
    }

    async fn line(&mut self, line: &str) -> Flow {
        self.chunk(format!("{line}\n").as_bytes()).await
    }

    async fn chunk(&mut self, bytes: &[u8]) -> Flow {
        self.write(&chunk(bytes)).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Flow {
        match self.wire.write_all(bytes).await {
            Ok(()) => Flow::On,
            Err(_) => Flow::Cut,
        }
    }
}

fn null_field(number: usize, value: &Value) -> String {
    let places = ["/Type", "/Action", "/Actor", "/Actor/ID", "/Actor/Attributes", ""];
    replaced(value, places[number % places.len()], Value::Null)
}

fn odd_field(number: usize, value: &Value) -> String {
    let places = [
        ("/Type", json!(7)),
        ("/Action", json!(["start"])),
        ("/Actor", json!("0123456789ab")),
        ("/Actor/ID", json!({"ID": 1.5})),
        ("/Actor/ID", json!("../../info")),
        ("/Actor/ID", json!("")),
        ("/Actor/Attributes", json!([])),
        ("/timeNano", json!("yesterday")),
    ];
    let (place, odd) = places[number % places.len()].clone();
    replaced(value, place, odd)
}

/// Replaces the value at this place.
fn replaced(value: &Value, place: &str, by: Value) -> String {
    let mut value = value.clone();
    if let Some(there) = value.pointer_mut(place) {
        *there = by;
    }
    value.to_string()
}
