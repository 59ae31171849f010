//! `-o`: the options of mount(8), fstab and systemd. Each is either one of our own, by the name of its long option,
//! or one of the generic ones of mount(8). Our own go through the same parser as the long options, so the two forms
//! cannot differ.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use crate::cli::args::{Cli, MountOptions};

/// Generic flags that the kernel enforces; each has an opposite, which takes it back.
const ENFORCED: [(&str, &str); 4] = [
    ("nodev", "dev"),
    ("nosuid", "suid"),
    ("noexec", "exec"),
    ("noatime", "atime"),
];

/// Generic options that say nothing to us: they are for mount(8), fstab and systemd, or they are how we work anyway.
const ACCEPTED: [&str; 22] = [
    "defaults",
    "auto",
    "noauto",
    "nofail",
    "user",
    "nouser",
    "users",
    "nousers",
    "owner",
    "noowner",
    "group",
    "nogroup",
    "_netdev",
    "async",
    "relatime",
    "norelatime",
    "diratime",
    "nodiratime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
];

/// Generic options with a value that say nothing to us.
const ACCEPTED_WITH_VALUE: [&str; 2] = ["comment", "user"];

/// What all `-o` lists of one command line say together.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Parsed {
    /// Our own options.
    pub(super) named: MountOptions,
    /// The generic flags that stay, in the order of [`ENFORCED`].
    pub(super) fs_options: Vec<String>,
}

/// Reads the lists in order; of options that contradict each other the later one holds.
///
/// # Errors
/// An unknown option or a bad value, as the parser of the long options says it.
pub(super) fn parse<'a>(
    lists: impl IntoIterator<Item = &'a OsString>,
) -> Result<Parsed, clap::Error> {
    let known = MountOptions::parser();
    let mut own = Vec::new();
    let mut enforced = [false; ENFORCED.len()];
    let mut read_only = None;
    for item in lists
        .into_iter()
        .flat_map(|list| split(list))
        .filter(|item| !item.is_empty())
    {
        let (name, value) = match item.iter().position(|&b| b == b'=') {
            Some(at) => (&item[..at], Some(&item[at + 1..])),
            None => (&item[..], None),
        };
        let name = String::from_utf8_lossy(name);
        if let Some((flag, on)) = enforced_flag(&name).filter(|_| value.is_none()) {
            enforced[flag] = on;
        } else if matches!(&*name, "ro" | "rw") && value.is_none() {
            read_only = Some(name == "ro");
        } else if !is_accepted(&name, value.is_some()) {
            own.push(long_form(&known, &name, value)?);
        }
    }
    let mut named = MountOptions::parse(own)?;
    named.read_only = read_only.unwrap_or(named.read_only);
    let flags = ENFORCED.iter().zip(enforced).filter(|(_, on)| *on);
    Ok(Parsed {
        named,
        fs_options: flags.map(|((flag, _), _)| (*flag).to_string()).collect(),
    })
}

/// Both ways of giving options together: a long option goes before the same one in `-o`.
#[must_use]
pub(super) fn merge(long: MountOptions, short: MountOptions) -> MountOptions {
    MountOptions {
        daemon: long.daemon || short.daemon,
        supervise: long.supervise || short.supervise,
        allow_other: long.allow_other || short.allow_other,
        read_only: long.read_only || short.read_only,
        state_dir: long.state_dir.or(short.state_dir),
        sync_interval: long.sync_interval.or(short.sync_interval),
        segment_bytes: long.segment_bytes.or(short.segment_bytes),
        retain_bytes: long.retain_bytes.or(short.retain_bytes),
        retain_age: long.retain_age.or(short.retain_age),
        retain_max: long.retain_max.or(short.retain_max),
        capture: long.capture.or(short.capture),
        capture_max: long.capture_max.or(short.capture_max),
        passthrough: long.passthrough || short.passthrough,
        no_log: long.no_log || short.no_log,
        i_know_nothing_is_recorded: long.i_know_nothing_is_recorded
            || short.i_know_nothing_is_recorded,
        watch: long.watch.or(short.watch),
        scan_interval: long.scan_interval.or(short.scan_interval),
        poll_interval: long.poll_interval.or(short.poll_interval),
        log_file: long.log_file.or(short.log_file),
    }
}

/// Which of [`ENFORCED`] a name is about and whether it sets it.
fn enforced_flag(name: &str) -> Option<(usize, bool)> {
    ENFORCED
        .iter()
        .enumerate()
        .find_map(|(at, (set, clear))| match name {
            _ if name == *set => Some((at, true)),
            _ if name == *clear => Some((at, false)),
            _ => None,
        })
}

fn is_accepted(name: &str, has_value: bool) -> bool {
    name.starts_with("x-")
        || name.starts_with("X-")
        || (has_value && ACCEPTED_WITH_VALUE.contains(&name))
        || (!has_value && ACCEPTED.contains(&name))
}

/// `--name` or `--name=value` of one of our own options.
fn long_form(
    known: &clap::Command,
    name: &str,
    value: Option<&[u8]>,
) -> Result<OsString, clap::Error> {
    let long = name.replace('_', "-");
    if !known
        .get_arguments()
        .any(|arg| arg.get_long() == Some(&long))
    {
        let message = format!("-o {}: unknown option", name.escape_debug());
        let mut cli = Cli::command();
        cli.build();
        return Err(match cli.find_subcommand_mut("mount") {
            Some(mount) => mount.error(ErrorKind::UnknownArgument, message),
            None => cli.error(ErrorKind::UnknownArgument, message),
        });
    }
    let mut argument = OsString::from(format!("--{long}"));
    if let Some(value) = value {
        argument.push("=");
        argument.push(OsStr::from_bytes(value));
    }
    Ok(argument)
}

/// Splits at commas; `\,` is a comma and `\\` a backslash, any other backslash stands for itself.
fn split(list: &OsStr) -> Vec<Vec<u8>> {
    let mut items = Vec::new();
    let mut item = Vec::new();
    let mut bytes = list.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = if byte == b'\\' {
            bytes.next_if(|next| matches!(next, b',' | b'\\'))
        } else {
            None
        };
        match (byte, escaped) {
            (b',', None) => items.push(std::mem::take(&mut item)),
            (plain, None) | (_, Some(plain)) => item.push(plain),
        }
    }
    items.push(item);
    items
}

/// The long options that say the same as `options`, for running this program again.
#[must_use]
pub(super) fn to_args(options: &MountOptions) -> Vec<OsString> {
    let flags = [
        ("--daemon", options.daemon),
        ("--supervise", options.supervise),
        ("--allow-other", options.allow_other),
        ("--read-only", options.read_only),
        ("--passthrough", options.passthrough),
        ("--no-log", options.no_log),
        (
            "--i-know-nothing-is-recorded",
            options.i_know_nothing_is_recorded,
        ),
    ];
    let mut args: Vec<OsString> = flags
        .iter()
        .filter(|(_, on)| *on)
        .map(|(flag, _)| (*flag).into())
        .collect();
    let mut push = |name: &str, value: Option<OsString>| {
        if let Some(value) = value {
            let mut arg = OsString::from_vec([b"--", name.as_bytes(), b"="].concat());
            arg.push(value);
            args.push(arg);
        }
    };
    let time = |time: &std::time::Duration| OsString::from(format!("{}ms", time.as_millis()));
    push("state-dir", options.state_dir.clone().map(Into::into));
    push("log-file", options.log_file.clone().map(Into::into));
    push("sync-interval", options.sync_interval.as_ref().map(time));
    push("watch", options.watch.map(|watch| watch.word().into()));
    push("capture", options.capture.map(|what| what.word().into()));
    push(
        "capture-max",
        options.capture_max.map(|n| n.to_string().into()),
    );
    push("scan-interval", options.scan_interval.as_ref().map(time));
    push("poll-interval", options.poll_interval.as_ref().map(time));
    push("retain-age", options.retain_age.as_ref().map(time));
    push(
        "retain-max",
        options.retain_max.map(|n| n.to_string().into()),
    );
    push(
        "segment-bytes",
        options.segment_bytes.map(|n| n.to_string().into()),
    );
    push(
        "retain-bytes",
        options.retain_bytes.map(|n| n.to_string().into()),
    );
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options(list: &str) -> Result<Parsed, clap::Error> {
        parse([&OsString::from(list)])
    }

    #[test]
    fn each_long_option_equals_its_form_in_a_list() {
        let samples = [
            ("sync-interval", "250ms"),
            ("segment-bytes", "1M"),
            ("retain-bytes", "2G"),
            ("retain-age", "3d"),
            ("retain-max", "3x"),
            ("watch", "poll"),
            ("capture", "write"),
            ("capture-max", "1M"),
            ("scan-interval", "7s"),
            ("poll-interval", "300ms"),
        ];
        for arg in MountOptions::parser().get_arguments() {
            let long = arg.get_long().unwrap();
            let given = if arg.get_action().takes_values() {
                let sample = samples
                    .iter()
                    .find(|(name, _)| *name == long)
                    .map_or("/x=y", |(_, value)| value);
                format!("{long}={sample}")
            } else {
                long.to_string()
            };
            let by_long = MountOptions::parse([format!("--{given}")]).unwrap();
            assert_ne!(by_long, MountOptions::default(), "{given}");
            assert_eq!(options(&given).unwrap().named, by_long, "{given}");
            let underscored = given.replacen(long, &long.replace('-', "_"), 1);
            assert_eq!(
                options(&underscored).unwrap().named,
                by_long,
                "{underscored}"
            );
            assert_eq!(merge(by_long.clone(), MountOptions::default()), by_long);
            assert_eq!(merge(MountOptions::default(), by_long.clone()), by_long);
            assert_eq!(MountOptions::parse(to_args(&by_long)).unwrap(), by_long);
        }
    }

    #[test]
    fn the_generic_options_of_mount_are_known() {
        let parsed = options(
            "defaults,noauto,nofail,user,user=joe,_netdev,x-systemd.automount,comment=a b,nodev,nosuid,suid,noatime",
        );
        let parsed = parsed.unwrap();
        assert_eq!(parsed.fs_options, ["nodev", "noatime"]);
        assert_eq!(parsed.named, MountOptions::default());
        assert!(options("rw,ro").unwrap().named.read_only);
        assert!(!options("ro,rw").unwrap().named.read_only);
        assert_eq!(options("").unwrap(), Parsed::default());
    }

    #[test]
    fn a_wrong_option_is_named() {
        for (list, named) in [
            ("ro,frob", "frob"),
            ("frob=1", "frob"),
            ("retain-age=x", "retain-age"),
            ("daemon=1", "daemon"),
            ("help", "help"),
        ] {
            let error = options(list).unwrap_err();
            assert!(
                error.use_stderr() && error.to_string().contains(named),
                "{list}: {error}"
            );
        }
    }

    #[test]
    fn a_backslash_keeps_a_comma() {
        let parsed = options(r"state-dir=/a\,b\\c\d,ro").unwrap().named;
        assert_eq!(parsed.state_dir, Some(r"/a,b\c\d".into()));
        assert!(parsed.read_only);
    }

    proptest! {
        #[test]
        fn no_list_panics(list in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse([&OsString::from_vec(list)]);
        }

        #[test]
        fn lists_of_words_never_panic(words in prop::collection::vec(
            prop::sample::select(vec!["ro", "daemon", "=", ",", "\\", "retain-age", "1d", "x-", "state_dir", "-", "--"]), 0..12)) {
            let _ = options(&words.concat());
        }
    }
}
