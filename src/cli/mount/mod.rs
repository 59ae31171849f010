//! `hippofs mount`: arguments to a [`Config`], then one of three ways to run: serve in the foreground, launch a
//! daemon, or supervise one. Daemon and supervised daemon are this program run again with the same options, the
//! paths resolved and the storage directory open.

mod options;
pub(super) mod target;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use crate::daemon::detach::{self, Again, Launched};
use crate::daemon::serve::Mounted;
use crate::daemon::{Config, DaemonError, Stop, serve, signals, supervise};
use crate::recorder::{Capture, KeepOptions, OBJECT_BYTES_MAX_DEFAULT};
use crate::{detect, event_log};

use super::args::{Cli, MountArgs, MountOptions};
use super::error::CliError;
use super::exit::Exit;
use target::Target;

/// The environment variable that chooses what is logged, as env_logger reads it.
const LOG_ENV: &str = "HIPPOFS_LOG";
/// What is logged when it is not set: warnings, but not that the kernel no longer wants an answer because the
/// caller was killed while it waited.
const LOG_DEFAULT: &str = "warn,fuser::reply=off";

pub(super) fn run(args: MountArgs) -> Result<Exit, CliError> {
    let parsed = options::parse(&args.options)?;
    let mut named = options::merge(args.named, parsed.named);
    refuse_silence(&named)?;
    let log_file = match &named.log_file {
        Some(path) => Some(open_log_file(path)?),
        None => None,
    };
    start_logger(log_file.as_ref())?;
    let target = if args.storage_on_stdin {
        // Whoever started this process has resolved and checked everything.
        Target {
            mountpoint: args.mountpoint.unwrap_or_else(|| args.storage.clone()),
            storage: args.storage,
            storage_dir: detach::storage_from_stdin().map_err(DaemonError::io(
                "standard input",
                "start hippofs without --storage-on-stdin",
            ))?,
        }
    } else {
        resolve(&args.storage, args.mountpoint.as_deref(), &mut named)?
    };
    let run = Run {
        target,
        named,
        fs_options: parsed.fs_options,
        log_file,
        detached: args.detached,
    };
    if run.named.daemon {
        return run.launch();
    }
    if args.detached && !args.storage_on_stdin {
        return Err(CliError::failed(
            "--detached",
            "it is for hippofs itself",
            "use --daemon",
        ));
    }
    detach::settle();
    if run.named.supervise {
        run.supervise()
    } else {
        run.serve()
    }
}

/// A mount without its log is asked for twice or not at all.
fn refuse_silence(named: &MountOptions) -> Result<(), clap::Error> {
    if named.no_log == named.i_know_nothing_is_recorded {
        return Ok(());
    }
    let message = "--no-log is for measurements: no change is recorded, and none can be read back; it needs \
                   --i-know-nothing-is-recorded beside it, which means nothing without it";
    Err(Cli::command().error(ErrorKind::MissingRequiredArgument, message))
}

fn resolve(
    storage: &std::path::Path,
    mountpoint: Option<&std::path::Path>,
    named: &mut MountOptions,
) -> Result<Target, CliError> {
    let target = target::resolve(storage, mountpoint)?;
    if let Some(given) = &named.state_dir {
        named.state_dir = Some(target::state_dir(given, &target)?);
    }
    if let Some(given) = &named.log_file {
        let failed = DaemonError::io(format!("log file {}", given.display()), "see the path");
        named.log_file = Some(given.canonicalize().map_err(failed)?);
    }
    Ok(target)
}

/// A mount about to be made.
struct Run {
    target: Target,
    named: MountOptions,
    fs_options: Vec<String>,
    log_file: Option<File>,
    detached: bool,
}

impl Run {
    /// `--daemon`: runs this program again, detached, and returns with its first word.
    fn launch(self) -> Result<Exit, CliError> {
        let named = MountOptions {
            daemon: false,
            ..self.named
        };
        let again = again(self.target, named, &self.fs_options, true);
        match detach::launch(&again)? {
            Launched::Ready(line) => {
                print(&line);
                Ok(Exit::Success)
            }
            Launched::Ended(status) => {
                if status.code().is_none() {
                    let hint = "mount without --daemon to see why";
                    return Err(CliError::failed(
                        "mount",
                        format!("the daemon died: {status}"),
                        hint,
                    ));
                }
                Ok(exit_of(status))
            }
        }
    }

    /// `--supervise`: keeps a daemon running and ends with it.
    fn supervise(self) -> Result<Exit, CliError> {
        let signals =
            signals::receiver().map_err(DaemonError::io("signals", "see the system's limits"))?;
        self.leave_session()?;
        let mountpoint = self.target.mountpoint.clone();
        let named = MountOptions {
            supervise: false,
            ..self.named
        };
        let again = again(self.target, named, &self.fs_options, self.detached);
        let (detached, log_file) = (self.detached, self.log_file);
        let status = supervise::supervise(&again, &mountpoint, &signals, |line| {
            print(line);
            leave_streams(detached, log_file.as_ref());
        })?;
        Ok(exit_of(status))
    }

    /// Serves until unmounted.
    fn serve(self) -> Result<Exit, CliError> {
        let stop = Stop::new();
        signals::request_on_signal(stop.clone())
            .map_err(DaemonError::io("signals", "see the system's limits"))?;
        self.leave_session()?;
        let config = config(&self.target, &self.named, self.fs_options);
        let (detached, log_file) = (self.detached, self.log_file);
        let ready = Box::new(move |mounted: &Mounted| {
            print(&success_line(mounted));
            leave_streams(detached, log_file.as_ref());
        });
        serve::serve(config, self.target.storage_dir, stop, ready)?;
        Ok(Exit::Success)
    }

    fn leave_session(&self) -> Result<(), DaemonError> {
        if !self.detached {
            return Ok(());
        }
        detach::leave_session().map_err(DaemonError::io(
            "leaving the session",
            "mount without --daemon",
        ))
    }
}

/// The same mount, to be run by this program again: resolved, with the storage as standard input.
fn again(target: Target, named: MountOptions, fs_options: &[String], detached: bool) -> Again {
    let mut args: Vec<OsString> = vec!["mount".into(), "--storage-on-stdin".into()];
    if detached {
        args.push("--detached".into());
    }
    args.extend(options::to_args(&named));
    if !fs_options.is_empty() {
        args.extend(["-o".into(), fs_options.join(",").into()]);
    }
    // Absolute paths, so neither looks like an option.
    args.extend([target.storage.into(), target.mountpoint.into()]);
    Again {
        args,
        storage_dir: target.storage_dir,
    }
}

fn config(target: &Target, named: &MountOptions, fs_options: Vec<String>) -> Config {
    let defaults = event_log::Options::default();
    Config {
        storage: target.storage.clone(),
        mountpoint: target.mountpoint.clone(),
        state_dir: named.state_dir.clone(),
        allow_other: named.allow_other,
        passthrough: named.passthrough || named.read_only,
        read_only: named.read_only,
        no_log: named.no_log,
        log: event_log::Options {
            segment_bytes: named.segment_bytes.unwrap_or(defaults.segment_bytes),
            retain_bytes: named.retain_bytes.unwrap_or(defaults.retain_bytes),
            retain_age: named.retain_age.unwrap_or(defaults.retain_age),
            retain_max: named.retain_max.unwrap_or(defaults.retain_max),
            held_after: None,
            needed_after: None,
            sync_interval: named.sync_interval.unwrap_or(defaults.sync_interval),
        },
        keep: keep(named),
        detect: detect::Options {
            watch: named.watch.unwrap_or_default(),
            scan_interval: named.scan_interval,
            poll_interval: named.poll_interval.unwrap_or(detect::POLL_INTERVAL),
        },
        fs_options,
    }
}

/// What is kept of contents.
fn keep(named: &MountOptions) -> Option<KeepOptions> {
    let capture = named.capture.unwrap_or_default();
    (capture != Capture::None && !named.no_log).then_some(KeepOptions {
        every_write: capture == Capture::Write,
        object_bytes_max: named.capture_max.unwrap_or(OBJECT_BYTES_MAX_DEFAULT),
    })
}

/// The one line of success, as the contract has it.
fn success_line(mounted: &Mounted) -> String {
    let storage = super::human::escape(mounted.storage.as_os_str().as_encoded_bytes());
    let mountpoint = super::human::escape(mounted.mountpoint.as_os_str().as_encoded_bytes());
    format!(
        "hippofs: mounted {storage} at {mountpoint} (store {}, seq {})\n",
        mounted.store, mounted.head
    )
}

/// A caller that closed its standard output does not want the line; the mount is made either way.
fn print(line: &str) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(line.as_bytes());
    let _ = stdout.flush();
}

fn leave_streams(detached: bool, log_file: Option<&File>) {
    if detached && let Err(error) = detach::leave_streams(log_file) {
        log::error!("the caller's streams stay open: {error}");
    }
}

/// The end of a process run in place of this one: its own status, or failure when a signal ended it.
fn exit_of(status: ExitStatus) -> Exit {
    match status.code() {
        Some(0) => Exit::Success,
        Some(2) => Exit::Usage,
        _ => Exit::Failure,
    }
}

fn open_log_file(path: &PathBuf) -> Result<File, DaemonError> {
    let failed = DaemonError::io(
        format!("log file {}", path.display()),
        "choose a file that can be written",
    );
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(failed)
}

fn start_logger(log_file: Option<&File>) -> Result<(), DaemonError> {
    let target = match log_file.map(File::try_clone).transpose() {
        Ok(Some(file)) => env_logger::Target::Pipe(Box::new(file)),
        Ok(None) => env_logger::Target::Stderr,
        Err(error) => {
            return Err(DaemonError::io(
                "log file",
                "see the system's limits on open files",
            )(error));
        }
    };
    let env = env_logger::Env::new().filter_or(LOG_ENV, LOG_DEFAULT);
    // A second logger in one process happens in tests only, and the first then serves as well.
    let _ = env_logger::Builder::from_env(env)
        .target(target)
        .format(|out, record| {
            let message = super::human::one_line(&record.args().to_string());
            let (time, level) = (out.timestamp_millis(), record.level());
            writeln!(out, "{time} {level} {message}")
        })
        .try_init();
    Ok(())
}
