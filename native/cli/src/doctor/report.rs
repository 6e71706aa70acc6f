//! What is shown of the steps: as they are taken on a terminal, a line each elsewhere, or one JSON object at the end.

use std::fmt;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::fault::Fault;
use crate::failure::Failure;
use crate::output;

/// The steps, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Name,
    Dns,
    Engine,
    Api,
    Container,
    Running,
    Port,
    Dial,
    Handshake,
    Cookie,
}

impl Step {
    const ALL: [Self; 10] = [
        Self::Name,
        Self::Dns,
        Self::Engine,
        Self::Api,
        Self::Container,
        Self::Running,
        Self::Port,
        Self::Dial,
        Self::Handshake,
        Self::Cookie,
    ];

    /// For programs and people alike.
    fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Dns => "dns",
            Self::Engine => "engine",
            Self::Api => "api",
            Self::Container => "container",
            Self::Running => "running",
            Self::Port => "port",
            Self::Dial => "dial",
            Self::Handshake => "handshake",
            Self::Cookie => "cookie",
        }
    }
}

/// What a step that went well has to say.
pub struct Passed<T> {
    /// What later steps need.
    pub value: T,
    /// For a person.
    pub sentence: String,
    /// The same as fields for a program: an object.
    pub detail: Value,
}

/// How to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Marks, and the step that is under way.
    Terminal {
        colours: bool,
    },
    Lines,
    Json,
}

impl Style {
    pub fn of_output(json: bool) -> Self {
        let is_set = |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        if json {
            return Self::Json;
        }
        if io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb") {
            return Self::Terminal {
                colours: !is_set("NO_COLOR"),
            };
        }
        Self::Lines
    }
}

/// Shows the steps of one node.
pub struct Report {
    node: String,
    style: Style,
    done: Vec<Done>,
    /// The status of the step that failed.
    failed: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ok,
    Failed,
    NotTried,
}

/// A step in the JSON object.
#[derive(Serialize)]
struct Done {
    step: &'static str,
    status: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    microseconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    sentence: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    advice: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    detail: Value,
}

/// The whole JSON object.
#[derive(Serialize)]
struct Whole<'a> {
    node: &'a str,
    ok: bool,
    failed: Option<&'static str>,
    steps: &'a [Done],
}

impl Report {
    pub fn new(node: &str, style: Style) -> Self {
        Self {
            // It has not been looked at yet, and may hold anything.
            node: node.chars().filter(|c| !c.is_control()).take(300).collect(),
            style,
            done: vec![],
            failed: None,
        }
    }

    /// Takes a step. `None` if it failed: no further one is to be taken then.
    ///
    /// # Errors
    ///
    /// [`Failure::Other`] if nobody reads the report.
    pub async fn step<T>(
        &mut self,
        step: Step,
        work: impl Future<Output = Result<Passed<T>, Fault>>,
    ) -> Result<Option<T>, Failure> {
        self.announce(step)?;
        let began = Instant::now();
        let outcome = work.await;
        let microseconds = Some(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        let step = step.word();
        let (done, value) = match outcome {
            Ok(Passed {
                value,
                sentence,
                detail,
            }) => {
                let done = Done {
                    step,
                    status: Outcome::Ok,
                    microseconds,
                    error: None,
                    sentence: output::plain(&sentence),
                    advice: String::new(),
                    detail,
                };
                (done, Some(value))
            }
            Err(fault) => {
                self.failed = Some(fault.status);
                let done = Done {
                    step,
                    status: Outcome::Failed,
                    microseconds,
                    error: Some(fault.error),
                    // Engines and nodes may have written some of it.
                    sentence: output::plain(&fault.sentence),
                    advice: output::plain(&fault.advice),
                    detail: Value::Null,
                };
                (done, None)
            }
        };
        self.show(done)?;
        Ok(value)
    }

    /// Shows what has not been tried, and why if that is not a step that failed, and ends.
    ///
    /// # Errors
    ///
    /// [`Failure::Answered`] if a step failed; [`Failure::Other`] if nobody reads the report.
    pub fn end(mut self, why: &str) -> Result<(), Failure> {
        for step in &Step::ALL[self.done.len()..] {
            self.show(Done {
                step: step.word(),
                status: Outcome::NotTried,
                microseconds: None,
                error: None,
                sentence: self.failed.map_or_else(|| why.to_owned(), |_| String::new()),
                advice: String::new(),
                detail: Value::Null,
            })?;
        }
        if self.style == Style::Json {
            let failed = self.done.iter().find(|done| done.status == Outcome::Failed);
            let whole = Whole {
                node: &self.node,
                ok: failed.is_none(),
                failed: failed.map(|done| done.step),
                steps: &self.done,
            };
            let text = serde_json::to_string(&whole).map_err(|error| Failure::Other(error.to_string()))?;
            output::print(&text)?;
        }
        self.failed.map_or(Ok(()), |status| Err(Failure::Answered(status)))
    }

    /// On a terminal, which step is under way; the line is written over when it is over.
    fn announce(&self, step: Step) -> Result<(), Failure> {
        match self.style {
            Style::Terminal { .. } => write(&format_args!("… {}", step.word())),
            Style::Lines | Style::Json => Ok(()),
        }
    }

    fn show(&mut self, done: Done) -> Result<(), Failure> {
        match self.style {
            Style::Terminal { colours } => output::print(&on_terminal(&done, colours))?,
            Style::Lines => output::print(&as_line(&done))?,
            Style::Json => {}
        }
        self.done.push(done);
        Ok(())
    }
}

fn write(text: &impl fmt::Display) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    let written = write!(stdout, "{text}").and_then(|()| stdout.flush());
    written.map_err(|error| Failure::Other(format!("the report can't be written to standard output: {error}")))
}

/// `✓ dns             0.3 ms  host2 is 192.0.2.2`, over the line that said that it is under way.
fn on_terminal(done: &Done, colours: bool) -> String {
    let (mark, colour) = match done.status {
        Outcome::Ok => ("✓", "32"),
        Outcome::Failed => ("✗", "1;31"),
        Outcome::NotTried => ("·", "2"),
    };
    let painted = |text: &str| match colours {
        true => format!("\x1b[{colour}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let text = match done.status {
        Outcome::NotTried if done.sentence.is_empty() => painted(&format!("{}not tried", columns(done))),
        Outcome::NotTried => painted(&columns(done)),
        Outcome::Ok | Outcome::Failed => columns(done),
    };
    let advice = match done.advice.as_str() {
        "" => String::new(),
        advice => format!("\n{:ADVICE$}→ {advice}", ""),
    };
    format!("\r\x1b[K{} {text}{advice}", painted(mark))
}

/// Where the sentences begin, on a terminal.
const ADVICE: usize = 23;

/// `ok        dns             0.3 ms  host2 is 192.0.2.2`.
fn as_line(done: &Done) -> String {
    let word = match done.status {
        Outcome::Ok => "ok",
        Outcome::Failed => "failed",
        Outcome::NotTried => "not tried",
    };
    let advice = match done.advice.as_str() {
        "" => String::new(),
        advice => format!("; {advice}"),
    };
    format!("{word:<10}{}{advice}", columns(done)).trim_end().to_owned()
}

fn columns(done: &Done) -> String {
    let time = done
        .microseconds
        .map_or_else(String::new, |time| readable(Duration::from_micros(time)));
    format!("{:<10}{time:>9}  {}", done.step, done.sentence)
}

/// `0.3 ms`, `12 ms` or `2.0 s`.
fn readable(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    match milliseconds {
        few if few < 9.95 => format!("{few:.1} ms"),
        some if some < 999.5 => format!("{some:.0} ms"),
        many => format!("{:.1} s", many / 1000.0),
    }
}
