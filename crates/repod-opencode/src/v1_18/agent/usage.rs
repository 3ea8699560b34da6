//! What a turn has cost. Steps say it, and so does the message they are of; whichever came, it is
//! counted once.

use super::wire::Tokens;
use repod_proto::agent::Usage;
use std::collections::BTreeMap;

/// The costs of a turn's messages. Ordered, so that the same costs always have the same sum.
#[derive(Debug, Default)]
pub(super) struct Costs {
    messages: BTreeMap<String, Cost>,
    told: Usage,
}

#[derive(Debug, Default)]
struct Cost {
    /// By the id of the step's part.
    steps: BTreeMap<String, Usage>,
    whole: Usage,
}

impl Costs {
    /// A step of a message has ended. Tells the sum when it is new.
    pub(super) fn step(
        &mut self,
        message: &str,
        step: &str,
        tokens: Option<Tokens>,
        cost: Option<f64>,
    ) -> Option<Usage> {
        let usage = usage(tokens?, cost);
        let message = self.messages.entry(message.to_owned()).or_default();
        message.steps.insert(step.to_owned(), usage);
        self.news()
    }

    /// What a message says of itself, which holds as long as no step says more.
    pub(super) fn message(
        &mut self,
        message: &str,
        tokens: Option<Tokens>,
        cost: Option<f64>,
    ) -> Option<Usage> {
        let usage = usage(tokens?, cost);
        if usage == Usage::default() {
            return None;
        }
        self.messages.entry(message.to_owned()).or_default().whole = usage;
        self.news()
    }

    fn news(&mut self) -> Option<Usage> {
        let mut sum = Usage::default();
        for cost in self.messages.values() {
            if cost.steps.is_empty() {
                add(&mut sum, &cost.whole);
            }
            for step in cost.steps.values() {
                add(&mut sum, step);
            }
        }
        (std::mem::replace(&mut self.told, sum) != sum).then_some(sum)
    }
}

fn usage(tokens: Tokens, cost: Option<f64>) -> Usage {
    Usage {
        input_tokens: count(tokens.input),
        output_tokens: count(tokens.output),
        reasoning_tokens: count(tokens.reasoning),
        cache_read_tokens: count(tokens.cache.read),
        cache_write_tokens: count(tokens.cache.write),
        cost: cost.unwrap_or_default(),
    }
}

fn add(sum: &mut Usage, more: &Usage) {
    sum.input_tokens += more.input_tokens;
    sum.output_tokens += more.output_tokens;
    sum.reasoning_tokens += more.reasoning_tokens;
    sum.cache_read_tokens += more.cache_read_tokens;
    sum.cache_write_tokens += more.cache_write_tokens;
    sum.cost += more.cost;
}

/// JavaScript's numbers are floating.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and NaN is 0: both are right for a count"
)]
fn count(number: f64) -> u64 {
    number as u64
}
