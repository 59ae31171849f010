//! `hippofs reconcile`: one request, its wait, and the events of what was found, as `events` would print them.

use std::path::Path;

use serde_json::{Value, json};

use super::args::ReconcileArgs;
use super::client::Root;
use super::error::CliError;
use super::events::Printer;
use super::exit::Exit;

pub(super) fn run(args: &ReconcileArgs) -> Result<Exit, CliError> {
    let (root, path) = Root::of_place(&args.path)?;
    let mut control = root.control()?;
    let before = root.status()?["head"].clone();
    let request = json!({"reconcile": {"path": path, "full": args.full}});
    let mut answer = Value::Null;
    control.ask(&request, |line| {
        answer = serde_json::from_slice(line).unwrap_or_default();
        Ok(())
    })?;
    if let Some(error) = answer.get("error") {
        let said = |key: &str| error[key].as_str().unwrap_or("?").to_owned();
        return Err(CliError::failed(
            args.path.display().to_string(),
            said("message"),
            said("hint"),
        ));
    }
    let mut printer = Printer::new(args.json);
    let query = json!({"events": {"since": before, "until": answer["head"], "op": ["found"]}});
    control.ask(&query, |line| {
        if line.starts_with(b"{\"next\":") {
            return Ok(());
        }
        printer.line(line)
    })?;
    if args.json {
        printer.line(format!("{answer}\n").as_bytes())?;
    } else {
        printer.say(&summary(&args.path, &answer))?;
    }
    printer.flush()?;
    Ok(Exit::Success)
}

fn summary(path: &Path, answer: &Value) -> String {
    let number = |key: &str| answer[key].as_u64().unwrap_or_default();
    let mut text = format!(
        "{}: {} changes found in {} files and {} directories, in {:.3} s",
        path.display(),
        number("found"),
        number("files"),
        number("directories"),
        answer["duration_s"].as_f64().unwrap_or_default()
    );
    if number("unreadable") > 0 {
        text += &format!("; {} places could not be read", number("unreadable"));
    }
    super::human::one_line(&text)
}
