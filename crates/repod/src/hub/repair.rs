//! Ends what a killed backend left open in its database, so that whoever reads it later sees a
//! turn that ended.

use super::Shared;
use super::track::Session;
use repod_opencode::v1_18::repair;
use repod_opencode::v1_18::told::{self, Place};
use repod_opencode::{BackendClient, HistoryRow, ProbeError};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How far back an open message is looked for: a turn has one at a time.
const MESSAGES: u32 = 20;
/// The session's next number is known once its last event has come; until then it is guessed.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// A session whose turn died.
#[derive(Clone, Debug)]
pub(super) struct Patient {
    pub(super) session: Session,
    /// When, in milliseconds since 1970: what was begun later is another turn's.
    pub(super) before: u64,
    /// What it had begun, as it was told to have ended.
    pub(super) parts: Vec<Value>,
}

impl Session {
    pub(super) fn place(&self) -> Place<'_> {
        Place { directory: &self.directory, project: self.project.as_deref() }
    }
}

/// Repairs what these sessions left open. What OpenCode refuses stays as it is: clients have been
/// told of the end already. What it did not answer is for the next generation.
pub(super) async fn run(
    shared: Arc<Shared>,
    client: BackendClient,
    patients: HashMap<String, Patient>,
) {
    for (id, patient) in &patients {
        let treated = treat(&shared, &client, id, patient).await;
        if let Err(error) = &treated {
            tracing::warn!(session = id, %error, "an interrupted turn stays half-done");
        }
        if matches!(treated, Ok(()) | Err(ProbeError::Failed { .. })) {
            shared.with(|core| core.sick.remove(id));
        }
    }
}

async fn treat(
    shared: &Shared,
    client: &BackendClient,
    id: &str,
    patient: &Patient,
) -> Result<(), ProbeError> {
    let messages = client.last_messages(id, MESSAGES).await?;
    for message in messages.iter().filter(|m| repair::is_stuck(m, patient.before)) {
        // The backend tells everybody of these itself.
        let stuck = repair::stuck_parts(message, told::now_millis());
        for part in stuck.iter().chain(repair::lost_texts(message, &patient.parts)) {
            client.patch_part(part).await?;
        }
        end(shared, client, id, patient, message).await?;
    }
    Ok(())
}

/// Ends the message itself. Nobody is told of it but by us.
async fn end(
    shared: &Shared,
    client: &BackendClient,
    id: &str,
    patient: &Patient,
    message: &Value,
) -> Result<(), ProbeError> {
    let mut refused = Ok(());
    for _ in 0..TRIES {
        let seq = shared.with(|core| core.track.sessions.get(id).and_then(|s| s.seq));
        let Some(seq) = seq else { return Ok(()) };
        let Some(event) = repair::ending(message, seq + 1, patient.before, told::now_millis())
        else {
            return Ok(());
        };
        match client.sync_replay(&patient.session.directory, &event).await {
            Ok(()) => {
                if let Some(row) = row(&event) {
                    shared.with(|core| {
                        let events = patient.session.place().past(&row);
                        events.into_iter().for_each(|event| core.publish(event));
                    });
                }
                return Ok(());
            }
            Err(error @ ProbeError::Failed { .. }) => refused = Err(error),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    refused
}

/// The event as history would have it.
fn row(event: &Value) -> Option<HistoryRow> {
    let mut row = event.clone();
    row["aggregate_id"] = json!(row["aggregateID"].take());
    serde_json::from_str(&row.to_string()).ok()
}
