//! Asks the person at the terminal what a turn waits for.

use crate::output;
use repod_proto::agent::{AgentEvent, PermissionAsk, Question, QuestionAsk};
use repod_proto::{ApiError, ErrorCode, SessionAnswer};
use std::io::IsTerminal;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

/// What a turn asks, until it is answered.
#[derive(Debug, Default)]
pub(super) struct Asked {
    open: Vec<Ask>,
    /// Made once: what it has read ahead belongs to the next question.
    input: Option<Lines<BufReader<Stdin>>>,
}

#[derive(Debug)]
enum Ask {
    Permission(PermissionAsk),
    Question(QuestionAsk),
}

/// Whether somebody is there to be asked.
pub(super) fn is_possible() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

impl Asked {
    pub(super) fn note(&mut self, event: &AgentEvent) {
        match event {
            AgentEvent::Permission(ask) => self.open.push(Ask::Permission(ask.clone())),
            AgentEvent::Question(ask) => self.open.push(Ask::Question(ask.clone())),
            AgentEvent::Answered { request_id } => {
                self.open.retain(|ask| ask.request() != request_id);
            }
            _ => {}
        }
    }

    /// The answers to all that is open.
    pub(super) async fn ask(&mut self) -> Result<Vec<SessionAnswer>, ApiError> {
        let mut answers = Vec::new();
        for ask in std::mem::take(&mut self.open) {
            let request_id = ask.request().to_owned();
            answers.push(match ask {
                Ask::Permission(_) => {
                    let option = self.choose().await?;
                    SessionAnswer { request_id, option: Some(option), ..SessionAnswer::default() }
                }
                Ask::Question(ask) => {
                    let mut all = Vec::new();
                    for question in &ask.questions {
                        all.push(self.question(question).await?);
                    }
                    SessionAnswer { request_id, answers: Some(all), ..SessionAnswer::default() }
                }
            });
        }
        Ok(answers)
    }

    async fn choose(&mut self) -> Result<String, ApiError> {
        loop {
            output::ask("allow it? [o]nce, [a]lways, [r]eject: ");
            let line = self.line().await?;
            match line.trim() {
                "o" | "once" | "y" | "yes" => return Ok("once".to_owned()),
                "a" | "always" => return Ok("always".to_owned()),
                "r" | "reject" | "n" | "no" => return Ok("reject".to_owned()),
                _ => {}
            }
        }
    }

    async fn question(&mut self, question: &Question) -> Result<Vec<String>, ApiError> {
        for (number, option) in (1..).zip(&question.options) {
            output::note(&format!("  {number}. {}  {}", option.label, option.description));
        }
        output::ask(&format!("{} ", question.question));
        let line = self.line().await?;
        Ok(chosen(question, &line))
    }

    async fn line(&mut self) -> Result<String, ApiError> {
        let input = self.input.get_or_insert_with(|| BufReader::new(tokio::io::stdin()).lines());
        let line = input.next_line().await.map_err(|error| {
            ApiError::new(ErrorCode::StateIo, format!("standard input can't be read: {error}"))
        })?;
        line.ok_or_else(|| ApiError::new(ErrorCode::Stopped, "nobody is there to answer"))
    }
}

/// Numbers, separated by commas; anything else is an answer in one's own words.
fn chosen(question: &Question, line: &str) -> Vec<String> {
    let numbers: Option<Vec<usize>> =
        line.split(',').map(|number| number.trim().parse().ok()).collect();
    let labels = numbers.and_then(|numbers| {
        let label =
            |number: &usize| Some(question.options.get(number.checked_sub(1)?)?.label.clone());
        numbers.iter().map(label).collect::<Option<Vec<_>>>()
    });
    labels.unwrap_or_else(|| vec![line.trim().to_owned()])
}

impl Ask {
    fn request(&self) -> &str {
        match self {
            Self::Permission(ask) => &ask.request_id,
            Self::Question(ask) => &ask.request_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repod_proto::agent::QuestionOption;

    #[test]
    fn an_answer_is_a_number_of_an_option_or_one_s_own_words() {
        let option =
            |label: &str| QuestionOption { label: label.into(), ..QuestionOption::default() };
        let question =
            Question { options: vec![option("red"), option("blue")], ..Question::default() };
        assert_eq!(chosen(&question, "2"), ["blue"]);
        assert_eq!(chosen(&question, " 1, 2 "), ["red", "blue"]);
        assert_eq!(chosen(&question, "3"), ["3"]);
        assert_eq!(chosen(&question, "green "), ["green"]);
    }
}
