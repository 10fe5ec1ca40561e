//! QEMU's control connection: commands to a running emulator, and its events.
//!
//! The harness listens and QEMU connects. Lines of JSON, as QEMU's machine protocol has them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::wait::wait_until;

/// QEMU answers at once, unless the machine is very busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// The connection to one board's emulator, over all its starts.
#[derive(Debug, Default)]
pub struct Control {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    client: Option<UnixStream>,
    next_id: u64,
    answers: BTreeMap<u64, Value>,
}

impl Control {
    /// Runs a command of the emulator.
    ///
    /// # Errors
    /// The board has no power, or QEMU refuses.
    pub fn execute(&self, command: &str, arguments: Value) -> Result<()> {
        let id = {
            let mut state = self.lock();
            let id = state.next_id;
            let mut client = state.client.as_ref().context("the board has no power")?;
            let message = json!({ "execute": command, "arguments": arguments, "id": id });
            writeln!(client, "{message}")?;
            state.next_id += 1;
            id
        };
        let mut answer = Value::Null;
        wait_until(&format!("QEMU's answer to {command}"), PATIENCE, || {
            let mut state = self.lock();
            match state.answers.remove(&id) {
                Some(value) => answer = value,
                None if state.client.is_none() => bail!("QEMU has ended"),
                None => return Ok(Some("none".to_owned())),
            }
            Ok(None)
        })?;
        if let Some(error) = answer.get("error") {
            bail!("QEMU refuses {command}: {error}");
        }
        Ok(())
    }

    /// Serves a connection until QEMU ends; `event` gets each event's name and data.
    pub(crate) fn serve(&self, client: UnixStream, mut event: impl FnMut(&str, &Value)) {
        let Ok(mut writer) = client.try_clone() else { return };
        // Commands are refused until this one has been said.
        let _ = writeln!(writer, r#"{{"execute":"qmp_capabilities"}}"#);
        {
            let mut state = self.lock();
            state.client = Some(writer);
            // Of the start before, which nobody waits for any more.
            state.answers.clear();
        }
        for line in BufReader::new(client).lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            if let Some(name) = message.get("event").and_then(Value::as_str) {
                event(name, message.get("data").unwrap_or(&Value::Null));
            } else if let Some(id) = message.get("id").and_then(Value::as_u64) {
                self.lock().answers.insert(id, message);
            }
        }
        // What it has answered before its end counts.
        self.lock().client = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn commands_are_answered_and_events_told() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let control = Arc::new(Control::default());
        assert!(control.execute("stop", Value::Null).is_err());
        let serving = Arc::clone(&control);
        let events = std::thread::spawn(move || {
            let mut events = Vec::new();
            serving.serve(ours, |name, data| events.push(format!("{name} {data}")));
            events
        });
        let emulator = std::thread::spawn(move || {
            let mut lines = BufReader::new(theirs.try_clone().unwrap()).lines();
            let say = |text: &str| writeln!(&theirs, "{text}").unwrap();
            assert!(lines.next().unwrap().unwrap().contains("qmp_capabilities"));
            say(r#"{"return": {}}"#);
            lines.next().unwrap().unwrap();
            say(r#"{"event": "WATCHDOG", "data": {"action": "reset"}}"#);
            say(r#"{"return": {}, "id": 0}"#);
            lines.next().unwrap().unwrap();
            say(r#"{"error": {"desc": "no such device"}, "id": 1}"#);
        });
        wait_until("the connection", PATIENCE, || {
            Ok(control.lock().client.is_none().then(|| "none".to_owned()))
        })
        .unwrap();
        control.execute("set_link", json!({ "name": "lan", "up": false })).unwrap();
        let error = control.execute("set_link", json!({ "name": "x" })).unwrap_err();
        assert!(error.to_string().contains("no such device"), "{error}");
        emulator.join().unwrap();
        assert_eq!(events.join().unwrap(), [r#"WATCHDOG {"action":"reset"}"#]);
    }
}
