//! Prints the steps: with progress on a terminal, one line per step elsewhere, or one JSON object at the end.

use std::fmt;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use eid_docker::{sanitize, Error};
use serde::Serialize;
use serde_json::Value;

use crate::output::{self, Failure};

/// The steps, in the order in which they are taken.
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

    /// Returns the name of the step, for programs and people.
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

/// The result of a step that passed.
pub struct Passed<T> {
    /// The value that later steps need.
    pub value: T,
    /// The result for a person.
    pub sentence: String,
    /// The result for a program: an object.
    pub detail: Value,
}

/// Why a step failed, and what to do about it. Both texts are parts of a sentence, without a full stop.
#[derive(Clone, Debug)]
pub struct StepError {
    /// One word for programs.
    pub error: &'static str,
    /// The reason.
    pub sentence: String,
    /// The next step for the user.
    pub advice: String,
    /// The exit status: see [`STATUS`](output::STATUS).
    pub status: u8,
}

impl StepError {
    /// The container is known, but the node in it can't be reached.
    pub fn unreachable(error: &'static str, sentence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            error,
            sentence: sentence.into(),
            advice: advice.into(),
            status: 4,
        }
    }

    /// An error of eid-docker, with its advice.
    pub fn docker(error: &Error) -> Self {
        let failure = Failure::docker("", error.clone());
        Self {
            error: failure.name(),
            sentence: error.to_string(),
            advice: failure.advice().to_owned(),
            status: failure.status(),
        }
    }

    /// Replaces the reason.
    pub fn message(self, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { sentence, ..self }
    }

    /// Replaces the advice.
    pub fn advice(self, advice: impl Into<String>) -> Self {
        let advice = advice.into();
        Self { advice, ..self }
    }
}

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Marks, and the current step.
    Terminal {
        /// Use colours.
        colours: bool,
    },
    /// One line per step.
    Lines,
    /// One object at the end.
    Json,
}

impl Style {
    /// Chooses the format for standard output.
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

/// Prints the steps for one node.
pub struct Report {
    node: String,
    style: Style,
    done: Vec<StepReport>,
    /// The exit status, if a step failed.
    failed: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum StepStatus {
    Ok,
    Failed,
    NotTried,
}

/// A step in the JSON object.
#[derive(Serialize)]
struct StepReport {
    step: &'static str,
    status: StepStatus,
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

impl StepReport {
    fn new(step: Step, status: StepStatus) -> Self {
        Self {
            step: step.word(),
            status,
            microseconds: None,
            error: None,
            sentence: String::new(),
            advice: String::new(),
            detail: Value::Null,
        }
    }
}

/// The whole JSON object.
#[derive(Serialize)]
struct JsonReport<'a> {
    node: &'a str,
    ok: bool,
    failed: Option<&'static str>,
    steps: &'a [StepReport],
}

impl Report {
    /// Starts a report about this node.
    pub fn new(node: &str, style: Style) -> Self {
        Self {
            // This text is not checked yet, and may contain anything.
            node: node.chars().filter(|c| !c.is_control()).take(300).collect(),
            style,
            done: vec![],
            failed: None,
        }
    }

    /// Takes a step and prints its result. Returns `None` if the step failed, which ends the report.
    pub async fn step<T>(
        &mut self,
        step: Step,
        work: impl Future<Output = Result<Passed<T>, StepError>>,
    ) -> Result<Option<T>, Failure> {
        self.announce(step)?;
        let began = Instant::now();
        let outcome = work.await;
        let mut done = StepReport::new(step, StepStatus::Ok);
        done.microseconds = Some(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        // Engines and nodes wrote parts of these texts.
        let value = match outcome {
            Ok(passed) => {
                done.sentence = sanitize(&passed.sentence);
                done.detail = passed.detail;
                Some(passed.value)
            }
            Err(error) => {
                self.failed = Some(error.status);
                done.status = StepStatus::Failed;
                done.error = Some(error.error);
                done.sentence = sanitize(&error.sentence);
                done.advice = sanitize(&error.advice);
                None
            }
        };
        self.show(done)?;
        Ok(value)
    }

    /// Prints the skipped steps and ends the report. `reason` explains them if no step failed.
    /// Errors: [`Failure::Reported`] if a step failed, and the errors of [`output::print()`].
    pub fn end(mut self, reason: &str) -> Result<(), Failure> {
        for step in &Step::ALL[self.done.len()..] {
            let mut skipped = StepReport::new(*step, StepStatus::NotTried);
            if self.failed.is_none() {
                skipped.sentence = reason.to_owned();
            }
            self.show(skipped)?;
        }
        if self.style == Style::Json {
            let failed = self.done.iter().find(|done| done.status == StepStatus::Failed);
            let whole = JsonReport {
                node: &self.node,
                ok: failed.is_none(),
                failed: failed.map(|done| done.step),
                steps: &self.done,
            };
            let text = serde_json::to_string(&whole).map_err(|error| Failure::Other(error.to_string()))?;
            output::print(&text)?;
        }
        self.failed.map_or(Ok(()), |status| Err(Failure::Reported(status)))
    }

    /// Prints the current step on a terminal. Its result will overwrite the line.
    fn announce(&self, step: Step) -> Result<(), Failure> {
        match self.style {
            Style::Terminal { .. } => write(&format_args!("… {}", step.word())),
            Style::Lines | Style::Json => Ok(()),
        }
    }

    fn show(&mut self, done: StepReport) -> Result<(), Failure> {
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

/// Formats `✓ dns             0.3 ms  host2 is 192.0.2.2`, which overwrites the announcement of the step.
fn on_terminal(done: &StepReport, colours: bool) -> String {
    let (mark, colour) = match done.status {
        StepStatus::Ok => ("✓", "32"),
        StepStatus::Failed => ("✗", "1;31"),
        StepStatus::NotTried => ("·", "2"),
    };
    let painted = |text: &str| {
        if colours {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    let text = match done.status {
        StepStatus::NotTried if done.sentence.is_empty() => painted(&format!("{}not tried", columns(done))),
        StepStatus::NotTried => painted(&columns(done)),
        StepStatus::Ok | StepStatus::Failed => columns(done),
    };
    let advice = match done.advice.as_str() {
        "" => String::new(),
        advice => format!("\n{:SENTENCE_COLUMN$}→ {advice}", ""),
    };
    format!("\r\x1b[K{} {text}{advice}", painted(mark))
}

/// The column of the sentences on a terminal.
const SENTENCE_COLUMN: usize = 23;

/// Formats `ok        dns             0.3 ms  host2 is 192.0.2.2`.
fn as_line(done: &StepReport) -> String {
    let word = match done.status {
        StepStatus::Ok => "ok",
        StepStatus::Failed => "failed",
        StepStatus::NotTried => "not tried",
    };
    let advice = match done.advice.as_str() {
        "" => String::new(),
        advice => format!("; {advice}"),
    };
    format!("{word:<10}{}{advice}", columns(done)).trim_end().to_owned()
}

fn columns(done: &StepReport) -> String {
    let time = done
        .microseconds
        .map_or_else(String::new, |time| readable(Duration::from_micros(time)));
    format!("{:<10}{time:>9}  {}", done.step, done.sentence)
}

/// Formats a duration as `0.3 ms`, `12 ms` or `2.0 s`.
fn readable(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    match milliseconds {
        few if few < 9.95 => format!("{few:.1} ms"),
        some if some < 999.5 => format!("{some:.0} ms"),
        many => format!("{:.1} s", many / 1000.0),
    }
}
