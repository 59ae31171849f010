//! What can be said on the command line, and the one text of each option: help, completions and manual pages are
//! made from here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, FromArgMatches as _, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use uuid::Uuid;

use super::values::{self, Place};
use crate::detect::Watch;
use crate::event::{EventType, Op, Source, Timestamp};
use crate::recorder::Capture;

/// A filesystem that records every change to a directory, in order, and loses none.
///
/// Programs work in the mount as in the directory itself; each change they make is one event in a log that can be
/// read through the control directory `.hippofs` in the mount, or with the commands here. Failures are one line on
/// standard error, `hippofs: what: why: what to do`, with exit status 1; wrong usage exits with 2.
#[derive(Parser, Debug)]
#[command(
    name = "hippofs",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Mount a directory, over itself or elsewhere, and record every change made through the mount
    #[command(args_override_self = true)]
    Mount(MountArgs),
    /// Unmount, and wait until everything is on disk
    Unmount(UnmountArgs),
    /// Show counters and health of a mount
    Status(StatusArgs),
    /// Query or follow the log of a mount
    Events(EventsArgs),
    /// Scan for changes that bypassed the mount, wait, and print what was found
    Reconcile(ReconcileArgs),
    /// Check every line of the log and every stored content, mounted or not
    Verify(VerifyArgs),
    /// Show the history of one file, also of a deleted one: who changed it, when and how
    Log(LogArgs),
    /// Write an earlier version of a file to standard output
    Show(ShowArgs),
    /// Compare a version of a file with another, or with the file as it is
    Diff(DiffArgs),
    /// Put back a file, a directory or what a glob selects as it was, or write that elsewhere
    Restore(RestoreArgs),
    /// Watch a mount live in the terminal: rates, busiest files and sessions, consumers, health, latency
    Top(TopArgs),
    /// Write one HTML page about a period: its timeline, misses and repairs, who and what was busiest
    Report(ReportArgs),
    /// Print a completion script
    Completions(CompletionsArgs),
    /// Print a manual page
    Man(ManArgs),
}

/// Arguments of `mount`.
#[derive(Args, Debug, Default)]
pub struct MountArgs {
    /// The real directory
    #[arg(value_name = "STORAGE", value_hint = ValueHint::DirPath)]
    pub storage: PathBuf,
    /// Where programs see it; without it, over STORAGE itself
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mountpoint: Option<PathBuf>,
    /// Options as mount(8) and fstab pass them: NAME or NAME=VALUE, with commas between them
    ///
    /// Every long option of this command can be given by its name, also with `_` for `-`; `\,` is a comma in a value.
    /// Of the generic options of mount(8), ro, rw, nodev, nosuid, noexec, noatime and their opposites have their
    /// effect; those meant for mount(8) or systemd (auto, nofail, user, _netdev, x-*, comment=...) are accepted.
    #[arg(
        short = 'o',
        value_name = "NAME[=VALUE],...",
        allow_hyphen_values = true
    )]
    pub options: Vec<OsString>,
    /// Everything that can also come through `-o`.
    #[command(flatten)]
    pub named: MountOptions,
    /// The storage directory is standard input, the paths are resolved
    #[arg(long, hide = true)]
    pub storage_on_stdin: bool,
    /// This process has been detached from its caller
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// The options of `mount` that can be given as `--name value` and as `-o name=value`.
#[derive(Args, Clone, PartialEq, Debug, Default)]
pub struct MountOptions {
    /// Return once the mount answers, and go on in the background
    #[arg(long)]
    pub daemon: bool,
    /// Start the daemon again within a second when it dies
    #[arg(long)]
    pub supervise: bool,
    /// Let other users use the mount too; permissions are checked either way
    #[arg(long)]
    pub allow_other: bool,
    /// Refuse every change through the mount
    #[arg(long, visible_alias = "ro")]
    pub read_only: bool,
    /// Keep log and state in this directory instead of `.hippofs` in STORAGE
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
    /// What a power loss may cost without fsync [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = values::sync_interval)]
    pub sync_interval: Option<Duration>,
    /// Size of one file of the log, from 64K to 1G [default: 16M]
    #[arg(long, value_name = "SIZE", value_parser = values::segment_bytes)]
    pub segment_bytes: Option<u64>,
    /// Remove the oldest events when the log is larger than this [default: 1G]
    #[arg(long, value_name = "SIZE", value_parser = values::retain_bytes)]
    pub retain_bytes: Option<u64>,
    /// Remove events when they are older than this [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = values::retain_age)]
    pub retain_age: Option<Duration>,
    /// How many times both limits the log may reach while a registered consumer still needs its events, from 1x to
    /// 100x [default: 2x]
    #[arg(long, value_name = "TIMES", value_parser = values::retain_max)]
    pub retain_max: Option<u32>,
    /// Which contents can be read back: none; close, every version that was closed after writing and whatever is
    /// deleted or overwritten; write, also every state between [default: close]
    #[arg(long, value_name = "WHAT", value_parser = values::capture)]
    pub capture: Option<Capture>,
    /// Largest content that is kept, up to 64M; of a larger one only the hash is [default: 8M]
    #[arg(long, value_name = "SIZE", value_parser = values::capture_max)]
    pub capture_max: Option<u64>,
    /// Let the kernel read files that are only read straight from the storage, at native speed; a read-only mount always
    /// does. While a file is read so, a shared writable mapping made by another session goes past the mount and has no
    /// event: without this option there is no such way past it
    #[arg(long)]
    pub passthrough: bool,
    /// For measurements only: perform every change and record none. Refused without --i-know-nothing-is-recorded
    #[arg(long, hide = true)]
    pub no_log: bool,
    /// Said with --no-log, so that nobody mounts so by mistake
    #[arg(long, hide = true)]
    pub i_know_nothing_is_recorded: bool,
    /// How changes that bypass the mount are found: auto, native, poll or off [default: auto]
    #[arg(long, value_name = "HOW", value_parser = values::watch)]
    pub watch: Option<Watch>,
    /// Time between scans beside the watcher [default: 5s to 60s, by what they find]
    #[arg(long, value_name = "TIME", value_parser = values::scan_interval)]
    pub scan_interval: Option<Duration>,
    /// Time between scans where there is no watcher [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = values::scan_interval)]
    pub poll_interval: Option<Duration>,
    /// Write the daemon's messages to the end of this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub log_file: Option<PathBuf>,
}

impl MountOptions {
    /// A parser of these options alone, for those of `-o`.
    #[must_use]
    pub fn parser() -> clap::Command {
        let bare = clap::Command::new("hippofs mount -o")
            .no_binary_name(true)
            .args_override_self(true)
            .disable_help_flag(true);
        MountOptions::augment_args(bare)
    }

    /// Reads long options alone.
    ///
    /// # Errors
    /// One is unknown or has a bad value.
    pub fn parse<I: Into<OsString> + Clone>(
        args: impl IntoIterator<Item = I>,
    ) -> Result<MountOptions, clap::Error> {
        MountOptions::from_arg_matches(&MountOptions::parser().try_get_matches_from(args)?)
    }
}

/// Arguments of `unmount`.
#[derive(Args, Debug)]
pub struct UnmountArgs {
    /// The mount point itself
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mountpoint: PathBuf,
}

/// Arguments of `status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Anything inside a mount
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// Print the JSON object as the daemon gives it
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `events`.
#[derive(Args, Debug)]
pub struct EventsArgs {
    /// Anything inside a mount
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// Only events after this seq, or from this time on
    ///
    /// A time is local, such as 2026-01-31T12:00, or exact, such as 2026-01-31T12:00:00Z, or how long ago: 10m.
    #[arg(long, value_name = "SEQ|TIME", value_parser = values::place)]
    pub since: Option<Place>,
    /// Only events up to this seq or time
    #[arg(long, value_name = "SEQ|TIME", value_parser = values::place)]
    pub until: Option<Place>,
    /// At most this many events
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Only events of paths like this: `*` stays within a directory, `**` crosses them
    #[arg(long = "path", value_name = "GLOB")]
    pub glob: Option<String>,
    /// Only events of documents with this UUID as their name
    #[arg(long)]
    pub uuid: Option<Uuid>,
    /// Only events of this type: created, modified, deleted, moved, closed, gap, mark
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = values::event_type)]
    pub event_type: Vec<EventType>,
    /// Only events from this source: mount, watch, scan, peer, system
    #[arg(long, value_delimiter = ',', value_parser = values::source)]
    pub source: Vec<Source>,
    /// Only events of this session; `!NAME` leaves one out, `!self` one's own
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Only events of this call: create, write, rename, unlink and so on
    #[arg(long, value_delimiter = ',', value_parser = values::op)]
    pub op: Vec<Op>,
    /// Only events of this process
    #[arg(long)]
    pub pid: Option<u32>,
    /// What to show: `raw`, every event; `documents`, the net effect on each document
    #[arg(long, value_name = "VIEW", value_parser = ["raw", "documents"])]
    pub view: Option<String>,
    /// With the view `documents`: hold a document back until nothing has happened to it for this long
    #[arg(long, value_name = "TIME", value_parser = values::debounce)]
    pub debounce: Option<Duration>,
    /// With the view `documents`: also those that came and went
    #[arg(long)]
    pub transient: bool,
    /// In whose words: native, watchdog, inotify, cloudevents; all but native are printed as JSON
    #[arg(long, value_name = "FORMAT", value_parser = ["native", "watchdog", "inotify", "cloudevents"])]
    pub format: Option<String>,
    /// What changed since this consumer last looked: goes on at its place and moves it behind what was printed; the
    /// first look registers the consumer and prints nothing
    #[arg(long, value_name = "NAME", conflicts_with_all = ["since", "until", "last"])]
    pub consumer: Option<String>,
    /// Only the newest N events (1 when N is not given); of PATH alone, when that is not the mount itself: who
    /// touched it last
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1",
        conflicts_with_all = ["limit", "follow", "view"])]
    pub last: Option<u64>,
    /// Go on with new events as they come; without --since, only with those
    #[arg(long, short)]
    pub follow: bool,
    /// Print the lines of the log as they are
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `reconcile`.
#[derive(Args, Debug)]
pub struct ReconcileArgs {
    /// A mount, or what is to be scanned of it
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// Read every file: finds also what left size and times as they were
    #[arg(long)]
    pub full: bool,
    /// Print the lines of the log and the daemon's answer as they are
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Anything inside a mount, or a storage that is not mounted
    #[arg(value_name = "PATH|STORAGE", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// Where the state of an unmounted storage is, when not in `.hippofs`
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
}

/// Arguments of `log`.
#[derive(Args, Debug)]
pub struct LogArgs {
    /// A file in a mount, or the path it had
    ///
    /// One line for each version, the newest first: seq, local time, what happened, name, size, the first digits of
    /// the content's hash, whether the content can be read, and by whom. The history goes on under earlier names.
    #[arg(value_name = "PATH/FILE", value_hint = ValueHint::FilePath)]
    pub path: PathBuf,
    /// Every event, and not only those that left a version
    #[arg(long)]
    pub all: bool,
    /// At most this many lines, the newest
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Print JSON Lines as the daemon gives them, the newest first
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// A file in a mount, or the path it had
    #[arg(value_name = "PATH/FILE", value_hint = ValueHint::FilePath)]
    pub path: PathBuf,
    /// The version: as it was right after this seq, or at this time
    ///
    /// A time is local, such as 2026-01-31T12:00, or exact, such as 2026-01-31T12:00:00Z, or how long ago: 10m.
    #[arg(long, value_name = "SEQ|TIME", value_parser = values::place)]
    pub at: Place,
}

/// Arguments of `diff`.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// A file in a mount, or the path it had
    ///
    /// Text is compared by lines; when both sides are JSON, by their values: laid out alike, with keys in order. Of
    /// other contents only sizes and hashes are shown. The exit status is 0 whether they differ or not, unless
    /// --exit-code is given.
    #[arg(value_name = "PATH/FILE", value_hint = ValueHint::FilePath)]
    pub path: PathBuf,
    /// The older version: as it was right after this seq, or at this time
    #[arg(long, value_name = "SEQ|TIME", value_parser = values::place)]
    pub at: Place,
    /// The newer version; without it, the file as it is now
    #[arg(long, value_name = "SEQ|TIME", value_parser = values::place)]
    pub to: Option<Place>,
    /// Compare JSON as the text it is
    #[arg(long)]
    pub raw: bool,
    /// Exit with 1 when they differ
    #[arg(long)]
    pub exit_code: bool,
}

/// Arguments of `restore`.
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// A file or directory in a mount, also one that is gone, or a quoted glob
    ///
    /// Each file is put back in one step and recorded as one event, `restore`. Nothing is done unless everything can be;
    /// what fails in the middle is taken back.
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// As it was right after this seq, or at this time
    ///
    /// A time is local, such as 2026-01-31T12:00, or exact, such as 2026-01-31T12:00:00Z, or how long ago: 10m.
    #[arg(long, value_name = "SEQ|TIME", value_parser = values::place)]
    pub at: Place,
    /// Only tell what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Also remove what came since
    #[arg(long)]
    pub delete: bool,
    /// Write it to this new directory instead, and leave the mount alone
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["dry_run", "delete"])]
    pub to: Option<PathBuf>,
    /// Print JSON Lines as the daemon gives them
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Anything inside a mount
    ///
    /// Keys: q quits, p holds the picture, f takes a filter (a glob on paths, or a piece of a path or of a session's
    /// name), Tab sorts by events or by bytes written. When the daemon is restarted it goes on by itself.
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// Look for a second, print one frame as plain text, and end
    #[arg(long)]
    pub once: bool,
}

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Anything inside a mount
    ///
    /// The page stands alone: no script, nothing loaded from elsewhere. Without --since, --from and --to it is about
    /// everything the log holds.
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// Where to write the page; `-` is standard output. It appears whole or not at all, readable by its owner only
    /// unless it replaces a file
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// Only events after this seq
    #[arg(long, value_name = "SEQ", conflicts_with = "from")]
    pub since: Option<u64>,
    /// Only events from this time on
    ///
    /// A time is local, such as 2026-01-31T12:00, or exact, such as 2026-01-31T12:00:00Z, or how long ago: 10m.
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    pub from: Option<Timestamp>,
    /// Only events up to this time
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    pub to: Option<Timestamp>,
}

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// The command whose page to print; without it, the page of hippofs
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
}
